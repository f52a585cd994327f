//! What a run is asked to do where the command line says nothing: section 6's figures and the sizes
//! of Tables 4 and 5, written here as they stand there.

use super::failed;
use super::world::{World, tokenizer};
use crate::compute::{Device, Precision};
use crate::run::{
    BackboneFacts, Budget, Hyperparameters, Knobs, MethodSpec, Prepared, Rates, RunConfig,
};
use crate::study::preset::Preset;
use anyhow::{Result, anyhow};
use inducer_datasets::Task;
use inducer_datasets::synthetic::{
    self, CoqaConfig, GlueConfig, SyntheticConfig, write_coqa, write_mnli, write_sst2,
};
use inducer_gpu::files::write_json;
use inducer_gpu::train::Schedule;
use inducer_verify::{Case, Claim, Target};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Steps that are asked for where epochs are not: enough for 500 of warm-up.
const STEPS: usize = 5000;

const TASKS: [Task; 4] = [Task::WebNlg, Task::Mnli, Task::Coqa, Task::Sst2];

const METHODS: [&str; 13] = [
    "none",
    "full",
    "bitfit",
    "adapter",
    "lora",
    "prefix",
    "mam-adapter",
    "adaptive",
    "extension",
    "gating",
    "inducer",
    "inducer-lora",
    "mam-inducer",
];

pub(super) fn claims() -> Vec<Claim> {
    let claim = Claim::new("settings-resolved").one_case_in(2).at_least(52);
    vec![claim.on_one_sided(Target::CpuF64, resolved)]
}

