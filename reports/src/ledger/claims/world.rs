//! Tiny backbones and data, and whole runs on them.

use super::failed;
use crate::compute::{Device, Precision};
use crate::run::{
    BackboneFacts, Budget, Hyperparameters, Knobs, MethodSpec, Prepared, Rates, RunConfig, Source,
    Steps, execute_run,
};
use anyhow::{Context as _, Result, anyhow};
use candle_core::{DType, Device as Candle};
use inducer_datasets::batches::pack;
use inducer_datasets::synthetic::{self, CoqaConfig, SyntheticConfig};
use inducer_datasets::{Encoded, Example, Malformed, Reading, Surface, Task, Tokenizer, directory};
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::decode::greedy::{Decoding, Prompt, greedy};
use inducer_gpu::train::Schedule;
use inducer_gpu::{Gpt2Config, LossOptions, Model};
use inducer_verify::Case;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;

/// A tiny backbone and generated data in a folder of their own.
pub(super) struct World {
    dir: TempDir,
    pub(super) prepared: Prepared,
    pub(super) facts: BackboneFacts,
}

impl World {
    /// WebNLG's, another one for each case.
    pub(super) fn new(case: &mut Case) -> inducer_verify::Result<Self> {
        Self::generating(case, Task::WebNlg)
    }

    /// One of texts: triples in words, questions about a passage, or texts of one's own.
    pub(super) fn generating(case: &mut Case, task: Task) -> inducer_verify::Result<Self> {
        let [data, backbone] = [(); 2].map(|()| case.draw.bits() % 1000);
        let made = || {
            let dir = inducer_verify::scratch::folder()?;
            write_texts(task, &dir.path().join("data"), data)?;
            write_gpt2(&dir.path().join("backbone"), backbone)?;
            Self::of(dir, task)
        };
        made().map_err(failed)
    }

    /// One of the task whose data and backbone stand in the folder.
    pub(super) fn of(dir: TempDir, task: Task) -> Result<Self> {
        let [data, backbone] = ["data", "backbone"].map(|name| dir.path().join(name));
        let splits = directory::load(task, &data, Malformed::Refuse)?;
        let facts = BackboneFacts::read(&backbone)?;
        let source = Source {
            task,
            data,
            backbone,
            surface: Surface::default(),
            reading: Reading::default(),
        };
        let prepared = Prepared::new(source, splits, &[])?;
        Ok(Self {
            dir,
            prepared,
            facts,
        })
    }

    /// A path in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration of a run of six steps at a rate, each validated, with a part of the test
    /// examples scored.
    pub(super) fn config(
        &self,
        method: &str,
        seed: u64,
        rate: f64,
        case: &mut Case,
    ) -> inducer_verify::Result<RunConfig> {
        let hyper = hyperparameters(rate, case.draw.pick(&[None, Some(4), Some(7)]));
        let budget = Budget {
            steps: 6,
            batch_size: 4,
            test_limit: None,
        };
        let resolved = || {
            let backbone = &self.prepared.backbone;
            let method = MethodSpec::find(method, backbone, &Knobs::default())?;
            RunConfig::resolve(&self.prepared, &self.facts, &method, &hyper, budget, seed)
        };
        resolved().map_err(failed)
    }

    /// The examples that a run scores.
    pub(super) fn scored(&self, limit: Option<usize>) -> Vec<Example> {
        scored(&self.prepared.splits.test, limit)
    }

    /// The model with an adapter of a run.
    pub(super) fn model(&self, adapter: &Path, dtype: DType) -> Result<Model> {
        let dir = &self.prepared.source.backbone;
        let mut model = Model::load_for(dir, self.prepared.head(), 0, dtype, &Candle::Cpu)?;
        model.attach_saved(adapter)?;
        Ok(model)
    }

    /// Nats of all references of each example and their target tokens, one row after the other.
    pub(super) fn losses(&self, model: &Model, examples: &[Example]) -> Result<Vec<[f64; 2]>> {
        let layout = self.prepared.layout()?;
        let mut losses = Vec::new();
        for example in examples {
            let (mut nats, mut tokens) = (0.0, 0.0);
            for row in layout.training_rows(example)? {
                let own = targets(&row);
                nats += own * model.loss(&pack(&[&row]), LossOptions::PLAIN)?;
                tokens += own;
            }
            losses.push([nats, tokens]);
        }
        Ok(losses)
    }

