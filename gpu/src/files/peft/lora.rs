//! LoRA in PEFT's layout.

use super::fields;
use super::matching::{Matching, Module, Pattern, modules, others};
use super::{Exported, Read, config_out};
use crate::backbone::Backbone;
use crate::config::{BackboneConfig, Spec, parsed};
use crate::error::{Error, Result};
use crate::files::adapter::{PEFT_PREFIX, SavedAdapter};
use crate::files::safetensors::Weights;
use crate::parts::{LoraConfig, LoraException, Target};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// What PEFT puts LoRA on unless it is told.
fn usual_targets(backbone: &BackboneConfig) -> &'static [&'static str] {
    match backbone {
        BackboneConfig::Gpt2(_) => &["c_attn"],
        BackboneConfig::Roberta(c) if c.model_type == "camembert" => &[],
        BackboneConfig::Roberta(_) => &["query", "value"],
    }
}

/// This project's name of a LoRA tensor.
fn own(spec: &Spec, layer: usize, target: Target, name: &str) -> String {
    format!("{}.{name}", LoraConfig::name(target, layer, spec))
}

/// PEFT's name of a LoRA tensor.
fn there(key: &str, name: &str) -> String {
    format!("{PEFT_PREFIX}{key}.{name}")
}

/// The scalar fields, with PEFT's defaults.
#[derive(Deserialize)]
#[serde(default)]
struct Given {
    r: usize,
    lora_alpha: f64,
    lora_dropout: f64,
    lora_bias: bool,
    bias: String,
    use_dora: bool,
    use_rslora: bool,
    init_lora_weights: Value,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            r: 8,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            lora_bias: false,
            bias: "none".into(),
            use_dora: false,
            use_rslora: false,
            init_lora_weights: Value::Bool(true),
        }
    }
}

impl Given {
    fn check(&self, path: &Path) -> Result<()> {
        let bad = |field: &str, message: String| Err(Error::config(path, field, message));
        if self.r == 0 {
            return bad("r", "expected at least 1, found 0".into());
        }
        if !["none", "all", "lora_only"].contains(&self.bias.as_str()) {
            let message = "expected \"none\", \"all\" or \"lora_only\"";
            return bad("bias", format!("{message}, found {:?}", self.bias));
        }
        let start = &self.init_lora_weights;
        let plain = start.as_str().is_some_and(|s| {
            ["gaussian", "eva", "orthogonal"].contains(&s.to_lowercase().as_str())
        });
        if !start.is_boolean() && !plain {
            let message = "expected true, false, \"gaussian\", \"eva\" or \"orthogonal\" (others \
                           change the backbone when PEFT loads the adapter; save it with \
                           path_initial_model_for_weight_conversion)";
            return bad("init_lora_weights", format!("{message}, found {start}"));
        }
        if self.use_dora && self.lora_bias {
            return bad("lora_bias", "expected false beside `use_dora`".into());
        }
        Ok(())
    }
}

/// A module with LoRA, its rank and α.
struct Site {
    module: Module,
    rank: usize,
    alpha: f64,
}

/// The modules that carry LoRA.
fn sites(
    path: &Path,
    config: &Value,
    given: &Given,
    backbone: &BackboneConfig,
) -> Result<Vec<Site>> {
    let matching = Matching::read(path, config, usual_targets(backbone))?;
    let bad = |message: String| Err(Error::config(path, "target_modules", message));
    if let Some(key) = others(backbone)
        .iter()
        .find(|key| matching.targets(key, false))
    {
        let found = &config["target_modules"];
        return bad(format!(
            "expected linear maps of the layers, found {found}, which means {key}"
        ));
    }
    let ranks = Pattern::read(path, config, "rank_pattern")?;
    let alphas = Pattern::read(path, config, "alpha_pattern")?;
    let spec = backbone.spec();
    let mut all = Vec::new();
    for module in modules(backbone) {
        let key = module.key(&spec);
        if !matching.targets(&key, true) {
            continue;
        }
        let rank = ranks.of(&key, given.r as f64);
        if rank < 1.0 || rank.fract() != 0.0 {
            let message = format!("expected whole numbers from 1 on, found {rank} for {key}");
            return Err(Error::config(path, "rank_pattern", message));
        }
        let alpha = alphas.of(&key, given.lora_alpha);
        all.push(Site {
            module,
            rank: rank as usize,
            alpha,
        });
    }
    if all.is_empty() {
        let (found, expected) = (&config["target_modules"], usual_targets(backbone));
        return bad(format!("expected modules like {expected:?}, found {found}"));
    }
    Ok(all)
}

