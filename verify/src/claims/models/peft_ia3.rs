//! (IA)³ in PEFT's layout: files written by hand as the engine reads them, and its own read by
//! hand.
//!
//! ```text
//! y = l ⊙ (x W + b), l [out, 1];  y = (l ⊙ x) W + b, l [1, in], of a feed-forward module
//! ```

use super::agreement::compare;
use super::exchange::{There, saved};
use super::imports::{layers_of, maps, plain};
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::{BackboneConfig, Draw, ModelCase, roberta};
use crate::engines::candle::{array, results};
use crate::engines::{Candle, Paper, Specification, candles};
use crate::{Case, Claim, Engine, Error, Present, Result, Target};
use candle_core::{DType, Device, Tensor};
use inducer_gpu::kernels::precision::master_dtype;
use inducer_gpu::{Method, peft};
use inducer_reference::Backbone as _;
use ndarray::{Array1, ArrayD, Axis, IxDyn};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let share = |id| Claim::new(id).one_case_in(8).at_least(15);
    vec![
        share("peft-ia3").on_each(candles(present), imported),
        share("roberta-peft-ia3")
            .about(roberta)
            .on_each(candles(present), imported),
        share("peft-ia3-export").on_one_sided(Target::CpuF32, exported),
        share("roberta-peft-ia3-export")
            .about(roberta)
            .on_one_sided(Target::CpuF32, exported),
    ]
}

/// A linear map of a layer that takes a vector.
#[derive(Clone, Copy)]
struct Rescaled {
    name: &'static str,
    inputs: usize,
    outputs: usize,
    /// Whether it is a feed-forward module of PEFT's, whose inputs are rescaled.
    feeds: bool,
    /// Whether PEFT rescales it unless it is told what to.
    usual: bool,
}

/// The one map of a layer that takes none.
const WITHOUT: [&str; 2] = ["mlp.c_fc", "intermediate.dense"];

/// The maps whose inputs are rescaled.
const FEEDS: [&str; 4] = [
    "attn.c_proj",
    "mlp.c_proj",
    "attention.output.dense",
    "output.dense",
];

/// PEFT's own choice; the last two by their common end.
const USUAL: [&str; 6] = [
    "attn.c_attn",
    "mlp.c_proj",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "output.dense",
];

/// The maps of a layer that take a vector.
fn rescaled(backbone: &BackboneConfig) -> impl Iterator<Item = Rescaled> {
    let all = maps(backbone).into_iter();
    let some = all.filter(|(name, ..)| !WITHOUT.contains(name));
    some.map(|(name, inputs, outputs)| Rescaled {
        name,
        inputs,
        outputs,
        feeds: FEEDS.contains(&name),
        usual: USUAL.contains(&name),
    })
}

/// Which modules a file names, in turn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// None: PEFT's own choice.
    Usual,
    /// All, by the ends of their names.
    All,
    /// Some, by their whole names.
    Named,
    /// All but one, which `exclude_modules` names.
    Excluded,
}

const KINDS: [Kind; 4] = [Kind::Usual, Kind::All, Kind::Named, Kind::Excluded];

/// Modules by their whole names, and the fields that name them.
struct Chosen {
    modules: Vec<(String, Rescaled)>,
    fields: Value,
}

fn chosen(draw: &mut Draw, backbone: &BackboneConfig, kind: Kind) -> Chosen {
    let within = layers_of(backbone);
    let layers = 0..backbone.layers();
    let mut modules: Vec<(String, Rescaled)> = layers
        .flat_map(|layer| {
            rescaled(backbone).map(move |map| (format!("{within}.{layer}.{}", map.name), map))
        })
        .collect();
    let one = draw.size(0, modules.len() - 1);
    let ends: [&[&str]; 2] = match backbone.classifies() {
        true => [
            &["query", "key", "value", "output.dense"],
            &["output.dense"],
        ],
        false => [&["c_attn", "c_proj"], &["c_proj"]],
    };
    let fields = match kind {
        Kind::Usual => {
            modules.retain(|(_, map)| map.usual);
            json!({})
        }
        Kind::All => json!({ "target_modules": ends[0], "feedforward_modules": ends[1] }),
        Kind::Named => {
            let kept = (0..modules.len()).map(|at| at == one || draw.chance(0.5));
            let mut kept: Vec<bool> = kept.collect();
            modules.retain(|_| kept.pop() == Some(true));
            let names = |feeds: bool| -> Vec<&String> {
                let some = modules.iter().filter(|(_, map)| map.feeds || !feeds);
                some.map(|(key, _)| key).collect()
            };
            json!({ "target_modules": names(false), "feedforward_modules": names(true) })
        }
        Kind::Excluded => {
            let (key, _) = modules.remove(one);
            let end = key.strip_prefix(within).unwrap_or_default();
            json!({
                "target_modules": ends[0],
                "feedforward_modules": ends[1],
                "exclude_modules": [end.trim_start_matches('.')],
            })
        }
    };
    Chosen { modules, fields }
}

