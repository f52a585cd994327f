//! What a run says of the paper's mechanism: gates by layer, head and position, what goes with the
//! length of an input, and how far the model has moved from the frozen one.

use super::failed;
use super::run::nearly;
use super::world::{Ran, World, log_sum_exp, ran, targets};
use crate::run::{measure, record::Mechanism};
use anyhow::{Result, anyhow};
use candle_core::{DType, Device as Candle, Tensor};
use inducer_datasets::batches::pack;
use inducer_datasets::metrics::bleu::{Counts, Smoothing, counts_13a};
use inducer_datasets::metrics::{meteor, webnlg};
use inducer_datasets::{Encoded, Example, Task};
use inducer_gpu::{AdapterConfig, LossOptions, Model};
use inducer_verify::bounds::{UNIT_ROUNDOFF_F32, UNIT_ROUNDOFF_F64};
use inducer_verify::{Case, Claim, Target, Tolerance};
use serde_json::Value;
use std::collections::BTreeMap;

/// Methods in turn: the last one has no gate.
const METHODS: [&str; 5] = ["inducer", "prefix", "gating", "adaptive", "lora"];

/// Validation rows on which the drift is measured.
const DRIFT_ROWS: usize = 16;

pub(super) fn claims() -> Vec<Claim> {
    let claim = |id| Claim::new(id).one_case_in(16).at_least(5);
    vec![
        claim("run-gates").on_one_sided(Target::CpuF32, gates),
        claim("run-lengths").on_one_sided(Target::CpuF32, lengths),
        claim("run-drift").on_one_sided(Target::CpuF32, drift),
    ]
}

pub(super) fn made(case: &mut Case) -> inducer_verify::Result<Ran> {
    let method = *case.draw.in_turn(&METHODS);
    let task = *case.draw.in_turn(&[Task::WebNlg, Task::Generate]);
    let world = World::generating(case, task)?;
    ran(case, world, method, [0.01, 0.1])
}

/// A mean, and of how many.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, x: f64) {
        self.sum += x;
        self.count += 1;
    }

    fn value(self) -> f64 {
        self.sum / self.count as f64
    }

    fn of(values: &[f64]) -> Self {
        let mut mean = Self::default();
        values.iter().for_each(|x| mean.add(*x));
        mean
    }
}

/// λ or μ of one row: by layer, position and head.
type Gates = Vec<Vec<Vec<f64>>>;

impl Ran {
    /// The scored inputs, each with its first reference.
    pub(super) fn first_rows(&self) -> Result<Vec<Encoded>> {
        let layout = self.world.prepared.layout()?;
        let mut rows = Vec::new();
        for example in self.world.scored(self.config.test_limit) {
            rows.extend(layout.training_rows(&example)?.into_iter().next());
        }
        Ok(rows)
    }

    /// The adapter that is kept, in f64.
    fn tuned(&self) -> Result<Model> {
        self.world.model(&self.dir.join("best"), DType::F64)
    }

    /// The model before its first step, with this adapter.
    fn untrained(&self, adapter: &AdapterConfig) -> Result<Model> {
        let (prepared, seed) = (&self.world.prepared, self.config.train.seed);
        let dir = &prepared.source.backbone;
        // initial values are those that the run drew in its own type
        let mut model = Model::load_for(dir, None, seed, DType::F32, &Candle::Cpu)?;
        model.attach(adapter, prepared.special, seed)?;
        Ok(model)
    }

    pub(super) fn name(&self) -> String {
        let config = &self.config;
        format!(
            "{} on {} at {}",
            config.method, config.task, config.train.learning_rate
        )
    }

    /// How long a list of the result is; a list that is not there has no length.
    pub(super) fn length(&self, place: &str) -> usize {
        let list = self.result.pointer(place).and_then(Value::as_array);
        list.map_or(0, Vec::len)
    }
}

/// The gates of rows, each by itself.
fn gates_of(model: &Model, rows: &[Encoded]) -> Result<Vec<Gates>> {
    let each = |row: &Encoded| -> Result<Gates> {
        let (_, gates) = model.logits_and_gates(&pack(&[row]))?;
        let values = |t: &Tensor| Ok(t.to_dtype(DType::F64)?.to_vec2::<f64>()?);
        gates.iter().map(values).collect()
    };
    rows.iter().map(each).collect()
}

