//! Training changes what it may and nothing else, and a stop changes nothing.

use super::gradients::is_blind;
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::{Corner, ModelCase, TextRow, roberta};
use crate::engines::candle::{array, batch, nearest_bf16};
use crate::engines::{Candle, External, Paper, Specification, external, mixed, training};
use crate::{Case, Claim, Engine, Error, Present, Result, Tolerance};
use inducer_datasets::batch::Batch;
use inducer_gpu::train::{Data, Event, TrainConfig, train};
use inducer_gpu::{Model, Tensors as _};
use inducer_reference::TensorMap;
use std::path::Path;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let share = |id| Claim::new(id).one_case_in(32).at_least(12);
    let roberta = |id| share(id).about(roberta);
    let stays = |claim: Claim| {
        claim
            .on_each_one_sided(training(present), frozen)
            .on_each_one_sided(external(present), stepped)
    };
    vec![
        stays(share("frozen-stays")),
        stays(roberta("roberta-frozen-stays")),
        share("mixed-masters").on_each_one_sided(mixed(present), masters),
        roberta("roberta-mixed-masters").on_each_one_sided(mixed(present), masters),
        share("resume-identical").on_each_one_sided(training(present), resumed),
        roberta("roberta-resume-identical").on_each_one_sided(training(present), resumed),
    ]
}

/// A few batches, another order in every epoch.
struct Few {
    batches: Vec<Batch>,
    /// The texts of the first batch.
    first: Vec<TextRow>,
}

impl Data for Few {
    fn epoch(&self, epoch: usize) -> Vec<Batch> {
        let mut batches = self.batches.clone();
        let by = epoch % batches.len();
        batches.rotate_left(by);
        batches
    }

    fn validation(&self) -> &[Batch] {
        &self.batches[..1]
    }
}

/// A model with something to train, and labelled batches.
fn task(case: &mut Case) -> Result<(ModelCase, Few)> {
    case.draw.force(Corner::Plain);
    let mut model = ModelCase::trainable(&mut case.draw, case.family)?;
    // numbers that every engine can represent, so that none rounds what it is given
    model.round(nearest_bf16);
    let texts = (0..3).map(|_| {
        let mut rows = model.more_rows(&mut case.draw);
        rows.iter_mut().for_each(|row| row.segments = None);
        // a text of one token has one key, and its queries no gradient
        let mut on = model.on(rows);
        on.label_all(&mut case.draw);
        on
    });
    let texts: Vec<ModelCase> = texts.collect();
    let data = Few {
        batches: texts.iter().map(batch).collect(),
        first: texts[0].rows.clone(),
    };
    Ok((model, data))
}

fn config(seed: u64) -> TrainConfig {
    let mut config = TrainConfig::generation(1e-2, 5);
    (
        config.seed,
        config.warmup,
        config.checkpoint_every,
        config.validate_every,
        config.patience,
    ) = (seed, 1, 2, 5, None);
    config
}

fn trained(model: &Model) -> Result<TensorMap<f64>> {
    model
        .trainable()
        .into_iter()
        .map(|p| Ok((p.name.clone(), array(&p.tensor)?)))
        .collect()
}

/// Steps of training leave every frozen tensor as it was, bit by bit, and change every trainable
/// one. In the control the backbone's tensors are trained where they were frozen, and the other way
/// round.
fn frozen(engine: &Candle, case: &mut Case) -> Result<()> {
    let (mut given, data) = task(case)?;
    // hidden units that are dead for every token do not change by right
    given.change("adapter.down.bias", |x| x.abs() + 3.0);
    let mut model = engine.model(&given)?;
    let before = trained(&model)?;
    if case.control {
        model
            .backbone
            .parameters_mut()
            .into_iter()
            .skip(1) // so that something is trained under full fine-tuning too
            .for_each(|p| p.trainable = !p.trainable);
    }
    train(
        &mut model,
        &data,
        &config(case.draw.bits()),
        None,
        &mut |_| {},
    )?;
    let describe = given.describe();
    let all = model.backbone.parameters();
    for (name, before) in before.iter().filter(|(name, _)| !is_blind(&given, name)) {
        let after = all.iter().find(|p| p.name == *name);
        let after = after.map(|p| array(&p.tensor)).transpose()?;
        case.same(after.as_ref() == Some(before), false, || {
            format!("{describe}: {name} is trainable and did not change")
        });
    }
    for p in all {
        if !given.adapter.contains_key(&p.name) {
            let same = array(&p.tensor)? == array(&engine.tensor(&given.weights[&p.name])?)?;
            case.same(same, true, || {
                format!("{describe}: {} is frozen and changed", p.name)
            });
        }
    }
    Ok(())
}

