//! Models and adapters from directories, and back.

use super::adapter::{SavedAdapter, TENSORS, head_classes};
use super::io::read_json;
use super::{backbone, peft};
use crate::adapter::AdapterConfig;
use crate::backbone::Backbone;
use crate::config::{BackboneConfig, parsed};
use crate::error::Result;
use crate::kernels::precision::master_dtype;
use crate::model::Model;
use candle_core::{DType, Device};
use std::path::Path;

impl AdapterConfig {
    /// Reads `adapter_config.json`, of this project or of PEFT, for a backbone.
    ///
    /// # Errors
    /// A missing or broken file, an unknown field, a value out of range or, in PEFT's, one that
    /// asks for what is not computed here.
    pub fn read(path: &Path, backbone: &BackboneConfig) -> Result<Self> {
        let whole = read_json(path)?;
        if peft::is_peft_config(path, &whole)? {
            return peft::config_in(path, &whole, backbone);
        }
        let config: Self = parsed(path, &whole)?;
        config.check(path)?;
        Ok(config)
    }
}

/// Reads an adapter's directory; PEFT's own (`peft_type` LORA, IA3 or PREFIX_TUNING) is converted.
///
/// # Errors
/// A missing or broken file; a missing, extra, wrongly shaped or non-finite tensor; a PEFT option
/// that has no counterpart here.
pub fn read_adapter(
    dir: &Path,
    backbone: &dyn Backbone,
    dtype: DType,
    device: &Device,
) -> Result<SavedAdapter> {
    match peft::is_peft(dir)? {
        true => peft::import(dir, backbone, dtype, device),
        false => SavedAdapter::read(dir, &backbone.config(), dtype, device),
    }
}

/// Reads a backbone and an adapter for it, in f32; a backbone without a head gets one for the
/// adapter's classes.
///
/// # Errors
/// As [`backbone::load`] and [`read_adapter`].
pub fn load_with_adapter(
    backbone: &Path,
    adapter: &Path,
) -> Result<(Box<dyn Backbone>, SavedAdapter)> {
    let (dtype, device) = (DType::F32, Device::Cpu);
    let backbone = backbone::load(backbone, head_classes(adapter)?, 0, dtype, &device)?;
    let saved = read_adapter(adapter, backbone.as_ref(), dtype, &device)?;
    Ok((backbone, saved))
}

impl Model {
    /// The untuned backbone of a Hugging Face directory.
    ///
    /// # Errors
    /// As [`backbone::load`].
    pub fn load(dir: &Path, dtype: DType, device: &Device) -> Result<Self> {
        Self::load_for(dir, None, 0, dtype, device)
    }

    /// The same; a RoBERTa without a head gets one for `classes`, started from `seed`.
    ///
    /// # Errors
    /// As [`backbone::load`].
    pub fn load_for(
        dir: &Path,
        classes: Option<usize>,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let backbone = backbone::load(dir, classes, seed, master_dtype(dtype), device)?;
        Ok(Self::new(backbone, dtype, device))
    }

    /// Attaches a saved adapter: `adapter_config.json` and `adapter_model.safetensors`, of this
    /// project or of PEFT.
    ///
    /// # Errors
    /// A missing or broken file; a missing, extra, wrongly shaped or non-finite tensor.
    pub fn attach_saved(&mut self, dir: &Path) -> Result<()> {
        let (dtype, device) = (self.master_dtype(), self.device());
        let saved = read_adapter(dir, self.backbone.as_ref(), dtype, device)?;
        let origin = dir.join(TENSORS).as_path().into();
        self.install_from(&saved.config, saved.tensors, origin)
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn save_adapter(&self, dir: &Path) -> Result<()> {
        let saved = SavedAdapter {
            config: self.config.clone(),
            tensors: self.stored()?.into_iter().collect(),
        };
        saved.write(dir)
    }

    /// Writes the backbone as a Hugging Face directory's `config.json` and `model.safetensors`.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn save_backbone(&self, dir: &Path) -> Result<()> {
        backbone::save(self.backbone.as_ref(), dir)
    }
}
