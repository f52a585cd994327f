//! PEFT's own layout for adapters that it knows: LoRA on both backbones and prefix-tuning on GPT-2
//! (PEFT has none for RoBERTa's classifier).
//!
//! ```text
//! LoRA    transformers' GPT-2 has one fused projection c_attn [d, 3d]; PEFT puts one pair (A [R, d], B [3d, R]) on it.
//!         Ours has a pair for each of q, k, v. Out: R = r · targets, A stacked, B block by block, and since PEFT scales by
//!         lora_alpha / R, lora_alpha = α · targets. The bias of Eq. (10) is PEFT's `lora_bias`. In: each of q, k, v gets all of A and its rows of B.
//!         RoBERTa has three projections, query, key, value: each has a pair of its own there as here, and the head is a `modules_to_save`.
//! Prefix  prompt_embeddings [l, 2 L d], read as [l, 2L, H, p]: layer i's keys at 2i, its values at 2i + 1; text starts at position l.
//! ```
//!
//! Trained rows of special tokens go out as PEFT saves a resized embedding: the whole matrix, under
//! the model's own name for it. The model it is loaded into must have been resized
//! (`model.resize_token_embeddings(rows)`).

use crate::backbone::{Backbone, BackboneConfig};
use crate::config::{AdapterConfig, Attention, Gpt2Config, Lora, RobertaConfig, Target};
use crate::error::{Error, Result};
use crate::model::{ADDED, write_json};
use crate::saved::{Saved, write_tensors};
use crate::shapes::Describe as _;
use crate::weights::Weights;
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// The whole embedding beside a LoRA, and beside a prefix, which PEFT wraps around the model once
/// less.
const EMBEDDING: [&str; 2] = [
    "base_model.model.transformer.wte.weight",
    "base_model.transformer.wte.weight",
];
const PROMPT: &str = "prompt_embeddings";
const PARTS: [Target; 3] = [Target::Q, Target::K, Target::V];
/// RoBERTa's names of q, k, v.
const MODULES: [&str; 3] = ["query", "key", "value"];
/// Before every tensor's name beside a LoRA.
pub(crate) const WRAPPED: &str = "base_model.model.";

/// Whether an `adapter_config.json` is PEFT's own.
///
/// # Errors
/// A missing or broken file.
pub fn is_peft(path: &Path) -> Result<bool> {
    Ok(matches!(
        field(path)?.as_str(),
        Some("LORA" | "PREFIX_TUNING")
    ))
}

fn field(path: &Path) -> Result<serde_json::Value> {
    let value: serde_json::Value =
        serde_json::from_str(&crate::config::read(path)?).map_err(|e| Error::Json {
            path: path.to_path_buf(),
            message: e.to_string(),
        })?;
    Ok(value["peft_type"].clone())
}

fn projection(layer: usize) -> String {
    format!("{WRAPPED}transformer.h.{layer}.attn.c_attn")
}

fn module(layer: usize, target: Target) -> String {
    let name = MODULES[target as usize];
    format!("{WRAPPED}roberta.encoder.layer.{layer}.attention.self.{name}")
}

/// What a tensor of RoBERTa's LoRA is called here, there, and its shape; the head last.
fn roberta_names(lora: &Lora, backbone: &RobertaConfig) -> Vec<(String, String, Vec<usize>)> {
    let (d, r) = (backbone.hidden_size, lora.rank);
    let mut all = Vec::new();
    for i in 0..backbone.num_hidden_layers {
        for target in &lora.targets {
            let at = format!("{}.lora.{}", backbone.attention(i), target.letter());
            let there = module(i, *target);
            let mut push = |own: &str, name: &str, shape: Vec<usize>| {
                all.push((format!("{at}.{own}"), format!("{there}.{name}"), shape));
            };
            push("a", "lora_A.weight", vec![r, d]);
            push("b", "lora_B.weight", vec![d, r]);
            if lora.bias {
                push("bias", "lora_B.bias", vec![d]);
            }
        }
    }
    let head = backbone.head().into_iter();
    all.extend(head.map(|(name, shape)| (name.clone(), format!("{WRAPPED}{name}"), shape)));
    all
}

