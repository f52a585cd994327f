//! Whole runs: the adapter that is scored is the best one, on the examples that were asked for, and
//! every score is that of its group.

use super::failed;
use crate::compute::{Device, Precision};
use crate::run::{
    BackboneFacts, Budget, Hyperparameters, Knobs, MethodSpec, Prepared, Rates, RunConfig, Scores,
    Source, Steps, execute_run,
};
use anyhow::{Context as _, Result};
use candle_core::{DType, Device as Candle};
use inducer_datasets::batches::pack;
use inducer_datasets::metrics::{meteor, webnlg};
use inducer_datasets::synthetic::{self, SyntheticConfig};
use inducer_datasets::{Encoded, Example, Malformed, Reading, Surface, Task, Tokenizer, directory};
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::decode::greedy::{Decoding, Prompt, greedy};
use inducer_gpu::train::Schedule;
use inducer_gpu::{Gpt2Config, LossOptions, Model};
use inducer_verify::bounds::UNIT_ROUNDOFF_F32;
use inducer_verify::{Case, Claim, Target, Tolerance};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Methods in turn.
const METHODS: [&str; 5] = ["inducer", "lora", "adaptive", "prefix", "adapter"];

pub(super) fn claims() -> Vec<Claim> {
    let claim = |id| Claim::new(id).one_case_in(16).at_least(5);
    vec![
        claim("run-scores-the-best").on_one_sided(Target::CpuF32, best),
        claim("run-texts")
            .at_least(10)
            .on_one_sided(Target::CpuF32, texts),
        claim("run-scores-by-group").on_one_sided(Target::CpuF64, groups),
    ]
}

/// A tiny backbone and generated data in a folder of their own.
pub(super) struct World {
    dir: TempDir,
    prepared: Prepared,
    facts: BackboneFacts,
}

impl World {
    /// Another one for each case.
    pub(super) fn new(case: &mut Case) -> inducer_verify::Result<Self> {
        let [data, backbone] = [(); 2].map(|()| case.draw.bits() % 1000);
        Self::made(data, backbone).map_err(failed)
    }

