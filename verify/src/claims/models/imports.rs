//! Adapters of PEFT's, written by hand, as the engine reads them.
//!
//! ```text
//! W ← W + s B A,  s = α/r, or α/√r with rsLoRA;  b ← b + s β
//! W ← m ∘ (W + s B A)/‖W + s B A‖ row by row, with DoRA
//! ```

use super::agreement::compare;
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::model::ADDED;
use crate::cases::{BackboneConfig, Draw, ModelCase, method, roberta};
use crate::engines::candle::results;
use crate::engines::{Candle, Paper, Specification, candles};
use crate::{Case, Claim, Engine, Error, Present, Result};
use candle_core::{DType, Device, Tensor};
use inducer_gpu::kernels::precision::master_dtype;
use inducer_gpu::peft;
use ndarray::{Array1, Array2, Axis, Ix1, Ix2};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let share = |id| Claim::new(id).one_case_in(8).at_least(15);
    vec![
        share("peft-import").on_each(candles(present), imported),
        share("roberta-peft-import")
            .about(roberta)
            .on_each(candles(present), imported),
    ]
}

/// What a file has beside plain LoRA, in turn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    RankStabilised,
    Bias,
    Dora,
    Patterns,
    /// One layer, by `layers_to_transform`, and no module that `exclude_modules` names.
    Chosen,
}

const KINDS: [Kind; 6] = [
    Kind::Plain,
    Kind::RankStabilised,
    Kind::Bias,
    Kind::Dora,
    Kind::Patterns,
    Kind::Chosen,
];

/// A linear map of a layer: name, inputs, outputs.
pub(super) type LinearMap = (&'static str, usize, usize);

/// The linear maps of a layer, in their order.
pub(super) fn maps(backbone: &BackboneConfig) -> Vec<LinearMap> {
    let d = backbone.hidden();
    match backbone {
        BackboneConfig::Gpt2(config) => {
            let inner = config.n_inner.unwrap_or(4 * d);
            vec![
                ("attn.c_attn", d, 3 * d),
                ("attn.c_proj", d, d),
                ("mlp.c_fc", d, inner),
                ("mlp.c_proj", inner, d),
            ]
        }
        BackboneConfig::Roberta(config) => vec![
            ("attention.self.query", d, d),
            ("attention.self.key", d, d),
            ("attention.self.value", d, d),
            ("attention.output.dense", d, d),
            ("intermediate.dense", d, config.intermediate_size),
            ("output.dense", config.intermediate_size, d),
        ],
    }
}

/// Where layers stand.
pub(super) fn layers_of(backbone: &BackboneConfig) -> &'static str {
    match backbone.classifies() {
        true => "roberta.encoder.layer",
        false => "transformer.h",
    }
}

/// A backbone without special tokens, which a file of PEFT's would hold otherwise.
pub(super) fn plain(case: &mut Case) -> Result<ModelCase> {
    let backbone = (case.family)(&mut case.draw);
    let mut given = ModelCase::of(&mut case.draw, backbone, method::none())?;
    given.adapter.remove(ADDED);
    let ids = given.backbone.vocabulary() as u32;
    for row in &mut given.rows {
        let all = row.ids.iter_mut().chain(row.segments.iter_mut().flatten());
        all.for_each(|id| *id %= ids);
        if !given.backbone.classifies() {
            let labels = row.labels.iter_mut().filter(|label| **label >= 0);
            labels.for_each(|label| *label %= i64::from(ids));
        }
    }
    Ok(given)
}

/// A file that is being written, and the backbone with its updates folded in.
struct File {
    config: Map<String, Value>,
    tensors: HashMap<String, Tensor>,
    merged: ModelCase,
}

impl File {
    fn put(
        &mut self,
        name: String,
        shape: &[usize],
        values: impl Iterator<Item = f64>,
    ) -> Result<()> {
        let values: Vec<f32> = values.map(|x| x as f32).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?;
        self.tensors.insert(name, tensor);
        Ok(())
    }

