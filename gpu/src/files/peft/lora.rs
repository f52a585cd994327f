//! LoRA in PEFT's layout.

use super::{Exported, Layout, Module, Stored, config_out, rows};
use crate::config::{BackboneConfig, Spec};
use crate::error::{Error, Result};
use crate::files::adapter::{PEFT_PREFIX, SavedAdapter};
use crate::parts::{LoraConfig, Target};
use candle_core::Tensor;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

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

/// The targets in one map share its A, in which each has `rank` rows; in its B each has the columns
/// of those, and projections that are no target are 0.
pub(super) fn export(
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
    // PEFT divides by r · count, or by its root
    let factor = if lora.use_rslora {
        (count as f64).sqrt()
    } else {
        count as f64
    };
    let fields = json!({
        "r": r * count,
        "lora_alpha": lora.alpha * factor,
        "lora_dropout": lora.dropout,
        "lora_bias": lora.bias,
        "use_rslora": lora.use_rslora,
        "target_modules": names,
        "fan_in_fan_out": layout.is_fused(),
        "bias": "none",
        "inference_mode": true,
    });
    Ok((config_out(saved, "LORA", fields), tensors))
}

/// The fields of PEFT's configuration that decide the function. All others are PEFT's own business.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Given {
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
}

impl Given {
    /// Checks the values; returns LoRA's targets in the order q, k, v.
    fn check(&self, path: &Path, layout: &Layout) -> Result<Vec<Target>> {
        let bad = |field: &str, message: String| Err(Error::config(path, field, message));
        if self.r == 0 {
            return bad("r", "expected at least 1, found 0".into());
        }
        if self.use_dora {
            let message = "expected false: this engine computes plain LoRA";
            return bad("use_dora", message.into());
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

/// The part that a configuration of PEFT's describes.
pub(super) fn config_in(path: &Path, config: Value, layout: &Layout) -> Result<LoraConfig> {
    let given = Given::deserialize(config).map_err(|e| Error::json(path, e))?;
    Ok(LoraConfig {
        targets: given.check(path, layout)?,
        rank: given.r,
        alpha: given.lora_alpha,
        dropout: given.lora_dropout,
        bias: given.lora_bias,
        use_rslora: given.use_rslora,
    })
}

/// All of it for each.
fn copies(all: &Tensor, count: usize, _: &Spec) -> Result<Vec<Tensor>> {
    (0..count).map(|_| Ok(all.copy()?)).collect()
}

/// The tensors in PEFT's file.
pub(super) fn stored(lora: &LoraConfig, backbone: &BackboneConfig) -> Vec<Stored> {
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
                    split: if here == "a" { copies } else { rows },
                });
            }
        }
    }
    all
}
