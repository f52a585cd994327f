//! Backbones as Hugging Face directories: `config.json` and `model.safetensors`.

use super::io::{create_dir, read_json, write_json};
use super::safetensors::{Weights, write_tensors_as};
use crate::backbone::{Backbone, Gpt2, Head, Roberta, declare, declare_head};
use crate::config::{BackboneConfig, Gpt2Config, RobertaConfig};
use crate::counts::{Shape, shapes};
use crate::error::{Error, Result};
use crate::tensors::{Source, Tensors as _};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

impl BackboneConfig {
    /// Reads `config.json` of a Hugging Face directory.
    ///
    /// # Errors
    /// A missing or broken file; a model type, activation or switch that this engine does not
    /// compute.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        Self::from_json(&path, read_json(&path)?)
    }
}

/// PyTorch's name of a type.
pub fn type_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::F64 => "float64",
        _ => "float32",
    }
}

/// What a Hugging Face directory's `config.json` says it is.
///
/// # Errors
/// A missing or broken file; no `model_type`.
pub fn model_type(dir: &Path) -> Result<String> {
    let path = dir.join("config.json");
    BackboneConfig::model_type(&path, &read_json(&path)?).map(str::to_string)
}

/// Reads a Hugging Face directory of either kind. A RoBERTa without a head gets one, started from
/// `seed`, for `classes`, or for as many as its configuration says.
///
/// # Errors
/// A missing or broken file; a missing, extra, wrongly shaped or non-finite tensor.
pub fn load(
    dir: &Path,
    classes: Option<usize>,
    seed: u64,
    dtype: DType,
    device: &Device,
) -> Result<Box<dyn Backbone>> {
    let weights = || Weights::open_backbone(dir);
    match BackboneConfig::read(dir)? {
        BackboneConfig::Gpt2(config) => gpt2(config, &weights()?, dtype, device),
        BackboneConfig::Roberta(mut config) => {
            let weights = weights()?;
            let has_head = weights.names().any(|n| n.starts_with("classifier."));
            if let (false, Some(classes)) = (has_head, classes) {
                if config.classes() != classes {
                    config.id2label = None;
                }
                config.num_labels = Some(classes);
            }
            let start = Source::random(seed, dtype, device);
            roberta(config, &weights, has_head, &start, dtype, device)
        }
    }
}

/// Whether the files of a directory hold a head of the kind that [`load`] gives the backbone; one
/// that is missing starts at random.
///
/// # Errors
/// A missing or broken file.
pub fn has_head(dir: &Path) -> Result<bool> {
    let gpt2 = matches!(BackboneConfig::read(dir)?, BackboneConfig::Gpt2(_));
    Ok(gpt2
        || Weights::open_backbone(dir)?
            .names()
            .any(|n| n.starts_with("classifier.")))
}

/// Shapes of the backbone's own tensors and of its head's.
fn expected(config: &BackboneConfig) -> Result<[Vec<Shape>; 2]> {
    let outline = Source::outline();
    let backbone = declare(config, &outline.root())?;
    Ok([
        shapes(backbone.own_parameters()),
        shapes(backbone.head().parameters()),
    ])
}

/// The names that a tensor of GPT-2 may have in a file: with and without the prefix.
fn gpt2_names(name: &str) -> Vec<String> {
    vec![name.into(), name.trim_start_matches("transformer.").into()]
}

fn gpt2(
    config: Gpt2Config,
    weights: &Weights,
    dtype: DType,
    device: &Device,
) -> Result<Box<dyn Backbone>> {
    let [mut own, _] = expected(&BackboneConfig::from(&config))?;
    let tied_too = config.tie_word_embeddings && weights.names().any(|n| n == Gpt2::LM_HEAD);
    if tied_too {
        own.push((Gpt2::LM_HEAD.into(), vec![config.vocab_size, config.n_embd]));
    }
    weights.refuse_others(&own, gpt2_names, |name| {
        name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")
    })?;
    let mut tensors = weights.read(&own, gpt2_names, dtype, device)?;
    let head = tied_too.then(|| tensors.remove(Gpt2::LM_HEAD)).flatten();
    let source = Source::given(tensors, weights.path().into());
    let backbone = Gpt2::declare(config, &source.root())?;
    if let Some(head) = head {
        let apart = (head - &backbone.wte.tensor)?.abs()?.max_all()?;
        let apart = apart.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        if apart != 0.0 {
            let message = format!(
                "expected the tied head, equal to wte.weight, as tie_word_embeddings is true; \
                 found a difference of {apart:e}"
            );
            return Err(Error::config(weights.path(), Gpt2::LM_HEAD, message));
        }
    }
    Ok(backbone.into())
}

/// The names that a tensor of RoBERTa may have in a file: with and without the prefix, and the
/// older names of LayerNorm's tensors.
fn roberta_names(name: &str) -> Vec<String> {
    let mut all = vec![name.to_string()];
    for (new, old) in [
        ("LayerNorm.weight", "LayerNorm.gamma"),
        ("LayerNorm.bias", "LayerNorm.beta"),
    ] {
        if name.ends_with(new) {
            all.push(name.replace(new, old));
        }
    }
    let bare: Vec<String> = all
        .iter()
        .filter_map(|n| n.strip_prefix("roberta.").map(str::to_string))
        .collect();
    all.extend(bare);
    all
}

fn roberta(
    config: RobertaConfig,
    weights: &Weights,
    has_head: bool,
    start: &Source,
    dtype: DType,
    device: &Device,
) -> Result<Box<dyn Backbone>> {
    let whole = BackboneConfig::from(&config);
    let [mut own, head] = expected(&whole)?;
    let known = [own.clone(), head.clone()].concat();
    weights.refuse_others(&known, roberta_names, |name| {
        name.contains("pooler.") || name.starts_with("lm_head.") || name.ends_with("position_ids")
    })?;
    if has_head {
        own.extend(head);
    }
    let tensors = weights.read(&own, roberta_names, dtype, device)?;
    let given = Source::given(tensors, weights.path().into());
    let head = if has_head { &given } else { start };
    let head = declare_head(&whole, &head.root())?;
    Ok(Roberta::declare(config, head, &given.root())?.into())
}

/// The float type of a directory's tensors; f32 where there are several.
///
/// # Errors
/// A missing or broken file.
pub fn stored_dtype(dir: &Path) -> Result<DType> {
    Ok(Weights::open_backbone(dir)?.dtype()?.unwrap_or(DType::F32))
}

/// Writes a backbone's `config.json` and `model.safetensors`, in f32.
///
/// # Errors
/// The directory cannot be written.
pub fn save(backbone: &dyn Backbone, dir: &Path) -> Result<()> {
    save_as(backbone, dir, DType::F32)
}

/// The same in a type, which `config.json` names.
///
/// # Errors
/// The directory cannot be written.
pub fn save_as(backbone: &dyn Backbone, dir: &Path, dtype: DType) -> Result<()> {
    create_dir(dir)?;
    let own = backbone.parameters().into_iter();
    let mut tensors: BTreeMap<String, Tensor> =
        own.map(|p| (p.name.clone(), p.tensor.clone())).collect();
    if let Head::MaskedLm(_) = backbone.head() {
        let zeros = Tensor::zeros(backbone.vocabulary(), DType::F32, &Device::Cpu)?;
        tensors.insert("lm_head.bias".into(), zeros);
    }
    write_tensors_as(&dir.join("model.safetensors"), &tensors, dtype)?;
    let mut config = backbone.json();
    config["torch_dtype"] = type_name(dtype).into();
    write_json(&dir.join("config.json"), &config)
}
