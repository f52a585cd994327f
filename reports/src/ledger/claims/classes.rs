//! Runs that classify: the adapter that is right most often is kept and scored, and a class is the
//! one that the head calls by its name.

use super::failed;
use super::world::{Ran, World, log_sum_exp, ran, tokenizer};
use anyhow::Result;
use candle_core::{DType, Device as Candle};
use inducer_datasets::batches::pack;
use inducer_datasets::{Example, Task};
use inducer_gpu::backbone::Roberta;
use inducer_gpu::{Model, RobertaConfig};
use inducer_verify::bounds::{UNIT_ROUNDOFF_F32, UNIT_ROUNDOFF_F64};
use inducer_verify::{Case, Claim, Target, Tolerance};
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// Methods in turn.
const METHODS: [&str; 5] = ["inducer", "lora", "mam-inducer", "prefix", "bitfit"];

/// The classes, in the order of the alphabet: the task's order.
const CLASSES: [&str; 3] = ["eggs", "ham", "spam"];

pub(super) fn claims() -> Vec<Claim> {
    let claim = Claim::new("run-scores-classes").one_case_in(16).at_least(6);
    vec![claim.on_one_sided(Target::CpuF32, scored)]
}

/// A run, the labels of its parts as they were written, and the names of the head's classes.
struct Labelled {
    ran: Ran,
    dev: Vec<usize>,
    test: Vec<usize>,
    head: Vec<usize>,
}

/// Texts whose first word is likely to be that of their class, and a RoBERTa whose head, where it
/// has one, has the classes in another order.
fn labelled(case: &mut Case) -> inducer_verify::Result<Labelled> {
    let mut parts = Vec::new();
    for (part, rows) in [("train", 12), ("dev", 5), ("test", 9)] {
        let mut table = String::from("text,label\n");
        let labels: Vec<usize> = (0..rows)
            .map(|i| match part {
                // every class occurs
                "train" => i % 3,
                _ => case.draw.size(0, 2),
            })
            .collect();
        for (i, label) in labels.iter().enumerate() {
            let first = match case.draw.chance(0.8) {
                true => *label,
                false => case.draw.size(0, 2),
            };
            table += &format!("{} and number {i},{}\n", CLASSES[first], CLASSES[*label]);
        }
        parts.push((part, table, labels));
    }
    let seed = case.draw.bits() % 1000;
    let orders = [None, Some([2, 0, 1]), Some([1, 2, 0]), Some([0, 1, 2])];
    let order = *case.draw.in_turn(&orders);
    let made = || -> Result<World> {
        let dir = inducer_verify::scratch::folder()?;
        let data = dir.path().join("data");
        std::fs::create_dir(&data)?;
        for (part, table, _) in &parts {
            std::fs::write(data.join(format!("{part}.csv")), table)?;
        }
        backbone(&dir, order, seed)?;
        World::of(dir, Task::Classify)
    };
    let world = made().map_err(failed)?;
    let method = *case.draw.in_turn(&METHODS);
    let [_, dev, test] =
        <[_; 3]>::try_from(parts).map_or_else(|_| Default::default(), |p| p.map(|p| p.2));
    Ok(Labelled {
        ran: ran(case, world, method, [0.01, 0.1])?,
        dev,
        test,
        head: order.unwrap_or([0, 1, 2]).to_vec(),
    })
}

/// A RoBERTa whose head calls its classes by these names, or without a head.
fn backbone(dir: &TempDir, head: Option<[usize; 3]>, seed: u64) -> Result<()> {
    let path = dir.path().join("backbone");
    tokenizer(true)?.save(&path)?;
    let names = |order: [usize; 3]| (0..).zip(order.map(|c| CLASSES[c].to_string())).collect();
    let config = RobertaConfig {
        vocab_size: 300,
        hidden_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 16,
        max_position_embeddings: 66,
        initializer_range: 0.2,
        id2label: head.map(names),
        ..RobertaConfig::base()
    };
    let weights = match head {
        Some(_) => Roberta::random(config, seed, DType::F32, &Candle::Cpu),
        None => Roberta::random_masked(config, seed, DType::F32, &Candle::Cpu),
    };
    Model::new(weights?, DType::F32, &Candle::Cpu).save_backbone(&path)?;
    Ok(())
}

/// Scores of the classes for each example, in the task's order.
type Logits = Vec<Vec<f64>>;

impl Labelled {
    /// What an adapter of the run says, each example by itself.
    fn logits(&self, adapter: &Path, examples: &[Example]) -> Result<Logits> {
        let world = &self.ran.world;
        let (model, layout) = (world.model(adapter, DType::F32)?, world.prepared.layout()?);
        let mut all = Vec::new();
        for example in examples {
            let logits = model.logits(&pack(&[&layout.prompt(example)?]))?;
            let of_head = logits
                .to_dtype(DType::F64)?
                .flatten_all()?
                .to_vec1::<f64>()?;
            let mut own = vec![f64::NAN; CLASSES.len()];
            of_head
                .into_iter()
                .zip(&self.head)
                .for_each(|(z, class)| own[*class] = z);
            all.push(own);
        }
        Ok(all)
    }

