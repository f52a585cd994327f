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

/// What PEFT calls the parts of a backbone's adapters; read and written by the same names.
struct Layout {
    /// The maps that LoRA acts on, each with the projections that it holds one below the other.
    modules: &'static [Module],
    /// The whole embedding beside a LoRA, and beside a prefix, which PEFT wraps around the model
    /// once less; none where there is no prefix-tuning and special tokens are not trained.
    embeddings: Option<[&'static str; 2]>,
    /// The task of an adapter that does not name one.
    task: &'static str,
}

type Module = (&'static str, &'static [Target]);

/// GPT-2: one map for q, k and v.
const FUSED: Layout = Layout {
    modules: &[("c_attn", &Target::ALL)],
    embeddings: Some([
        "base_model.model.transformer.wte.weight",
        "base_model.transformer.wte.weight",
    ]),
    task: "CAUSAL_LM",
};

/// RoBERTa: a map for each.
const SEPARATE: Layout = Layout {
    modules: &[
        ("query", &[Target::Q]),
        ("key", &[Target::K]),
        ("value", &[Target::V]),
    ],
    embeddings: None,
    task: "SEQ_CLS",
};

impl Layout {
    fn of(backbone: &BackboneConfig) -> &'static Self {
        match backbone {
            BackboneConfig::Gpt2(_) => &FUSED,
            BackboneConfig::Roberta(_) => &SEPARATE,
        }
    }

    fn is_fused(&self) -> bool {
        self.modules.len() == 1
    }

    /// The name of the whole embedding beside a LoRA or a prefix; that of no tensor where there is
    /// none.
    fn embedding(&self, beside_lora: bool) -> &'static str {
        self.embeddings.map_or("", |e| e[usize::from(!beside_lora)])
    }

    /// The maps that some targets lie in, in the order of the targets.
    fn holding(&self, targets: &[Target]) -> Vec<Module> {
        let holding = |t: &Target| self.modules.iter().find(|(_, holds)| holds.contains(t));
        let mut found: Vec<Module> = targets.iter().filter_map(holding).copied().collect();
        found.dedup();
        found
    }
}

/// PEFT's names of A, B and the bias, where there is one, and this project's.
fn lora_names(bias: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = [
        ("lora_A.weight", "a"),
        ("lora_B.weight", "b"),
        ("lora_B.bias", "bias"),
    ];
    all.into_iter().take(if bias { 3 } else { 2 })
}

/// PEFT's name of a LoRA tensor.
fn there(spec: &Spec, layer: usize, module: &str, name: &str) -> String {
    let at = spec.attention_name(layer);
    format!("{PEFT_PREFIX}{at}.{module}.{name}")
}

/// This project's name of a LoRA tensor.
fn own(spec: &Spec, layer: usize, target: Target, name: &str) -> String {
    let (at, lora) = (spec.attention_name(layer), LoraConfig::name(target));
    format!("{at}.{lora}.{name}")
}

/// The tensors of the head that is trained with every method.
fn head_shapes(backbone: &BackboneConfig) -> Result<Vec<Shape>> {
    let outline = Source::outline();
    let head = backbone::declare_head(backbone, &outline.root())?;
    Ok(shapes(head.parameters()))
}

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

