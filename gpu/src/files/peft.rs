//! PEFT's own layout for adapters that it knows: LoRA and (IA)³ (`ia3`) on both backbones and
//! prefix-tuning on GPT-2 (PEFT has none for RoBERTa's classifier).
//!
//! ```text
//! LoRA    transformers' GPT-2 has one fused projection c_attn [d, 3d]; PEFT puts one pair
//!         (A [R, d], B [3d, R]) on it. Ours has a pair for each of q, k, v.
//!         Out: R = r · targets, A stacked, B block by block, and since PEFT scales by
//!         lora_alpha / R, lora_alpha = α · targets; with rsLoRA α · √targets, since √R divides.
//!         The bias of Eq. (10) is PEFT's `lora_bias`.
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

mod ia3;
mod lora;

use super::adapter::{CONFIG, PEFT_PREFIX, SavedAdapter, TENSORS, write_files};
use super::io::read_json;
use super::safetensors::{Weights, same_name};
use crate::adapter::{AdapterConfig, Attached, Attention};
use crate::backbone::{self, Backbone};
use crate::config::{BackboneConfig, Spec};
use crate::counts::{Shape, shapes};
use crate::error::{Error, Result};
use crate::parts::{PrefixConfig, Target};
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
    /// What (IA)³ acts on.
    ia3: &'static ia3::Layout,
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
    ia3: &ia3::GPT2,
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
    ia3: &ia3::ROBERTA,
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

    /// The name of the whole embedding beside a prefix or without one; that of no tensor where
    /// there is none.
    fn embedding(&self, beside_prefix: bool) -> &'static str {
        self.embeddings
            .map_or("", |e| e[usize::from(beside_prefix)])
    }

    /// The maps that some targets lie in, in the order of the targets.
    fn holding(&self, targets: &[Target]) -> Vec<Module> {
        let holding = |t: &Target| self.modules.iter().find(|(_, holds)| holds.contains(t));
        let mut found: Vec<Module> = targets.iter().filter_map(holding).copied().collect();
        found.dedup();
        found
    }
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
        Some("LORA" | "PREFIX_TUNING" | "IA3")
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
            "PEFT's layout has no adapter beside the FFN; expected LoRA, (IA)³ or a prefix alone",
        );
    }
    if c.full || c.bitfit {
        return unknown(
            "full",
            "PEFT's layout holds no backbone tensors; `merge` makes a backbone of them",
        );
    }
    let (mut config, mut tensors) = match (&c.attention, &c.lora, &c.ia3) {
        (None, Some(lora), None) => lora::export(saved, lora, &whole)?,
        (None, None, Some(ia3)) => ia3::export(saved, ia3, &whole)?,
        _ if layout.embeddings.is_none() => {
            return unknown(
                "attention",
                "PEFT's layout for RoBERTa holds LoRA alone or (IA)³ alone: its prefix-tuning \
                 takes no classifier of this kind",
            );
        }
        (Some(Attention::Prefix(prefix)), None, None) if prefix.offset_positions => {
            prefix_out(saved, prefix.length, &whole.spec())?
        }
        (Some(Attention::Prefix(_)), None, None) => {
            return unknown(
                "attention.offset_positions",
                "PEFT starts the text at position l; expected true",
            );
        }
        _ => {
            return unknown(
                "attention",
                "PEFT's layout holds LoRA alone, (IA)³ alone or a prefix alone",
            );
        }
    };
    for (name, _) in head_shapes(&whole)? {
        config["modules_to_save"] = json!(["classifier"]);
        tensors.insert(format!("{PEFT_PREFIX}{name}"), saved.tensor(&name)?.clone());
    }
    let added = saved.tensors.get(Attached::SPECIAL_TOKENS);
    if let (Some(_), Some(added)) = (layout.embeddings, added) {
        let rows = backbone.token_embeddings().tensor.to_dtype(added.dtype())?;
        let name = layout.embedding(c.attention.is_some()).into();
        tensors.insert(name, Tensor::cat(&[&rows, added], 0)?);
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

/// What every configuration of PEFT has, and a prefix's.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Given {
    peft_type: String,
    task_type: Option<String>,
    base_model_name_or_path: Option<String>,
    num_virtual_tokens: usize,
}