fn own(layer: usize, target: Target, name: &str) -> String {
    format!("transformer.h.{layer}.attn.lora.{}.{name}", target.letter())
}

/// Writes an adapter in PEFT's layout.
///
/// # Errors
/// The adapter has a part that PEFT does not know; the directory cannot be written.
pub fn export(saved: &Saved, backbone: &Backbone, dir: &Path) -> Result<()> {
    let c = &saved.config;
    let unknown =
        |field: &str, message: &str| Err(Error::config("adapter_config.json", field, message));
    if c.ffn.is_some() {
        return unknown(
            "ffn",
            "PEFT's layout has no adapter beside the FFN; expected LoRA alone or a prefix alone",
        );
    }
    if c.full || c.bitfit {
        return unknown(
            "full",
            "PEFT's layout holds no backbone tensors; `merge` makes a backbone of them",
        );
    }
    let backbone = match backbone {
        Backbone::Gpt2(b) => b,
        Backbone::Roberta(b) => {
            let (None, Some(lora)) = (&c.attention, &c.lora) else {
                return unknown(
                    "attention",
                    "PEFT's layout for RoBERTa holds LoRA alone: its prefix-tuning takes no \
                     classifier of this kind",
                );
            };
            let (config, tensors) = roberta_out(saved, lora, &b.config)?;
            write_tensors(dir, &tensors)?;
            return write_json(&dir.join("adapter_config.json"), &config);
        }
    };
    let (config, mut tensors) = match (&c.attention, &c.lora) {
        (None, Some(lora)) => lora_out(saved, lora, &backbone.config)?,
        (
            Some(Attention::Prefix {
                length,
                offset_positions: true,
                ..
            }),
            None,
        ) => prefix_out(saved, *length, &backbone.config)?,
        (Some(Attention::Prefix { .. }), None) => {
            return unknown(
                "attention.offset_positions",
                "PEFT starts the text at position l; expected true",
            );
        }
        _ => {
            return unknown(
                "attention",
                "PEFT's layout holds LoRA alone or a prefix alone",
            );
        }
    };
    if let Some(added) = saved.tensors.get(ADDED) {
        let wte = backbone.wte.tensor.to_dtype(added.dtype())?;
        tensors.insert(
            EMBEDDING[usize::from(c.lora.is_none())].into(),
            Tensor::cat(&[&wte, added], 0)?,
        );
    }
    write_tensors(dir, &tensors)?;
    write_json(&dir.join("adapter_config.json"), &config)
}

type Exported = (serde_json::Value, BTreeMap<String, Tensor>);

fn roberta_out(saved: &Saved, lora: &Lora, backbone: &RobertaConfig) -> Result<Exported> {
    let mut tensors = BTreeMap::new();
    for (own, there, _) in roberta_names(lora, backbone) {
        tensors.insert(there, saved.tensor(&own)?.clone());
    }
    let modules: Vec<&str> = lora.targets.iter().map(|t| MODULES[*t as usize]).collect();
    let config = json!({
        "peft_type": "LORA", "task_type": saved.config.task_type, "base_model_name_or_path": saved.config.base_model_name_or_path,
        "r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout, "lora_bias": lora.bias,
        "target_modules": modules, "modules_to_save": ["classifier"], "fan_in_fan_out": false, "bias": "none", "inference_mode": true,
    });
    Ok((config, tensors))
}