    /// What the model says of examples: prompt, segment of the answer, end token and length by
    /// hand.
    pub(super) fn texts(
        &self,
        model: &Model,
        examples: &[Example],
        max_new: usize,
    ) -> Result<Vec<String>> {
        let layout = self.prepared.layout()?;
        let mut prompts = Vec::new();
        for example in examples {
            let row = layout.prompt(example)?;
            prompts.push(Prompt {
                next_segment: row.segments.is_some().then(|| layout.target_segment()),
                ids: row.ids,
                segments: row.segments,
            });
        }
        let decoding = Decoding {
            max_new,
            eos: layout.eos(),
            batch: 64,
        };
        let found = greedy(model, &prompts, decoding, &mut |_| {})?;
        let line = |ids: &Vec<u32>| layout.decode(ids).replace(['\n', '\r'], " ");
        Ok(found.iter().map(line).collect())
    }
}

/// Six steps at a rate, each validated, and a part of the test examples scored.
pub(super) fn hyperparameters(rate: f64, test_limit: Option<usize>) -> Hyperparameters {
    Hyperparameters {
        steps: Some(Steps::Count(6)),
        batch_size: Some(4),
        learning_rate: Rates {
            all: Some(rate),
            ..Rates::default()
        },
        warmup: Some(Steps::Count(0)),
        validate_every: Some(Steps::Count(1)),
        schedule: Schedule::Constant,
        coupled: false,
        weight_decay: None,
        patience: None,
        dropout: Some(0.0),
        label_smoothing: None,
        accumulation: 1,
        clip_micro_batches: false,
        equal_micro_batches: false,
        checkpoint_every: 100,
        max_new_tokens: Some(8),
        test_limit,
        device: Device::Cpu,
        dtype: Precision::F32,
    }
}

/// The examples that a run scores, from the definition: every ⌊i n/k⌋-th of n, i < k.
pub(super) fn scored<T: Clone>(all: &[T], limit: Option<usize>) -> Vec<T> {
    let k = limit.unwrap_or(all.len()).min(all.len());
    (0..k).map(|i| all[i * all.len() / k].clone()).collect()
}

/// Data of a task that writes texts: 12 training examples, of questions 24 passages, 4 to validate
/// and 9 to test or so.
fn write_texts(task: Task, data: &Path, seed: u64) -> Result<()> {
    match task {
        Task::WebNlg => {
            let sizes = SyntheticConfig {
                seed,
                train: 12,
                dev: 4,
                test: 9,
            };
            synthetic::write(data, sizes)?;
        }
        Task::Coqa => {
            let sizes = CoqaConfig {
                seed,
                // more answers than a constant one is chosen from
                train: 24,
                dev: 3,
                turns: 3,
                passage_words: 30,
                longest_passage_words: Some(60),
                // of every other world the questions are asked at two lengths
                lengths: 1 + (seed % 2) as usize,
            };
            synthetic::write_coqa(data, sizes)?;
        }
        _ => {
            std::fs::create_dir_all(data)?;
            for (part, rows) in [("train", 12), ("dev", 4), ("test", 9)] {
                let row = |i: u64| {
                    let n = (i + seed) % 7;
                    json!({ "input": format!("{part} {i}, {n} apples"),
                            "targets": [format!("{n} apples lie in box {i}"),
                                         format!("apples: {n}, no {i}")] })
                };
                let rows: Vec<String> = (0..rows).map(|i| row(i).to_string()).collect();
                std::fs::write(data.join(format!("{part}.jsonl")), rows.join("\n"))?;
            }
        }
    }
    Ok(())
}

/// A tokenizer of 300 tokens, of RoBERTa's kind or GPT-2's, trained once.
pub(super) fn tokenizer(roberta: bool) -> Result<&'static Tokenizer> {
    static BOTH: LazyLock<[Result<Tokenizer, String>; 2]> = LazyLock::new(|| {
        let text = synthetic::pretraining_text(1, 6_000);
        let parts = || text.split("\n\n");
        let both = [
            Tokenizer::train(parts(), 300),
            Tokenizer::train_roberta(parts(), 300),
        ];
        both.map(|trained| trained.map_err(|e| e.to_string()))
    });
    let found = BOTH[usize::from(roberta)].as_ref();
    found.map_err(|e| anyhow!("{e}"))
}