/// The module with its vector in its weight and, where that stands on its output, its bias.
fn fold(merged: &mut ModelCase, key: &str, map: Rescaled, l: &Array1<f64>) -> Result<()> {
    // GPT-2's maps are [inputs, outputs], RoBERTa's [outputs, inputs]
    let axis = usize::from(map.feeds == merged.backbone.classifies());
    for (part, axis) in [("weight", axis), ("bias", 0)] {
        if part == "bias" && map.feeds {
            continue;
        }
        let name = format!("{key}.{part}");
        let tensor = merged.weights.get_mut(&name);
        let tensor = tensor.ok_or_else(|| Error::Missing(name.clone()))?;
        for (mut lane, l) in tensor.axis_iter_mut(Axis(axis)).zip(l) {
            lane.mapv_inplace(|x| x * l);
        }
    }
    Ok(())
}

/// Writes a file of PEFT's for this backbone; what PEFT makes of the two, each vector l taken for
/// `1 + factor (l − 1)`.
fn written(
    draw: &mut Draw,
    given: &ModelCase,
    (kind, factor): (Kind, f64),
    dir: &Path,
) -> Result<ModelCase> {
    let (mut merged, mut tensors) = (given.clone(), HashMap::new());
    let engine = Candle::cpu_f32();
    let Chosen { modules, fields } = chosen(draw, &given.backbone, kind);
    for (key, map) in modules {
        let width = if map.feeds { map.inputs } else { map.outputs };
        let l: Array1<f64> = draw.array(width, 1.25);
        let axis = Axis(usize::from(!map.feeds));
        let stored: Tensor = engine.tensor(&l.clone().insert_axis(axis).into_dyn())?;
        tensors.insert(format!("base_model.model.{key}.ia3_l"), stored);
        fold(
            &mut merged,
            &key,
            map,
            &l.mapv(|l| 1.0 + factor * (l - 1.0)),
        )?;
    }
    for (name, x) in &given.adapter {
        tensors.insert(format!("base_model.model.{name}"), engine.tensor(x)?);
    }
    let classifies = given.backbone.classifies();
    let mut config = json!({
        "auto_mapping": null,
        "base_model_name_or_path": "",
        "fan_in_fan_out": !classifies,
        "inference_mode": true,
        "init_ia3_weights": true,
        "modules_to_save": classifies.then_some(["classifier", "score"]),
        "peft_type": "IA3",
        "revision": null,
        "task_type": if classifies { "SEQ_CLS" } else { "CAUSAL_LM" },
    });
    if let (Some(config), Value::Object(fields)) = (config.as_object_mut(), fields) {
        config.extend(fields);
    }
    std::fs::write(dir.join("adapter_config.json"), config.to_string())?;
    candle_core::safetensors::save(&tensors, dir.join("adapter_model.safetensors"))?;
    Ok(merged)
}

/// The backbone with (IA)³ read from PEFT's layout is the reference with the vectors folded in by
/// hand, those of queries and of heads before W^o among them. In the control each is twice as far
/// from one.
fn imported(engine: &Candle, case: &mut Case) -> Result<()> {
    let kind = *case.draw.in_turn(&KINDS);
    let given = plain(case)?;
    let factor = case.or_control(1.0, 2.0);
    let dir = crate::scratch::folder()?;
    let merged = written(&mut case.draw, &given, (kind, factor), dir.path())?;
    let mut built = engine.backbone(&given)?;
    let dtype: DType = master_dtype(engine.dtype);
    let read = peft::import(dir.path(), built.backbone.as_ref(), dtype, &engine.device)?;
    built.install(&read.config, read.tensors)?;
    let found = results(&built, &given)?.without_gates();
    let expected = Paper::computed_in::<f64>(&merged)?;
    let bounds = Paper::conditioning(&merged)?;
    let bounds = bounds.and(&bounds);
    let units = [engine.roundoff(), UNIT_ROUNDOFF_F64];
    let describe = format!("{kind:?}, {}", given.describe());
    compare(case, &describe, &found, &expected, &bounds, units);
    Ok(())
}