/// Figures by their places in a configuration.
type Figures = Vec<(&'static str, Value)>;

/// Without r_k there is no MLP_k.
fn inducer(variant: &str, key: usize, value: usize) -> Figures {
    let key = match key {
        0 => Value::Null,
        r_k => json!(r_k),
    };
    vec![
        ("/adapter/attention/kind", json!("inducer")),
        ("/adapter/attention/variant", json!(variant)),
        ("/adapter/attention/key_bottleneck", key),
        ("/adapter/attention/value_bottleneck", json!(value)),
    ]
}

/// LoRA on these maps: α = 32, dropout 0.1 on its input, a bias in generation alone.
fn lora(targets: &[&str], rank: usize, bias: bool) -> Figures {
    vec![
        ("/adapter/lora/targets", json!(targets)),
        ("/adapter/lora/rank", json!(rank)),
        ("/adapter/lora/alpha", json!(32.0)),
        ("/adapter/lora/dropout", json!(0.1)),
        ("/adapter/lora/bias", json!(bias)),
    ]
}

/// A parallel adapter on the FFN, without a LayerNorm.
fn ffn(bottleneck: usize, s: f64) -> Figures {
    vec![
        ("/adapter/ffn/placement", json!("parallel")),
        ("/adapter/ffn/bottleneck", json!(bottleneck)),
        ("/adapter/ffn/layer_norm", json!(false)),
        ("/adapter/ffn/scale", json!(s)),
    ]
}

/// The sizes of section 7's rows on GPT-2 small (Table 4).
fn generation(method: &str) -> Figures {
    let prefix = |length: usize| {
        vec![
            ("/adapter/attention/kind", json!("prefix")),
            ("/adapter/attention/length", json!(length)),
            ("/adapter/attention/offset_positions", json!(true)),
        ]
    };
    let width = "/adapter/attention/reparametrisation/width";
    match method {
        "full" => vec![("/adapter/full", json!(true))],
        "bitfit" => vec![("/adapter/bitfit", json!(true))],
        "adapter" => vec![
            ("/adapter/attention/kind", json!("adapter")),
            ("/adapter/attention/bottleneck", json!(108)),
            ("/adapter/attention/layer_norm", json!(true)),
        ],
        "lora" => lora(&["q", "v"], 54, true),
        "prefix" => [prefix(108), vec![(width, json!(512))]].concat(),
        "mam-adapter" => [prefix(6), ffn(102, 1.0)].concat(),
        "adaptive" => inducer("adaptive", 0, 108),
        "extension" => inducer("extension", 0, 16),
        "gating" => inducer("gating", 10, 15),
        "inducer" => inducer("inducer", 10, 15),
        "inducer-lora" => [inducer("inducer", 5, 12), lora(&["q"], 24, true)].concat(),
        "mam-inducer" => [
            inducer("inducer", 3, 7),
            lora(&["q"], 16, true),
            ffn(42, 1.0),
        ]
        .concat(),
        _ => Vec::new(),
    }
}

/// Those of Table 5 on RoBERTa base, and what section 4 says of the others there.
fn understanding(method: &str) -> Figures {
    match method {
        "full" | "bitfit" => generation(method),
        "lora" => vec![
            ("/adapter/lora/alpha", json!(32.0)),
            ("/adapter/lora/bias", json!(false)),
            ("/adapter/lora/dropout", json!(0.1)),
        ],
        "mam-adapter" => vec![("/adapter/ffn/scale", json!(2.0))],
        "gating" => inducer("gating", 6, 4),
        "inducer" => inducer("inducer", 6, 4),
        "inducer-lora" => [inducer("inducer", 2, 4), lora(&["q"], 4, false)].concat(),
        "mam-inducer" => [
            inducer("inducer", 2, 2),
            lora(&["q"], 4, false),
            ffn(12, 2.0),
        ]
        .concat(),
        _ => Vec::new(),
    }
}

/// Section 6's column of a task for a method; with the paper's epochs, of so many steps each.
fn section_6(task: Task, method: &str, epoch: Option<usize>) -> Figures {
    let rate = match (task.generates(), method) {
        (true, "full") => 6.25e-5,
        (true, _) => 1.25e-3,
        (false, _) => 2e-4,
    };
    let epochs = if task == Task::Coqa { 5 } else { 10 };
    let steps = match (method, epoch) {
        ("none", _) => 0,
        (_, Some(epoch)) => epochs * epoch,
        (_, None) => STEPS,
    };
    let mut all = vec![
        ("/train/learning_rate", json!(rate)),
        ("/train/steps", json!(steps)),
        ("/train/schedule", json!("linear")),
        ("/train/clip", json!(1.0)),
        ("/train/dropout", json!(0.1)),
        ("/train/accumulation", json!(1)),
        ("/train/optimiser/beta1", json!(0.9)),
        ("/train/optimiser/coupled", json!(false)),
    ];
    all.extend(match task.generates() {
        true => [
            ("/train/label_smoothing", json!(0.1)),
            ("/train/optimiser/beta2", json!(0.999)),
            ("/train/optimiser/eps", json!(1e-8)),
            ("/train/patience", json!(5)),
        ],
        false => [
            ("/train/label_smoothing", json!(0.0)),
            ("/train/optimiser/beta2", json!(0.98)),
            ("/train/optimiser/eps", json!(1e-6)),
            ("/train/patience", Value::Null),
        ],
    });
    if !task.generates() {
        all.push(("/train/optimiser/weight_decay", json!(0.1)));
    }
    let budget = epoch.map_or(STEPS, |epoch| epochs * epoch);
    let warmup = match task.generates() {
        true => 500.min(budget / 6),
        false => budget * 6 / 100,
    };
    all.push(("/train/warmup", json!(warmup)));
    // the early stop looks once an epoch
    all.extend(epoch.map(|epoch| ("/train/validate_every", json!(epoch))));
    all
}

/// A task on the paper's backbone.
type Papers = (Prepared, BackboneFacts);

/// Each of the tasks, read once: its files are not looked at again.
fn of_task(case: &Case) -> Result<&'static Papers> {
    static ALL: LazyLock<[Result<Papers, String>; TASKS.len()]> =
        LazyLock::new(|| TASKS.map(|task| papers(task).map_err(|e| format!("{e:#}"))));
    let found = case.draw.in_turn(&*ALL).as_ref();
    found.map_err(|e| anyhow!("{e}"))
}