fn write_gpt2(backbone: &Path, seed: u64) -> Result<()> {
    tokenizer(false)?.save(backbone)?;
    let config = Gpt2Config {
        vocab_size: 300,
        n_positions: 640,
        n_embd: 8,
        n_layer: 2,
        n_head: 2,
        eos_token_id: Some(0),
        // ten times the usual: else every token follows itself
        initializer_range: 0.2,
        ..Gpt2Config::small()
    };
    let weights = Gpt2::random(config, seed, DType::F32, &Candle::Cpu)?;
    Model::new(weights, DType::F32, &Candle::Cpu).save_backbone(backbone)?;
    Ok(())
}

/// Nats a target token.
pub(super) fn mean(losses: &[[f64; 2]]) -> f64 {
    let [nats, tokens] = [0, 1].map(|i| losses.iter().map(|l| l[i]).sum::<f64>());
    nats / tokens
}

pub(super) fn targets(row: &Encoded) -> f64 {
    row.labels.iter().filter(|label| **label >= 0).count() as f64
}

/// log Σ exp z.
pub(super) fn log_sum_exp(z: &[f64]) -> f64 {
    let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = z.iter().map(|z| (z - top).exp()).sum();
    top + sum.ln()
}

/// A run that was made, and what it left.
pub(super) struct Ran {
    pub(super) world: World,
    pub(super) config: RunConfig,
    pub(super) dir: PathBuf,
    /// `result.json`; under `losses` those of the examples, under `log` the lines of its log.
    pub(super) result: Value,
    pub(super) texts: Vec<String>,
}

/// Makes a run of a method, at a rate between two.
pub(super) fn ran(
    case: &mut Case,
    world: World,
    method: &str,
    rates: [f64; 2],
) -> inducer_verify::Result<Ran> {
    ran_as(case, world, method, rates, false)
}

/// The same, of which the loss of the test part may be all that is scored.
pub(super) fn ran_as(
    case: &mut Case,
    world: World,
    method: &str,
    [least, most]: [f64; 2],
    loss_only: bool,
) -> inducer_verify::Result<Ran> {
    let seed = case.draw.bits() % 1000;
    let rate = case.draw.between(least, most);
    let config = RunConfig {
        loss_only,
        ..world.config(method, seed, rate, case)?
    };
    let made = || -> Result<Ran> {
        let dir = world.path("run");
        let prepared = &world.prepared;
        execute_run(&dir, &config, prepared, &Candle::Cpu, false, &mut |_| {})?;
        let outputs = dir.join("outputs.txt");
        let text = match outputs.exists() {
            true => std::fs::read_to_string(outputs)?,
            false => String::new(),
        };
        let read = |name: &str| -> Result<Value> {
            Ok(serde_json::from_str(&std::fs::read_to_string(
                dir.join(name),
            )?)?)
        };
        let mut result = read("result.json")?;
        result["losses"] = read("test_losses.json")?;
        let log = std::fs::read_to_string(dir.join("metrics.jsonl"))?;
        result["log"] = log
            .lines()
            .map(serde_json::from_str::<Value>)
            .collect::<Result<_, _>>()?;
        Ok(Ran {
            result,
            texts: text.lines().map(ToString::to_string).collect(),
            world,
            config,
            dir,
        })
    };
    made().map_err(failed)
}

impl Ran {
    /// A number of the result.
    pub(super) fn number(&self, place: &str) -> f64 {
        let number = self.result.pointer(place).and_then(Value::as_f64);
        number.unwrap_or(f64::NAN)
    }

    /// The directory of the saved adapter with the lower validation loss, or in the control of the
    /// other one; with its loss.
    pub(super) fn chosen(&self, control: bool) -> Result<(PathBuf, f64)> {
        let mut all = Vec::new();
        for name in ["best", "adapter"] {
            let dir = self.dir.join(name);
            let model = self.world.model(&dir, DType::F64)?;
            let losses = self.world.losses(&model, &self.world.prepared.splits.dev)?;
            all.push((dir, mean(&losses)));
        }
        all.sort_by(|a, b| a.1.total_cmp(&b.1));
        let at = usize::from(control);
        all.into_iter().nth(at).context("two adapters")
    }
}