    /// The validations that the log has after a step: step and score.
    fn validations(&self) -> Vec<(u64, f64)> {
        let lines = self.ran.result["log"].as_array();
        let read = |line: &Value| {
            Some((
                line["step"].as_u64().filter(|step| *step > 0)?,
                line["validation_score"].as_f64()?,
            ))
        };
        lines.into_iter().flatten().filter_map(read).collect()
    }
}

/// The class of the greatest score; of equal ones the head's first, which is not met.
fn said(logits: &[f64]) -> usize {
    (0..logits.len()).fold(0, |best, c| if logits[c] > logits[best] { c } else { best })
}

fn right(logits: &Logits, labels: &[usize]) -> f64 {
    let right = logits
        .iter()
        .zip(labels)
        .filter(|(z, class)| said(z) == **class);
    right.count() as f64 / labels.len() as f64
}

/// 2 TP / (2 TP + FP + FN), the mean over the classes that are said or meant.
fn macro_f1(said: &[usize], meant: &[usize]) -> f64 {
    let each = (0..CLASSES.len()).filter_map(|class| {
        let count = |of: &[usize]| of.iter().filter(|c| **c == class).count();
        let both = said
            .iter()
            .zip(meant)
            .filter(|(a, b)| **a == class && a == b);
        let all = count(said) + count(meant);
        (all > 0).then(|| 2.0 * both.count() as f64 / all as f64)
    });
    let each: Vec<f64> = each.collect();
    each.iter().sum::<f64>() / each.len() as f64
}

/// Every validation's score is the share of examples whose class the adapter says, the one that is
/// kept is the first of the highest, and the run's classes, accuracy, macro F1 and loss are those
/// of that adapter on the test examples that were asked for. In the control the share is that of
/// the examples whose class it does not say: of five never the same.
fn scored(case: &mut Case) -> inducer_verify::Result<()> {
    let own = labelled(case)?;
    let (ran, limit) = (&own.ran, own.ran.config.test_limit);
    let name = format!("{} with {:?}", ran.config.method, own.head);
    let (dev, examples) = (&ran.world.prepared.splits.dev, ran.world.scored(limit));
    let adapters = ["best", "adapter"].map(|name| ran.dir.join(name));
    let all = adapters.each_ref().map(|dir| own.logits(dir, dev));
    let [best, last] = all.map(|logits| {
        let share = logits.map(|logits| right(&logits, &own.dev));
        share.map(|share| case.or_control(share, 1.0 - share))
    });
    let (best, last) = (best.map_err(failed)?, last.map_err(failed)?);
    let validations = own.validations();
    case.same(validations.len() >= 6, true, || {
        format!("{name}: validations")
    });
    let tolerance = Tolerance::stated(2.0 * UNIT_ROUNDOFF_F64, "2 u: a quotient");
    let step = ran.number("/best_step") as u64;
    let at = |step: u64| {
        validations
            .iter()
            .find(|v| v.0 == step)
            .map_or(f64::NAN, |v| v.1)
    };
    for (step, expected) in [(step, best), (6, last)] {
        case.close(at(step), expected, &tolerance, || {
            format!("{name}: validation after step {step}")
        });
    }
    let highest = validations.iter().map(|v| v.1).fold(0.0, f64::max);
    let first = validations
        .iter()
        .find(|v| v.1 == highest)
        .map_or(0, |v| v.0);
    case.same(step, first, || {
        format!("{name}: step of the best of {validations:?}")
    });
    // the test part
    let k = examples.len();
    let meant: Vec<usize> = (0..k).map(|i| own.test[i * own.test.len() / k]).collect();
    let logits = own.logits(&adapters[0], &examples).map_err(failed)?;
    let classes: Vec<usize> = logits.iter().map(|z| said(z)).collect();
    let names: Vec<String> = classes.iter().map(|c| CLASSES[*c].into()).collect();
    case.same(&ran.texts, &names, || {
        format!("{name}: classes of {k} texts")
    });
    for (place, expected) in [
        ("/accuracy/accuracy", right(&logits, &meant)),
        ("/macro_f1", macro_f1(&classes, &meant)),
    ] {
        let tolerance = Tolerance::stated(16.0 * UNIT_ROUNDOFF_F64, "16 u: a mean of quotients");
        case.close(ran.number(place), expected, &tolerance, || {
            format!("{name}: {place}")
        });
    }
    let nats = logits.iter().zip(&meant);
    let nats = nats.map(|(z, class)| log_sum_exp(z) - z[*class]);
    let loss = nats.sum::<f64>() / k as f64;
    let size = logits.iter().flatten().fold(1.0_f64, |m, z| m.max(z.abs()));
    let why = "128 u max |z|: logits in f32, of rows in one batch or each by itself";
    let tolerance = Tolerance::stated(128.0 * UNIT_ROUNDOFF_F32 * size, why);
    case.close(ran.number("/test_loss"), loss, &tolerance, || {
        format!("{name}: loss")
    });
    Ok(())
}