fn lora_out(saved: &Saved, lora: &Lora, backbone: &Gpt2Config) -> Result<Exported> {
    let (count, d, r) = (lora.targets.len(), backbone.n_embd, lora.rank);
    let mut tensors = BTreeMap::new();
    for i in 0..backbone.n_layer {
        let (mut a, mut b, mut bias) = (Vec::new(), Vec::new(), Vec::new());
        for part in PARTS {
            let Some(place) = lora.targets.iter().position(|t| *t == part) else {
                let like = saved.tensor(&own(i, lora.targets[0], "b"))?;
                b.push(Tensor::zeros((d, r * count), like.dtype(), like.device())?);
                bias.push(Tensor::zeros(d, like.dtype(), like.device())?);
                continue;
            };
            a.push((place, saved.tensor(&own(i, part, "a"))?.clone()));
            let block = saved.tensor(&own(i, part, "b"))?;
            b.push(block.pad_with_zeros(1, place * r, (count - place - 1) * r)?);
            if lora.bias {
                bias.push(saved.tensor(&own(i, part, "bias"))?.clone());
            }
        }
        a.sort_by_key(|(place, _)| *place);
        let a: Vec<Tensor> = a.into_iter().map(|(_, a)| a).collect();
        let at = projection(i);
        tensors.insert(format!("{at}.lora_A.weight"), Tensor::cat(&a, 0)?);
        tensors.insert(format!("{at}.lora_B.weight"), Tensor::cat(&b, 0)?);
        if lora.bias {
            tensors.insert(format!("{at}.lora_B.bias"), Tensor::cat(&bias, 0)?);
        }
    }
    let config = json!({
        "peft_type": "LORA", "task_type": saved.config.task_type, "base_model_name_or_path": saved.config.base_model_name_or_path,
        "r": r * count, "lora_alpha": lora.alpha * count as f64, "lora_dropout": lora.dropout, "lora_bias": lora.bias,
        "target_modules": ["c_attn"], "fan_in_fan_out": true, "bias": "none", "inference_mode": true,
    });
    Ok((config, tensors))
}

fn prefix_out(saved: &Saved, length: usize, backbone: &Gpt2Config) -> Result<Exported> {
    let (d, layers) = (backbone.n_embd, backbone.n_layer);
    let mut blocks = Vec::new();
    for i in 0..layers {
        for name in ["key", "value"] {
            let heads = saved.tensor(&format!("transformer.h.{i}.attn.prefix.{name}"))?;
            blocks.push(heads.transpose(0, 1)?.reshape((length, d))?);
        }
    }
    let config = json!({
        "peft_type": "PREFIX_TUNING", "task_type": saved.config.task_type, "base_model_name_or_path": saved.config.base_model_name_or_path,
        "num_virtual_tokens": length, "token_dim": d, "num_transformer_submodules": 1, "num_attention_heads": backbone.n_head,
        "num_layers": layers, "encoder_hidden_size": d, "prefix_projection": false, "inference_mode": true,
    });
    Ok((
        config,
        BTreeMap::from([(PROMPT.to_string(), Tensor::cat(&blocks, 1)?)]),
    ))
}

/// The fields of PEFT's configuration that decide the function. All others are PEFT's own business.
#[derive(Deserialize)]
struct Given {
    peft_type: String,
    #[serde(default)]
    task_type: Option<String>,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    #[serde(default)]
    r: usize,
    #[serde(default)]
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f64,
    #[serde(default)]
    lora_bias: bool,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    target_modules: Option<serde_json::Value>,
    #[serde(default)]
    rank_pattern: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    alpha_pattern: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    num_virtual_tokens: usize,
}

impl Given {
    fn check(&self, path: &Path, fused: bool) -> Result<()> {
        let bad = |field: &str, message: String| Err(Error::config(path, field, message));
        if self.peft_type == "PREFIX_TUNING" {
            if self.num_virtual_tokens == 0 {
                return bad("num_virtual_tokens", "expected at least 1, found 0".into());
            }
            return Ok(());
        }
        if self.r == 0 {
            return bad("r", "expected at least 1, found 0".into());
        }
        for (field, set) in [("use_dora", self.use_dora), ("use_rslora", self.use_rslora)] {
            if set {
                return bad(
                    field,
                    "expected false: this engine computes plain LoRA".into(),
                );
            }
        }
        for (field, map) in [
            ("rank_pattern", &self.rank_pattern),
            ("alpha_pattern", &self.alpha_pattern),
        ] {
            if !map.is_empty() {
                return bad(
                    field,
                    "expected none: one rank and one α for all layers".into(),
                );
            }
        }
        if self.bias.as_deref().is_some_and(|b| b != "none") {
            return bad("bias", format!("expected \"none\", found {:?}", self.bias));
        }
        let modules = self.target_modules.clone().unwrap_or_default();
        if fused && modules != json!(["c_attn"]) {
            return bad(
                "target_modules",
                format!("expected [\"c_attn\"], found {modules}"),
            );
        }
        Ok(())
    }