/// One step of gradient descent by a program leaves every frozen tensor as it was, bit by bit, and
/// takes η times the formula's gradient from every trainable one. In the control one number of
/// every frozen tensor is taken to have been another one, in the last bit of `f32`.
fn stepped(engine: &External, case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let mut given = ModelCase::trainable(&mut case.draw, case.family)?;
    given.label_all(&mut case.draw);
    given.change("adapter.down.bias", |x| x.abs() + 3.0);
    given.round(|x| engine.representable(x));
    let rate = 0.125;
    let after = engine.step(&given, rate)?;
    let formula = Paper::gradients(&given)?;
    let (u, describe) = (engine.roundoff(), given.describe());
    for (name, gradient, spread) in formula.iter() {
        for (i, (g, spread)) in gradient.iter().zip(spread).enumerate() {
            let [before, found] = [&given.adapter[name], &after[name]]
                .map(|x| x.iter().nth(i).copied().unwrap_or(f64::NAN));
            let own = Tolerance::gradient(
                *spread,
                formula.greatest,
                formula.tokens,
                u,
                UNIT_ROUNDOFF_F64,
            );
            let bound = rate * own.bound + 2.0 * u * (before.abs() + rate * g.abs());
            let why = format!("η times ({}), and 2 u (|x| + η |g|)", own.why);
            let tolerance = Tolerance::stated(bound, why);
            case.close(found, before - rate * g, &tolerance, || {
                format!("{describe}: {name}, element {i}, after a step")
            });
        }
    }
    let frozen = given.weights.iter();
    for (name, before) in frozen.filter(|(name, _)| !given.adapter.contains_key(*name)) {
        let mut before = before.clone();
        if let (true, Some(x)) = (case.control, before.iter_mut().next()) {
            *x = f64::from(f32::from_bits((*x as f32).to_bits() ^ 1));
        }
        case.same(after[name] == before, true, || {
            format!("{describe}: {name} is frozen and changed")
        });
    }
    Ok(())
}

/// In mixed precision a step that bf16 cannot resolve still changes every trained tensor, since it
/// is kept in f32. AdamW's first step is the learning rate for every number whatever its gradient,
/// so it is more than f32 resolves; later ones may be small, or go back. A tensor whose gradient is
/// 0 in this precision is left out: so is that of an inducer's key where every gate is 1 in bf16,
/// and a gradient that is lost is `gradient-reaches`'. Nothing is dropped, since a key of the last
/// layer of a classifier has no gradient where every row's first gate is. In the control the
/// tensors are rounded to bf16, as a model that kept them so would have done.
fn masters(engine: &Candle, case: &mut Case) -> Result<()> {
    let (mut given, data) = task(case)?;
    given.change("adapter.down.bias", |x| x.abs() + 3.0);
    let gradients = engine.gradients(&given.on(data.first.clone()))?;
    let mut model = engine.model(&given)?;
    let before = trained(&model)?;
    let config = TrainConfig {
        learning_rate: 1e-6,
        steps: 1,
        warmup: 0,
        validate_every: 1,
        dropout: 0.0,
        ..config(case.draw.bits())
    };
    train(&mut model, &data, &config, None, &mut |_| {})?;
    let mut after = trained(&model)?;
    if case.control {
        after
            .values_mut()
            .for_each(|x| x.mapv_inplace(nearest_bf16));
    }
    let describe = given.describe();
    let steered = before.iter().filter(|(name, _)| {
        let gradient = gradients.get(*name);
        gradient.is_none_or(|gradient| gradient.iter().any(|g| *g != 0.0))
    });
    for (name, before) in steered.filter(|(name, _)| !is_blind(&given, name)) {
        case.same(after.get(name) == Some(before), false, || {
            format!("{describe}: {name} did not change")
        });
    }
    Ok(())
}

pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A run that goes on from the checkpoint of any step ends with the same bits as the run that never
/// stopped, and with the same log, whatever stood there of later steps. In the control the
/// generator starts from another seed.
fn resumed(engine: &Candle, case: &mut Case) -> Result<()> {
    let (given, data) = task(case)?;
    let (whole, rest) = (crate::scratch::folder()?, crate::scratch::folder()?);
    let (seed, stop) = (case.draw.bits(), case.draw.size(1, 4));
    let accumulation = case.draw.size(1, 2);
    let config = |seed| TrainConfig {
        accumulation,
        checkpoint_every: stop,
        ..config(seed)
    };
    let mut model = engine.model(&given)?;
    let mut copied = Err(Error::Missing("a checkpoint before the end".into()));
    train(
        &mut model,
        &data,
        &config(seed),
        Some(whole.path()),
        &mut |event| {
            if matches!(event, Event::Step { step, .. } if *step == stop + 1) {
                copied = copy(
                    &whole.path().join("checkpoint"),
                    &rest.path().join("checkpoint"),
                );
            }
        },
    )?;
    copied?;
    // a run that was killed at its end: its log goes on behind the checkpoint
    let log = |dir: &tempfile::TempDir| dir.path().join("metrics.jsonl");
    std::fs::copy(log(&whole), log(&rest))?;
    let mut again = engine.model(&given)?;
    let mut from = 0;
    let seed = case.or_control(seed, seed ^ 1);
    train(
        &mut again,
        &data,
        &config(seed),
        Some(rest.path()),
        &mut |event| {
            if let Event::Resumed { step } = event {
                from = *step;
            }
        },
    )?;
    let describe = given.describe();
    case.same(from, stop, || format!("{describe}: resumed after step"));
    let (expected, found) = (trained(&model)?, trained(&again)?);
    for (name, expected) in &expected {
        case.same(found.get(name) == Some(expected), true, || {
            format!("{describe}: {name}, the same bits")
        });
    }
    let [expected, found] = [logged(&log(&whole))?, logged(&log(&rest))?];
    case.same(found, expected, || format!("{describe}: the log"));
    Ok(())
}

/// The lines of a log without their times.
fn logged(path: &Path) -> Result<Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(path)?;
    let line = |line: &str| -> Result<serde_json::Value> {
        let mut line: serde_json::Value = serde_json::from_str(line)?;
        line["seconds"].take();
        Ok(line)
    };
    text.lines().map(line).collect()
}
