//! Adapters elsewhere: folded into the backbone, and in PEFT's layout.

use super::agreement::compare;
use crate::bounds::{UNIT_ROUNDOFF_F32, UNIT_ROUNDOFF_F64};
use crate::cases::{ModelCase, method, roberta};
use crate::engines::candle::{array, results};
use crate::engines::{Candle, Paper, Specification, candles, translate};
use crate::{Case, Claim, Engine, Error, Present, Result, Target, Tolerance};
use candle_core::{DType, Device, Tensor};
use inducer_gpu::files::merge::merge;
use inducer_gpu::{Method, SavedAdapter, peft};
use inducer_reference::{AdapterConfig, AttentionConfig, Projection};
use ndarray::{Array2, ArrayD, Ix2, Ix3};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let share = |id| Claim::new(id).one_case_in(8).at_least(13);
    vec![
        share("lora-merged").on_each(candles(present), merged),
        share("roberta-lora-merged")
            .about(roberta)
            .on_each(candles(present), merged),
        share("peft-export").on_one_sided(Target::CpuF32, exported),
        share("roberta-peft-export")
            .about(roberta)
            .on_one_sided(Target::CpuF32, exported),
        share("peft-prefix").on_one_sided(Target::CpuF32, prefixes),
        share("roberta-peft-prefix")
            .about(roberta)
            .on_one_sided(Target::CpuF32, no_prefix),
    ]
}

/// The adapter of a case as files hold it.
pub(super) fn saved(engine: &Candle, given: &ModelCase) -> Result<SavedAdapter> {
    let tensors = given.adapter.iter();
    let tensors: Result<BTreeMap<String, Tensor>> = tensors
        .map(|(name, x)| Ok((name.clone(), engine.tensor(x)?)))
        .collect();
    Ok(SavedAdapter {
        config: translate(&given.method)?,
        tensors: tensors?,
    })
}

/// LoRA or (IA)³ on any targets, folded into the backbone, is the function of the reference with
/// the adapter beside it. In the control another adapter is folded in.
fn merged(engine: &Candle, case: &mut Case) -> Result<()> {
    let which = match case.draw.turn % 3 {
        0 => Method::Ia3,
        _ => Method::Lora,
    };
    let given = ModelCase::with(&mut case.draw, case.family, which)?;
    let mut other = given.clone();
    if case.control {
        other.change("", |x| 1.25 * x);
    }
    let mut built = engine.backbone(&given)?;
    let rest = merge(built.backbone.as_mut(), &saved(engine, &other)?)?;
    let describe = given.describe();
    case.same(rest.is_none(), true, || {
        format!("{describe}: nothing is left over")
    });
    let found = results(&built, &given)?.without_gates();
    let expected = Paper::computed_in::<f64>(&given)?;
    let bounds = Paper::conditioning(&given)?;
    let bounds = bounds.and(&bounds);
    let units = [engine.roundoff(), UNIT_ROUNDOFF_F64];
    compare(case, &describe, &found, &expected, &bounds, units);
    Ok(())
}

/// What PEFT makes of an exported LoRA, `(lora_alpha/r) B A` (`/√r` with rsLoRA) and the bias times
/// that factor, is the update of each projection, and nothing where there is none; where B is
/// square too. In the control the update is 5/4 of it.
fn exported(case: &mut Case) -> Result<()> {
    let (given, scale) = with_lora(case)?;
    let engine = Candle::cpu_f32();
    let dir = crate::scratch::folder()?;
    let built = engine.backbone(&given)?;
    let saved = saved(&engine, &given)?;
    peft::export(&saved, built.backbone.as_ref(), dir.path())?;
    let there = There::read(dir.path())?;
    let scale = scale * case.or_control(1.0, 1.25);
    for layer in 0..given.backbone.layers() {
        for (place, target) in PROJECTIONS.into_iter().enumerate() {
            same_update(
                case,
                &given,
                &there,
                scale,
                Map {
                    layer,
                    place,
                    target,
                },
            )?;
        }
    }
    Ok(())
}

