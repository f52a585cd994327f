//! Devices, scalar types and thread pools as the command line names them.

use crate::cli::{Compute, DeviceName, Precision};
use crate::memory::{Counter, count_on};
use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};

/// The device.
///
/// # Errors
/// CUDA was asked for and is not there.
pub fn device(compute: &Compute) -> Result<Device> {
    match compute.device {
        DeviceName::Cpu => Ok(Device::Cpu),
        DeviceName::Cuda if cfg!(feature = "cuda") => {
            Device::new_cuda(0).context("--device cuda: no CUDA device could be opened")
        }
        DeviceName::Cuda => bail!(
            "--device cuda: this binary was built without the feature `cuda` (cargo build \
             --release --features cuda)"
        ),
    }
}

/// The scalar type.
pub fn dtype(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::F64 => DType::F64,
        Precision::Bf16 => DType::BF16,
    }
}

/// Number of threads asked for, or of cores.
pub fn threads(compute: &Compute) -> usize {
    compute
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
        .max(1)
}

/// A pool of that many threads; work runs inside `pool.install`, and its memory is counted as one
/// run's ([`crate::memory`]).
///
/// # Errors
/// The system gives no threads.
pub fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    // never freed: a few bytes for each run of a process
    let counter: &'static Counter = Box::leak(Box::default());
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .start_handler(move |_| count_on(counter))
        .build()
        .context("starting threads")
}
