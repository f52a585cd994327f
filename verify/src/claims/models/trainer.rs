//! The trainer as a formula: every step of the engine's is the reference's, number by number.
//!
//! ```text
//! batch     micro-batches tK … tK + K − 1 of the epochs one behind the other
//! G         Σ_j s_j g_j,  s_j = n_j/Σ n (or 1/K);  its norm, the mean loss likewise
//! clip      G ← G · min(1, c/‖G‖), after each micro-batch already in the authors' order
//! m, v      β₁ m + (1 − β₁) G,  β₂ v + (1 − β₂) G²
//! θ         (1 − η wd) θ − η (m/(1 − β₁ᵗ)) / (√(v/(1 − β₂ᵗ)) + ε),  no wd on biases and norms
//! η         the schedule at step t − 1, from 0
//! ```
//!
//! Moments are the reference's own throughout; each step starts from the parameters that the engine
//! left, since rounding would otherwise take the two runs apart. What rounding does to a gradient
//! goes through clipping, moments and the quotient as an interval.

use super::dropout::with_segments_everywhere_or_nowhere;
use super::training::copy;
use crate::bounds::{DEVIATIONS, SLACK, UNIT_ROUNDOFF_F64};
use crate::cases::masks::mix;
use crate::cases::{Corner, Dropping, ModelCase, TextRow, roberta};
use crate::engines::candle::{array, batch};
use crate::engines::{Candle, Paper, Specification, candles};
use crate::{Case, Claim, Engine, Error, Present, Result, Target, Tolerance};
use inducer_datasets::batch::Batch;
use inducer_gpu::Model;
use inducer_gpu::train::{Data, Event, Schedule, TrainConfig, train};
use inducer_reference::TensorMap;
use ndarray::ArrayD;
use std::cell::RefCell;
use std::path::Path;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let all = |claim: Claim, weights: Weights| {
        claim
            .one_case_in(32)
            .at_least(SETTINGS.len())
            .on_each(candles(present), move |engine, case| {
                followed(engine, case, weights)
            })
    };
    vec![
        all(Claim::new("trainer-steps"), Weights::Labels),
        all(
            Claim::new("roberta-trainer-steps").about(roberta),
            Weights::Labels,
        ),
        all(Claim::new("accumulation-one-batch"), Weights::OneBatch),
        all(
            Claim::new("roberta-accumulation-one-batch").about(roberta),
            Weights::OneBatch,
        ),
        all(Claim::new("accumulation-authors"), Weights::Alike),
        all(
            Claim::new("roberta-accumulation-authors").about(roberta),
            Weights::Alike,
        ),
    ]
}

/// Settings that act on each other, in turn, so that every run of a claim meets them all: whether
/// the decay is in the gradient, the decay, the greatest norm, and the schedule.
const SETTINGS: [(bool, f64, Option<f64>, Schedule); 6] = [
    (false, 0.125, Some(0.0625), Schedule::Linear),
    (true, 0.125, Some(0.0625), Schedule::Cosine),
    (false, 0.0, None, POLYNOMIAL),
    (true, 0.125, Some(1.0), POLYNOMIAL),
    (false, 0.125, None, Schedule::Cosine),
    (true, 0.0, Some(0.0625), Schedule::Linear),
];

const POLYNOMIAL: Schedule = Schedule::Polynomial {
    power: 2.0,
    end: 0.125,
};

/// What the micro-batches of a step weigh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Weights {
    /// As many labels as each has.
    Labels,
    /// The same, computed as one batch of all their texts.
    OneBatch,
    /// Alike, as in the authors' code.
    Alike,
}

/// Micro-batches of an epoch, in another order in each, and the parameters after every step.
struct Watched {
    batches: Vec<Batch>,
    seen: RefCell<Vec<TensorMap<f64>>>,
}

/// The place among an epoch's micro-batches of the `index`-th of all.
fn place(index: usize, per_epoch: usize) -> usize {
    let (epoch, at) = (index / per_epoch, index % per_epoch);
    (at + epoch) % per_epoch
}

