//! An adapter as files hold it: `adapter_config.json` and `adapter_model.safetensors`, in this
//! project's form or in PEFT's.

use crate::backbone::{Backbone, BackboneConfig};
use crate::config::{AdapterConfig, Attention};
use crate::error::{Error, Result};
use crate::model::{ADDED, write, write_json};
use crate::weights::{self, Weights};
use crate::{peft, shapes};
use candle_core::{DType, Device, Tensor};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Configuration and tensors by name.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Its parts; a prefix never with its reparametrisation.
    pub config: AdapterConfig,
    /// Its tensors.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Saved {
    /// Reads a directory; PEFT's own (`peft_type` LORA or PREFIX_TUNING) is converted.
    ///
    /// # Errors
    /// A missing or broken file; a missing, extra, wrongly shaped or non-finite tensor; a PEFT
    /// option that has no counterpart here.
    pub fn read(
        dir: &Path,
        backbone: &BackboneConfig,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let path = dir.join("adapter_config.json");
        if peft::is_peft(&path)? {
            return peft::import(dir, backbone, dtype, device);
        }
        let mut config = AdapterConfig::read(&path)?;
        forget_reparametrisation(&mut config);
        let weights = Weights::open(&dir.join("adapter_model.safetensors"))?;
        let mut expected: Vec<(Vec<String>, Vec<usize>)> =
            shapes::adapter(&config, backbone.describe())
                .into_iter()
                .map(|(n, s)| (vec![n], s))
                .collect();
        if let Some(shape) = weights.shape(ADDED)? {
            let rows = shape.first().copied().unwrap_or(0);
            expected.push((vec![ADDED.into()], vec![rows, backbone.describe().hidden()]));
        }
        weights.refuse_others(&expected, |_| false)?;
        let tensors = weights.read(&expected, dtype, device)?;
        let names = expected.into_iter().map(|(mut n, _)| n.remove(0));
        Ok(Self {
            config,
            tensors: names.zip(tensors).collect(),
        })
    }

    /// Reads a backbone and an adapter for it, in f32; a backbone without a head gets one for the
    /// adapter's classes.
    ///
    /// # Errors
    /// As [`Backbone::load`] and [`Saved::read`].
    pub fn with_backbone(backbone: &Path, adapter: &Path) -> Result<(Backbone, Self)> {
        let (dtype, device) = (DType::F32, Device::Cpu);
        let backbone = Backbone::load(backbone, classes(adapter)?, 0, dtype, &device)?;
        let saved = Self::read(adapter, &backbone.config(), dtype, &device)?;
        Ok((backbone, saved))
    }

    /// Writes the directory, tensors as f32.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let mut config = self.config.clone();
        forget_reparametrisation(&mut config);
        write_tensors(dir, &self.tensors)?;
        write_json(&dir.join("adapter_config.json"), &config)
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// It is not there.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| Error::MissingTensor {
            path: "adapter".into(),
            name: name.into(),
            expected: Vec::new(),
        })
    }
}

/// How many classes the head in an adapter directory tells apart; none where it has no head.
///
/// # Errors
/// A missing or broken file.
pub fn classes(dir: &Path) -> Result<Option<usize>> {
    let weights = Weights::open(&dir.join("adapter_model.safetensors"))?;
    for prefix in ["", peft::WRAPPED] {
        let shape = weights.shape(&format!("{prefix}classifier.out_proj.bias"))?;
        if let Some(&[classes]) = shape.as_deref() {
            return Ok(Some(classes));
        }
    }
    Ok(None)
}

fn forget_reparametrisation(config: &mut AdapterConfig) {
    if let Some(Attention::Prefix {
        reparametrisation, ..
    }) = &mut config.attention
    {
        *reparametrisation = None; // files hold the prefix itself
    }
}

/// Writes `adapter_model.safetensors`.
pub(crate) fn write_tensors(dir: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    let tensors = tensors
        .iter()
        .map(|(n, t)| Ok((n.clone(), t.to_dtype(DType::F32)?)))
        .collect::<Result<Vec<_>>>()?;
    let metadata = HashMap::from([("format".into(), "pt".into())]);
    write(
        &dir.join("adapter_model.safetensors"),
        &weights::serialize(&tensors, metadata)?,
    )
}
