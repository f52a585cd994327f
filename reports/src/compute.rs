//! Devices, scalar types and thread pools, by the names of the command line and of `run.json`.

use crate::memory::{Counter, count_on};
use anyhow::{Context, Result, bail};
use candle_core::DType;
use serde::{Deserialize, Serialize};

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor.
    Cpu,
    /// The first CUDA device (needs the feature `cuda`).
    Cuda,
}

impl Device {
    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }

    /// How many runs are made at a time: as many as are asked for, else one a thread, and one on a
    /// card.
    pub fn jobs(self, asked: Option<usize>, threads: usize) -> usize {
        let usual = match self {
            Self::Cpu => threads,
            Self::Cuda => 1,
        };
        asked.unwrap_or(usual).clamp(1, threads)
    }

    /// By how many the time of runs is divided that are made so many at a time, where each was
    /// measured alone: those on one card share it.
    pub fn at_once(self, jobs: usize) -> usize {
        match self {
            Self::Cpu => jobs,
            Self::Cuda => 1,
        }
    }

    /// The engine's device.
    ///
    /// # Errors
    /// CUDA was asked for and is not there.
    pub fn open(self) -> Result<candle_core::Device> {
        match self {
            Self::Cpu => Ok(candle_core::Device::Cpu),
            Self::Cuda if cfg!(feature = "cuda") => inducer_gpu::kernels::cuda::open(0)
                .context("--device cuda: no CUDA device could be opened"),
            Self::Cuda => bail!(
                "--device cuda: this binary was built without the feature `cuda` (cargo build \
                 --release --features cuda)"
            ),
        }
    }
}

/// Scalar type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single.
    #[default]
    F32,
    /// Single, but products on a card in TF32: 10 bits of mantissa, several times as fast.
    Tf32,
    /// Double.
    F64,
    /// Brain float: mixed precision, what is trained stays single.
    Bf16,
}

impl Precision {
    /// Whether it is single precision, what files mean that do not say.
    pub fn is_single(&self) -> bool {
        *self == Self::F32
    }

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::F64 => "f64",
            Self::Bf16 => "bf16",
        }
    }

    /// What to say of it where single precision is faster: in bf16 on a processor without
    /// instructions for it.
    pub fn slower_than_single(self, device: Device, native: bool) -> Option<&'static str> {
        let slow = self == Self::Bf16 && device == Device::Cpu && !native;
        slow.then_some(
            "warning: --dtype bf16: this processor has no instructions for bf16 (AVX512-BF16); \
             --dtype f32 is faster here and more exact",
        )
    }

    /// The engine's scalar type. From here on the process computes as it says: products in f32 on a
    /// card are in TF32 or in full.
    pub fn begin(self) -> DType {
        inducer_gpu::kernels::cuda::allow_tf32(self == Self::Tf32);
        match self {
            Self::F32 | Self::Tf32 => DType::F32,
            Self::F64 => DType::F64,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// Number of threads asked for, or of cores.
pub fn threads(asked: Option<usize>) -> usize {
    asked
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
        .max(1)
}

/// Says how candle's own operations, which are few, use their threads; a variable that somebody has
/// set is heard. Without their number candle reads `/proc/cpuinfo` before each product, which takes
/// longer than a small one. Its threads wait for work in a loop, by which two runs on two cores take
/// a fifth longer where a prefix has a network of its own; so they sleep at once.
#[allow(unsafe_code)]
pub(crate) fn set_threads_of_candle() {
    let cores = threads(None).to_string();
    for (name, value) in [
        ("RAYON_NUM_THREADS", &*cores),
        ("CANDLE_BARRIER_POOL_SPIN_LIMIT", "1"),
    ] {
        if std::env::var_os(name).is_none() {
            // SAFETY: the program has just begun. The only other threads are those that OpenBLAS
            // starts when it is loaded; they wait for work and do not read the environment.
            unsafe { std::env::set_var(name, value) };
        }
    }
}

/// A pool of that many threads; work runs inside `pool.install`, and its memory is counted as one
/// run's ([`crate::memory`]).
///
/// # Errors
/// The system gives no threads.
pub fn pool(threads: usize) -> Result<rayon::ThreadPool> {
    // never freed: a few bytes for each run of a process
    let counter: &'static Counter = Box::leak(Box::default());
    started(threads_of(threads).start_handler(move |_| count_on(counter)))
}

/// A pool of that many threads whose memory nobody asks for: many threads that allocate small
/// pieces would wait for each other at the counter.
///
/// # Errors
/// The system gives no threads.
pub fn uncounted_pool(threads: usize) -> Result<rayon::ThreadPool> {
    started(threads_of(threads))
}

fn threads_of(threads: usize) -> rayon::ThreadPoolBuilder {
    rayon::ThreadPoolBuilder::new().num_threads(threads)
}

fn started(builder: rayon::ThreadPoolBuilder) -> Result<rayon::ThreadPool> {
    builder.build().context("starting threads")
}

#[cfg(test)]
mod tests {
    use super::Device::{Cpu, Cuda};
    use super::Precision::{Bf16, F32};

    #[test]
    fn bf16_is_warned_of_on_a_processor_without_instructions_for_it_alone() {
        assert!(Bf16.slower_than_single(Cpu, false).is_some());
        for (precision, device, native) in
            [(Bf16, Cpu, true), (Bf16, Cuda, false), (F32, Cpu, false)]
        {
            assert_eq!(precision.slower_than_single(device, native), None);
        }
    }

    #[test]
    fn a_card_makes_one_run_at_a_time_unless_more_are_asked_for_and_none_of_them_is_faster() {
        for (device, asked, jobs, at_once) in [
            (Cpu, None, 8, 8),
            (Cpu, Some(3), 3, 3),
            (Cpu, Some(9), 8, 8),
            (Cuda, None, 1, 1),
            (Cuda, Some(3), 3, 1),
            (Cuda, Some(9), 8, 1),
        ] {
            let found = device.jobs(asked, 8);
            assert_eq!(
                (found, device.at_once(found)),
                (jobs, at_once),
                "{device:?} {asked:?}"
            );
        }
    }
}
