//! PEFT's own layout for adapters that it knows: LoRA on both backbones and prefix-tuning on GPT-2
//! (PEFT has none for RoBERTa's classifier).
//!
//! ```text
//! LoRA    transformers' GPT-2 has one fused projection c_attn [d, 3d]; PEFT puts one pair
//!         (A [R, d], B [3d, R]) on it. Ours has a pair for each of q, k, v.
//!         Out: R = r · targets, A stacked, B block by block, and since PEFT scales by
//!         lora_alpha / R, lora_alpha = α · targets. The bias of Eq. (10) is PEFT's `lora_bias`.
//!         In: each of q, k, v gets all of A and its rows of B.
//!         RoBERTa has three projections, query, key, value: each has a pair of its own there as
//!         here, and the head is a `modules_to_save`.
//! Prefix  prompt_embeddings [l, 2 L d], read as [l, 2L, H, p]: layer i's keys at 2i, its values at
//!         2i + 1; text starts at position l.
//! ```
//!
//! Trained rows of special tokens go out as PEFT saves a resized embedding: the whole matrix, under
//! the model's own name for it. A model must be resized (`model.resize_token_embeddings(rows)`)
//! before it takes such an adapter.

use super::adapter::{CONFIG, PEFT_PREFIX, SavedAdapter, TENSORS, write_files};
use super::io::read_json;
use super::safetensors::{Weights, same_name};
use crate::adapter::{AdapterConfig, Attached, Attention};
use crate::backbone::{self, Backbone};
use crate::config::{BackboneConfig, Spec};
use crate::counts::{Shape, shapes};
use crate::error::{Error, Result};
use crate::parts::{LoraConfig, PrefixConfig, Target};
use crate::tensors::{Source, Tensors as _};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const PROMPT: &str = "prompt_embeddings";

/// The whole embedding beside a LoRA, and beside a prefix, which PEFT wraps around the model once
/// less.
const EMBEDDING: [&str; 2] = [
    "base_model.model.transformer.wte.weight",
    "base_model.transformer.wte.weight",
];

/// RoBERTa's names of q, k, v.
const MODULES: [&str; 3] = ["query", "key", "value"];

/// PEFT's names of A, B and the bias, and this project's.
const LORA: [(&str, &str); 3] = [
    ("lora_A.weight", "a"),
    ("lora_B.weight", "b"),
    ("lora_B.bias", "bias"),
];

/// Whether a directory's `adapter_config.json` is PEFT's own.
///
/// # Errors
/// A missing or broken file.
pub fn is_peft(dir: &Path) -> Result<bool> {
    let config = read_json(&dir.join(CONFIG))?;
    Ok(matches!(
        config["peft_type"].as_str(),
        Some("LORA" | "PREFIX_TUNING")
    ))
}

/// Whether q, k and v are one map in the backbone's files.
fn is_fused(backbone: &BackboneConfig) -> bool {
    matches!(backbone, BackboneConfig::Gpt2(_))
}

/// GPT-2's fused projection.
fn projection(layer: usize) -> String {
    format!("{PEFT_PREFIX}transformer.h.{layer}.attn.c_attn")
}

/// This project's name of a LoRA tensor.
fn own(spec: &Spec, layer: usize, target: Target, name: &str) -> String {
    let (at, lora) = (spec.attention_name(layer), LoraConfig::name(target));
    format!("{at}.{lora}.{name}")
}

/// What a tensor of RoBERTa's LoRA is called there, here, and its shape; the head last.
fn separate(lora: &LoraConfig, backbone: &BackboneConfig) -> Result<Vec<(String, Shape)>> {
    let spec = backbone.spec();
    let (d, r) = (spec.hidden, lora.rank);
    let mut all = Vec::new();
    for i in 0..spec.layers {
        for target in &lora.targets {
            let at = format!("{PEFT_PREFIX}{}", spec.attention_name(i));
            let module = MODULES[*target as usize];
            let lora_shapes = [vec![r, d], vec![d, r], vec![d]];
            let tensors = LORA.into_iter().zip(lora_shapes);
            for ((there, here), shape) in tensors.take(if lora.bias { 3 } else { 2 }) {
                let name = own(&spec, i, *target, here);
                all.push((format!("{at}.{module}.{there}"), (name, shape)));
            }
        }
    }
    let outline = Source::outline();
    let head = backbone::declare_head(backbone, &outline.root())?;
    let head = shapes(head.parameters()).into_iter();
    all.extend(head.map(|(name, shape)| (format!("{PEFT_PREFIX}{name}"), (name, shape))));
    Ok(all)
}