pub(super) fn of_gates() -> Tolerance {
    let why =
        "512 u: a gate's slope is at most 1/4 in scores up to 16, each within 128 u of itself";
    Tolerance::stated(512.0 * UNIT_ROUNDOFF_F32, why)
}

pub(super) fn of_logits() -> Tolerance {
    let why = "2048 u: twice the error of logits up to 8, each within 128 u of itself";
    Tolerance::stated(2048.0 * UNIT_ROUNDOFF_F32, why)
}

/// The spans of positions: 0 to 7, 8 to 15, then each as long as all before it.
pub(super) fn span(position: usize) -> [usize; 2] {
    let (mut from, mut to) = (0, 8);
    while position >= to {
        (from, to) = (to, 2 * to);
    }
    [from, to - 1]
}

/// The share of values in [from, to) that stands at a place of the result.
fn share(case: &mut Case, ran: &Ran, place: &str, values: &[f64], [from, to]: [f64; 2]) {
    let near = of_gates().bound;
    let share = |of: &dyn Fn(f64) -> bool| {
        let those = values.iter().filter(|x| of(**x)).count();
        those as f64 / values.len() as f64
    };
    let at_an_end = share(&|x| (x - from).abs() <= near || (x - to).abs() <= near);
    let why = "the share of gates within 512 u of an end, which may lie beyond it in f32; n ε: a \
               sum of n quotients";
    let bound = at_an_end + values.len() as f64 * f64::EPSILON;
    let expected = share(&|x| from <= x && x < to);
    let tolerance = Tolerance::stated(bound, why);
    case.close(ran.number(place), expected, &tolerance, || {
        format!("{}: {place}", ran.name())
    });
}

/// The share of queries whose gate is below a hundredth.
fn unreached(case: &mut Case, ran: &Ran, place: &str, values: &[f64]) {
    share(case, ran, place, values, [f64::NEG_INFINITY, 0.01]);
}

/// The quantiles of a layer's gates are those of the sorted ones, the nearest each; its histogram
/// has their shares of twenty equal parts of [0, 1], the last one with its end.
fn distributed(case: &mut Case, ran: &Ran, layer: usize, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let (n, tolerance) = (values.len() as f64, of_gates());
    for (i, q) in [0.05, 0.25, 0.5, 0.75, 0.95].into_iter().enumerate() {
        let place = format!("/gates/{layer}/quantiles/{i}");
        let expected = values[((n - 1.0) * q).round() as usize];
        case.close(ran.number(&place), expected, &tolerance, || {
            format!("{}: {place}", ran.name())
        });
    }
    let place = format!("/gates/{layer}/histogram");
    case.same(ran.length(&place), 20, || format!("{}: parts", ran.name()));
    for i in 0..20 {
        let from = if i == 0 {
            f64::NEG_INFINITY
        } else {
            f64::from(i) / 20.0
        };
        let to = if i == 19 {
            f64::INFINITY
        } else {
            f64::from(i + 1) / 20.0
        };
        share(case, ran, &format!("{place}/{i}"), &values, [from, to]);
    }
    unreached(case, ran, &format!("/gates/{layer}/unreached"), &values);
    let place = format!("/gates/{layer}/layer");
    case.same(ran.number(&place), layer as f64, || {
        format!("{}: {place}", ran.name())
    });
}

/// The gates' mean of every layer, of its heads and of every span of positions, and their mean
/// before the first step, are those of the kept adapter, each row by itself; a method without
/// gates has none. In the control they are those of the start.
fn gates(case: &mut Case) -> inducer_verify::Result<()> {
    let ran = made(case)?;
    let (name, tolerance) = (ran.name(), of_gates());
    let rows = ran.first_rows().map_err(failed)?;
    let own = || -> Result<[Vec<Gates>; 2]> {
        let start = gates_of(&ran.untrained(&ran.config.adapter)?, &rows)?;
        let own = match case.control {
            false => gates_of(&ran.tuned()?, &rows)?,
            true => start.clone(),
        };
        Ok([own, start])
    };
    let [own, start] = own().map_err(failed)?;
    let layers = own.first().map_or(0, Vec::len);
    case.same(ran.length("/gates"), layers, || {
        format!("{name}: layers with gates")
    });
    let mut spans = BTreeMap::<[usize; 2], Vec<f64>>::new();
    for layer in 0..layers {
        let mut heads = vec![Mean::default(); own[0][layer][0].len()];
        let [mut all, mut before] = [Mean::default(); 2];
        let mut values = Vec::new();
        for (row, start) in own.iter().zip(&start) {
            for (at, (gates, start)) in row[layer].iter().zip(&start[layer]).enumerate() {
                for (h, (gate, start)) in gates.iter().zip(start).enumerate() {
                    heads[h].add(*gate);
                    all.add(*gate);
                    values.push(*gate);
                    before.add(*start);
                    spans.entry(span(at)).or_default().push(*gate);
                }
            }
        }
        let mut expected = vec![("mean".to_string(), all), ("untrained".into(), before)];
        expected.extend((0..heads.len()).map(|h| (format!("heads/{h}"), heads[h])));
        for (field, mean) in expected {
            let place = format!("/gates/{layer}/{field}");
            case.close(ran.number(&place), mean.value(), &tolerance, || {
                format!("{name}: {place}")
            });
        }
        distributed(case, &ran, layer, values);
    }
    by_position(case, &ran, spans);
    Ok(())
}