/// A prefix as PEFT has it: the text begins behind it.
fn prefix(length: usize) -> AdapterConfig {
    AdapterConfig {
        attention: Some(AttentionConfig::Prefix {
            length,
            offset_positions: true,
            reparametrisation: None,
        }),
        ..method::none()
    }
}

/// PEFT's prefix is one row for each position, of the layers' keys and values one after the other,
/// head by head; it is read again as it was. In the control the heads stand in the opposite order.
fn prefixes(case: &mut Case) -> Result<()> {
    let backbone = (case.family)(&mut case.draw);
    let length = case.draw.size(1, 4);
    let given = ModelCase::of(&mut case.draw, backbone, prefix(length))?;
    let [layers, heads, d] = given.backbone.sizes();
    let p = d / heads;
    let engine = Candle::cpu_f32();
    let dir = crate::scratch::folder()?;
    let built = engine.backbone(&given)?;
    peft::export(
        &saved(&engine, &given)?,
        built.backbone.as_ref(),
        dir.path(),
    )?;
    let there = There::read(dir.path())?;
    let mut prompt = there
        .tensors
        .iter()
        .filter(|(name, _)| name == "prompt_embeddings");
    let prompt = prompt.next().map(|(_, x)| x.clone()).unwrap_or_default();
    let describe = given.describe();
    case.same(prompt.shape(), [length, 2 * layers * d].as_slice(), || {
        format!("{describe}: shape of the prompt")
    });
    for layer in 0..layers {
        for (kind, part) in ["key", "value"].into_iter().enumerate() {
            let name = format!("transformer.h.{layer}.attn.prefix.{part}");
            for ((head, t, c), x) in given.adapter[&name]
                .view()
                .into_dimensionality::<Ix3>()?
                .indexed_iter()
            {
                let head = if case.control { heads - 1 - head } else { head };
                let column = (2 * layer + kind) * d + head * p + c;
                case.same(prompt.get([t, column]), Some(x), || {
                    format!("{describe}: {name}, head {head}, position {t}, {c}")
                });
            }
        }
    }
    let read = peft::import(
        dir.path(),
        built.backbone.as_ref(),
        DType::F32,
        &Device::Cpu,
    )?;
    for (name, x) in &given.adapter {
        let found = read.tensors.get(name).map(array).transpose()?;
        case.same(found.as_ref(), Some(x), || {
            format!("{describe}: {name}, read again")
        });
    }
    Ok(())
}

/// PEFT's prefix-tuning takes no RoBERTa with a classifier: a prefix on one is not written in its
/// layout, nor is one read that stands there, and the error names the field and the reason. In the
/// control (IA)³ stands in its place.
fn no_prefix(case: &mut Case) -> Result<()> {
    let backbone = (case.family)(&mut case.draw);
    let length = case.draw.size(1, 4);
    let config = match case.control {
        true => method::random(&mut case.draw, Method::Ia3),
        false => prefix(length),
    };
    let given = ModelCase::of(&mut case.draw, backbone, config)?;
    let engine = Candle::cpu_f32();
    let built = engine.backbone(&given)?;
    let backbone = built.backbone.as_ref();
    let (out, own) = (crate::scratch::folder()?, crate::scratch::folder()?);
    let written = peft::export(&saved(&engine, &given)?, backbone, out.path()).err();
    let files = std::fs::read_dir(out.path())?.count();
    if !case.control {
        write_prefix(case, &given, length, own.path())?;
    }
    let from = case.or_control(own.path(), out.path());
    let read = peft::import(from, backbone, DType::F32, &Device::Cpu).err();
    let describe = given.describe();
    case.same(files, 0, || format!("{describe}: files that are written"));
    for (what, error, field) in [
        ("written", written, "field `attention`"),
        ("read", read, "field `peft_type`"),
    ] {
        let error = error.map(|error| error.to_string());
        let says = |part: &str| error.as_ref().is_some_and(|error| error.contains(part));
        case.same(says(field) && says("classifier"), true, || {
            format!("{describe}: a prefix is not {what}, by {field}: {error:?}")
        });
    }
    Ok(())
}

