//! An adapter as files hold it: `adapter_config.json` and `adapter_model.safetensors`.

use super::io::{create_dir, read_json, write_json};
use super::safetensors::{Weights, same_name, write_tensors};
use crate::adapter::{AdapterConfig, Attached};
use crate::config::{BackboneConfig, parsed};
use crate::counts::stored_tensors;
use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// The file of the tensors.
pub(super) const TENSORS: &str = "adapter_model.safetensors";
/// The file of the configuration.
pub(super) const CONFIG: &str = "adapter_config.json";
/// Before every tensor's name in PEFT's own files of a LoRA.
pub(super) const PEFT_PREFIX: &str = "base_model.model.";

/// Configuration and tensors by name.
#[derive(Clone, Debug)]
pub struct SavedAdapter {
    /// Its parts; a prefix never with its reparametrisation.
    pub config: AdapterConfig,
    /// Its tensors.
    pub tensors: BTreeMap<String, Tensor>,
}

impl SavedAdapter {
    /// Reads a directory in this project's layout.
    ///
    /// # Errors
    /// A missing or broken file; a missing, extra, wrongly shaped or non-finite tensor.
    pub fn read(
        dir: &Path,
        backbone: &BackboneConfig,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let path = dir.join(CONFIG);
        let config: AdapterConfig = parsed(&path, &read_json(&path)?)?;
        config.check(&path)?;
        let config = config.stored();
        let weights = Weights::open_adapter(dir)?;
        let mut expected = stored_tensors(&config, backbone)?;
        if let Some(shape) = weights.shape(Attached::SPECIAL_TOKENS)? {
            let rows = shape.first().copied().unwrap_or(0);
            let shape = vec![rows, backbone.spec().hidden];
            expected.push((Attached::SPECIAL_TOKENS.into(), shape));
        }
        weights.refuse_others(&expected, same_name, |_| false)?;
        let tensors = weights.read(&expected, same_name, dtype, device)?;
        Ok(Self { config, tensors })
    }

    /// Writes the directory, tensors as f32.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        write_files(dir, &self.tensors, &self.config.stored())
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// It is not there.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| Error::MissingTensor {
            origin: crate::error::Origin::Memory,
            name: name.into(),
            expected: Vec::new(),
        })
    }
}

/// Writes an adapter's two files, tensors as f32.
pub(super) fn write_files(
    dir: &Path,
    tensors: &BTreeMap<String, Tensor>,
    config: &impl serde::Serialize,
) -> Result<()> {
    create_dir(dir)?;
    let tensors = tensors
        .iter()
        .map(|(name, t)| Ok((name.clone(), t.to_dtype(DType::F32)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    write_tensors(&dir.join(TENSORS), &tensors)?;
    write_json(&dir.join(CONFIG), config)
}

/// How many classes the head in an adapter directory tells apart; none where it has no head.
///
/// # Errors
/// A missing or broken file.
pub fn head_classes(dir: &Path) -> Result<Option<usize>> {
    let weights = Weights::open_adapter(dir)?;
    for prefix in ["", PEFT_PREFIX] {
        let shape = weights.shape(&format!("{prefix}classifier.out_proj.bias"))?;
        if let Some(&[classes]) = shape.as_deref() {
            return Ok(Some(classes));
        }
    }
    Ok(None)
}