/// Writes an adapter in PEFT's layout.
///
/// # Errors
/// The adapter has a part that PEFT does not know; the directory cannot be written.
pub fn export(saved: &SavedAdapter, backbone: &dyn Backbone, dir: &Path) -> Result<()> {
    let (c, whole) = (&saved.config, backbone.config());
    let layout = Layout::of(&whole);
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
    let (config, mut tensors) = match (&c.attention, &c.lora) {
        (None, Some(lora)) => lora_out(saved, lora, &whole)?,
        _ if layout.embeddings.is_none() => {
            return unknown(
                "attention",
                "PEFT's layout for RoBERTa holds LoRA alone: its prefix-tuning takes no \
                 classifier of this kind",
            );
        }
        (Some(Attention::Prefix(prefix)), None) if prefix.offset_positions => {
            prefix_out(saved, prefix.length, &whole.spec())?
        }
        (Some(Attention::Prefix(_)), None) => {
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
    let added = saved.tensors.get(Attached::SPECIAL_TOKENS);
    if let (Some(_), Some(added)) = (layout.embeddings, added) {
        let rows = backbone.token_embeddings().tensor.to_dtype(added.dtype())?;
        let name = layout.embedding(c.lora.is_some()).into();
        tensors.insert(name, Tensor::cat(&[&rows, added], 0)?);
    }
    write_files(dir, &tensors, &config)
}

type Exported = (Value, Tensors);

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

/// The targets in one map share its A, in which each has `rank` rows; in its B each has the columns
/// of those, and projections that are no target are 0.
fn lora_out(
    saved: &SavedAdapter,
    lora: &LoraConfig,
    backbone: &BackboneConfig,
) -> Result<Exported> {
    let (layout, spec) = (Layout::of(backbone), backbone.spec());
    let modules = layout.holding(&lora.targets);
    let count = lora.targets.len() / modules.len();
    let (d, r) = (spec.hidden, lora.rank);
    let mut tensors = BTreeMap::new();
    for i in 0..spec.layers {
        let own = |target, name| saved.tensor(&own(&spec, i, target, name));
        for (module, holds) in &modules {
            let given = lora.targets.iter().filter(|t| holds.contains(t));
            let given: Vec<Target> = given.copied().collect();
            let a = given.iter().map(|t| own(*t, "a").cloned());
            let (mut b, mut bias) = (Vec::new(), Vec::new());
            for target in *holds {
                let Some(block) = given.iter().position(|t| t == target) else {
                    let like = own(given[0], "b")?;
                    b.push(Tensor::zeros((d, r * count), like.dtype(), like.device())?);
                    bias.push(Tensor::zeros(d, like.dtype(), like.device())?);
                    continue;
                };
                let rows = own(*target, "b")?;
                b.push(rows.pad_with_zeros(1, block * r, (count - block - 1) * r)?);
                if lora.bias {
                    bias.push(own(*target, "bias")?.clone());
                }
            }
            let stacked = [a.collect::<Result<_>>()?, b, bias];
            for (blocks, (name, _)) in stacked.into_iter().zip(lora_names(lora.bias)) {
                tensors.insert(there(&spec, i, module, name), Tensor::cat(&blocks, 0)?);
            }
        }
    }
    let names: Vec<&str> = modules.iter().map(|(name, _)| *name).collect();
    let mut fields = json!({
        "r": r * count,
        "lora_alpha": lora.alpha * count as f64,
        "lora_dropout": lora.dropout,
        "lora_bias": lora.bias,
        "target_modules": names,
    });
    for (name, _) in head_shapes(backbone)? {
        fields["modules_to_save"] = json!(["classifier"]);
        tensors.insert(format!("{PEFT_PREFIX}{name}"), saved.tensor(&name)?.clone());
    }
    fields["fan_in_fan_out"] = layout.is_fused().into();
    fields["bias"] = "none".into();
    fields["inference_mode"] = true.into();
    Ok((config_out(saved, "LORA", fields), tensors))
}

fn prefix_out(saved: &SavedAdapter, length: usize, spec: &Spec) -> Result<Exported> {
    let mut blocks = Vec::new();
    for name in PrefixConfig::names(spec) {
        let heads = saved.tensor(&name)?;
        blocks.push(heads.transpose(0, 1)?.reshape((length, spec.hidden))?);
    }
    let fields = json!({
        "num_virtual_tokens": length,
        "token_dim": spec.hidden,
        "num_transformer_submodules": 1,
        "num_attention_heads": spec.heads.count,
        "num_layers": spec.layers,
        "encoder_hidden_size": spec.hidden,
        "prefix_projection": false,
        "inference_mode": true,
    });
    let tensors = BTreeMap::from([(PROMPT.to_string(), Tensor::cat(&blocks, 1)?)]);
    Ok((config_out(saved, "PREFIX_TUNING", fields), tensors))
}

/// The fields of PEFT's configuration that decide the function. All others are PEFT's own business.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Given {
    peft_type: String,
    task_type: Option<String>,
    base_model_name_or_path: Option<String>,
    r: usize,
    lora_alpha: f64,
    lora_dropout: f64,
    lora_bias: bool,
    bias: Option<String>,
    use_dora: bool,
    use_rslora: bool,
    target_modules: Value,
    rank_pattern: serde_json::Map<String, Value>,
    alpha_pattern: serde_json::Map<String, Value>,
    num_virtual_tokens: usize,
}

impl Given {
    fn is_lora(&self) -> bool {
        self.peft_type == "LORA"
    }

    /// Checks the values; returns LoRA's targets in the order q, k, v.
    fn check(&self, path: &Path, layout: &Layout) -> Result<Vec<Target>> {
        let bad = |field: &str, message: String| Err(Error::config(path, field, message));
        if !self.is_lora() {
            if self.num_virtual_tokens == 0 {
                return bad("num_virtual_tokens", "expected at least 1, found 0".into());
            }
            if layout.embeddings.is_none() {
                let message = "expected \"LORA\": PEFT's prefix-tuning takes no RoBERTa classifier";
                return bad("peft_type", message.into());
            }
            return Ok(Vec::new());
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
        self.targets(layout).or_else(|expected| {
            let found = &self.target_modules;
            bad(
                "target_modules",
                format!("expected {expected}, found {found}"),
            )
        })
    }

    /// The projections of the maps with LoRA, or what is expected of their names.
    fn targets(&self, layout: &Layout) -> std::result::Result<Vec<Target>, &'static str> {
        let names: Vec<Option<&str>> = match &self.target_modules {
            Value::Array(names) => names.iter().map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let named = |m: &&Module| names.contains(&Some(m.0));
        let found: Vec<&Module> = layout.modules.iter().filter(named).collect();
        match found.is_empty() || found.len() != names.len() {
            true if layout.is_fused() => Err("[\"c_attn\"]"),
            true => Err("a list of \"query\", \"key\", \"value\""),
            false => Ok(found
                .iter()
                .flat_map(|(_, holds)| *holds)
                .copied()
                .collect()),
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
    let layout = Layout::of(backbone);
    let targets = given.check(&path, layout)?;
    let mut config = AdapterConfig {
        task_type: given.task_type.unwrap_or_else(|| layout.task.into()),
        base_model_name_or_path: given.base_model_name_or_path.unwrap_or_default(),
        ..AdapterConfig::none()
    };
    let spec = backbone.spec();
    let length = given.num_virtual_tokens;
    let mut stored = Vec::new();
    let mut expected = if targets.is_empty() {
        config.attention = Some(Attention::Prefix(PrefixConfig {
            length,
            offset_positions: true,
            reparametrisation: None,
        }));
        vec![(PROMPT.into(), vec![length, 2 * spec.layers * spec.hidden])]
    } else {
        let lora = config.lora.insert(LoraConfig {
            targets,
            rank: given.r,
            alpha: given.lora_alpha,
            dropout: given.lora_dropout,
            bias: given.lora_bias,
        });
        stored = lora_tensors(lora, backbone)?;
        stored.iter().map(|s| s.there.clone()).collect()
    };
    let weights = Weights::open(&dir.join(TENSORS))?;
    let embedding = layout.embedding(config.lora.is_some());
    if let Some(shape) = weights.shape(embedding)? {
        let rows = shape.first().copied().unwrap_or(0).max(spec.vocabulary);
        expected.push((embedding.into(), vec![rows, spec.hidden]));
    }
    weights.refuse_others(&expected, same_name, |_| false)?;
    let read = weights.read(&expected, same_name, dtype, device)?;
    let mut tensors = match config.lora {
        Some(_) => lora_in(&read, stored)?,
        None => {
            let blocks = PrefixConfig::split(&read[PROMPT], &spec)?;
            PrefixConfig::names(&spec).zip(blocks).collect()
        }
    };
    if let Some(whole) = read.get(embedding)
        && whole.dim(0)? > spec.vocabulary
    {
        let added = whole.narrow(0, spec.vocabulary, whole.dim(0)? - spec.vocabulary)?;
        tensors.insert(Attached::SPECIAL_TOKENS.into(), added.contiguous()?);
    }
    config.check(&path)?;
    Ok(SavedAdapter { config, tensors })
}

type Tensors = BTreeMap<String, Tensor>;

/// A tensor in PEFT's file.
struct Stored {
    there: Shape,
    /// What is made of it here: equally many of its rows each, or all of them each.
    here: Vec<String>,
    shared: bool,
}

/// The tensors of LoRA, and those of the head.
fn lora_tensors(lora: &LoraConfig, backbone: &BackboneConfig) -> Result<Vec<Stored>> {
    let spec = backbone.spec();
    let (d, r) = (spec.hidden, lora.rank);
    let mut all = Vec::new();
    for i in 0..spec.layers {
        for (module, holds) in Layout::of(backbone).holding(&lora.targets) {
            let outputs = holds.len() * d;
            let shapes = [vec![r, d], vec![outputs, r], vec![outputs]];
            for ((name, here), shape) in lora_names(lora.bias).zip(shapes) {
                let targets = holds.iter();
                all.push(Stored {
                    there: (there(&spec, i, module, name), shape),
                    here: targets.map(|t| own(&spec, i, *t, here)).collect(),
                    shared: here == "a",
                });
            }
        }
    }
    all.extend(
        head_shapes(backbone)?
            .into_iter()
            .map(|(name, shape)| Stored {
                there: (format!("{PEFT_PREFIX}{name}"), shape),
                here: vec![name],
                shared: false,
            }),
    );
    Ok(all)
}

fn lora_in(read: &Tensors, stored: Vec<Stored>) -> Result<Tensors> {
    let mut tensors = BTreeMap::new();
    for Stored {
        there,
        here,
        shared,
    } in stored
    {
        let all = &read[&there.0];
        let rows = all.dim(0)? / here.len();
        for (block, name) in here.into_iter().enumerate() {
            let part = match shared {
                true => all.copy()?,
                false => all.narrow(0, block * rows, rows)?.contiguous()?,
            };
            tensors.insert(name, part);
        }
    }
    Ok(tensors)
}
