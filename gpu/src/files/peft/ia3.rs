//! (IA)³ in PEFT's layout: one vector `ia3_l` a module, [out, 1] on its output or, for a
//! `feedforward_modules`, [1, in] on its input.
//!
//! ```text
//! GPT-2     attn.c_attn: l_q, l_k, l_v     attn.c_proj: l_o     mlp.c_proj: l_ff
//! RoBERTa   attention.self.query: l_q, .key: l_k, .value: l_v
//!           attention.output.dense: l_o     output.dense: l_ff
//! ```
//!
//! The method has no l_q and no l_o (on the heads, before W^o). Out: l_q is ones, l_o is left out.
//! In: both are folded, `(l_q ⊙ q)·(l_k ⊙ k) = q·(l_q ⊙ l_k ⊙ k)` and `l_o ⊙ Σ w (l_v ⊙ v) =
//! Σ w (l_o ⊙ l_v ⊙ v)`. PEFT's `output.dense` names both of RoBERTa's modules that end so; what is
//! written says `layer.0.output.dense` and so on, which is the FFN's alone.

use super::{Exported, Stored, config_out, fields, rows};
use crate::config::{BackboneConfig, Spec};
use crate::error::{Error, Result};
use crate::files::adapter::{PEFT_PREFIX, SavedAdapter};
use crate::parts::{Ia3Config, Ia3Target};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A block of a module's vector: this project's own, or one that is folded into it.
#[derive(Clone, Copy)]
enum Block {
    Own(Ia3Target),
    Folded(Ia3Target),
}
use Block::{Folded, Own};
use Ia3Target::{Ffn, K, V};

/// A module that a vector can stand on.
struct Module {
    /// Its name below a layer's.
    name: &'static str,
    /// What a list of targets calls it, where a short name says which module is meant.
    short: Option<&'static str>,
    /// Whether the vector acts on its input.
    input: bool,
    blocks: &'static [Block],
}

impl Module {
    /// What its blocks rescale.
    fn targets(&self) -> impl Iterator<Item = Ia3Target> + Clone {
        let blocks = self.blocks.iter();
        blocks.map(|(Own(target) | Folded(target))| *target)
    }
}

const fn module(
    name: &'static str,
    short: Option<&'static str>,
    blocks: &'static [Block],
) -> Module {
    Module {
        name,
        short,
        input: false,
        blocks,
    }
}

const fn on_input(module: Module) -> Module {
    Module {
        input: true,
        ..module
    }
}

/// What PEFT's (IA)³ knows of a backbone.
pub(super) struct Layout {
    modules: &'static [Module],
    /// Where PEFT puts it unless it is told.
    targets: &'static [&'static str],
    inputs: &'static [&'static str],
    /// Modules below a layer that have no counterpart here.
    refused_in_layer: &'static [&'static str],
    /// The same outside of the layers.
    refused: &'static [&'static str],
}

pub(super) const GPT2: Layout = Layout {
    modules: &[
        module("attn.c_attn", Some("c_attn"), &[Folded(K), Own(K), Own(V)]),
        on_input(module("attn.c_proj", None, &[Folded(V)])),
        on_input(module("mlp.c_proj", Some("mlp.c_proj"), &[Own(Ffn)])),
    ],
    targets: &["c_attn", "mlp.c_proj"],
    inputs: &["mlp.c_proj"],
    refused_in_layer: &["mlp.c_fc"],
    refused: &["lm_head"],
};

pub(super) const ROBERTA: Layout = Layout {
    modules: &[
        module("attention.self.query", Some("query"), &[Folded(K)]),
        module("attention.self.key", Some("key"), &[Own(K)]),
        module("attention.self.value", Some("value"), &[Own(V)]),
        on_input(module("attention.output.dense", None, &[Folded(V)])),
        on_input(module("output.dense", None, &[Own(Ffn)])),
    ],
    targets: &["key", "value", "output.dense"],
    inputs: &["output.dense"],
    refused_in_layer: &["intermediate.dense"],
    refused: &["classifier.dense", "classifier.out_proj"],
};

fn key(spec: &Spec, layer: usize, module: &str) -> String {
    format!("{}.{module}", spec.layer_name(layer))
}

fn tensor_name(key: &str) -> String {
    format!("{PEFT_PREFIX}{key}.ia3_l")
}