/// What PEFT's file of a model's (IA)³ holds, by module: of GPT-2's fused map all three blocks, of
/// which the queries' is ones, and so is one that is no target. With keys and values `exchanged`
/// each has the other's.
fn vectors(given: &ModelCase, exchanged: bool) -> Result<BTreeMap<String, ArrayD<f64>>> {
    let (layout, d) = (given.backbone.layout(), given.backbone.hidden());
    let own = |name: String| -> Option<Vec<f64>> {
        let l = given.adapter.get(&name)?;
        Some(l.iter().copied().collect())
    };
    let letters = if exchanged { ["v", "k"] } else { ["k", "v"] };
    let mut all = BTreeMap::new();
    for layer in 0..given.backbone.layers() {
        let (attention, ffn) = (layout.attention_name(layer), layout.ffn_name(layer));
        let [key, value] = letters.map(|letter| own(format!("{attention}.ia3.{letter}")));
        let at = format!("{}.{layer}", layers_of(&given.backbone));
        let (outputs, second) = match given.backbone.classifies() {
            true => (
                vec![("attention.self.key", key), ("attention.self.value", value)],
                "output.dense",
            ),
            false => {
                let any = key.is_some() || value.is_some();
                let blocks = [None, key, value].into_iter();
                let fused = blocks.flat_map(|l| l.unwrap_or_else(|| vec![1.0; d]));
                let fused = any.then(|| fused.collect());
                (vec![("attn.c_attn", fused)], "mlp.c_proj")
            }
        };
        let outputs = outputs.into_iter().map(|(name, l)| (name, l, false));
        let input = (second, own(format!("{ffn}.ia3")), true);
        for (name, l, feeds) in outputs.chain([input]) {
            if let Some(l) = l {
                let shape = if feeds { [1, l.len()] } else { [l.len(), 1] };
                let l = ArrayD::from_shape_vec(IxDyn(&shape), l)?;
                all.insert(format!("{at}.{name}"), l);
            }
        }
    }
    Ok(all)
}

/// An exported (IA)³ has PEFT's tensors, its fields name by PEFT's rules the modules of these alone
/// and those whose inputs they rescale, and it is read again as it was. In the control keys and
/// values have changed places.
fn exported(case: &mut Case) -> Result<()> {
    let given = ModelCase::with(&mut case.draw, case.family, Method::Ia3)?;
    let engine = Candle::cpu_f32();
    let dir = crate::scratch::folder()?;
    let built = engine.backbone(&given)?;
    let backbone = built.backbone.as_ref();
    peft::export(&saved(&engine, &given)?, backbone, dir.path())?;
    let there = There::read(dir.path())?;
    let (describe, expected) = (given.describe(), vectors(&given, case.control)?);
    let mut found = BTreeMap::new();
    for (name, x) in &there.tensors {
        let key = name.strip_prefix("base_model.model.");
        if let Some(key) = key.and_then(|key| key.strip_suffix(".ia3_l")) {
            found.insert(key.to_owned(), x.clone());
        }
    }
    case.same(found.len(), expected.len(), || {
        format!("{describe}: how many vectors")
    });
    for (key, l) in &expected {
        case.same(found.get(key), Some(l), || format!("{describe}: {key}"));
    }
    case.same(there.config["peft_type"].as_str(), Some("IA3"), || {
        format!("{describe}: its kind")
    });
    named(case, &given, &there, &expected);
    let read = peft::import(dir.path(), backbone, DType::F32, &Device::Cpu)?;
    let all = given.adapter.keys();
    let lost: Vec<&String> = all.filter(|n| !read.tensors.contains_key(*n)).collect();
    case.same(lost, Vec::new(), || format!("{describe}: what is lost"));
    for (name, x) in &read.tensors {
        // a block of a fused map that is no target has a vector there
        let own = given.adapter.get(name).cloned();
        let own = own.unwrap_or_else(|| ArrayD::ones(IxDyn(x.dims())));
        let x = array(x)?;
        case.same(x, own, || format!("{describe}: {name}, read again"));
    }
    Ok(())
}

/// Of all linear maps PEFT finds those with a vector by `target_modules`, and by
/// `feedforward_modules` those of them whose inputs are rescaled.
fn named(
    case: &mut Case,
    given: &ModelCase,
    there: &There,
    expected: &BTreeMap<String, ArrayD<f64>>,
) {
    let list = |field: &str| -> Vec<String> {
        let names = there.config[field].as_array().into_iter().flatten();
        names
            .filter_map(|n| n.as_str().map(str::to_owned))
            .collect()
    };
    let (targets, inputs) = (list("target_modules"), list("feedforward_modules"));
    let heads: &[&str] = match given.backbone.classifies() {
        true => &["classifier.dense", "classifier.out_proj"],
        false => &["lm_head"],
    };
    let mut all: Vec<(String, bool)> = heads.iter().map(|n| ((*n).into(), false)).collect();
    let within = layers_of(&given.backbone);
    for layer in 0..given.backbone.layers() {
        for (name, ..) in maps(&given.backbone) {
            all.push((format!("{within}.{layer}.{name}"), FEEDS.contains(&name)));
        }
    }
    let describe = given.describe();
    for (key, feeds) in all {
        let whole_or_end = |t: &String| key == *t || key.ends_with(&format!(".{t}"));
        let target = targets.iter().any(whole_or_end);
        case.same(target, expected.contains_key(&key), || {
            format!("{describe}: {key} is a target")
        });
        if target {
            let input = inputs.iter().any(|t| key.ends_with(t.as_str()));
            case.same(input, feeds, || format!("{describe}: side of {key}"));
        }
    }
}