/// Data of a task and the configuration of the paper's backbone, without weights, which no setting
/// depends on.
fn papers(task: Task) -> Result<Papers> {
    let dir = inducer_verify::scratch::folder()?;
    let [data, backbone] = ["data", "backbone"].map(|name| dir.path().join(name));
    let (seed, train, dev) = (1, 14, 5);
    let pairs = GlueConfig {
        seed,
        train: 60,
        dev,
    };
    match task {
        Task::WebNlg => synthetic::write(
            &data,
            SyntheticConfig {
                seed,
                train,
                dev,
                test: 4,
            },
        )?,
        Task::Coqa => {
            let sizes = CoqaConfig {
                seed,
                train,
                dev,
                turns: 2,
                ..CoqaConfig::default()
            };
            write_coqa(&data, sizes)?;
        }
        Task::Mnli => write_mnli(&data, pairs)?,
        _ => write_sst2(&data, pairs)?,
    }
    let config = match task.generates() {
        true => json!({ "model_type": "gpt2", "vocab_size": 50_257, "n_positions": 1024,
                        "n_embd": 768, "n_layer": 12, "n_head": 12 }),
        false => json!({ "model_type": "roberta", "vocab_size": 50_265, "hidden_size": 768,
                         "num_hidden_layers": 12, "num_attention_heads": 12,
                         "intermediate_size": 3072, "max_position_embeddings": 514,
                         "type_vocab_size": 1, "layer_norm_eps": 1e-5 }),
    };
    tokenizer(!task.generates())?.save(&backbone)?;
    write_json(&backbone.join("config.json"), &config)?;
    let World {
        prepared, facts, ..
    } = World::of(dir, task)?;
    Ok((prepared, facts))
}

/// Nothing is asked for.
fn nothing() -> Hyperparameters {
    Hyperparameters {
        steps: None,
        batch_size: None,
        learning_rate: Rates::default(),
        warmup: None,
        validate_every: None,
        schedule: Schedule::Linear,
        coupled: false,
        weight_decay: None,
        patience: None,
        dropout: None,
        label_smoothing: None,
        accumulation: 1,
        clip_micro_batches: false,
        equal_micro_batches: false,
        checkpoint_every: 50,
        max_new_tokens: None,
        test_limit: None,
        device: Device::Cpu,
        dtype: Precision::F32,
    }
}

/// A run for which nothing is asked has section 6's settings and the sizes of Tables 4 and 5, with
/// its own number of steps and with the paper's epochs. In the control the other column of section
/// 6 is expected.
fn resolved(case: &mut Case) -> inducer_verify::Result<()> {
    let method = *case.draw.in_turn(&METHODS);
    let epochs = case.draw.chance(0.5);
    let batch_size = case.draw.size(1, 9);
    let (prepared, facts) = of_task(case).map_err(failed)?;
    let task = prepared.source.task;
    let found = || -> Result<Value> {
        let spec = MethodSpec::find(method, &prepared.backbone, &Knobs::default())?;
        let hyper = match epochs {
            true => Preset::Paper.hyper(task, nothing()),
            false => nothing(),
        };
        let budget = Budget {
            steps: STEPS,
            batch_size,
            test_limit: None,
        };
        let config = RunConfig::resolve(prepared, facts, &spec, &hyper, budget, 1)?;
        Ok(serde_json::to_value(config)?)
    };
    let found = found().map_err(failed)?;
    let rows = prepared.train.len();
    let epoch = rows / batch_size + usize::from(!rows.is_multiple_of(batch_size));
    let other = match task.generates() {
        true => Task::Mnli,
        false => Task::WebNlg,
    };
    let column = case.or_control(task, other);
    let mut expected = section_6(column, method, epochs.then_some(epoch));
    expected.extend(match task.generates() {
        true => generation(method),
        false => understanding(method),
    });
    expected.push(("/batch_size", json!(batch_size)));
    // as many as the paper's, or as the longest target to validate on needs
    let labels = |at: usize| prepared.dev[at].labels.iter().filter(|label| **label >= 0);
    let longest = (0..prepared.dev.len()).map(|at| labels(at).count()).max();
    let most = match task.generates() {
        true => longest.unwrap_or(0).max(40),
        false => 1,
    };
    expected.push(("/max_new_tokens", json!(most)));
    for (place, value) in expected {
        case.same(found.pointer(place).unwrap_or(&Value::Null), &value, || {
            format!("{method} on {task}: {place}")
        });
    }
    Ok(())
}