    fn made(data_seed: u64, backbone_seed: u64) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let [data, backbone] = ["data", "backbone"].map(|name| dir.path().join(name));
        let sizes = SyntheticConfig {
            seed: data_seed,
            train: 12,
            dev: 4,
            test: 9,
        };
        synthetic::write(&data, sizes)?;
        let text = synthetic::pretraining_text(1, 6_000);
        Tokenizer::train(text.split("\n\n"), 300)?.save(&backbone)?;
        let config = Gpt2Config {
            vocab_size: 300,
            n_positions: 640,
            n_embd: 8,
            n_layer: 1,
            n_head: 2,
            eos_token_id: Some(0),
            // ten times the usual: else every token follows itself
            initializer_range: 0.2,
            ..Gpt2Config::small()
        };
        let weights = Gpt2::random(config, backbone_seed, DType::F32, &Candle::Cpu)?;
        Model::new(weights, DType::F32, &Candle::Cpu).save_backbone(&backbone)?;
        let splits = directory::load(Task::WebNlg, &data, Malformed::Refuse)?;
        let facts = BackboneFacts::read(&backbone)?;
        let source = Source {
            task: Task::WebNlg,
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
        let hyper = Hyperparameters {
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
            test_limit: case.draw.pick(&[None, Some(4), Some(7)]),
            device: Device::Cpu,
            dtype: Precision::F32,
        };
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

    /// The examples that a run scores, from the definition: every ⌊i n/k⌋-th of n, i < k.
    fn scored(&self, limit: Option<usize>) -> Vec<Example> {
        let all = &self.prepared.splits.test;
        let k = limit.unwrap_or(all.len()).min(all.len());
        (0..k).map(|i| all[i * all.len() / k].clone()).collect()
    }

    /// The model with an adapter of a run.
    fn model(&self, adapter: &Path, dtype: DType) -> Result<Model> {
        let dir = &self.prepared.source.backbone;
        let mut model = Model::load(dir, dtype, &Candle::Cpu)?;
        model.attach_saved(adapter)?;
        Ok(model)
    }

    /// Nats of all references of each example and their target tokens, one row after the other.
    fn losses(&self, model: &Model, examples: &[Example]) -> Result<Vec<[f64; 2]>> {
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
    fn texts(&self, model: &Model, examples: &[Example], max_new: usize) -> Result<Vec<String>> {
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

/// Nats a target token.
fn mean(losses: &[[f64; 2]]) -> f64 {
    let [nats, tokens] = [0, 1].map(|i| losses.iter().map(|l| l[i]).sum::<f64>());
    nats / tokens
}

fn targets(row: &Encoded) -> f64 {
    row.labels.iter().filter(|label| **label >= 0).count() as f64
}

/// A run that was made, and what it left.
struct Ran {
    world: World,
    config: RunConfig,
    dir: PathBuf,
    /// `result.json`, and under `losses` those of the examples.
    result: Value,
    texts: Vec<String>,
}

fn ran(case: &mut Case, [least, most]: [f64; 2]) -> inducer_verify::Result<Ran> {
    let method = *case.draw.in_turn(&METHODS);
    let world = World::new(case)?;
    let seed = case.draw.bits() % 1000;
    let rate = case.draw.between(least, most);
    let config = world.config(method, seed, rate, case)?;
    let made = || -> Result<Ran> {
        let dir = world.path("run");
        let prepared = &world.prepared;
        execute_run(&dir, &config, prepared, &Candle::Cpu, false, &mut |_| {})?;
        let text = std::fs::read_to_string(dir.join("outputs.txt"))?;
        let read = |name: &str| -> Result<Value> {
            Ok(serde_json::from_str(&std::fs::read_to_string(
                dir.join(name),
            )?)?)
        };
        let mut result = read("result.json")?;
        result["losses"] = read("test_losses.json")?;
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
    fn number(&self, place: &str) -> f64 {
        let number = self.result.pointer(place).and_then(Value::as_f64);
        number.unwrap_or(f64::NAN)
    }

    /// The directory of the saved adapter with the lower validation loss, or in the control of the
    /// other one; with its loss.
    fn chosen(&self, control: bool) -> Result<(PathBuf, f64)> {
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

/// Validation loss, loss of the test part and that of each example of a run are those of the saved
/// adapter with the lower validation loss, on the examples that were asked for. In the control
/// those of the other adapter.
fn best(case: &mut Case) -> inducer_verify::Result<()> {
    // at so high a rate a run is soon worse than it was
    let ran = ran(case, [0.3, 1.0])?;
    let name = format!(
        "{} at {}",
        ran.config.method, ran.config.train.learning_rate
    );
    let (world, examples) = (&ran.world, ran.world.scored(ran.config.test_limit));
    let (dir, validation) = ran.chosen(case.control).map_err(failed)?;
    let model = world.model(&dir, DType::F64).map_err(failed)?;
    let losses = world.losses(&model, &examples).map_err(failed)?;
    let mut expected = vec![
        ("/validation_loss".to_string(), validation),
        ("/test_loss".to_string(), mean(&losses)),
    ];
    for (i, [nats, tokens]) in losses.iter().enumerate() {
        expected.push((format!("/losses/{i}/nats"), *nats));
        expected.push((format!("/losses/{i}/tokens"), *tokens));
    }
    for (place, expected) in expected {
        let bound = 128.0 * UNIT_ROUNDOFF_F32 * expected.abs();
        let why = "128 u |L|: a run in f32 beside one in f64, with the logits of high rates";
        case.close(
            ran.number(&place),
            expected,
            &Tolerance::stated(bound, why),
            || format!("{name}: {place}"),
        );
    }
    Ok(())
}

/// The texts of a run are what its adapter says of the examples that were asked for, decoded
/// greedily to the end token or the most new tokens. In the control that is one token less.
fn texts(case: &mut Case) -> inducer_verify::Result<()> {
    let ran = ran(case, [1e-3, 1e-2])?;
    let (world, examples) = (&ran.world, ran.world.scored(ran.config.test_limit));
    let most = ran.config.max_new_tokens - case.or_control(0, 1);
    let expected = || -> Result<Vec<String>> {
        let (dir, _) = ran.chosen(false)?;
        world.texts(&world.model(&dir, DType::F32)?, &examples, most)
    };
    let expected = expected().map_err(failed)?;
    case.same(&ran.texts, &expected, || {
        format!("{}: {} texts", ran.config.method, examples.len())
    });
    Ok(())
}

/// Every score of texts is that of those on the examples of its group, which are those of
/// categories that the training part has (seen) or has not. In the control the groups are
/// exchanged.
fn groups(case: &mut Case) -> inducer_verify::Result<()> {
    let world = World::new(case)?;
    let splits = &world.prepared.splits;
    let examples = world.scored(case.draw.pick(&[None, Some(4), Some(7)]));
    // what a person wrote, or another one's entry, with words left out
    let texts: Vec<String> = (0..examples.len())
        .map(|i| {
            let from = match case.draw.chance(0.2) {
                true => case.draw.size(0, examples.len() - 1),
                false => i,
            };
            let words = examples[from].references[0].split_whitespace();
            let kept: Vec<&str> = words.filter(|_| case.draw.chance(0.8)).collect();
            kept.join(" ")
        })
        .collect();
    let is_seen = |e: &Example| splits.train.iter().any(|t| t.category == e.category);
    let files = meteor::Files::default();
    let score = |group: Option<bool>| -> Result<Option<[f64; 3]>> {
        let pairs = texts.iter().zip(&examples);
        let own = pairs.filter(|(_, e)| group.is_none_or(|seen| seen == is_seen(e)));
        let (texts, own): (Vec<String>, Vec<Example>) =
            own.map(|(text, e)| (text.clone(), e.clone())).unzip();
        if own.is_empty() {
            return Ok(None);
        }
        let scores = webnlg::scores(&texts, &own, &files)?;
        let bleu = [&scores.bleu, &scores.bleu_without_empty].map(|b| b.all.score);
        Ok(Some([bleu[0], bleu[1], scores.ter.all.score]))
    };
    let found = Scores::of(&world.prepared, &texts, &examples, &files).map_err(failed)?;
    let Scores::WebNlg { bleu, ter, .. } = found else {
        return Err(failed(anyhow::anyhow!("WebNLG has its own scores")));
    };
    let seen = !case.control;
    for (what, found, group, which) in [
        ("BLEU, seen", bleu.seen, Some(seen), 0),
        ("BLEU, unseen", bleu.unseen, Some(!seen), 0),
        ("BLEU", bleu.all, None, 0),
        ("BLEU without empty references", bleu.without_empty, None, 1),
        ("TER", ter, None, 2),
    ] {
        let expected = score(group).map_err(failed)?.map(|scores| scores[which]);
        case.same(found, expected, || format!("{what} of {texts:?}"));
    }
    Ok(())
}
