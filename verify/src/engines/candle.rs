//! The training engine as an engine of the suite: its own configuration types, its own tensors, one
//! packed batch.

use super::{Computed, Engine, Target, translate};
use crate::bounds::{UNIT_ROUNDOFF_BF16, UNIT_ROUNDOFF_F32, UNIT_ROUNDOFF_F64};
use crate::cases::{BackboneConfig, ModelCase};
use crate::coverage;
use crate::error::Result;
use candle_core::{DType, Device, Tensor};
use inducer_datasets::batch::{Batch, Labels};
use inducer_gpu::backbone::{Backbone, Gpt2, Roberta};
use inducer_gpu::kernels::mask::Dropout;
use inducer_gpu::kernels::precision::master_dtype;
use inducer_gpu::kernels::{cuda, without_cpu_kernels};
use inducer_gpu::{LossOptions, Model, Tensors as _};
use inducer_reference::TensorMap;
use ndarray::{Array2, ArrayD, IxDyn, s};
use std::collections::BTreeMap;

/// The engine with a scalar type on a device.
#[derive(Clone, Debug)]
pub struct Candle {
    /// The scalar type.
    pub dtype: DType,
    /// The device.
    pub device: Device,
    /// Which form of the operations runs.
    pub form: Form,
}

/// A form of the engine's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The kernels of the device, where there are any.
    Kernels,
    /// Candle's tensor operations, as any device can run them.
    Tensors,
    /// The kernels of a card, emulated on the CPU.
    Emulated,
}

impl Candle {
    fn new(dtype: DType, device: &Device) -> Self {
        Self {
            dtype,
            device: device.clone(),
            form: Form::Kernels,
        }
    }

    /// Double precision on the CPU.
    #[must_use]
    pub fn cpu_f64() -> Self {
        Self::new(DType::F64, &Device::Cpu)
    }

    /// Single precision on the CPU.
    #[must_use]
    pub fn cpu_f32() -> Self {
        Self::f32(&Device::Cpu)
    }

    /// Double precision on the CPU without its kernels: in candle's tensor operations.
    #[must_use]
    pub fn tensors() -> Self {
        Self {
            form: Form::Tensors,
            ..Self::cpu_f64()
        }
    }

    /// Mixed precision on the CPU without its kernels.
    #[must_use]
    pub fn tensors_bf16() -> Self {
        Self {
            form: Form::Tensors,
            ..Self::bf16(&Device::Cpu)
        }
    }

    /// A card's kernels in `f32` and in mixed precision, emulated on the CPU; none where no C++
    /// compiler built them.
    #[must_use]
    pub fn emulated() -> Vec<Self> {
        if !cuda::EMULATED {
            return Vec::new();
        }
        let on_cpu = |dtype| Self {
            form: Form::Emulated,
            ..Self::new(dtype, &Device::Cpu)
        };
        vec![on_cpu(DType::F32), on_cpu(DType::BF16)]
    }

    /// Single precision on a device.
    #[must_use]
    pub fn f32(device: &Device) -> Self {
        Self::new(DType::F32, device)
    }

    /// Mixed precision on a device.
    #[must_use]
    pub fn bf16(device: &Device) -> Self {
        Self::new(DType::BF16, device)
    }

    /// A candle tensor with these numbers, in the type in which the engine trains tensors.
    ///
    /// # Errors
    /// A candle error.
    pub fn tensor(&self, x: &ArrayD<f64>) -> Result<Tensor> {
        let values: Vec<f64> = x.iter().copied().collect();
        Ok(Tensor::from_vec(values, x.shape(), &Device::Cpu)?
            .to_dtype(master_dtype(self.dtype))?
            .to_device(&self.device)?)
    }

    /// The backbone of a case, nothing attached.
    ///
    /// # Errors
    /// The engine refuses the configuration.
    pub fn backbone(&self, case: &ModelCase) -> Result<Model> {
        let (dtype, device) = (master_dtype(self.dtype), &self.device);
        let mut backbone: Box<dyn Backbone> = match &case.backbone {
            BackboneConfig::Gpt2(c) => Gpt2::random(translate(c)?, 0, dtype, device)?.into(),
            BackboneConfig::Roberta(c) => Roberta::random(translate(c)?, 0, dtype, device)?.into(),
        };
        for parameter in backbone.parameters_mut() {
            // a classifier's tensors are trained with every method and come with the adapter's
            if let Some(values) = case.weights.get(&parameter.name) {
                parameter.tensor = self.tensor(values)?;
            }
        }
        Ok(Model::new(backbone, self.dtype, device))
    }

    /// The model of a case.
    ///
    /// # Errors
    /// The engine refuses configuration or tensors.
    pub fn model(&self, case: &ModelCase) -> Result<Model> {
        coverage::note(case);
        let mut model = self.backbone(case)?;
        let tensors: BTreeMap<String, Tensor> = case
            .adapter
            .iter()
            .map(|(name, x)| Ok((name.clone(), self.tensor(x)?)))
            .collect::<Result<_>>()?;
        model.install(&translate(&case.method)?, tensors)?;
        Ok(model)
    }
}

