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
    device_code();
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

/// The compute capabilities of cards that code is made for, as CMake writes them.
#[cfg(feature = "cuda")]
const ARCHITECTURES: &str = "INDUCER_CUDA_ARCHITECTURES";

/// Ampere (A100; the RTX 30s), Ada (the RTX 40s, L4, L40), Hopper (H100, H200).
#[cfg(feature = "cuda")]
const ALL_ARCHITECTURES: &str = "80;86;89;90";

/// Compiles the kernels to the code of each card, and to PTX, of which the driver makes that of
/// later ones.
#[cfg(feature = "cuda")]
fn device_code() {
    println!("cargo::rerun-if-env-changed={ARCHITECTURES}");
    let of_cards = std::env::var(ARCHITECTURES).unwrap_or(ALL_ARCHITECTURES.into());
    let of_cards: Vec<&str> = of_cards.split(';').map(str::trim).collect();
    let mut code = Vec::new();
    for card in &of_cards {
        code.push("-gencode".into());
        code.push(format!("arch=compute_{card},code=sm_{card}"));
    }
    if let Some(last) = of_cards.last() {
        code.push("-gencode".into());
        code.push(format!("arch=compute_{last},code=compute_{last}"));
    }
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let files = std::fs::read_dir(KERNELS).into_iter().flatten().flatten();
    for file in files.map(|file| file.path()) {
        if file.extension().is_some_and(|e| e == "cu")
            && let Some(name) = file.file_stem()
            && let Err(error) = compiled(&file, &out.join(name).with_extension("fatbin"), &code)
        {
            println!("cargo::error=nvcc cannot build {}: {error}", file.display());
        }
    }
}

/// Compiles one file of kernels for all cards.
#[cfg(feature = "cuda")]
fn compiled(
    from: &std::path::Path,
    to: &std::path::Path,
    code: &[String],
) -> Result<(), Box<dyn std::error::Error>> {
    let nvcc = cudaforge::CudaToolkit::detect()?.nvcc_path;
    let output = std::process::Command::new(nvcc)
        .args(["-fatbin", "-std=c++17", "-O3", "--threads", "0"])
        .args(code)
        .arg("-o")
        .args([to, from])
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}
