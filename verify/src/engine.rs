//! Engines under one interface: the same model and batch in, logits, gates, loss and gradients out,
//! as `f64`.

pub mod candle;
pub mod reference;

pub use candle::Candle;
pub use reference::{Reference, conditioning};

use crate::error::Result;
use crate::random::ModelCase;
use candle_core::Device;
use inducer_reference::TensorMap;
use ndarray::Array2;
use serde::Serialize;
use std::fmt;

/// Where a check runs: an engine, or a scalar of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum On {
    /// Integers, counted.
    #[serde(rename = "integers")]
    Integers,
    /// The reference over the prime field of 2^61 − 1.
    #[serde(rename = "prime field")]
    PrimeField,
    /// The reference in double-double arithmetic.
    #[serde(rename = "double-double")]
    DoubleDouble,
    /// The reference in `f64`.
    #[serde(rename = "reference f64")]
    ReferenceF64,
    /// The reference in `f32`.
    #[serde(rename = "reference f32")]
    ReferenceF32,
    /// The engine on the CPU in `f64`.
    #[serde(rename = "cpu f64")]
    CpuF64,
    /// The engine on the CPU in `f32`.
    #[serde(rename = "cpu f32")]
    CpuF32,
    /// The engine on the CPU in `f64` without its kernels: the operations on tensors that a GPU
    /// runs.
    #[serde(rename = "cpu tensors")]
    CpuTensors,
    /// The engine on the CPU in mixed precision: products in `bf16`, sums and trained tensors in
    /// `f32`.
    #[serde(rename = "cpu bf16")]
    CpuBf16,
    /// The engine on a GPU in `f32`.
    #[serde(rename = "cuda f32")]
    CudaF32,
    /// The engine on a GPU in mixed precision.
    #[serde(rename = "cuda bf16")]
    CudaBf16,
}

impl On {
    /// The name in reports and in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Integers => "integers",
            Self::PrimeField => "prime field",
            Self::DoubleDouble => "double-double",
            Self::ReferenceF64 => "reference f64",
            Self::ReferenceF32 => "reference f32",
            Self::CpuF64 => "cpu f64",
            Self::CpuF32 => "cpu f32",
            Self::CpuTensors => "cpu tensors",
            Self::CpuBf16 => "cpu bf16",
            Self::CudaF32 => "cuda f32",
            Self::CudaBf16 => "cuda bf16",
        }
    }
}

impl On {
    /// Whether an engine of this name runs on a GPU.
    #[must_use]
    pub fn is_gpu(name: &str) -> bool {
        [Self::CudaF32, Self::CudaBf16]
            .iter()
            .any(|on| on.name() == name)
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a model computes on a batch.
#[derive(Clone, Debug)]
pub struct Computed<T> {
    /// Of each row the logits, [n, ids].
    pub logits: Vec<Array2<T>>,
    /// Of each row and layer λ (μ for a prefix), [n, H].
    pub gates: Vec<Vec<Array2<T>>>,
    /// Mean loss over the labelled positions of all rows; `None` where there are none.
    pub loss: Option<T>,
}

/// An implementation of the model that claims can be checked on.
pub trait Engine: Send + Sync {
    /// Its name.
    fn on(&self) -> On;

    /// Its unit round-off.
    fn roundoff(&self) -> f64;

    /// Runs a whole check as this engine runs: on one thread and with a thread's switches where it
    /// needs them.
    ///
    /// # Errors
    /// Those of the check.
    fn within(&self, run: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        run()
    }

    /// The nearest number that it can be given without rounding.
    fn held(&self, x: f64) -> f64 {
        x
    }

    /// The batch in one call, as the engine would process it.
    ///
    /// # Errors
    /// The engine refuses the model or the batch.
    fn compute(&self, case: &ModelCase) -> Result<Computed<f64>>;

    /// Loss and the gradient of every trainable tensor.
    ///
    /// # Errors
    /// As [`Engine::compute`]; nothing is trainable.
    fn gradients(&self, case: &ModelCase) -> Result<(f64, TensorMap<f64>)>;
}

impl Engine for Box<dyn Engine> {
    fn on(&self) -> On {
        self.as_ref().on()
    }

    fn roundoff(&self) -> f64 {
        self.as_ref().roundoff()
    }

    fn within(&self, run: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.as_ref().within(run)
    }

    fn held(&self, x: f64) -> f64 {
        self.as_ref().held(x)
    }

    fn compute(&self, case: &ModelCase) -> Result<Computed<f64>> {
        self.as_ref().compute(case)
    }

    fn gradients(&self, case: &ModelCase) -> Result<(f64, TensorMap<f64>)> {
        self.as_ref().gradients(case)
    }
}

/// The GPU of a run.
#[derive(Clone, Debug)]
pub enum Cuda {
    /// It is there.
    Present(Device),
    /// Why checks on it are not run.
    Absent(String),
}

impl Cuda {
    /// Nobody asked for it.
    #[must_use]
    pub fn not_asked() -> Self {
        Self::Absent("not asked for (--device cuda)".into())
    }

    /// Why a check on it is not run, where it is not.
    #[must_use]
    pub fn absence(&self) -> &str {
        match self {
            Self::Present(_) => "no check on this engine",
            Self::Absent(why) => why,
        }
    }
}

/// The reference's two scalars and the training engines.
#[must_use]
pub fn engines(cuda: &Cuda) -> Vec<Box<dyn Engine>> {
    let mut all: Vec<Box<dyn Engine>> = vec![
        Box::new(Reference::<f64>::new()),
        Box::new(Reference::<f32>::new()),
    ];
    for candle in candles(cuda) {
        all.push(Box::new(candle));
    }
    all
}

/// The training engine as it can train: by scalar and device, and in mixed precision.
#[must_use]
pub fn training(cuda: &Cuda) -> Vec<Candle> {
    candles(cuda).into_iter().chain(mixed(cuda)).collect()
}

/// The training engine in mixed precision, by device.
#[must_use]
pub fn mixed(cuda: &Cuda) -> Vec<Candle> {
    let mut all = vec![Candle::bf16(&Device::Cpu)];
    if let Cuda::Present(device) = cuda {
        all.push(Candle::bf16(device));
    }
    all
}

/// The training engine by scalar and device.
#[must_use]
pub fn candles(cuda: &Cuda) -> Vec<Candle> {
    let mut all = vec![Candle::cpu_f64(), Candle::cpu_f32(), Candle::tensors()];
    if let Cuda::Present(device) = cuda {
        all.push(Candle::cuda_f32(device));
    }
    all
}