/// The texts of a case packed one behind the other.
#[must_use]
pub fn batch(case: &ModelCase) -> Batch {
    let rows = || case.rows.iter();
    let ids: Vec<Vec<u32>> = rows().map(|row| row.ids.clone()).collect();
    let segments: Option<Vec<Vec<u32>>> = rows().map(|row| row.segments.clone()).collect();
    let labels: Vec<Vec<i64>> = rows().map(|row| row.labels.clone()).collect();
    let mut batch = Batch::pack(&ids, segments.as_deref(), Some(&labels));
    if case.backbone.classifies() {
        let classes = labels.concat().into_iter();
        batch.labels = Labels::Classes(classes.map(|class| class as u32).collect());
    }
    batch
}

/// A candle tensor's numbers.
///
/// # Errors
/// A candle error.
pub fn array(x: &Tensor) -> Result<ArrayD<f64>> {
    let values = x
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1::<f64>()?;
    Ok(ArrayD::from_shape_vec(IxDyn(x.dims()), values)?)
}

/// The rows of a matrix that belong to each text of the batch.
fn by_text(batch: &Batch, packed: &Tensor) -> Result<Vec<Array2<f64>>> {
    let all = array(packed)?.into_dimensionality::<ndarray::Ix2>()?;
    let a_row_each = matches!(batch.labels, Labels::Classes(_)) && all.nrows() == batch.sequences();
    Ok((0..batch.sequences())
        .map(|text| match a_row_each {
            true => all.slice(s![text..=text, ..]).to_owned(),
            false => all.slice(s![batch.sequence(text), ..]).to_owned(),
        })
        .collect())
}

/// The loss options of a case.
#[must_use]
pub fn options(case: &ModelCase) -> LossOptions {
    LossOptions {
        smoothing: case.smoothing,
        dropout: case.dropping.map(|d| Dropout::new(d.rate, d.key)),
    }
}

/// What a built model computes on the texts of a case.
///
/// # Errors
/// The engine refuses the batch.
pub fn results(model: &Model, case: &ModelCase) -> Result<Computed<f64>> {
    let batch = batch(case);
    let (logits, packed) = model.logits_and_gates(&batch)?;
    let mut gates = vec![Vec::new(); batch.sequences()];
    for layer in &packed {
        for (text, gate) in by_text(&batch, layer)?.into_iter().enumerate() {
            gates[text].push(gate);
        }
    }
    let loss = match model.labelled(&batch)? {
        0 => None,
        _ => Some(model.loss(&batch, options(case))?),
    };
    Ok(Computed {
        logits: by_text(&batch, &logits)?,
        gates,
        loss,
    })
}

/// Every gradient of a built model on the texts of a case.
///
/// # Errors
/// The engine refuses the batch; nothing is trainable.
pub fn backward(model: &Model, case: &ModelCase) -> Result<TensorMap<f64>> {
    let (_, gradients) = model.gradients(&batch(case), options(case))?;
    let each = gradients.iter();
    each.map(|(name, g)| Ok((name.clone(), array(g)?)))
        .collect()
}

/// The number in `bf16` that is nearest to `x` as `f32` holds it. (`half`'s own way from f64 looks
/// at its upper half alone, and so takes what is just above halfway for halfway.)
pub(crate) fn nearest_bf16(x: f64) -> f64 {
    half::bf16::from_f32(x as f32).to_f64()
}

impl Engine for Candle {
    fn target(&self) -> Target {
        match (&self.device, self.dtype) {
            (_, DType::BF16) if self.form == Form::Emulated => Target::EmulatedBf16,
            _ if self.form == Form::Emulated => Target::EmulatedF32,
            (Device::Cpu, DType::F64) if self.form == Form::Tensors => Target::CpuTensors,
            (Device::Cpu, DType::BF16) if self.form == Form::Tensors => Target::CpuTensorsBf16,
            (Device::Cpu, DType::F64) => Target::CpuF64,
            (Device::Cpu, DType::BF16) => Target::CpuBf16,
            (Device::Cpu, _) => Target::CpuF32,
            (_, DType::BF16) => Target::CudaBf16,
            _ => Target::CudaF32,
        }
    }

    fn roundoff(&self) -> f64 {
        match self.dtype {
            DType::F64 => UNIT_ROUNDOFF_F64,
            DType::BF16 => UNIT_ROUNDOFF_BF16,
            _ => UNIT_ROUNDOFF_F32,
        }
    }

    fn within(&self, run: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        match self.form {
            Form::Kernels => run(),
            Form::Tensors => without_cpu_kernels(run),
            Form::Emulated => cuda::emulated(run),
        }
    }

    /// In mixed precision the nearest number of `bf16`. (The others are given numbers of `f32`.)
    fn representable(&self, x: f64) -> f64 {
        match self.dtype {
            DType::BF16 => nearest_bf16(x),
            _ => x,
        }
    }

    fn compute(&self, case: &ModelCase) -> Result<Computed<f64>> {
        results(&self.model(case)?, case)
    }

    fn gradients(&self, case: &ModelCase) -> Result<TensorMap<f64>> {
        backward(&self.model(case)?, case)
    }
}