impl Data for Watched {
    fn epoch(&self, epoch: usize) -> Vec<Batch> {
        let n = self.batches.len();
        let order = (0..n).map(|at| self.batches[place(epoch * n + at, n)].clone());
        order.collect()
    }

    fn validation(&self) -> &[Batch] {
        &self.batches[..1]
    }

    fn drift(&self, model: &Model) -> inducer_gpu::Result<Option<f64>> {
        let all = model.trainable().into_iter();
        let numbers = all.map(|p| Ok((p.name.clone(), array(&p.tensor)?)));
        let numbers: Result<TensorMap<f64>> = numbers.collect();
        // a tensor that cannot be read is missed when the step is looked at
        self.seen.borrow_mut().push(numbers.unwrap_or_default());
        Ok(None)
    }
}

/// A run: model, texts of each micro-batch, settings.
struct Given {
    model: ModelCase,
    texts: Vec<Vec<TextRow>>,
    config: TrainConfig,
    weights: Weights,
}

/// Micro-batches of texts with different numbers of labels.
fn texts(case: &mut Case, model: &mut ModelCase) -> Vec<Vec<TextRow>> {
    let mut all: Vec<Vec<TextRow>> = (0..3).map(|_| model.more_rows(&mut case.draw)).collect();
    let longer = model.more_rows(&mut case.draw);
    all[1].extend(longer);
    model.rows = all.concat();
    with_segments_everywhere_or_nowhere(model);
    let mut rows = model.rows.iter().cloned();
    all.iter()
        .map(|own| rows.by_ref().take(own.len()).collect())
        .collect()
}

fn given(engine: &Candle, case: &mut Case, weights: Weights) -> Result<Given> {
    case.draw.force(Corner::Plain);
    let mut model = ModelCase::trainable(&mut case.draw, case.family)?;
    // hidden units that are dead for every token have no gradient, and no direction
    model.change("adapter.down.bias", |x| x.abs() + 3.0);
    let texts = texts(case, &mut model);
    let (control, draw) = (case.control, &mut case.draw);
    let dropout = match weights {
        Weights::OneBatch => 0.0,
        _ => draw.pick(&[0.0, 0.2, 0.5]),
    };
    if let (Some(lora), true) = (&mut model.method.lora, dropout > 0.0) {
        lora.dropout = 0.2;
    }
    // double precision runs the whole length once; a control, and the other types, show in few
    // steps
    let first = engine.target() == Target::CpuF64 && draw.index == 0;
    let long = first && weights == Weights::Labels;
    let steps = if long && !control { 40 } else { 6 };
    let mut config = TrainConfig::generation(1e-2, steps);
    config.seed = draw.bits();
    config.accumulation = match weights {
        Weights::Labels => draw.size(1, 3),
        _ => draw.size(2, 3),
    };
    config.equal_micro_batches = weights == Weights::Alike;
    config.warmup = draw.size(0, 4);
    // the long run decays and clips
    let settings = match long {
        true => &SETTINGS[..2],
        false => &SETTINGS[..],
    };
    let (coupled, decay, clip, schedule) = *draw.in_turn(settings);
    (config.schedule, config.clip) = (schedule, clip);
    config.clip_micro_batches = weights == Weights::Alike && draw.chance(0.5);
    (config.dropout, config.label_smoothing) = (dropout, draw.pick(&[0.0, 0.125]));
    config.optimiser.beta2 = draw.pick(&[0.999, 0.98]);
    config.optimiser.eps = draw.pick(&[1e-8, 1e-6]);
    (config.optimiser.coupled, config.optimiser.weight_decay) = (coupled, decay);
    (config.validate_every, config.patience) = (1, None);
    Ok(Given {
        model,
        texts,
        config,
        weights,
    })
}

/// The parameters before the first step and after each, and the loss of each.
struct Ran {
    seen: Vec<TensorMap<f64>>,
    losses: Vec<f64>,
}

