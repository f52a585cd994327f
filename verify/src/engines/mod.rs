//! Engines under one interface: the same model and batch in; logits, gates, loss and gradients out,
//! as `f64`.

pub mod candle;
pub(crate) mod derived;
pub mod external;
pub mod reference;
pub mod specification;

pub use candle::Candle;
pub use external::External;
pub use reference::{Paper, Reference};
pub use specification::Specification;

use crate::bounds::Conditioning;
use crate::cases::ModelCase;
use crate::error::Result;
use candle_core::{DType, Device};
use inducer_reference::TensorMap;
use ndarray::{Array2, s};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;
use std::ops::Range;

/// What a check runs on: an engine, or a scalar of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// Integers, counted.
    Integers,
    /// The reference over the prime field of 2^61 − 1.
    PrimeField,
    /// The reference in double-double arithmetic.
    DoubleDouble,
    /// The reference in `f64`.
    ReferenceF64,
    /// The reference in `f32`.
    ReferenceF32,
    /// The engine on the CPU in `f64`.
    CpuF64,
    /// The engine on the CPU in `f32`.
    CpuF32,
    /// The engine on the CPU in `f64` without its kernels, on candle's tensors.
    CpuTensors,
    /// The engine on the CPU in mixed precision: operands of products in `bf16`, all else in `f32`.
    CpuBf16,
    /// The engine on the CPU in mixed precision without its kernels, on candle's tensors: what a
    /// card computes that has no kernel for a size.
    CpuTensorsBf16,
    /// The kernels of a card in `f32`, emulated on the CPU.
    EmulatedF32,
    /// The kernels of a card in mixed precision, emulated on the CPU.
    EmulatedBf16,
    /// The engine on a GPU in `f32`.
    CudaF32,
    /// The engine on a GPU in mixed precision.
    CudaBf16,
    /// Any program that speaks the protocol of engines.
    External,
    /// A proof assistant, for all inputs: no check of this crate, see [`proofs`](crate::proofs).
    Proved,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Integers,
        Self::PrimeField,
        Self::DoubleDouble,
        Self::ReferenceF64,
        Self::ReferenceF32,
        Self::CpuF64,
        Self::CpuF32,
        Self::CpuTensors,
        Self::CpuBf16,
        Self::CpuTensorsBf16,
        Self::EmulatedF32,
        Self::EmulatedBf16,
        Self::CudaF32,
        Self::CudaBf16,
        Self::External,
        Self::Proved,
    ];

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
            Self::CpuTensorsBf16 => "cpu tensors bf16",
            Self::EmulatedF32 => "emulated f32",
            Self::EmulatedBf16 => "emulated bf16",
            Self::CudaF32 => "cuda f32",
            Self::CudaBf16 => "cuda bf16",
            Self::External => "external",
            Self::Proved => "proved",
        }
    }

    /// Whether an engine of this name runs a card's kernels on the CPU.
    #[must_use]
    pub fn is_emulated(name: &str) -> bool {
        [Self::EmulatedF32, Self::EmulatedBf16]
            .map(Self::name)
            .contains(&name)
    }

    /// Whether this is mixed precision.
    #[must_use]
    pub fn is_mixed(self) -> bool {
        matches!(
            self,
            Self::CpuBf16 | Self::CpuTensorsBf16 | Self::EmulatedBf16 | Self::CudaBf16
        )
    }

    /// Whether an engine of this name runs on a GPU.
    #[must_use]
    pub fn is_gpu(name: &str) -> bool {
        [Self::CudaF32, Self::CudaBf16]
            .map(Self::name)
            .contains(&name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a model computes on a batch.
#[derive(Clone, Debug)]
pub struct Computed<T> {
    /// The logits of each text: [n, ids] of a language model, [1, classes] of a classifier.
    pub logits: Vec<Array2<T>>,
    /// λ (μ for a prefix) of each text and layer, [n, H]; empty where gates are not compared.
    pub gates: Vec<Vec<Array2<T>>>,
    /// Mean loss over the labelled positions of all texts; `None` where there are none.
    pub loss: Option<T>,
}

impl<T: Clone> Computed<T> {
    /// What belongs to some positions of one text. A classifier's one row of logits belongs to all
    /// of them.
    #[must_use]
    pub fn part(&self, text: usize, positions: Range<usize>) -> Self {
        let cut = |x: &Array2<T>| match positions.end <= x.nrows() {
            true => x.slice(s![positions.clone(), ..]).to_owned(),
            false => x.clone(),
        };
        let layers = self.gates.get(text).into_iter().flatten();
        Self {
            logits: vec![cut(&self.logits[text])],
            gates: vec![layers.map(cut).collect()],
            loss: None,
        }
    }

    /// Without the gates, where the other side has none.
    #[must_use]
    pub fn without_gates(self) -> Self {
        Self {
            gates: Vec::new(),
            ..self
        }
    }

    /// Every number changed.
    pub fn map<U>(&self, mut change: impl FnMut(&T) -> U) -> Computed<U> {
        let mut each = |x: &Array2<T>| x.map(&mut change);
        Computed {
            logits: self.logits.iter().map(&mut each).collect(),
            gates: (self.gates.iter())
                .map(|layers| layers.iter().map(&mut each).collect())
                .collect(),
            loss: self.loss.as_ref().map(change),
        }
    }
}

impl Computed<Conditioning> {
    /// The conditioning of the difference of two results of one shape, number by number.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let and = |(x, y): (&Array2<Conditioning>, &Array2<Conditioning>)| {
            Array2::from_shape_fn(x.raw_dim(), |at| x[at].and(y[at]))
        };
        let layers = self.gates.iter().zip(&other.gates);
        Self {
            logits: self.logits.iter().zip(&other.logits).map(and).collect(),
            gates: layers
                .map(|(x, y)| x.iter().zip(y).map(and).collect())
                .collect(),
            loss: self.loss.zip(other.loss).map(|(x, y)| x.and(y)),
        }
    }
}

