//! What the command finds on this machine, and what each thing is for.

use crate::files;
use crate::run::meteor_files;
use anyhow::Result;
use inducer_gpu::hub;
use inducer_gpu::kernels::bf16;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// One thing that was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name.
    pub what: &'static str,
    /// Whether it is here.
    pub present: bool,
    /// What was found, or why nothing was.
    pub found: String,
    /// What it is for.
    pub purpose: &'static str,
}

/// Looks for everything; `cuda` is whether a device could be opened.
pub fn examine(threads: usize, cuda: Result<()>) -> Vec<Finding> {
    let meteor = meteor_files(None, None);
    vec![
        finding(
            "threads",
            Ok(threads.to_string()),
            "runs, training steps and the ledger",
        ),
        finding("vectors", vectors(), "products and element-wise operations"),
        finding(
            "bf16",
            bf16_instructions(),
            "--dtype bf16 on the CPU to be faster than f32",
        ),
        finding(
            "LAPACK",
            lapack(),
            "the reference's linear systems (verify, report, teach)",
        ),
        finding(
            "CUDA",
            cuda.map(|()| "device 0".to_string())
                .map_err(|e| format!("{e:#}")),
            "--device cuda",
        ),
        finding(
            "METEOR",
            file(meteor.jar.as_deref(), "METEOR_JAR"),
            "METEOR with synonyms (without it: exact words and stems)",
        ),
        finding(
            "paraphrases",
            file(meteor.paraphrases.as_deref(), "METEOR_PARAPHRASES"),
            "METEOR with paraphrases",
        ),
        finding(
            "hub cache",
            directory(&hub::cache()),
            "--backbone by a model's name",
        ),
        finding(
            "own cache",
            directory(&files::cache()),
            "the embedded backbones as files, encoded data",
        ),
        finding("Chromium", chromium(), "this project's tests of its pages"),
    ]
}

fn finding(
    what: &'static str,
    found: std::result::Result<String, String>,
    purpose: &'static str,
) -> Finding {
    let present = found.is_ok();
    let (Ok(found) | Err(found)) = found;
    Finding {
        what,
        present,
        found,
        purpose,
    }
}

/// The widest instructions that kernels choose from when the program runs.
fn vectors() -> std::result::Result<String, String> {
    #[cfg(target_arch = "x86_64")]
    {
        let wide = std::is_x86_feature_detected!("avx512f");
        let middle = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
        match (wide, middle) {
            (true, _) => Ok("AVX-512, 16 numbers in f32".into()),
            (_, true) => Ok("AVX2 and FMA, 8 numbers in f32".into()),
            _ => Err("neither AVX2 nor AVX-512: 4 numbers in f32".into()),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    Ok(format!("those of {}", std::env::consts::ARCH))
}

fn bf16_instructions() -> std::result::Result<String, String> {
    match bf16::is_native() {
        true => Ok("AVX512-BF16".into()),
        false => Err("no instructions for bf16 products".into()),
    }
}

/// The library that this process has in memory.
fn lapack() -> std::result::Result<String, String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let paths = maps
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    let mut found = paths.filter(|path| path.contains("openblas") || path.contains("lapack"));
    // The program would not have started without it; only Linux says where it is.
    Ok(found.next().unwrap_or("linked").to_string())
}

fn file(path: Option<&Path>, variable: &str) -> std::result::Result<String, String> {
    match path {
        None => Err(format!("{variable} is not set")),
        Some(path) if path.is_file() => Ok(path.display().to_string()),
        Some(path) => Err(format!("{variable}: {}: no such file", path.display())),
    }
}

fn directory(path: &Path) -> std::result::Result<String, String> {
    let shown = path.display().to_string();
    match std::fs::read_dir(path) {
        Ok(entries) => Ok(format!("{shown}, {} entries", entries.count())),
        Err(_) => Err(format!("{shown} does not exist")),
    }
}

fn chromium() -> std::result::Result<String, String> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let given = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = given.into_iter().chain(candidates).find(|p| p.is_file());
    found
        .map(|path| path.display().to_string())
        .ok_or_else(|| "neither CHROMIUM nor chromium on PATH".into())
}