/// The adapter's tensors and configuration there; the head and special tokens are not among them.
pub(super) fn export(
    saved: &SavedAdapter,
    ia3: &Ia3Config,
    backbone: &BackboneConfig,
) -> Result<Exported> {
    let (layout, spec) = (super::Layout::of(backbone), backbone.spec());
    let given = |block: &Block| matches!(block, Own(target) if ia3.targets.contains(target));
    let (mut tensors, mut targets, mut inputs) = (BTreeMap::new(), Vec::new(), Vec::new());
    for layer in 0..spec.layers {
        for module in layout.ia3.modules {
            if !module.blocks.iter().any(given) {
                continue;
            }
            let blocks = module.blocks.iter().map(|block| {
                let (Own(target) | Folded(target)) = block;
                match given(block) {
                    true => saved
                        .tensor(&target.name(layer, &spec))?
                        .to_dtype(DType::F32),
                    false => Tensor::ones(target.width(&spec), DType::F32, &Device::Cpu),
                }
                .map_err(Error::from)
            });
            let vector = Tensor::cat(&blocks.collect::<Result<Vec<_>>>()?, 0)?;
            let key = key(&spec, layer, module.name);
            let vector = vector.unsqueeze(if module.input { 0 } else { 1 })?;
            tensors.insert(tensor_name(&key), vector);
            let target = module.short.map_or(key, String::from);
            if module.input && !inputs.contains(&target) {
                inputs.push(target.clone());
            }
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    let fields = json!({
        "target_modules": targets,
        "feedforward_modules": inputs,
        "fan_in_fan_out": layout.is_fused(),
        "init_ia3_weights": true,
        "inference_mode": true,
    });
    Ok((config_out(saved, "IA3", fields), tensors))
}

/// Modules as a configuration names them.
struct Names(Vec<String>);

impl Names {
    /// A field with a list of names; what PEFT takes where the field is null or absent.
    fn read(path: &Path, config: &Value, field: &str, default: &[&str]) -> Result<Self> {
        let list: Option<Vec<String>> = match &config[field] {
            Value::Null => Some(default.iter().map(ToString::to_string).collect()),
            given => Vec::deserialize(given).ok(),
        };
        list.map(Self).ok_or_else(|| {
            let message = format!("expected a list of module names, found {}", config[field]);
            Error::config(path, field, message)
        })
    }

    /// PEFT's rule for targets.
    fn target(&self, key: &str) -> bool {
        let names = |name: &String| key.strip_suffix(name.as_str());
        let rest = |before: &str| before.is_empty() || before.ends_with('.');
        self.0.iter().filter_map(names).any(rest)
    }

    /// PEFT's rule for `feedforward_modules`.
    fn ends(&self, key: &str) -> bool {
        self.0.iter().any(|name| key.ends_with(name.as_str()))
    }
}

/// The modules of a configuration that carry a vector: (layer, module).
fn carriers(
    path: &Path,
    config: &Value,
    backbone: &BackboneConfig,
) -> Result<Vec<(usize, &'static Module)>> {
    let (spec, known) = (backbone.spec(), super::Layout::of(backbone).ia3);
    let bad = |field: &str, message: String| Err(Error::config(path, field, message));
    let targets = Names::read(path, config, "target_modules", known.targets)?;
    let excluded = Names::read(path, config, "exclude_modules", &[])?;
    let inputs = Names::read(path, config, "feedforward_modules", known.inputs)?;
    let chosen = |key: &str| targets.target(key) && !excluded.target(key);
    let mut all = Vec::new();
    for layer in 0..spec.layers {
        for module in known.modules {
            let key = key(&spec, layer, module.name);
            if !chosen(&key) {
                continue;
            }
            if inputs.ends(&key) != module.input {
                let side = if module.input { "input" } else { "output" };
                let message = format!("expected a vector on the {side} of {key}");
                return bad("feedforward_modules", message);
            }
            all.push((layer, module));
        }
    }
    let in_layers = known
        .refused_in_layer
        .iter()
        .map(|module| key(&spec, 0, module));
    let mut others = in_layers.chain(known.refused.iter().map(ToString::to_string));
    if let Some(key) = others.find(|key| chosen(key)) {
        let message = format!("expected none on {key}, which (IA)³ does not rescale here");
        return bad("target_modules", message);
    }
    if all.is_empty() {
        let message = format!(
            "expected modules like {:?}, found {:?}",
            known.targets, targets.0
        );
        return bad("target_modules", message);
    }
    Ok(all)
}

/// The part that a configuration of PEFT's describes, and the tensors in its file.
pub(super) fn stored(
    path: &Path,
    config: &Value,
    backbone: &BackboneConfig,
) -> Result<(Ia3Config, Vec<Stored>)> {
    fields::check(path, config, fields::IA3)?;
    let (carriers, spec) = (carriers(path, config, backbone)?, backbone.spec());
    let stored = carriers.iter().map(|(layer, module)| {
        let targets = module.targets();
        let width = targets.clone().map(|target| target.width(&spec)).sum();
        let shape = if module.input { [1, width] } else { [width, 1] };
        Stored {
            there: (
                tensor_name(&key(&spec, *layer, module.name)),
                shape.to_vec(),
            ),
            here: targets.map(|target| target.name(*layer, &spec)).collect(),
            split: |all, count, spec| rows(&all.flatten_all()?, count, spec),
        }
    });
    let mut targets: Vec<Ia3Target> = carriers.iter().flat_map(|(_, m)| m.targets()).collect();
    targets.sort();
    targets.dedup();
    Ok((Ia3Config { targets }, stored.collect()))
}

/// What factors start from, and stay in a layer that has none.
pub(super) fn ones(
    ia3: &Ia3Config,
    spec: &Spec,
    dtype: DType,
    device: &Device,
) -> Result<BTreeMap<String, Tensor>> {
    let mut all = BTreeMap::new();
    for layer in 0..spec.layers {
        for target in &ia3.targets {
            let ones = Tensor::ones(target.width(spec), dtype, device)?;
            all.insert(target.name(layer, spec), ones);
        }
    }
    Ok(all)
}