/// A run of the engine that is stopped after so many steps, and goes on in another process's place:
/// with a new model, from the checkpoint.
fn ran(engine: &Candle, given: &Given, stop: usize) -> Result<Ran> {
    let (whole, rest) = (crate::scratch::folder()?, crate::scratch::folder()?);
    let config = TrainConfig {
        checkpoint_every: stop,
        ..given.config.clone()
    };
    let part = |dir: &Path, on_step: &mut dyn FnMut(usize) -> Result<()>| {
        let mut model = engine.model(&given.model)?;
        let data = Watched {
            batches: (given.texts.iter())
                .map(|rows| batch(&given.model.on(rows.clone())))
                .collect(),
            seen: RefCell::default(),
        };
        let (mut losses, mut all) = (Vec::new(), Ok(()));
        train(&mut model, &data, &config, Some(dir), &mut |event| {
            if let Event::Step { step, loss, .. } = event {
                losses.push(*loss);
                all = std::mem::replace(&mut all, Ok(())).and_then(|()| on_step(*step));
            }
        })?;
        all?;
        Ok::<_, Error>((data.seen.into_inner(), losses))
    };
    let name = "checkpoint";
    let (mut seen, mut losses) = part(whole.path(), &mut |step| match step == stop + 1 {
        true => copy(&whole.path().join(name), &rest.path().join(name)),
        false => Ok(()),
    })?;
    let (later, of_later) = part(rest.path(), &mut |_| Ok(()))?;
    losses.truncate(stop);
    losses.extend(of_later);
    seen.truncate(stop + 1);
    let new = given.config.steps - stop;
    seen.extend(later.into_iter().rev().take(new).rev());
    Ok(Ran { seen, losses })
}

/// The run of the engine is the formula's. In the control the learning rate is the next step's, or
/// the micro-batches weigh otherwise.
fn followed(engine: &Candle, case: &mut Case, weights: Weights) -> Result<()> {
    let given = given(engine, case, weights)?;
    let stop = case.draw.size(1, given.config.steps - 1);
    let Ran { seen, losses } = ran(engine, &given, stop)?;
    let describe = format!("{}, {:?}", given.model.describe(), given.config.schedule);
    case.same(seen.len(), given.config.steps + 1, || {
        format!("{describe}: steps")
    });
    case.same(losses.len(), given.config.steps, || {
        format!("{describe}: losses")
    });
    let mut formula = Formula {
        given: &given,
        u: engine.roundoff() + UNIT_ROUNDOFF_F64,
        moments: TensorMap::new(),
    };
    for (step, (before, after)) in seen.iter().zip(&seen[1..]).enumerate() {
        let expected = formula.step(step, before, case.control)?;
        let what = format!("{describe}: step {}", step + 1);
        let (loss, bound) = expected.loss;
        let tolerance = Tolerance::stated(bound, "2 u 8 √Σ(∂y/∂z M)² of each micro-batch");
        case.close(losses[step], loss, &tolerance, || format!("{what}, loss"));
        for (name, numbers) in &expected.parameters {
            let found = after.get(name).filter(|found| found.len() == numbers.len());
            case.same(found.is_some(), true, || format!("{what}: {name} is there"));
            for (i, (x, bound)) in numbers.iter().enumerate() {
                let found = found.and_then(|found| found.iter().nth(i)).copied();
                let why = "the gradient's bound through clipping, moments and quotient";
                let tolerance = Tolerance::stated(*bound, why);
                case.close(found.unwrap_or(f64::NAN), *x, &tolerance, || {
                    format!("{what}: {name}, element {i}")
                });
            }
        }
    }
    Ok(())
}

/// A number and how far rounding may have moved it.
type Near = (f64, f64);

/// What a step leaves, by the formula.
struct Expected {
    loss: Near,
    parameters: TensorMap<Near>,
}

struct Formula<'a> {
    given: &'a Given,
    /// The round-off of both sides.
    u: f64,
    /// m and v of every number.
    moments: TensorMap<[Near; 2]>,
}

