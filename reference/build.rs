//! Stops early, with one line, where no LAPACK can be linked.
//!
//! `ndarray-linalg` links the system's OpenBLAS. Where that library is missing, rustc would fail
//! minutes later with a screenful from the linker. A program of one symbol is linked here instead,
//! with the compiler that rustc itself links with, so that nothing but that compiler is needed (no
//! pkg-config).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const ADVICE: &str = "libopenblas not found: install libopenblas-dev (Debian/Ubuntu), \
                      openblas-devel (Fedora) or openblas (brew install openblas), \
                      or run `make setup`";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["CC", "LIBRARY_PATH", "DOCS_RS"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    // A cross build, Windows and docs.rs are left to openblas-src's own search.
    let foreign = env::var("HOST").ok() != env::var("TARGET").ok();
    let windows = env::var_os("CARGO_CFG_WINDOWS").is_some();
    if foreign || windows || env::var_os("DOCS_RS").is_some() {
        return;
    }
    if let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from)
        && links_openblas(&out) == Some(false)
    {
        println!("cargo::error={ADVICE}");
    }
}

/// Whether a program that calls LAPACK links; `None` when no compiler answered, which is rustc's to
/// report.
fn links_openblas(out: &Path) -> Option<bool> {
    let source = out.join("probe.c");
    let program = out.join("probe");
    fs::write(
        &source,
        "void dsyev_(void);\nint main(void) { dsyev_(); return 0; }\n",
    )
    .ok()?;
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut command = Command::new(compiler);
    command.arg(&source).arg("-o").arg(&program);
    for folder in homebrew_folders() {
        command.arg(format!("-L{}", folder.display()));
    }
    command.arg("-lopenblas");
    Some(command.output().ok()?.status.success())
}

/// Where Homebrew keeps a library that it does not link into the default search path.
fn homebrew_folders() -> Vec<PathBuf> {
    [
        "/opt/homebrew/opt/openblas/lib",
        "/usr/local/opt/openblas/lib",
    ]
    .iter()
    .map(PathBuf::from)
    .filter(|folder| folder.is_dir())
    .collect()
}