/// An implementation of the model that claims can be checked on.
pub trait Engine: Send + Sync {
    /// Its name.
    fn target(&self) -> Target;

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
    fn representable(&self, x: f64) -> f64 {
        x
    }

    /// The batch in one call, as the engine would process it.
    ///
    /// # Errors
    /// The engine refuses the model or the batch.
    fn compute(&self, case: &ModelCase) -> Result<Computed<f64>>;

    /// The gradient of every trainable tensor.
    ///
    /// # Errors
    /// As [`Engine::compute`]; nothing is trainable.
    fn gradients(&self, case: &ModelCase) -> Result<TensorMap<f64>>;
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

/// What a run has beside the CPU.
#[derive(Clone, Debug)]
pub struct Present {
    /// The GPU.
    pub cuda: Cuda,
    /// A program that speaks the protocol of engines; the run is about it alone then.
    pub external: Option<External>,
}

impl Present {
    /// The CPU alone.
    #[must_use]
    pub fn cpu() -> Self {
        Self {
            cuda: Cuda::not_asked(),
            external: None,
        }
    }
}

/// The reference's two scalars and the training engines.
#[must_use]
pub fn engines(present: &Present) -> Vec<Box<dyn Engine>> {
    let mut all: Vec<Box<dyn Engine>> = vec![
        Box::new(Reference::<f64>::default()),
        Box::new(Reference::<f32>::default()),
    ];
    for candle in candles(present) {
        all.push(candle);
    }
    for external in external(present) {
        all.push(external);
    }
    all
}

/// The program of this run.
#[must_use]
pub fn external(present: &Present) -> Vec<Box<External>> {
    present.external.clone().map(Box::new).into_iter().collect()
}

/// The training engine as it can train: by scalar and device, and in mixed precision.
#[must_use]
pub fn training(present: &Present) -> Vec<Box<Candle>> {
    candles(present).into_iter().chain(mixed(present)).collect()
}

/// The training engine in mixed precision, by device.
#[must_use]
pub fn mixed(present: &Present) -> Vec<Box<Candle>> {
    let cpu = [Candle::bf16(&Device::Cpu), Candle::tensors_bf16()];
    let mut all: Vec<Box<Candle>> = cpu.map(Box::new).into();
    all.extend(emulated(DType::BF16));
    if let Cuda::Present(device) = &present.cuda {
        all.push(Box::new(Candle::bf16(device)));
    }
    all
}

/// The training engine by scalar and device.
#[must_use]
pub fn candles(present: &Present) -> Vec<Box<Candle>> {
    let cpu = [Candle::cpu_f64(), Candle::cpu_f32(), Candle::tensors()];
    let mut all: Vec<Box<Candle>> = cpu.map(Box::new).into();
    all.extend(emulated(DType::F32));
    if let Cuda::Present(device) = &present.cuda {
        all.push(Box::new(Candle::f32(device)));
    }
    all
}

fn emulated(dtype: DType) -> impl Iterator<Item = Box<Candle>> {
    let engines = Candle::emulated().into_iter();
    engines.filter(move |e| e.dtype == dtype).map(Box::new)
}

/// A configuration of one crate as the other crate's type, by the JSON that both of them read.
///
/// # Errors
/// The other type has not the same fields.
pub fn translate<To: DeserializeOwned>(config: &impl Serialize) -> Result<To> {
    Ok(serde_json::from_value(serde_json::to_value(config)?)?)
}