/// A tensor in PEFT's file, and what is made of it here. Two that make the same one are factors of
/// it.
struct Stored {
    there: Shape,
    here: Vec<String>,
    split: Split,
}

/// The given number of this project's tensors from one of PEFT's.
type Split = fn(&Tensor, usize, &Spec) -> Result<Vec<Tensor>>;

/// Equally many rows each.
fn rows(all: &Tensor, count: usize, _: &Spec) -> Result<Vec<Tensor>> {
    let rows = all.dim(0)? / count;
    let block = |i| Ok(all.narrow(0, i * rows, rows)?.contiguous()?);
    (0..count).map(block).collect()
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
    let whole = read_json(&path)?;
    let given = Given::deserialize(&whole).map_err(|e| Error::json(&path, e))?;
    let (layout, spec) = (Layout::of(backbone), backbone.spec());
    let mut config = AdapterConfig {
        task_type: given.task_type.unwrap_or_else(|| layout.task.into()),
        base_model_name_or_path: given.base_model_name_or_path.unwrap_or_default(),
        ..AdapterConfig::none()
    };
    let mut stored = match given.peft_type.as_str() {
        "LORA" => {
            let lora = config.lora.insert(lora::config_in(&path, whole, layout)?);
            lora::stored(lora, backbone)
        }
        "IA3" => {
            let (ia3, stored) = ia3::stored(&path, &whole, backbone)?;
            config.ia3 = Some(ia3);
            stored
        }
        _ => {
            let prefix = prefix_in(&path, given.num_virtual_tokens, layout)?;
            let shape = vec![prefix.length, 2 * spec.layers * spec.hidden];
            config.attention = Some(Attention::Prefix(prefix));
            vec![Stored {
                there: (PROMPT.into(), shape),
                here: PrefixConfig::names(&spec).collect(),
                split: |all, _, spec| Ok(PrefixConfig::split(all, spec)?),
            }]
        }
    };
    let head = head_shapes(backbone)?.into_iter();
    stored.extend(head.map(|(name, shape)| Stored {
        there: (format!("{PEFT_PREFIX}{name}"), shape),
        here: vec![name],
        split: rows,
    }));
    let mut expected: Vec<Shape> = stored.iter().map(|s| s.there.clone()).collect();
    let weights = Weights::open(&dir.join(TENSORS))?;
    let embedding = layout.embedding(config.attention.is_some());
    if let Some(shape) = weights.shape(embedding)? {
        let rows = shape.first().copied().unwrap_or(0).max(spec.vocabulary);
        expected.push((embedding.into(), vec![rows, spec.hidden]));
    }
    weights.refuse_others(&expected, same_name, |_| false)?;
    let read = weights.read(&expected, same_name, dtype, device)?;
    let mut tensors = match &config.ia3 {
        Some(ia3) => ia3::ones(ia3, &spec, dtype, device)?,
        None => BTreeMap::new(),
    };
    for Stored { there, here, split } in stored {
        let blocks = split(&read[&there.0], here.len(), &spec)?;
        for (name, block) in here.into_iter().zip(blocks) {
            let product = match tensors.remove(&name) {
                Some(factor) => (factor * block)?,
                None => block,
            };
            tensors.insert(name, product);
        }
    }
    if let Some(whole) = read.get(embedding)
        && whole.dim(0)? > spec.vocabulary
    {
        let added = whole.narrow(0, spec.vocabulary, whole.dim(0)? - spec.vocabulary)?;
        tensors.insert(Attached::SPECIAL_TOKENS.into(), added.contiguous()?);
    }
    config.check(&path)?;
    Ok(SavedAdapter { config, tensors })
}

/// A prefix of some length.
fn prefix_in(path: &Path, length: usize, layout: &Layout) -> Result<PrefixConfig> {
    let bad = |field: &str, message: &str| Err(Error::config(path, field, message));
    if length == 0 {
        return bad("num_virtual_tokens", "expected at least 1, found 0");
    }
    if layout.embeddings.is_none() {
        let message = "expected \"LORA\" or \"IA3\": PEFT's prefix-tuning takes no RoBERTa \
                       classifier";
        return bad("peft_type", message);
    }
    Ok(PrefixConfig {
        length,
        offset_positions: true,
        reparametrisation: None,
    })
}