    /// LoRA on one map of a layer.
    fn add(
        &mut self,
        draw: &mut Draw,
        key: &str,
        [inputs, outputs]: [usize; 2],
        kind: Kind,
        (rank, alpha, factor): (usize, f64, f64),
    ) -> Result<()> {
        let (a, b): (Array2<f64>, Array2<f64>) = (
            draw.array((rank, inputs), 1.0),
            draw.array((outputs, rank), 1.0),
        );
        let there = |part: &str| format!("base_model.model.{key}.{part}");
        self.put(there("lora_A.weight"), &[rank, inputs], a.iter().copied())?;
        self.put(there("lora_B.weight"), &[outputs, rank], b.iter().copied())?;
        let scale = factor
            * match kind {
                Kind::RankStabilised => alpha / (rank as f64).sqrt(),
                _ => alpha / rank as f64,
            };
        // GPT-2's maps are [inputs, outputs], RoBERTa's [outputs, inputs]
        let transposed = !self.merged.backbone.classifies();
        let name = format!("{key}.weight");
        let weight = self.merged.weights.get(&name);
        let weight = weight.ok_or_else(|| Error::Missing(name.clone()))?;
        let own = weight.clone().into_dimensionality::<Ix2>()?;
        let own = if transposed { own.reversed_axes() } else { own };
        let mut new = own + b.dot(&a) * scale;
        if kind == Kind::Dora {
            let lengths = new.map_axis(Axis(1), |row| row.dot(&row).sqrt());
            let magnitude: Array1<f64> = lengths
                .iter()
                .map(|length| f64::from((length * draw.between(0.7, 1.4)) as f32))
                .collect();
            let factors = &magnitude / &lengths;
            new *= &factors.insert_axis(Axis(1));
            let there = there("lora_magnitude_vector");
            self.put(there, &[outputs], magnitude.iter().copied())?;
        }
        let new = if transposed { new.reversed_axes() } else { new };
        let new = new.as_standard_layout().to_owned().into_dyn();
        self.merged.weights.insert(name, new);
        if kind == Kind::Bias {
            let beta: Array1<f64> = draw.array(outputs, 1.0);
            self.put(there("lora_B.bias"), &[outputs], beta.iter().copied())?;
            let name = format!("{key}.bias");
            let bias = self.merged.weights.get_mut(&name);
            let bias = bias.ok_or_else(|| Error::Missing(name))?;
            let mut own = bias.view_mut().into_dimensionality::<Ix1>()?;
            own += &(beta * scale);
        }
        Ok(())
    }
}

/// The modules that have a LoRA.
struct Modules {
    within: &'static str,
    layers: usize,
    targets: Vec<LinearMap>,
    /// The only layer, which `layers_to_transform` names.
    chosen: Option<usize>,
    /// What `exclude_modules` names.
    excluded: Option<&'static str>,
}

impl Modules {
    /// Those of all layers, or of the chosen one without its second target.
    fn of(backbone: &BackboneConfig, mut targets: Vec<LinearMap>, chosen: Option<usize>) -> Self {
        if chosen.is_some() {
            // the end of a name, which RoBERTa's `output.dense` shares with the attention's
            targets.retain(|(name, ..)| *name != "output.dense");
            if targets.is_empty() {
                targets = maps(backbone)[..2].to_vec();
            }
        }
        let excluded = targets.get(1).filter(|_| chosen.is_some());
        Self {
            within: layers_of(backbone),
            layers: backbone.layers(),
            excluded: excluded.map(|(name, ..)| *name),
            targets,
            chosen,
        }
    }

    /// The whole name of each, with its inputs and outputs.
    fn keys(&self) -> Vec<(String, [usize; 2])> {
        let layers = (0..self.layers).filter(|at| self.chosen.is_none_or(|only| only == *at));
        let of_layer = |layer| {
            let left = self
                .targets
                .iter()
                .filter(|(name, ..)| self.excluded != Some(name));
            left.map(move |(name, inputs, outputs)| {
                let key = format!("{}.{layer}.{name}", self.within);
                (key, [*inputs, *outputs])
            })
        };
        layers.flat_map(of_layer).collect()
    }

    /// What `target_modules` names: whole names, or the ends of names where other fields choose.
    fn names(&self) -> Vec<String> {
        match self.chosen {
            Some(_) => self
                .targets
                .iter()
                .map(|(name, ..)| (*name).into())
                .collect(),
            None => self.keys().into_iter().map(|(key, _)| key).collect(),
        }
    }
}