/// A prefix in PEFT's layout with the sizes of this backbone.
fn write_prefix(case: &mut Case, given: &ModelCase, length: usize, dir: &Path) -> Result<()> {
    let [layers, heads, d] = given.backbone.sizes();
    let config = serde_json::json!({
        "peft_type": "PREFIX_TUNING",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": "",
        "num_virtual_tokens": length,
        "token_dim": d,
        "num_transformer_submodules": 1,
        "num_attention_heads": heads,
        "num_layers": layers,
        "encoder_hidden_size": d,
        "prefix_projection": false,
        "inference_mode": true,
    });
    std::fs::write(dir.join("adapter_config.json"), config.to_string())?;
    let prompt: Array2<f64> = case.draw.array((length, 2 * layers * d), 1.0);
    let prompt = Candle::cpu_f32().tensor(&prompt.into_dyn())?;
    let tensors = HashMap::from([("prompt_embeddings", prompt)]);
    candle_core::safetensors::save(&tensors, dir.join("adapter_model.safetensors"))?;
    Ok(())
}

const PROJECTIONS: [Projection; 3] = [Projection::Q, Projection::K, Projection::V];

/// A model with LoRA on some projections, in half of the cases with as many rows in B as columns;
/// and its factor.
fn with_lora(case: &mut Case) -> Result<(ModelCase, f64)> {
    let backbone = (case.family)(&mut case.draw);
    let square = case.draw.chance(0.5);
    let targets: &[Projection] = match square {
        true => &PROJECTIONS,
        false => case
            .draw
            .pick(&[&PROJECTIONS[..1], &PROJECTIONS[1..], &PROJECTIONS[..2]]),
    };
    let bias = case.draw.chance(0.7);
    let mut lora = method::lora(&mut case.draw, targets, bias);
    lora.use_rslora = case.draw.chance(0.3);
    if square {
        lora.rank = backbone.hidden();
    }
    let rank = lora.rank as f64;
    let scale = lora.alpha / if lora.use_rslora { rank.sqrt() } else { rank };
    let config = AdapterConfig {
        lora: Some(lora),
        ..method::none()
    };
    Ok((ModelCase::of(&mut case.draw, backbone, config)?, scale))
}

/// A projection of a layer.
#[derive(Clone, Copy)]
struct Map {
    layer: usize,
    place: usize,
    target: Projection,
}

impl Map {
    /// Its module there, and its rows in the module's outputs.
    fn module(self, given: &ModelCase) -> (String, Range<usize>) {
        let (layer, d) = (self.layer, given.backbone.hidden());
        let name = ["query", "key", "value"][self.place];
        match given.backbone.classifies() {
            true => (format!("layer.{layer}.attention.self.{name}"), 0..d),
            false => (
                format!("h.{layer}.attn.c_attn"),
                self.place * d..(self.place + 1) * d,
            ),
        }
    }

    /// One of its LoRA's tensors.
    fn own(self, given: &ModelCase, part: &str) -> Option<ArrayD<f64>> {
        let (layer, letter) = (format!(".{}.", self.layer), self.target.letter());
        let end = format!("lora.{letter}.{part}");
        let mut found = given.adapter.iter();
        let own = |name: &str| name.ends_with(&end) && name.contains(&layer);
        found.find(|(name, _)| own(name)).map(|(_, x)| x.clone())
    }
}