    /// RoBERTa's projections with LoRA, in the order q, k, v.
    fn targets(&self, path: &Path) -> Result<Vec<Target>> {
        let given = self.target_modules.clone().unwrap_or_default();
        let names: Option<Vec<&str>> = given
            .as_array()
            .and_then(|all| all.iter().map(|m| m.as_str()).collect());
        let known = names.filter(|n| !n.is_empty() && n.iter().all(|m| MODULES.contains(m)));
        let Some(known) = known else {
            let message =
                format!("expected a list of \"query\", \"key\", \"value\", found {given}");
            return Err(Error::config(path, "target_modules", message));
        };
        let has = |t: &Target| known.contains(&MODULES[*t as usize]);
        Ok(PARTS.into_iter().filter(has).collect())
    }

    fn lora(&self, targets: Vec<Target>) -> Lora {
        Lora {
            targets,
            rank: self.r,
            alpha: self.lora_alpha,
            dropout: self.lora_dropout,
            bias: self.lora_bias,
        }
    }

    fn config(&self, task: &str) -> AdapterConfig {
        AdapterConfig {
            task_type: self.task_type.clone().unwrap_or_else(|| task.into()),
            base_model_name_or_path: self.base_model_name_or_path.clone().unwrap_or_default(),
            ..AdapterConfig::none()
        }
    }
}

/// Reads an adapter in PEFT's layout.
///
/// # Errors
/// A missing or broken file; a missing, extra or wrongly shaped tensor; an option that has no
/// counterpart here.
pub fn import(
    dir: &Path,
    backbone: &BackboneConfig,
    dtype: DType,
    device: &Device,
) -> Result<Saved> {
    let path = dir.join("adapter_config.json");
    let given: Given =
        serde_json::from_str(&crate::config::read(&path)?).map_err(|e| Error::Json {
            path: path.clone(),
            message: e.to_string(),
        })?;
    given.check(&path, matches!(backbone, BackboneConfig::Gpt2(_)))?;
    match backbone {
        BackboneConfig::Gpt2(c) => gpt2_in(dir, &path, &given, c, dtype, device),
        BackboneConfig::Roberta(c) => roberta_in(dir, &path, &given, c, dtype, device),
    }
}

fn roberta_in(
    dir: &Path,
    path: &Path,
    given: &Given,
    backbone: &RobertaConfig,
    dtype: DType,
    device: &Device,
) -> Result<Saved> {
    if given.peft_type != "LORA" {
        let message = "expected \"LORA\": PEFT's prefix-tuning takes no RoBERTa classifier";
        return Err(Error::config(path, "peft_type", message));
    }
    let lora = given.lora(given.targets(path)?);
    let names = roberta_names(&lora, backbone);
    let known: Vec<(Vec<String>, Vec<usize>)> = names
        .iter()
        .map(|(_, there, shape)| (vec![there.clone()], shape.clone()))
        .collect();
    let weights = Weights::open(&dir.join("adapter_model.safetensors"))?;
    weights.refuse_others(&known, |_| false)?;
    let tensors = weights.read(&known, dtype, device)?;
    let mut config = given.config("SEQ_CLS");
    config.lora = Some(lora);
    config.check(path)?;
    let own = names.into_iter().map(|(own, _, _)| own);
    Ok(Saved {
        config,
        tensors: own.zip(tensors).collect(),
    })
}