/// A file of PEFT's for this backbone, and what PEFT makes of the two: every update times `factor`.
fn written(draw: &mut Draw, given: &ModelCase, kind: Kind, factor: f64) -> Result<File> {
    let all = maps(&given.backbone);
    let first = draw.size(0, all.len() - 1);
    let mut targets = vec![all[first]];
    for (i, map) in all.iter().enumerate() {
        if i != first && draw.chance(0.4) {
            targets.push(*map);
        }
    }
    let (rank, alpha) = (draw.size(1, 4), draw.between(0.5, 3.0));
    let chosen = (kind == Kind::Chosen).then(|| draw.size(0, given.backbone.layers() - 1));
    let modules = Modules::of(&given.backbone, targets, chosen);
    // of two patterns that fit the first counts
    let name = modules.targets[0].0;
    let patterns = [
        (format!("0.{name}"), rank + 1, 2.0 * alpha),
        (name.to_owned(), rank + 2, 3.0 * alpha),
    ];
    let patterns = &patterns[..if kind == Kind::Patterns { 2 } else { 0 }];
    let ranks: Map<_, _> = patterns
        .iter()
        .map(|(p, rank, _)| (p.clone(), json!(rank)))
        .collect();
    let alphas: Map<_, _> = patterns
        .iter()
        .map(|(p, _, a)| (p.clone(), json!(a)))
        .collect();
    let roberta = given.backbone.classifies();
    let config = json!({
        "peft_type": "LORA",
        "task_type": if roberta { "SEQ_CLS" } else { "CAUSAL_LM" },
        "base_model_name_or_path": "",
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": modules.names(),
        "fan_in_fan_out": !roberta,
        "bias": "none",
        "use_rslora": kind == Kind::RankStabilised,
        "use_dora": kind == Kind::Dora,
        "lora_bias": kind == Kind::Bias,
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "layers_to_transform": modules.chosen,
        "exclude_modules": modules.excluded.map(|name| [name]),
    });
    let mut file = File {
        config: config.as_object().cloned().unwrap_or_default(),
        tensors: HashMap::new(),
        merged: given.clone(),
    };
    for (name, x) in &given.adapter {
        file.put(
            format!("base_model.model.{name}"),
            x.shape(),
            x.iter().copied(),
        )?;
    }
    for (key, sizes) in modules.keys() {
        let mut fitting = patterns.iter();
        let own = fitting.find(|(pattern, ..)| key.ends_with(&format!(".{pattern}")));
        let (rank, alpha) = own.map_or((rank, alpha), |(_, rank, alpha)| (*rank, *alpha));
        file.add(draw, &key, sizes, kind, (rank, alpha, factor))?;
    }
    Ok(file)
}

/// The backbone with an adapter read from PEFT's layout is the reference with the updates folded
/// in by hand. In the control they are twice as large.
fn imported(engine: &Candle, case: &mut Case) -> Result<()> {
    let kind = *case.draw.in_turn(&KINDS);
    let given = plain(case)?;
    let factor = case.or_control(1.0, 2.0);
    let file = written(&mut case.draw, &given, kind, factor)?;
    let dir = crate::scratch::folder()?;
    let config = serde_json::to_vec(&file.config)?;
    std::fs::write(dir.path().join("adapter_config.json"), config)?;
    candle_core::safetensors::save(&file.tensors, dir.path().join("adapter_model.safetensors"))?;
    let mut built = engine.backbone(&given)?;
    let dtype: DType = master_dtype(engine.dtype);
    let read = peft::import(dir.path(), built.backbone.as_ref(), dtype, &engine.device)?;
    built.install(&read.config, read.tensors)?;
    let found = results(&built, &given)?.without_gates();
    let expected = Paper::computed_in::<f64>(&file.merged)?;
    let bounds = Paper::conditioning(&file.merged)?;
    let bounds = bounds.and(&bounds);
    let units = [engine.roundoff(), UNIT_ROUNDOFF_F64];
    let describe = format!("{kind:?}, {}", given.describe());
    compare(case, &describe, &found, &expected, &bounds, units);
    Ok(())
}
