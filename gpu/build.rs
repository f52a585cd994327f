//! Builds the card's kernels: with nvcc for a card (feature `cuda`), and as C++ for the CPU, where
//! tests run them, wherever there is a C++ compiler.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/kernels/cuda");
    println!("cargo::rustc-check-cfg=cfg(emulated_kernels)");
    emulated();
    #[cfg(feature = "cuda")]
    ptx();
}

/// Compiles the kernels over `emulator.h`.
fn emulated() {
    let built = cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .warnings(true)
        .extra_warnings(true)
        .flag_if_supported("-Wno-unknown-pragmas")
        // as nvcc contracts products and sums, so may a CPU; neither may reorder
        .flag_if_supported("-ffp-contract=off")
        .file("src/kernels/cuda/emulator.cpp")
        .cargo_warnings(false)
        .try_compile("emulated_kernels");
    match built {
        Ok(()) => println!("cargo::rustc-cfg=emulated_kernels"),
        Err(error) => println!(
            "cargo::warning=the card's kernels are not emulated, since no C++ compiler could \
             build them: {error}"
        ),
    }
}

/// Compiles the kernels to PTX for cards from compute capability 8.0 on; the driver makes a card's
/// own code of it.
#[cfg(feature = "cuda")]
fn ptx() {
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let built = cudaforge::KernelBuilder::new()
        .source_dir("src/kernels/cuda")
        .compute_cap_arch("80")
        .arg("-std=c++17")
        .arg("-O3")
        .build_ptx()
        .and_then(|kernels| kernels.write(out.join("ptx.rs")));
    if let Err(error) = built {
        println!("cargo::error=nvcc cannot build the kernels: {error}");
    }
}