impl Formula<'_> {
    fn step(&mut self, step: usize, before: &TensorMap<f64>, control: bool) -> Result<Expected> {
        let config = &self.given.config;
        let (gradient, loss) = self.gradient(step, before, control)?;
        let late = usize::from(control && self.given.weights == Weights::Labels);
        let rate = config.learning_rate * factor(config, step + late);
        let mut parameters = TensorMap::new();
        for (name, theta) in before {
            let decay = match decays(name) {
                true => config.optimiser.weight_decay,
                false => 0.0,
            };
            let own = gradient.get(name);
            let own = own.ok_or_else(|| Error::Missing(format!("a gradient of {name}")))?;
            let zeros = || own.mapv(|_| [(0.0, 0.0); 2]);
            let moments = self.moments.entry(name.clone()).or_insert_with(zeros);
            let update = Update {
                config,
                u: self.u,
                rate,
                decay,
                t: step + 1,
            };
            let all = theta.iter().zip(own).zip(moments.iter_mut());
            let new = all
                .map(|((x, g), moments)| update.of(*x, *g, moments))
                .collect();
            parameters.insert(name.clone(), ArrayD::from_shape_vec(theta.raw_dim(), new)?);
        }
        Ok(Expected { loss, parameters })
    }

    /// The clipped gradient and the loss of a step's micro-batches.
    fn gradient(
        &self,
        step: usize,
        at: &TensorMap<f64>,
        control: bool,
    ) -> Result<(TensorMap<Near>, Near)> {
        let (given, config) = (self.given, &self.given.config);
        let k = config.accumulation;
        let indices: Vec<usize> = (step * k..(step + 1) * k).collect();
        let rows = |index: &usize| given.texts[place(*index, given.texts.len())].clone();
        let batches: Vec<Vec<TextRow>> = match given.weights {
            Weights::OneBatch if !control => vec![indices.iter().flat_map(rows).collect()],
            _ => indices.iter().map(rows).collect(),
        };
        let labels: Vec<f64> = batches.iter().map(|rows| self.labels(rows)).collect();
        let equal = (given.weights == Weights::Alike) != control && batches.len() > 1;
        let (mut sum, mut loss) = (TensorMap::<Near>::new(), (0.0, 0.0));
        for (j, rows) in batches.into_iter().enumerate() {
            let mut model = given.model.on(rows);
            let trained = model.adapter.iter_mut();
            trained.for_each(|(name, tensor)| tensor.clone_from(&at[name]));
            model.smoothing = config.label_smoothing;
            model.dropping = (config.dropout > 0.0).then(|| Dropping {
                rate: config.dropout,
                key: mix(config.seed ^ mix(indices[j] as u64)),
                without: None,
            });
            let share = match equal {
                true => 1.0 / labels.len() as f64,
                false => labels[j] / labels.iter().sum::<f64>(),
            };
            self.add(&mut sum, &mut loss, share, &model)?;
            if config.clip_micro_batches {
                clip(&mut sum, config.clip);
            }
        }
        clip(&mut sum, config.clip);
        Ok((sum, loss))
    }

    /// How many labels the loss of these texts is the mean over.
    fn labels(&self, rows: &[TextRow]) -> f64 {
        let of = |row: &TextRow| self.given.model.targets(row);
        rows.iter().flat_map(of).filter(|label| *label >= 0).count() as f64
    }

    fn add(
        &self,
        sum: &mut TensorMap<Near>,
        loss: &mut Near,
        share: f64,
        model: &ModelCase,
    ) -> Result<()> {
        let found = Paper::gradients(model)?;
        let spread = SLACK * DEVIATIONS * self.u * found.loss.1;
        *loss = (loss.0 + share * found.loss.0, loss.1 + share * spread);
        for (name, g, spread) in found.iter() {
            let zeros = || g.mapv(|_| (0.0, 0.0));
            let own = sum.entry(name.clone()).or_insert_with(zeros);
            let numbers = own.iter_mut().zip(g.iter().zip(spread));
            for (sum, (g, spread)) in numbers {
                let (greatest, tokens) = (found.greatest, found.tokens);
                let error = Tolerance::gradient(*spread, greatest, tokens, self.u, 0.0).bound;
                *sum = (
                    sum.0 + share * g,
                    sum.1 + share * error + 2.0 * self.u * share * g.abs(),
                );
            }
        }
        Ok(())
    }
}