/// The gates of each span of positions: their number, their mean, the share of those not reached.
fn by_position(case: &mut Case, ran: &Ran, spans: BTreeMap<[usize; 2], Vec<f64>>) {
    let name = ran.name();
    case.same(ran.length("/by_position"), spans.len(), || {
        format!("{name}: spans of positions")
    });
    for (i, ([from, to], gates)) in spans.into_iter().enumerate() {
        let place = |field: &str| format!("/by_position/{i}/{field}");
        let numbers = ["from", "to", "queries"].map(|field| ran.number(&place(field)));
        case.same(numbers, [from, to, gates.len()].map(|n| n as f64), || {
            format!("{name}: span {i}")
        });
        let mean = Mean::of(&gates).value();
        case.close(ran.number(&place("gate")), mean, &of_gates(), || {
            format!("{name}: positions {from} to {to}")
        });
        unreached(case, ran, &place("unreached"), &gates);
    }
}

/// The numbers of rows by the length of their prompts: four bins of about equal counts, no length
/// in two of them. The bin of a row is that of the first as long as it.
pub(super) fn bins(rows: &[Encoded]) -> Vec<Vec<usize>> {
    let mut bins = vec![Vec::new(); 4];
    for (i, row) in rows.iter().enumerate() {
        let shorter = rows
            .iter()
            .filter(|other| other.prompt_len < row.prompt_len);
        bins[4 * shorter.count() / rows.len()].push(i);
    }
    bins.retain(|bin| !bin.is_empty());
    bins
}

/// The scored inputs by the length of their prompts, with the loss of their first references,
/// their gates and the score of their texts. In the control the model is that of the start.
fn lengths(case: &mut Case) -> inducer_verify::Result<()> {
    let ran = made(case)?;
    let rows = ran.first_rows().map_err(failed)?;
    let model = match case.control {
        false => ran.tuned(),
        true => ran.untrained(&ran.config.adapter),
    };
    let model = model.map_err(failed)?;
    let gates = gates_of(&model, &rows).map_err(failed)?;
    let bins = bins(&rows);
    case.same(ran.length("/by_length"), bins.len(), || {
        format!("{}: bins", ran.name())
    });
    scores(case, &ran, &bins)?;
    for (i, here) in bins.iter().enumerate() {
        let name = format!("{}: bin {i}", ran.name());
        let place = |field: &str| format!("/by_length/{i}/{field}");
        let lengths = || here.iter().map(|r| rows[*r].prompt_len);
        let expected = [lengths().min(), lengths().max(), Some(here.len())];
        let found = ["from", "to", "entries"].map(|field| ran.number(&place(field)));
        let expected = expected.map(|n| n.map_or(f64::NAN, |n| n as f64));
        case.same(found, expected, || name.clone());
        let (mut nats, mut tokens) = (0.0, 0.0);
        for r in here {
            let count = targets(&rows[*r]);
            let loss = model.loss(&pack(&[&rows[*r]]), LossOptions::PLAIN);
            nats += count * loss.map_err(|e| failed(e.into()))?;
            tokens += count;
        }
        let loss = ran.number(&place("loss"));
        case.close(loss, nats / tokens, &of_logits(), || {
            format!("{name}: loss")
        });
        let own = here
            .iter()
            .flat_map(|r| gates[*r].iter().flatten().flatten());
        let own: Vec<f64> = own.copied().collect();
        if own.is_empty() {
            let found = ["gate", "unreached"].map(|field| ran.result.pointer(&place(field)));
            case.same(found, [Some(&Value::Null); 2], || format!("{name}: gates"));
            continue;
        }
        let mean = Mean::of(&own).value();
        case.close(ran.number(&place("gate")), mean, &of_gates(), || {
            format!("{name}: gate")
        });
        unreached(case, &ran, &place("unreached"), &own);
    }
    Ok(())
}

