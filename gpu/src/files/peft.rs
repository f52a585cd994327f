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

pub mod fields;
mod ia3;
mod lora;
mod matching;
mod modules;

use super::adapter::{CONFIG, PEFT_PREFIX, SavedAdapter, write_files};
use super::io::read_json;
use super::safetensors::{Weights, same_name};
use crate::adapter::{AdapterConfig, Attached, Attention};
use crate::backbone::{self, Backbone};
use crate::config::{BackboneConfig, Spec, parsed};
use crate::counts::{Shape, shapes};
use crate::error::{Error, Result};
use crate::parts::PrefixConfig;
use crate::tensors::{Source, Tensors as _};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

const PROMPT: &str = "prompt_embeddings";

/// What PEFT calls the parts of a backbone's adapters; read and written by the same names.
struct Layout {
    /// What (IA)³ acts on.
    ia3: &'static ia3::Layout,
    /// The whole embedding beside a LoRA, and beside a prefix, which PEFT wraps around the model
    /// once less; none where there is no prefix-tuning and special tokens are not trained.
    embeddings: Option<[&'static str; 2]>,
    /// The task of an adapter that does not name one.
    task: &'static str,
}

const GPT2: Layout = Layout {
    ia3: &ia3::GPT2,
    embeddings: Some([
        "base_model.model.transformer.wte.weight",
        "base_model.transformer.wte.weight",
    ]),
    task: "CAUSAL_LM",
};

const ROBERTA: Layout = Layout {
    ia3: &ia3::ROBERTA,
    embeddings: None,
    task: "SEQ_CLS",
};

impl Layout {
    fn of(backbone: &BackboneConfig) -> &'static Self {
        match backbone {
            BackboneConfig::Gpt2(_) => &GPT2,
            BackboneConfig::Roberta(_) => &ROBERTA,
        }
    }

    fn is_fused(&self) -> bool {
        self.embeddings.is_some()
    }

    /// The name of the whole embedding beside a prefix or without one; that of no tensor where
    /// there is none.
    fn embedding(&self, beside_prefix: bool) -> &'static str {
        self.embeddings
            .map_or("", |e| e[usize::from(beside_prefix)])
    }
}

/// The tensors of the head that is trained with every method.
fn head_shapes(backbone: &BackboneConfig) -> Result<Vec<Shape>> {
    let outline = Source::outline();
    let head = backbone::declare_head(backbone, &outline.root())?;
    Ok(shapes(head.parameters()))
}

/// Whether a configuration is PEFT's own: its `peft_type` is any but this project's.
///
/// # Errors
/// A `peft_type` of PEFT's that is not read here.
pub(super) fn is_peft_config(path: &Path, config: &Value) -> Result<bool> {
    match config["peft_type"].as_str() {
        None | Some("INDUCER") => Ok(false),
        Some(kind) if fields::of(kind).is_some() => Ok(true),
        Some(kind) => {
            let expected = "\"INDUCER\", or of PEFT \"LORA\", \"IA3\" or \"PREFIX_TUNING\"";
            let message = format!("expected {expected}, found \"{kind}\"");
            Err(Error::config(path, "peft_type", message))
        }
    }
}