/// The part that some sites make.
fn part(given: &Given, sites: &[Site], spec: &Spec) -> LoraConfig {
    let mut targets: Vec<Target> = sites.iter().flat_map(|s| s.module.holds).copied().collect();
    targets.sort();
    targets.dedup();
    let mut exceptions = Vec::new();
    for layer in 0..spec.layers {
        for target in &targets {
            let own = |s: &&Site| s.module.layer == layer && s.module.holds.contains(target);
            let found = sites
                .iter()
                .find(own)
                .map_or((0, given.lora_alpha), |s| (s.rank, s.alpha));
            if found != (given.r, given.lora_alpha) {
                let (rank, alpha) = found;
                exceptions.push(LoraException {
                    layer,
                    target: *target,
                    rank,
                    alpha,
                });
            }
        }
    }
    LoraConfig {
        dropout: given.lora_dropout,
        bias: given.lora_bias,
        use_rslora: given.use_rslora,
        use_dora: given.use_dora,
        exceptions,
        ..LoraConfig::new(&targets, given.r, given.lora_alpha)
    }
}

/// Only the configuration, as `train --method` takes it.
pub(super) fn config_in(
    path: &Path,
    config: &Value,
    backbone: &BackboneConfig,
) -> Result<LoraConfig> {
    fields::check(path, config, fields::LORA)?;
    let given: Given = parsed(path, config)?;
    given.check(path)?;
    let sites = sites(path, config, &given, backbone)?;
    Ok(part(&given, &sites, &backbone.spec()))
}

/// The part that a configuration of PEFT's describes, and its tensors.
pub(super) fn import(
    path: &Path,
    config: &Value,
    backbone: &BackboneConfig,
    weights: &Weights,
    (dtype, device): (DType, &Device),
) -> Result<(LoraConfig, Read)> {
    fields::check(path, config, fields::LORA)?;
    let given: Given = parsed(path, config)?;
    given.check(path)?;
    let (sites, spec) = (sites(path, config, &given, backbone)?, backbone.spec());
    let mut read = Read::default();
    for site in &sites {
        let (key, holds) = (site.module.key(&spec), site.module.holds);
        let [inputs, outputs] = holds[0].sizes(&spec);
        let (rank, outputs) = (site.rank, outputs * holds.len());
        let mut tensors = vec![
            ("lora_A.weight", "a", vec![rank, inputs]),
            ("lora_B.weight", "b", vec![outputs, rank]),
        ];
        if given.lora_bias {
            tensors.push(("lora_B.bias", "bias", vec![outputs]));
        }
        if given.use_dora {
            tensors.push(("lora_magnitude_vector", "magnitude", vec![outputs]));
        }
        for (name, here, shape) in tensors {
            let name = there(&key, name);
            let both = |n: &str| vec![n.to_string(), format!("{n}.weight")];
            let found = weights.read(&[(name.clone(), shape)], both, dtype, device)?;
            read.taken.extend(both(&name));
            for (i, target) in holds.iter().enumerate() {
                let block = match here {
                    "a" => found[&name].copy()?,
                    _ => {
                        let rows = outputs / holds.len();
                        found[&name].narrow(0, i * rows, rows)?.copy()?
                    }
                };
                read.tensors
                    .insert(own(&spec, site.module.layer, *target, here), block);
            }
        }
        read.wrapped.push(key);
    }
    Ok((part(&given, &sites, &spec), read))
}