fn gpt2_in(
    dir: &Path,
    path: &Path,
    given: &Given,
    backbone: &Gpt2Config,
    dtype: DType,
    device: &Device,
) -> Result<Saved> {
    let weights = Weights::open(&dir.join("adapter_model.safetensors"))?;
    let mut expected = expected(given, backbone);
    let embedding = EMBEDDING[usize::from(given.peft_type != "LORA")];
    if let Some(shape) = weights.shape(embedding)? {
        let rows = shape.first().copied().unwrap_or(0).max(backbone.vocab_size);
        expected.push((embedding.into(), vec![rows, backbone.n_embd]));
    }
    let known: Vec<(Vec<String>, Vec<usize>)> = expected
        .iter()
        .map(|(n, s)| (vec![n.clone()], s.clone()))
        .collect();
    weights.refuse_others(&known, |_| false)?;
    let read = weights.read(&known, dtype, device)?;
    let read: BTreeMap<String, Tensor> = expected.into_iter().map(|(n, _)| n).zip(read).collect();
    let mut config = given.config("CAUSAL_LM");
    let mut tensors = if given.peft_type == "LORA" {
        config.lora = Some(given.lora(PARTS.to_vec()));
        lora_in(&read, given, backbone)?
    } else {
        config.attention = Some(Attention::Prefix {
            length: given.num_virtual_tokens,
            offset_positions: true,
            reparametrisation: None,
        });
        prefix_in(&read, given.num_virtual_tokens, backbone)?
    };
    config.check(path)?;
    if let Some(embedding) = read.get(embedding) {
        let rows = embedding.dim(0)?;
        if rows > backbone.vocab_size {
            let added = embedding.narrow(0, backbone.vocab_size, rows - backbone.vocab_size)?;
            tensors.insert(ADDED.into(), added.contiguous()?);
        }
    }
    Ok(Saved { config, tensors })
}

fn expected(given: &Given, backbone: &Gpt2Config) -> Vec<(String, Vec<usize>)> {
    let d = backbone.n_embd;
    if given.peft_type == "PREFIX_TUNING" {
        return vec![(
            PROMPT.into(),
            vec![given.num_virtual_tokens, 2 * backbone.n_layer * d],
        )];
    }
    (0..backbone.n_layer)
        .flat_map(|i| {
            let at = projection(i);
            let mut all = vec![
                (format!("{at}.lora_A.weight"), vec![given.r, d]),
                (format!("{at}.lora_B.weight"), vec![3 * d, given.r]),
            ];
            if given.lora_bias {
                all.push((format!("{at}.lora_B.bias"), vec![3 * d]));
            }
            all
        })
        .collect()
}

fn lora_in(
    read: &BTreeMap<String, Tensor>,
    given: &Given,
    backbone: &Gpt2Config,
) -> Result<BTreeMap<String, Tensor>> {
    let d = backbone.n_embd;
    let mut tensors = BTreeMap::new();
    for i in 0..backbone.n_layer {
        let at = projection(i);
        for (place, part) in PARTS.into_iter().enumerate() {
            let rows = |name: &str| -> Result<Tensor> {
                Ok(read[&format!("{at}.{name}")]
                    .narrow(0, place * d, d)?
                    .contiguous()?)
            };
            tensors.insert(
                own(i, part, "a"),
                read[&format!("{at}.lora_A.weight")].copy()?,
            );
            tensors.insert(own(i, part, "b"), rows("lora_B.weight")?);
            if given.lora_bias {
                tensors.insert(own(i, part, "bias"), rows("lora_B.bias")?);
            }
        }
    }
    Ok(tensors)
}

fn prefix_in(
    read: &BTreeMap<String, Tensor>,
    length: usize,
    backbone: &Gpt2Config,
) -> Result<BTreeMap<String, Tensor>> {
    let (d, h, p) = (backbone.n_embd, backbone.n_head, backbone.head_width());
    let prompt = &read[PROMPT];
    let mut tensors = BTreeMap::new();
    for i in 0..backbone.n_layer {
        for (place, name) in ["key", "value"].into_iter().enumerate() {
            let block = prompt
                .narrow(1, (2 * i + place) * d, d)?
                .reshape((length, h, p))?;
            tensors.insert(
                format!("transformer.h.{i}.attn.prefix.{name}"),
                block.transpose(0, 1)?.contiguous()?,
            );
        }
    }
    Ok(tensors)
}