/// The score of each bin is that of its inputs' own texts. What a run of six steps says scores
/// nothing, so the texts are those of people with words left out, beside the frozen model.
fn scores(case: &mut Case, ran: &Ran, bins: &[Vec<usize>]) -> inducer_verify::Result<()> {
    let examples = ran.world.scored(ran.config.test_limit);
    let texts: Vec<String> = examples.iter().map(|e| nearly(case, e)).collect();
    let found = || -> Result<Mechanism> {
        let (mut frozen, prepared) = (ran.untrained(&AdapterConfig::none())?, &ran.world.prepared);
        let untrained = || Err(anyhow!("the frozen model has no gates"));
        measure(&mut frozen, prepared, &examples, &texts, untrained)
    };
    let found = found().map_err(failed)?.by_length;
    let name = ran.name();
    case.same(found.len(), bins.len(), || format!("{name}: scores"));
    let why = "512 u of f64: BLEU up to 100 of sums in another order";
    let tolerance = Tolerance::stated(100.0 * 512.0 * UNIT_ROUNDOFF_F64, why);
    for (i, (found, here)) in found.iter().zip(bins).enumerate() {
        let own: Vec<Example> = here.iter().map(|i| examples[*i].clone()).collect();
        let texts: Vec<String> = here.iter().map(|i| texts[*i].clone()).collect();
        let expected = bleu(ran.config.task, &texts, own).map_err(failed)?;
        let found = found.score.unwrap_or(f64::NAN);
        case.close(found, expected, &tolerance, || {
            format!("{name}: BLEU of bin {i}, {texts:?}")
        });
    }
    Ok(())
}

fn bleu(task: Task, texts: &[String], examples: Vec<Example>) -> Result<f64> {
    if task == Task::WebNlg {
        let files = meteor::Files::default();
        return Ok(webnlg::scores(texts, &examples, &files)?.bleu.all.score);
    }
    let references: Vec<Vec<String>> = examples.into_iter().map(|e| e.references).collect();
    let mut sum = Counts::default();
    for own in counts_13a(texts, &references, false)? {
        sum += own;
    }
    Ok(sum.smoothed(Smoothing::Exp).score)
}

/// Log-probabilities where the labels of a row look, position by position.
fn log_probabilities(model: &Model, row: &Encoded) -> Result<Vec<Vec<f64>>> {
    let logits = model
        .logits(&pack(&[row]))?
        .to_dtype(DType::F64)?
        .to_vec2::<f64>()?;
    let looked_at = (1..row.labels.len()).filter(|t| row.labels[*t] >= 0);
    let at = looked_at.map(|t| {
        let z = &logits[t - 1];
        let sum = log_sum_exp(z);
        z.iter().map(|z| z - sum).collect()
    });
    Ok(at.collect())
}

/// The drift that the last validation logs is KL(frozen ‖ tuned) over the labelled positions of the
/// first validation rows. In the control it is KL(tuned ‖ frozen).
fn drift(case: &mut Case) -> inducer_verify::Result<()> {
    let ran = made(case)?;
    let own = || -> Result<Mean> {
        let frozen = ran.untrained(&AdapterConfig::none())?;
        let tuned = ran.world.model(&ran.dir.join("adapter"), DType::F64)?;
        let mut mean = Mean::default();
        for row in ran.world.prepared.dev.iter().take(DRIFT_ROWS) {
            let (p, q) = (
                log_probabilities(&frozen, row)?,
                log_probabilities(&tuned, row)?,
            );
            for (p, q) in p.iter().zip(&q) {
                let (p, q) = if case.control { (q, p) } else { (p, q) };
                mean.add(p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum());
            }
        }
        Ok(mean)
    };
    let expected = own().map_err(failed)?.value();
    let lines = ran.result["log"].as_array();
    let mut last = lines
        .into_iter()
        .flatten()
        .filter_map(|line| line["drift"].as_f64());
    let found = last.next_back().unwrap_or(f64::NAN);
    case.close(found, expected, &of_logits(), || {
        format!("{}: drift", ran.name())
    });
    Ok(())
}
