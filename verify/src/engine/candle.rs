//! The training engine as an engine of the suite: its own configuration types, its own tensors, one
//! packed batch.

use super::{Computed, Engine, On};
use crate::error::Result;
use crate::random::model::{ModelCase, TextRow};
use candle_core::{DType, Device, Tensor};
use inducer_datasets::batch::Batch;
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::gradients::Gradients;
use inducer_gpu::kernels::precision::master_dtype;
use inducer_gpu::kernels::without_cpu_kernels;
use inducer_gpu::{LossOptions, Model, Tensors as _};
use inducer_reference::TensorMap;
use ndarray::{Array2, ArrayD, Axis, IxDyn, s};
use std::collections::BTreeMap;

/// The engine with a scalar type on a device.
#[derive(Clone, Debug)]
pub struct Candle {
    /// The scalar type.
    pub dtype: DType,
    /// The device.
    pub device: Device,
    /// Whether the fused CPU kernels are used, where there are any.
    pub kernels: bool,
}

impl Candle {
    /// Double precision on the CPU.
    #[must_use]
    pub fn cpu_f64() -> Self {
        Self {
            dtype: DType::F64,
            device: Device::Cpu,
            kernels: true,
        }
    }

    /// Single precision on the CPU.
    #[must_use]
    pub fn cpu_f32() -> Self {
        Self {
            dtype: DType::F32,
            device: Device::Cpu,
            kernels: true,
        }
    }

    /// Double precision on the CPU without its kernels: the operations that a GPU runs.
    #[must_use]
    pub fn tensors() -> Self {
        Self {
            kernels: false,
            ..Self::cpu_f64()
        }
    }

    /// Single precision on a GPU.
    #[must_use]
    pub fn cuda_f32(device: &Device) -> Self {
        Self {
            dtype: DType::F32,
            device: device.clone(),
            kernels: true,
        }
    }

    /// Mixed precision on a device.
    #[must_use]
    pub fn bf16(device: &Device) -> Self {
        Self {
            dtype: DType::BF16,
            device: device.clone(),
            kernels: true,
        }
    }

    /// A candle tensor with these numbers, in the type that the engine keeps trained tensors in.
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
        let config = serde_json::from_value(serde_json::to_value(&case.backbone)?)?;
        let mut backbone = Gpt2::random(config, 0, master_dtype(self.dtype), &self.device)?;
        for parameter in backbone.parameters_mut() {
            parameter.tensor = self.tensor(&case.weights[&parameter.name])?;
        }
        Ok(Model::new(backbone, self.dtype, &self.device))
    }

    /// The model of a case.
    ///
    /// # Errors
    /// The engine refuses configuration or tensors.
    pub fn model(&self, case: &ModelCase) -> Result<Model> {
        let mut model = self.backbone(case)?;
        let config = serde_json::from_value(serde_json::to_value(&case.method)?)?;
        let tensors: BTreeMap<String, Tensor> = case
            .adapter
            .iter()
            .map(|(name, x)| Ok((name.clone(), self.tensor(x)?)))
            .collect::<Result<_>>()?;
        model.install(&config, tensors)?;
        Ok(model)
    }
}

/// Rows packed one behind the other.
#[must_use]
pub fn pack(rows: &[TextRow]) -> Batch {
    let ids: Vec<Vec<u32>> = rows.iter().map(|row| row.ids.clone()).collect();
    let segments: Option<Vec<Vec<u32>>> = rows.iter().map(|row| row.segments.clone()).collect();
    let labels: Vec<Vec<i64>> = rows.iter().map(|row| row.labels.clone()).collect();
    Batch::pack(&ids, segments.as_deref(), Some(&labels))
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

/// The rows of a packed matrix.
fn rows_of(batch: &Batch, packed: &Tensor) -> Result<Vec<Array2<f64>>> {
    let all = array(packed)?.into_dimensionality::<ndarray::Ix2>()?;
    Ok((0..batch.rows())
        .map(|r| all.slice(s![batch.row(r), ..]).to_owned())
        .collect())
}

/// The loss options of a case.
#[must_use]
pub fn options(case: &ModelCase) -> LossOptions {
    LossOptions {
        smoothing: case.smoothing,
        dropout: None,
    }
}

/// Every gradient as an array.
///
/// # Errors
/// A candle error.
pub(crate) fn arrays(gradients: &Gradients) -> Result<TensorMap<f64>> {
    let each = gradients.iter();
    each.map(|(name, g)| Ok((name.clone(), array(g)?)))
        .collect()
}

/// The nearest number in `bf16`.
pub(crate) fn nearest_bf16(x: f64) -> f64 {
    half::bf16::from_f64(x).to_f64()
}

impl Engine for Candle {
    /// In mixed precision the nearest number of bf16. (The others are given numbers of f32.)
    fn held(&self, x: f64) -> f64 {
        match self.dtype {
            DType::BF16 => nearest_bf16(x),
            _ => x,
        }
    }

    fn on(&self) -> On {
        match (&self.device, self.dtype) {
            (Device::Cpu, DType::F64) if !self.kernels => On::CpuTensors,
            (Device::Cpu, DType::F64) => On::CpuF64,
            (Device::Cpu, DType::BF16) => On::CpuBf16,
            (Device::Cpu, _) => On::CpuF32,
            (_, DType::BF16) => On::CudaBf16,
            _ => On::CudaF32,
        }
    }

    fn within(&self, run: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        match self.kernels {
            true => run(),
            false => without_cpu_kernels(run),
        }
    }

    fn roundoff(&self) -> f64 {
        match self.dtype {
            DType::F64 => f64::EPSILON / 2.0,
            DType::BF16 => 2.0_f64.powi(-8),
            _ => f64::from(f32::EPSILON) / 2.0,
        }
    }

    fn compute(&self, case: &ModelCase) -> Result<Computed<f64>> {
        let model = self.model(case)?;
        let batch = pack(&case.rows);
        let (logits, packed) = model.logits_and_gates(&batch)?;
        let mut gates = vec![Vec::new(); batch.rows()];
        for layer in &packed {
            for (row, gate) in rows_of(&batch, layer)?.into_iter().enumerate() {
                gates[row].push(gate);
            }
        }
        let loss = match model.targets(&batch)?.is_empty() {
            true => None,
            false => Some(model.loss(&batch, options(case))?),
        };
        Ok(Computed {
            logits: rows_of(&batch, &logits)?,
            gates,
            loss,
        })
    }

    fn gradients(&self, case: &ModelCase) -> Result<(f64, TensorMap<f64>)> {
        let (loss, gradients) = self
            .model(case)?
            .gradients(&pack(&case.rows), options(case))?;
        Ok((loss, arrays(&gradients)?))
    }
}

/// The last row of each matrix.
#[must_use]
pub fn last(x: &Array2<f64>) -> ndarray::Array1<f64> {
    x.index_axis(Axis(0), x.nrows() - 1).to_owned()
}