/// Whether a directory's `adapter_config.json` is PEFT's own.
///
/// # Errors
/// A missing or broken file; a `peft_type` that is not read here.
pub fn is_peft(dir: &Path) -> Result<bool> {
    let path = dir.join(CONFIG);
    is_peft_config(&path, &read_json(&path)?)
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
    if c.custom.is_some() {
        return unknown(
            "custom",
            "PEFT's layout has no part of one's own; expected LoRA, (IA)³ or a prefix alone",
        );
    }
    if c.full || c.bitfit {
        return unknown(
            "full",
            "PEFT's layout holds no backbone tensors; `merge` makes a backbone of them",
        );
    }
    let (mut config, mut tensors) = match (&c.attention, &c.lora, &c.ia3) {
        (None, Some(lora), None) => lora::export(saved, lora, backbone)?,
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
    tuned_out(saved, &mut config, &mut tensors)?;
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

/// The backbone's own tensors under their names there: PEFT loads what has the name of one. A
/// module with LoRA is wrapped, and a head of its own has to be saved as a module.
fn tuned_out(
    saved: &SavedAdapter,
    config: &mut Value,
    tensors: &mut BTreeMap<String, Tensor>,
) -> Result<()> {
    if saved.config.unties() {
        config["modules_to_save"] = json!(["wte", "lm_head"]);
    }
    for name in &saved.config.tuned {
        let (module, kind) = name.rsplit_once('.').unwrap_or((name, ""));
        let wrapped = format!("{PEFT_PREFIX}{module}.lora_A.weight");
        let there = match tensors.contains_key(&wrapped) {
            true => format!("{PEFT_PREFIX}{module}.base_layer.{kind}"),
            false => format!("{PEFT_PREFIX}{name}"),
        };
        tensors.insert(there, saved.tensor(name)?.clone());
    }
    Ok(())
}

/// What every configuration of PEFT has.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Given {
    peft_type: String,
    task_type: Option<String>,
    base_model_name_or_path: Option<String>,
}

/// What a method's reader has found: its tensors under this project's names, the names in the file
/// that it has read, and the modules that PEFT wraps.
#[derive(Default)]
struct Read {
    tensors: BTreeMap<String, Tensor>,
    taken: HashSet<String>,
    wrapped: Vec<String>,
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

impl Read {
    /// Reads what a method says is stored, into factors that are there already or as it is.
    fn stored(
        mut self,
        stored: Vec<Stored>,
        weights: &Weights,
        spec: &Spec,
        (dtype, device): (DType, &Device),
    ) -> Result<Self> {
        for Stored { there, here, split } in stored {
            let name = there.0.clone();
            let found = weights.read(&[there], same_name, dtype, device)?;
            for (here, block) in here.iter().zip(split(&found[&name], here.len(), spec)?) {
                let product = match self.tensors.remove(here) {
                    Some(factor) => (factor * block)?,
                    None => block,
                };
                self.tensors.insert(here.clone(), product);
            }
            self.taken.insert(name);
        }
        Ok(self)
    }
}

/// The parts of an adapter in PEFT's layout, without its tensors: what `train` takes as a method.
///
/// # Errors
/// A field that asks for what is not computed here.
pub(super) fn config_in(
    path: &Path,
    whole: &Value,
    backbone: &BackboneConfig,
) -> Result<AdapterConfig> {
    let given: Given = parsed(path, whole)?;
    let layout = Layout::of(backbone);
    let mut config = AdapterConfig {
        task_type: given.task_type.unwrap_or_else(|| layout.task.into()),
        base_model_name_or_path: given.base_model_name_or_path.unwrap_or_default(),
        ..AdapterConfig::none()
    };
    match given.peft_type.as_str() {
        "LORA" => config.lora = Some(lora::config_in(path, whole, backbone)?),
        "IA3" => config.ia3 = Some(ia3::stored(path, whole, backbone)?.0),
        _ => config.attention = Some(Attention::Prefix(prefix_in(path, whole, backbone)?)),
    }
    config.check(path)?;
    Ok(config)
}

/// Reads an adapter in PEFT's layout for a backbone.
///
/// # Errors
/// A missing or broken file; a missing, extra or wrongly shaped tensor; a field that asks for what
/// is not computed here.
pub fn import(
    dir: &Path,
    backbone: &dyn Backbone,
    dtype: DType,
    device: &Device,
) -> Result<SavedAdapter> {
    let path = dir.join(CONFIG);
    let whole = read_json(&path)?;
    let (own, weights) = (backbone.config(), Weights::open_adapter(dir)?);
    let (spec, as_type) = (own.spec(), (dtype, device));
    let mut config = config_in(&path, &whole, &own)?;
    let read = if config.lora.is_some() {
        lora::import(&path, &whole, &own, &weights, as_type)?.1
    } else if let Some(ia3) = &config.ia3 {
        let tensors = ia3::ones(ia3, &spec, dtype, device)?;
        let stored = ia3::stored(&path, &whole, &own)?.1;
        let read = Read {
            tensors,
            ..Read::default()
        };
        read.stored(stored, &weights, &spec, as_type)?
    } else {
        let length = config.prefix().map_or(0, |p| p.length);
        let stored = Stored {
            there: (PROMPT.into(), vec![length, 2 * spec.layers * spec.hidden]),
            here: PrefixConfig::names(&spec).collect(),
            split: |all, _, spec| Ok(PrefixConfig::split(all, spec)?),
        };
        Read::default().stored(vec![stored], &weights, &spec, as_type)?
    };
    let tensors = modules::read(
        &path,
        &whole,
        backbone,
        &weights,
        read,
        &mut config,
        as_type,
    )?;
    config.check(&path)?;
    Ok(SavedAdapter { config, tensors })
}

/// A prefix of some length.
fn prefix_in(path: &Path, whole: &Value, backbone: &BackboneConfig) -> Result<PrefixConfig> {
    fields::check(path, whole, fields::PREFIX)?;
    let bad = |field: &str, message: String| Err(Error::config(path, field, message));
    if Layout::of(backbone).embeddings.is_none() {
        let message = "expected \"LORA\" or \"IA3\": PEFT's prefix-tuning takes no RoBERTa \
                       classifier, found \"PREFIX_TUNING\"";
        return bad("peft_type", message.into());
    }
    let spec = backbone.spec();
    for (field, wanted) in [
        ("token_dim", spec.hidden),
        ("num_layers", spec.layers),
        ("num_attention_heads", spec.heads.count),
        ("num_transformer_submodules", 1),
    ] {
        let found = &whole[field];
        if !found.is_null() && found.as_u64() != Some(wanted as u64) {
            return bad(field, format!("expected {wanted}, found {found}"));
        }
    }
    let found = &whole["num_virtual_tokens"];
    match found.as_u64().and_then(|n| usize::try_from(n).ok()) {
        Some(length) if length > 0 => Ok(PrefixConfig {
            length,
            offset_positions: true,
            reparametrisation: None,
        }),
        _ => bad(
            "num_virtual_tokens",
            format!("expected at least 1, found {found}"),
        ),
    }
}
