//! Builds the card's kernels: with nvcc for a card (feature `cuda`), and as C++ for the CPU, where
//! tests run them, wherever there is a C++ compiler.

/// When set, the emulated kernels are built with address and undefined-behaviour sanitizers
/// (`verify/checks/sanitized_kernels.sh`).
const SANITIZE: &str = "INDUCER_SANITIZE_KERNELS";

/// The kernels and what they include.
const KERNELS: &str = "src/kernels/cuda";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={KERNELS}");
    println!("cargo::rerun-if-env-changed={SANITIZE}");
    println!("cargo::rustc-check-cfg=cfg(emulated_kernels)");
    emulated();
    #[cfg(feature = "cuda")]
    ptx();
}

/// Compiles the kernels over `emulator.h`.
fn emulated() {
    let mut build = cc::Build::new();
    if std::env::var_os(SANITIZE).is_some() {
        build
            .flag("-fsanitize=address,undefined")
            // without it a vector of four bytes counts as one access of sixteen
            .flag("-fno-sanitize=alignment")
            .flag("-fno-sanitize-recover=undefined")
            // fibres' stacks are memory like any other
            .flag("--param")
            .flag("asan-stack=0");
        println!("cargo::rustc-link-arg=-lasan");
        println!("cargo::rustc-link-arg=-lubsan");
    }
    let built = build
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .warnings(true)
        .extra_warnings(true)
        .flag_if_supported("-Wno-unknown-pragmas")
        // each product and sum is rounded by itself, as in the bounds of the tests
        .flag_if_supported("-ffp-contract=off")
        .file(format!("{KERNELS}/emulator.cpp"))
        .cargo_warnings(false)
        .try_compile("emulated_kernels");
    match built {
        // what a compiler refuses is a mistake of ours
        Err(error) if build.try_get_compiler().is_ok() => {
            println!("cargo::error=the card's kernels do not compile for the CPU: {error}");
        }
        Ok(()) => println!("cargo::rustc-cfg=emulated_kernels"),
        Err(error) => println!(
            "cargo::warning=the card's kernels are not emulated, since no C++ compiler could \
             build them: {error}"
        ),
    }
}

/// What the kernels include: a change there is a change of all.
#[cfg(feature = "cuda")]
fn headers() -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(KERNELS).into_iter().flatten().flatten();
    let all = files.map(|file| file.path());
    all.filter(|path| path.extension().is_some_and(|e| e == "cuh"))
        .collect()
}

/// Compiles the kernels to PTX for cards from compute capability 8.0 on; the driver makes a card's
/// own code of it.
#[cfg(feature = "cuda")]
fn ptx() {
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let built = cudaforge::KernelBuilder::new()
        .source_dir(KERNELS)
        .watch(headers())
        .compute_cap_arch("80")
        .arg("-std=c++17")
        .arg("-O3")
        .build_ptx()
        .and_then(|kernels| kernels.write(out.join("ptx.rs")));
    if let Err(error) = built {
        println!("cargo::error=nvcc cannot build the kernels: {error}");
    }
}
