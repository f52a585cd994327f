//! What a run says of the paper's mechanism: gates by layer, head and position, what goes with the
//! length of an input, and how far the model has moved from the frozen one.

use super::failed;
use super::world::{Ran, World, log_sum_exp, ran, targets};
use anyhow::Result;
use candle_core::{DType, Device as Candle, Tensor};
use inducer_datasets::batches::pack;
use inducer_datasets::{Encoded, Task};
use inducer_gpu::{AdapterConfig, LossOptions, Model};
use inducer_verify::bounds::UNIT_ROUNDOFF_F32;
use inducer_verify::{Case, Claim, Target, Tolerance};

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

fn made(case: &mut Case) -> inducer_verify::Result<Ran> {
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
}

/// λ or μ of one row: by layer, position and head.
type Gates = Vec<Vec<Vec<f64>>>;

impl Ran {
    /// The scored inputs, each with its first reference.
    fn first_rows(&self) -> Result<Vec<Encoded>> {
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

    fn name(&self) -> String {
        let config = &self.config;
        format!(
            "{} on {} at {}",
            config.method, config.task, config.train.learning_rate
        )
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

fn of_gates() -> Tolerance {
    let why =
        "512 u: a gate's slope is at most 1/4 in scores up to 16, each within 128 u of itself";
    Tolerance::stated(512.0 * UNIT_ROUNDOFF_F32, why)
}

fn of_logits() -> Tolerance {
    let why = "2048 u: twice the error of logits up to 8, each within 128 u of itself";
    Tolerance::stated(2048.0 * UNIT_ROUNDOFF_F32, why)
}

/// The spans of positions: 0 to 7, 8 to 15, then each as long as all before it.
fn span(position: usize) -> [usize; 2] {
    let (mut from, mut to) = (0, 8);
    while position >= to {
        (from, to) = (to, 2 * to);
    }
    [from, to - 1]
}

/// The quantiles of a layer's gates are those of the sorted ones, the nearest each, and the queries
/// that are not reached those whose gate is below a hundredth.
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
    let share = |of: &dyn Fn(f64) -> bool| values.iter().filter(|x| of(**x)).count() as f64 / n;
    // one that lies at the threshold may lie on its other side in f32
    let bound = share(&|x| (x - 0.01).abs() <= tolerance.bound) + 16.0 * f64::EPSILON;
    let why = "the share of gates within 512 u of the threshold; 16 ε: a quotient";
    let expected = share(&|x| x < 0.01);
    let place = format!("/gates/{layer}/unreached");
    let tolerance = Tolerance::stated(bound, why);
    case.close(ran.number(&place), expected, &tolerance, || {
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
    let found = ran.result["gates"].as_array().map_or(0, Vec::len);
    case.same(found, layers, || format!("{name}: layers with gates"));
    let mut spans = std::collections::BTreeMap::<[usize; 2], Mean>::new();
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
                    spans.entry(span(at)).or_default().add(*gate);
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
    let found = ran.result["by_position"].as_array().map_or(0, Vec::len);
    case.same(found, spans.len(), || format!("{name}: spans of positions"));
    for (i, ([from, to], mean)) in spans.into_iter().enumerate() {
        let place = |field: &str| format!("/by_position/{i}/{field}");
        let numbers = ["from", "to", "queries"].map(|field| ran.number(&place(field)));
        case.same(numbers, [from, to, mean.count].map(|n| n as f64), || {
            format!("{name}: span {i}")
        });
        case.close(ran.number(&place("gate")), mean.value(), &tolerance, || {
            format!("{name}: positions {from} to {to}")
        });
    }
    Ok(())
}

/// The scored inputs by the length of their prompts: four bins of about equal counts, no length in
/// two of them, with the loss of their first references and their gates. In the control the model
/// is that of the start.
fn lengths(case: &mut Case) -> inducer_verify::Result<()> {
    let ran = made(case)?;
    let name = ran.name();
    let rows = ran.first_rows().map_err(failed)?;
    let model = match case.control {
        false => ran.tuned(),
        true => ran.untrained(&ran.config.adapter),
    };
    let model = model.map_err(failed)?;
    let gates = gates_of(&model, &rows).map_err(failed)?;
    let length = |row: &Encoded| row.prompt_len;
    // the bin of an input is that of the first as long as it
    let bin = |row: &Encoded| {
        let shorter = rows
            .iter()
            .filter(|other| length(other) < length(row))
            .count();
        4 * shorter / rows.len()
    };
    let filled: Vec<usize> = (0..4)
        .filter(|b| rows.iter().any(|row| bin(row) == *b))
        .collect();
    let found = ran.result["by_length"].as_array().map_or(0, Vec::len);
    case.same(found, filled.len(), || format!("{name}: bins"));
    let mut all = [0.0; 2];
    for (i, b) in filled.into_iter().enumerate() {
        let here: Vec<usize> = (0..rows.len()).filter(|r| bin(&rows[*r]) == b).collect();
        let lengths: Vec<usize> = here.iter().map(|r| length(&rows[*r])).collect();
        let ends = [
            lengths.iter().min(),
            lengths.iter().max(),
            Some(&here.len()),
        ];
        let place = |field: &str| format!("/by_length/{i}/{field}");
        let found = ["from", "to", "entries"].map(|field| ran.number(&place(field)));
        case.same(
            found,
            ends.map(|n| n.map_or(f64::NAN, |n| *n as f64)),
            || format!("{name}: bin {i}"),
        );
        let (mut nats, mut tokens, mut gate) = (0.0, 0.0, Mean::default());
        for r in here {
            let count = targets(&rows[r]);
            let loss = model.loss(&pack(&[&rows[r]]), LossOptions::PLAIN);
            nats += count * loss.map_err(|e| failed(e.into()))?;
            tokens += count;
            gates[r]
                .iter()
                .flatten()
                .flatten()
                .for_each(|x| gate.add(*x));
        }
        all = [all[0] + nats, all[1] + tokens];
        case.close(
            ran.number(&place("loss")),
            nats / tokens,
            &of_logits(),
            || format!("{name}: loss of bin {i}"),
        );
        if gate.count > 0 {
            case.close(
                ran.number(&place("gate")),
                gate.value(),
                &of_gates(),
                || format!("{name}: gate of bin {i}"),
            );
        }
    }
    if gates[0].is_empty() {
        case.same(ran.result.get("fixed_gates").is_some(), false, || {
            format!("{name}: losses with other gates")
        });
    } else {
        let found = ran.number("/fixed_gates/own");
        case.close(found, all[0] / all[1], &of_logits(), || {
            format!("{name}: loss of all")
        });
    }
    Ok(())
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