/// Brings the norm of all numbers together within the limit.
fn clip(sum: &mut TensorMap<Near>, limit: Option<f64>) {
    let Some(limit) = limit else { return };
    let all = || sum.values().flatten();
    let norm = all().map(|(g, _)| g * g).sum::<f64>().sqrt();
    let error = all().map(|(_, e)| e * e).sum::<f64>().sqrt();
    if norm + error <= limit {
        return;
    }
    let least = limit / (norm + error);
    let most = (limit / (norm - error).max(f64::MIN_POSITIVE)).min(1.0);
    let scale = (limit / norm).min(1.0);
    let off = (most - scale).max(scale - least);
    for (g, e) in sum.values_mut().flatten() {
        *e = most * *e + off * g.abs();
        *g *= scale;
    }
}

/// The learning rate's factor at a step from 0: warm-up, then the schedule.
fn factor(config: &TrainConfig, step: usize) -> f64 {
    let (t, w, all) = (step as f64, config.warmup as f64, config.steps as f64);
    if t < w {
        return t / w;
    }
    let left = 1.0 - ((t - w) / (all - w)).min(1.0);
    match config.schedule {
        Schedule::Linear => left,
        Schedule::Constant => 1.0,
        Schedule::Cosine => (0.5 * std::f64::consts::PI * (1.0 - left)).cos().powi(2),
        Schedule::Polynomial { power, end } => end + (1.0 - end) * left.powf(power),
    }
}

/// Whether weight decay acts on a tensor: not on biases and norms.
fn decays(name: &str) -> bool {
    let norms = [".ln_", "layer_norm.", "LayerNorm."];
    !name.ends_with("bias") && !norms.iter().any(|part| name.contains(part))
}

/// A step of AdamW for one number.
struct Update<'a> {
    config: &'a TrainConfig,
    u: f64,
    rate: f64,
    decay: f64,
    t: usize,
}

impl Update<'_> {
    fn of(&self, x: f64, (g, e): Near, [first, second]: &mut [Near; 2]) -> Near {
        let o = self.config.optimiser;
        let (g, e, shrink) = match o.coupled {
            true => (
                g + self.decay * x,
                e + 4.0 * self.u * self.decay * x.abs(),
                1.0,
            ),
            false => (g, e, 1.0 - self.rate * self.decay),
        };
        let mean = |beta: f64, old: Near, new: Near| {
            let value = beta * old.0 + (1.0 - beta) * new.0;
            let size = beta * old.0.abs() + (1.0 - beta) * new.0.abs();
            let error = beta * old.1 + (1.0 - beta) * new.1 + 4.0 * self.u * size;
            (value, error)
        };
        *first = mean(o.beta1, *first, (g, e));
        *second = mean(o.beta2, *second, (g * g, 2.0 * g.abs() * e + e * e));
        let correction = |beta: f64| 1.0 - beta.powi(self.t as i32);
        let (c1, c2) = (correction(o.beta1), correction(o.beta2));
        let (m, e_m) = (first.0.abs() / c1, first.1 / c1);
        let root = |v: f64| (v.max(0.0) / c2).sqrt() + o.eps;
        let (v, e_v) = *second;
        let (least, most) = (root(v - e_v), root(v + e_v));
        let quotient = m / root(v);
        let off = ((m + e_m) / least - quotient)
            .max(quotient - (m - e_m).max(0.0) / most + (e_m - m).max(0.0) / least);
        let step = self.rate * quotient.copysign(first.0);
        let rounding = 8.0 * self.u * (x.abs() + step.abs());
        (shrink * x - step, self.rate * off + rounding)
    }
}