/// What PEFT makes of a projection's part of a module is `scale` times the update.
fn same_update(
    case: &mut Case,
    given: &ModelCase,
    there: &There,
    scale: f64,
    map: Map,
) -> Result<()> {
    let (name, rows) = map.module(given);
    let describe = format!("{}: {name}, {}", given.describe(), map.target.letter());
    let update = there.update(&name, rows.clone())?;
    let (Some(a), Some(b)) = (map.own(given, "a"), map.own(given, "b")) else {
        let nothing = update.iter().flatten().all(|x| *x == 0.0);
        case.same(nothing, true, || format!("{describe} is no target"));
        return Ok(());
    };
    let (a, b) = (matrix(a)?, matrix(b)?);
    let size = b.mapv(f64::abs).dot(&a.mapv(f64::abs)) * scale.abs();
    let expected = b.dot(&a) * scale;
    let found = update.unwrap_or_else(|| Array2::zeros((0, 0)));
    case.same(found.dim(), expected.dim(), || format!("{describe}: shape"));
    let u = UNIT_ROUNDOFF_F32;
    for (at, found) in found.indexed_iter() {
        let most = size.get(at).copied().unwrap_or(f64::NAN);
        let tolerance = Tolerance::stated(8.0 * u * most, "8 u (α/r) |B| |A|");
        let expected = expected.get(at).copied().unwrap_or(f64::NAN);
        case.close(*found, expected, &tolerance, || {
            format!("{describe} at {at:?}")
        });
    }
    let Some(own) = map.own(given, "bias") else {
        return Ok(());
    };
    let found = there.bias(&name, rows)?;
    for (i, (own, found)) in own.iter().zip(&found).enumerate() {
        let expected = own * scale;
        let tolerance = Tolerance::stated(8.0 * u * expected.abs(), "8 u (α/r) |b|");
        case.close(*found, expected, &tolerance, || {
            format!("{describe}: bias at {i}")
        });
    }
    Ok(())
}

fn matrix(x: ArrayD<f64>) -> Result<Array2<f64>> {
    Ok(x.into_dimensionality::<Ix2>()?)
}

/// An adapter of PEFT's, read without the engine's code.
pub(super) struct There {
    pub(super) tensors: Vec<(String, ArrayD<f64>)>,
    pub(super) config: serde_json::Value,
}

impl There {
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let config = std::fs::read_to_string(dir.join("adapter_config.json"))?;
        let file = dir.join("adapter_model.safetensors");
        let tensors = candle_core::safetensors::load(file, &Device::Cpu)?;
        let numbers = tensors.into_iter().map(|(name, t)| Ok((name, array(&t)?)));
        Ok(Self {
            tensors: numbers.collect::<Result<_>>()?,
            config: serde_json::from_str(&config)?,
        })
    }

    fn tensor(&self, module: &str, part: &str) -> Option<&ArrayD<f64>> {
        let end = format!("{module}.{part}");
        let mut found = self.tensors.iter().filter(|(name, _)| name.ends_with(&end));
        found.next().map(|(_, x)| x)
    }

    /// lora_alpha/r of a module.
    fn scale(&self, module: &str) -> f64 {
        let pattern = |name: &str, usual: &str| {
            let own = self.config[name].as_object().into_iter().flatten();
            let mut own = own.filter(|(key, _)| key.ends_with(module));
            let own = own.next().map(|(_, value)| value.clone());
            own.unwrap_or_else(|| self.config[usual].clone())
                .as_f64()
                .unwrap_or(f64::NAN)
        };
        let (alpha, r) = (
            pattern("alpha_pattern", "lora_alpha"),
            pattern("rank_pattern", "r"),
        );
        match self.config["use_rslora"] == true {
            true => alpha / r.sqrt(),
            false => alpha / r,
        }
    }

    /// Some rows of a module's update; none where it has none.
    fn update(&self, module: &str, rows: Range<usize>) -> Result<Option<Array2<f64>>> {
        let (a, b) = ("lora_A.weight", "lora_B.weight");
        let (Some(a), Some(b)) = (self.tensor(module, a), self.tensor(module, b)) else {
            return Ok(None);
        };
        let product = matrix(b.clone())?.dot(&matrix(a.clone())?) * self.scale(module);
        Ok(Some(product.slice(ndarray::s![rows, ..]).to_owned()))
    }

    /// Some of a module's bias, times its factor.
    fn bias(&self, module: &str, rows: Range<usize>) -> Result<Vec<f64>> {
        let bias = self.tensor(module, "lora_B.bias");
        let bias = bias.ok_or_else(|| Error::Missing(format!("{module}.lora_B.bias")))?;
        let scale = self.scale(module);
        Ok(bias
            .iter()
            .skip(rows.start)
            .take(rows.len())
            .map(|x| x * scale)
            .collect())
    }
}