/// A module's update on the way out.
struct Update {
    key: String,
    rank: usize,
    alpha: f64,
    tensors: Vec<(&'static str, Tensor)>,
}

/// The targets in one module share its A, in which each has the rows of its rank; in its B each has
/// the columns of those, and projections that are no target are 0. PEFT multiplies by α/R, or
/// α/√R, for the sum R of the ranks.
fn update(
    saved: &SavedAdapter,
    lora: &LoraConfig,
    backbone: &dyn Backbone,
    module: &Module,
) -> Result<Option<Update>> {
    let (spec, layer) = (backbone.spec(), module.layer);
    let at = |target: &Target| {
        lora.at(layer, *target)
            .map(|(r, alpha)| (*target, r, alpha))
    };
    let given: Vec<_> = module.holds.iter().filter_map(at).collect();
    let Some((first, rank, alpha)) = given.first().copied() else {
        return Ok(None);
    };
    let scale = lora.scale(rank, alpha);
    let whole: usize = given.iter().map(|(_, r, _)| r).sum();
    let tensor = |target, name: &str| saved.tensor(&own(&spec, layer, target, name));
    let like = tensor(first, "a")?;
    let zeros = |shape: &[usize]| Tensor::zeros(shape, like.dtype(), like.device());
    let (mut a, mut b, mut bias, mut magnitude, mut before) = (vec![], vec![], vec![], vec![], 0);
    for target in module.holds {
        let [_, outputs] = target.sizes(&spec);
        let Some((_, r, alpha)) = given.iter().find(|(t, _, _)| t == target) else {
            b.push(zeros(&[outputs, whole])?);
            bias.push(zeros(&[outputs])?);
            if lora.use_dora {
                let (w, _) = backbone.map(layer, *target)?;
                magnitude.push(w.sqr()?.sum(1)?.sqrt()?.to_dtype(like.dtype())?);
            }
            continue;
        };
        let factor = lora.scale(*r, *alpha) / scale;
        a.push(tensor(*target, "a")?.clone());
        let rows = (tensor(*target, "b")? * factor)?;
        b.push(rows.pad_with_zeros(1, before, whole - before - r)?);
        before += r;
        if lora.bias {
            bias.push((tensor(*target, "bias")? * factor)?);
        }
        if lora.use_dora {
            magnitude.push(tensor(*target, "magnitude")?.clone());
        }
    }
    let mut tensors = vec![
        ("lora_A.weight", Tensor::cat(&a, 0)?),
        ("lora_B.weight", Tensor::cat(&b, 0)?),
    ];
    if lora.bias {
        tensors.push(("lora_B.bias", Tensor::cat(&bias, 0)?));
    }
    if lora.use_dora {
        tensors.push(("lora_magnitude_vector", Tensor::cat(&magnitude, 0)?));
    }
    let size = whole as f64;
    Ok(Some(Update {
        key: module.key(&spec),
        rank: whole,
        alpha: scale * if lora.use_rslora { size.sqrt() } else { size },
        tensors,
    }))
}

/// The adapter's tensors and configuration there.
pub(super) fn export(
    saved: &SavedAdapter,
    lora: &LoraConfig,
    backbone: &dyn Backbone,
) -> Result<Exported> {
    let whole = backbone.config();
    let all = modules(&whole);
    let updates = all
        .iter()
        .map(|module| update(saved, lora, backbone, module));
    let updates: Vec<Option<Update>> = updates.collect::<Result<_>>()?;
    let Some(first) = updates.iter().flatten().next() else {
        return Err(Error::config(
            "adapter_config.json",
            "lora",
            "expected some map with an update",
        ));
    };
    let (rank, alpha) = (first.rank, first.alpha);
    // a name for all layers where it means no more than what has an update
    let in_all = |name: &str| {
        let mut of_name = all.iter().zip(&updates).filter(|(m, _)| m.name == name);
        of_name.all(|(_, update)| update.is_some())
    };
    let alone = |name: &str| {
        let short = name.rsplit('.').next().unwrap_or(name);
        let same = all
            .iter()
            .filter(|m| m.layer == 0 && m.name.rsplit('.').next() == Some(short));
        (same.count() == 1).then(|| short.to_string())
    };
    let (mut targets, mut tensors) = (Vec::new(), BTreeMap::new());
    let (mut ranks, mut alphas) = (Map::new(), Map::new());
    for (module, update) in all.iter().zip(updates.iter()) {
        let Some(update) = update else { continue };
        let short = alone(module.name).filter(|_| in_all(module.name));
        let target = short.unwrap_or_else(|| update.key.clone());
        if !targets.contains(&target) {
            targets.push(target);
        }
        if update.rank != rank {
            ranks.insert(update.key.clone(), update.rank.into());
        }
        if update.alpha != alpha {
            alphas.insert(update.key.clone(), update.alpha.into());
        }
        for (name, tensor) in &update.tensors {
            tensors.insert(there(&update.key, name), tensor.contiguous()?);
        }
    }
    let fields = json!({
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": lora.dropout,
        "lora_bias": lora.bias,
        "use_rslora": lora.use_rslora,
        "use_dora": lora.use_dora,
        "target_modules": targets,
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "fan_in_fan_out": matches!(whole, BackboneConfig::Gpt2(_)),
        "bias": "none",
        "inference_mode": true,
    });
    Ok((config_out(saved, "LORA", fields), tensors))
}