/// Writes an adapter in PEFT's layout.
///
/// # Errors
/// The adapter has a part that PEFT does not know; the directory cannot be written.
pub fn export(saved: &SavedAdapter, backbone: &dyn Backbone, dir: &Path) -> Result<()> {
    let (c, whole) = (&saved.config, backbone.config());
    let unknown = |field: &str, message: &str| Err(Error::config(CONFIG, field, message));
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
    let (config, mut tensors) = match (is_fused(&whole), &c.attention, &c.lora) {
        (false, None, Some(lora)) => separate_out(saved, lora, &whole)?,
        (false, ..) => {
            return unknown(
                "attention",
                "PEFT's layout for RoBERTa holds LoRA alone: its prefix-tuning takes no \
                 classifier of this kind",
            );
        }
        (true, None, Some(lora)) => fused_out(saved, lora, &whole.spec())?,
        (true, Some(Attention::Prefix(prefix)), None) if prefix.offset_positions => {
            prefix_out(saved, prefix.length, &whole.spec())?
        }
        (true, Some(Attention::Prefix(_)), None) => {
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
    if let (true, Some(added)) = (
        is_fused(&whole),
        saved.tensors.get(Attached::SPECIAL_TOKENS),
    ) {
        let rows = backbone.token_embeddings().tensor.to_dtype(added.dtype())?;
        tensors.insert(
            EMBEDDING[usize::from(c.lora.is_none())].into(),
            Tensor::cat(&[&rows, added], 0)?,
        );
    }
    write_files(dir, &tensors, &config)
}

type Exported = (Value, BTreeMap<String, Tensor>);

/// The fields that every configuration of PEFT has, then `fields`.
fn config_out(saved: &SavedAdapter, kind: &str, fields: Value) -> Value {
    let c = &saved.config;
    let mut config = json!({
        "peft_type": kind,
        "task_type": c.task_type,
        "base_model_name_or_path": c.base_model_name_or_path,
    });
    if let (Some(config), Value::Object(fields)) = (config.as_object_mut(), fields) {
        config.extend(fields);
    }
    config
}

fn separate_out(
    saved: &SavedAdapter,
    lora: &LoraConfig,
    backbone: &BackboneConfig,
) -> Result<Exported> {
    let mut tensors = BTreeMap::new();
    for (there, (own, _)) in separate(lora, backbone)? {
        tensors.insert(there, saved.tensor(&own)?.clone());
    }
    let modules: Vec<&str> = lora.targets.iter().map(|t| MODULES[*t as usize]).collect();
    let fields = json!({
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "lora_bias": lora.bias,
        "target_modules": modules,
        "modules_to_save": ["classifier"],
        "fan_in_fan_out": false,
        "bias": "none",
        "inference_mode": true,
    });
    Ok((config_out(saved, "LORA", fields), tensors))
}

fn fused_out(saved: &SavedAdapter, lora: &LoraConfig, spec: &Spec) -> Result<Exported> {
    let (count, d, r) = (lora.targets.len(), spec.hidden, lora.rank);
    let mut tensors = BTreeMap::new();
    for i in 0..spec.layers {
        let own = |target, name| saved.tensor(&own(spec, i, target, name));
        let (mut a, mut b, mut bias) = (Vec::new(), Vec::new(), Vec::new());
        for target in Target::ALL {
            let Some(block) = lora.targets.iter().position(|t| *t == target) else {
                let like = own(lora.targets[0], "b")?;
                b.push(Tensor::zeros((d, r * count), like.dtype(), like.device())?);
                bias.push(Tensor::zeros(d, like.dtype(), like.device())?);
                continue;
            };
            a.push((block, own(target, "a")?.clone()));
            let rows = own(target, "b")?;
            b.push(rows.pad_with_zeros(1, block * r, (count - block - 1) * r)?);
            if lora.bias {
                bias.push(own(target, "bias")?.clone());
            }
        }
        a.sort_by_key(|(block, _)| *block);
        let a: Vec<Tensor> = a.into_iter().map(|(_, a)| a).collect();
        let stacked = [a, b, bias].into_iter().zip(LORA);
        for (blocks, (name, _)) in stacked.take(if lora.bias { 3 } else { 2 }) {
            tensors.insert(
                format!("{}.{name}", projection(i)),
                Tensor::cat(&blocks, 0)?,
            );
        }
    }
    let fields = json!({
        "r": r * count,
        "lora_alpha": lora.alpha * count as f64,
        "lora_dropout": lora.dropout,
        "lora_bias": lora.bias,
        "target_modules": ["c_attn"],
        "fan_in_fan_out": true,
        "bias": "none",
        "inference_mode": true,
    });
    Ok((config_out(saved, "LORA", fields), tensors))
}

fn prefix_out(saved: &SavedAdapter, length: usize, spec: &Spec) -> Result<Exported> {
    let mut blocks = Vec::new();
    for i in 0..spec.layers {
        for name in PrefixConfig::NAMES {
            let heads = saved.tensor(&format!("{}.{name}", spec.attention_name(i)))?;
            blocks.push(heads.transpose(0, 1)?.reshape((length, spec.hidden))?);
        }
    }
    let fields = json!({
        "num_virtual_tokens": length,
        "token_dim": spec.hidden,
        "num_transformer_submodules": 1,
        "num_attention_heads": spec.heads,
        "num_layers": spec.layers,
        "encoder_hidden_size": spec.hidden,
        "prefix_projection": false,
        "inference_mode": true,
    });
    let tensors = BTreeMap::from([(PROMPT.to_string(), Tensor::cat(&blocks, 1)?)]);
    Ok((config_out(saved, "PREFIX_TUNING", fields), tensors))
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
    target_modules: Value,
    #[serde(default)]
    rank_pattern: serde_json::Map<String, Value>,
    #[serde(default)]
    alpha_pattern: serde_json::Map<String, Value>,
    #[serde(default)]
    num_virtual_tokens: usize,
}

impl Given {
    fn is_lora(&self) -> bool {
        self.peft_type == "LORA"
    }

    fn check(&self, path: &Path, fused: bool) -> Result<()> {
        let bad = |field: &str, message: String| Err(Error::config(path, field, message));
        if !self.is_lora() {
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
                let message = "expected false: this engine computes plain LoRA";
                return bad(field, message.into());
            }
        }
        for (field, map) in [
            ("rank_pattern", &self.rank_pattern),
            ("alpha_pattern", &self.alpha_pattern),
        ] {
            if !map.is_empty() {
                let message = "expected none: one rank and one α for all layers";
                return bad(field, message.into());
            }
        }
        if self.bias.as_deref().is_some_and(|b| b != "none") {
            return bad("bias", format!("expected \"none\", found {:?}", self.bias));
        }
        let modules = &self.target_modules;
        if fused && *modules != json!(["c_attn"]) {
            return bad(
                "target_modules",
                format!("expected [\"c_attn\"], found {modules}"),
            );
        }
        Ok(())
    }

    /// RoBERTa's projections with LoRA, in the order q, k, v.
    fn targets(&self, path: &Path) -> Result<Vec<Target>> {
        let given = &self.target_modules;
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
        Ok(Target::ALL.into_iter().filter(has).collect())
    }

    fn lora(&self, targets: Vec<Target>) -> LoraConfig {
        LoraConfig {
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
) -> Result<SavedAdapter> {
    let path = dir.join(CONFIG);
    let given = Given::deserialize(read_json(&path)?).map_err(|e| Error::json(&path, e))?;
    given.check(&path, is_fused(backbone))?;
    let weights = || Weights::open(&dir.join(TENSORS));
    let saved = match is_fused(backbone) {
        true => fused_in(&weights()?, &given, backbone, dtype, device)?,
        false if given.is_lora() => {
            let lora = given.lora(given.targets(&path)?);
            let names = separate(&lora, backbone)?;
            let there = names
                .iter()
                .map(|(there, (_, s))| (there.clone(), s.clone()));
            let mut read = read(&weights()?, &there.collect::<Vec<_>>(), dtype, device)?;
            let here = names
                .into_iter()
                .filter_map(|(there, (own, _))| Some((own, read.remove(&there)?)));
            SavedAdapter {
                tensors: here.collect(),
                config: AdapterConfig {
                    lora: Some(lora),
                    ..given.config("SEQ_CLS")
                },
            }
        }
        false => {
            let message = "expected \"LORA\": PEFT's prefix-tuning takes no RoBERTa classifier";
            return Err(Error::config(&path, "peft_type", message));
        }
    };
    saved.config.check(&path)?;
    Ok(saved)
}

/// The tensors of these names and shapes, and no others.
fn read(
    weights: &Weights,
    known: &[Shape],
    dtype: DType,
    device: &Device,
) -> Result<BTreeMap<String, Tensor>> {
    weights.refuse_others(known, same_name, |_| false)?;
    weights.read(known, same_name, dtype, device)
}

fn fused_in(
    weights: &Weights,
    given: &Given,
    backbone: &BackboneConfig,
    dtype: DType,
    device: &Device,
) -> Result<SavedAdapter> {
    let (spec, vocabulary) = (backbone.spec(), backbone.vocabulary());
    let mut expected = fused_shapes(given, &spec);
    let embedding = EMBEDDING[usize::from(!given.is_lora())];
    if let Some(shape) = weights.shape(embedding)? {
        let rows = shape.first().copied().unwrap_or(0).max(vocabulary);
        expected.push((embedding.into(), vec![rows, spec.hidden]));
    }
    let read = read(weights, &expected, dtype, device)?;
    let mut config = given.config("CAUSAL_LM");
    let mut tensors = if given.is_lora() {
        config.lora = Some(given.lora(Target::ALL.to_vec()));
        fused_lora_in(&read, given, &spec)?
    } else {
        config.attention = Some(Attention::Prefix(PrefixConfig {
            length: given.num_virtual_tokens,
            offset_positions: true,
            reparametrisation: None,
        }));
        prefix_in(&read, given.num_virtual_tokens, &spec)?
    };
    if let Some(embedding) = read.get(embedding) {
        let rows = embedding.dim(0)?;
        if rows > vocabulary {
            let added = embedding.narrow(0, vocabulary, rows - vocabulary)?;
            tensors.insert(Attached::SPECIAL_TOKENS.into(), added.contiguous()?);
        }
    }
    Ok(SavedAdapter { config, tensors })
}

fn fused_shapes(given: &Given, spec: &Spec) -> Vec<Shape> {
    let d = spec.hidden;
    if !given.is_lora() {
        let shape = vec![given.num_virtual_tokens, 2 * spec.layers * d];
        return vec![(PROMPT.into(), shape)];
    }
    let layer = |i| {
        let lora_shapes = [vec![given.r, d], vec![3 * d, given.r], vec![3 * d]];
        let tensors = LORA.into_iter().zip(lora_shapes);
        tensors
            .take(if given.lora_bias { 3 } else { 2 })
            .map(move |((there, _), shape)| (format!("{}.{there}", projection(i)), shape))
    };
    (0..spec.layers).flat_map(layer).collect()
}

fn fused_lora_in(
    read: &BTreeMap<String, Tensor>,
    given: &Given,
    spec: &Spec,
) -> Result<BTreeMap<String, Tensor>> {
    let d = spec.hidden;
    let mut tensors = BTreeMap::new();
    for i in 0..spec.layers {
        for target in Target::ALL {
            for (there, here) in LORA.into_iter().take(if given.lora_bias { 3 } else { 2 }) {
                let all = &read[&format!("{}.{there}", projection(i))];
                let part = match here {
                    "a" => all.copy()?,
                    _ => all.narrow(0, target as usize * d, d)?.contiguous()?,
                };
                tensors.insert(own(spec, i, target, here), part);
            }
        }
    }
    Ok(tensors)
}

fn prefix_in(
    read: &BTreeMap<String, Tensor>,
    length: usize,
    spec: &Spec,
) -> Result<BTreeMap<String, Tensor>> {
    let (d, h, p) = (spec.hidden, spec.heads, spec.head_width());
    let prompt = &read[PROMPT];
    let mut tensors = BTreeMap::new();
    for i in 0..spec.layers {
        for (which, name) in PrefixConfig::NAMES.into_iter().enumerate() {
            let block = prompt
                .narrow(1, (2 * i + which) * d, d)?
                .reshape((length, h, p))?;
            let name = format!("{}.{name}", spec.attention_name(i));
            tensors.insert(name, block.transpose(0, 1)?.contiguous()?);
        }
    }
    Ok(tensors)
}
