//! The paper's mechanism, measured on the scored inputs: how much weight the added tokens get, how
//! far their keys lie from the queries, and how both go with position and with the length of the
//! input.

use super::prepared::{Prepared, evenly, in_batches};
use super::record::{FixedLosses, LayerGates, LengthBin, Mechanism, PositionGates};
use super::scores::headline;
use crate::stats::mean;
use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use inducer_datasets::batches::pack;
use inducer_datasets::{Encoded, Example};
use inducer_gpu::Model;
use inducer_gpu::parts::FixedGates;
use inducer_gpu::train::evaluate;

/// Inputs are divided into so many bins of (nearly) equal counts by length.
const BINS: usize = 4;

/// Rows of each bin whose gates are looked at.
const OBSERVED: usize = 16;

/// A query whose added tokens together get less weight than this is not reached by them.
pub const REACHED: f64 = 0.01;

/// Weight and distance of some queries.
#[derive(Clone, Default)]
struct Queries {
    gates: Vec<f64>,
    distances: Vec<f64>,
}

impl Queries {
    fn push(&mut self, gate: f64, distance: f64) {
        self.gates.push(gate);
        self.distances.push(distance);
    }

    fn mean_gate(&self) -> Option<f64> {
        (!self.gates.is_empty()).then(|| mean(&self.gates))
    }

    fn unreached(&self) -> Option<f64> {
        let missed = self.gates.iter().filter(|g| **g < REACHED).count();
        (!self.gates.is_empty()).then(|| missed as f64 / self.gates.len() as f64)
    }

    fn median_distance(&mut self) -> Option<f64> {
        self.distances.sort_by(f64::total_cmp);
        (!self.distances.is_empty()).then(|| quantile(&self.distances, 0.5))
    }
}

/// The quantile of ascending values, which are not empty: the nearest one.
fn quantile(ascending: &[f64], q: f64) -> f64 {
    let last = ascending.len().saturating_sub(1);
    ascending[(last as f64 * q).round() as usize]
}

const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// Indices by bin: quantiles of the lengths, equal lengths never apart.
fn bins(lengths: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|i| lengths[*i]);
    let mut out: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut bin = 0;
    for (place, i) in order.iter().enumerate() {
        if place == 0 || lengths[order[place - 1]] != lengths[*i] {
            bin = place * count / order.len();
        }
        out[bin].push(*i);
    }
    out.retain(|bin| !bin.is_empty());
    out
}

/// The power-of-two span that a position falls into: 0–7, 8–15, 16–31, …
fn span(position: usize) -> usize {
    (position / 8).checked_ilog2().map_or(0, |k| k as usize + 1)
}

fn span_ends(span: usize) -> (usize, usize) {
    match span {
        0 => (0, 7),
        s => (4 << s, (8 << s) - 1),
    }
}

/// Everything that is looked at while the gates of a model are read.
#[derive(Default)]
struct Collected {
    layers: Vec<(Queries, Vec<Queries>)>,
    positions: Vec<Queries>,
}

impl Collected {
    fn add(&mut self, model: &Model, rows: &[&Encoded], bin: &mut Queries) -> Result<()> {
        let batch = pack(rows);
        for seen in model.observations(&batch)? {
            let (gates, distances) = (values(&seen.gate)?, values(&seen.distance)?);
            while self.layers.len() <= seen.layer {
                self.layers.push(Default::default());
            }
            let (layer, heads) = &mut self.layers[seen.layer];
            heads.resize(gates.first().map_or(0, Vec::len), Queries::default());
            for w in batch.offsets.windows(2) {
                for t in w[0]..w[1] {
                    let at = span(t - w[0]);
                    if self.positions.len() <= at {
                        self.positions.resize(at + 1, Queries::default());
                    }
                    for (h, (gate, distance)) in gates[t].iter().zip(&distances[t]).enumerate() {
                        let position = &mut self.positions[at];
                        for into in [&mut *layer, &mut heads[h], position, &mut *bin] {
                            into.push(*gate, *distance);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn values(t: &Tensor) -> Result<Vec<Vec<f64>>> {
    Ok(t.to_dtype(DType::F64)?
        .to_device(&Device::Cpu)?
        .to_vec2::<f64>()?)
}

/// Measures a tuned model on the scored examples and the texts it made of them. `untrained` makes
/// the model as it was before its first step; it is asked for where the method has a gate.
///
/// # Errors
/// Rows that do not fit the model; those of `untrained`.
pub fn measure(
    model: &mut Model,
    prepared: &Prepared,
    examples: &[Example],
    outputs: &[String],
    untrained: impl FnOnce() -> Result<Model>,
) -> Result<Mechanism> {
    let layout = prepared.layout()?;
    let mut lengths = Vec::new();
    let mut rows = Vec::new();
    for e in examples {
        let encoded = layout.training_rows(e)?.into_iter().next();
        let mut row = encoded.map_or_else(|| layout.prompt(e), Ok)?;
        prepared.to_head(&mut row);
        lengths.push(row.prompt_len);
        rows.push(row);
    }
    let mut all = Collected::default();
    let mut by_length = Vec::new();
    let mut looked_at = Vec::new();
    for members in bins(&lengths, BINS) {
        let mut queries = Queries::default();
        let here: Vec<&Encoded> = members.iter().map(|i| &rows[*i]).collect();
        let chosen: Vec<&Encoded> = evenly(&here, OBSERVED).copied().collect();
        for chunk in chosen.chunks(8) {
            all.add(model, chunk, &mut queries)?;
        }
        looked_at.extend(chosen);
        let texts: Vec<String> = members.iter().map(|i| outputs[*i].clone()).collect();
        let those: Vec<Example> = members.iter().map(|i| examples[*i].clone()).collect();
        let tokens = || members.iter().map(|i| lengths[*i]);
        by_length.push(LengthBin {
            from: tokens().min().unwrap_or(0),
            to: tokens().max().unwrap_or(0),
            entries: members.len(),
            score: headline(prepared, &texts, &those)?,
            loss: evaluate(model, &in_batches(&here))?,
            gate: queries.mean_gate(),
            unreached: queries.unreached(),
            distance: queries.median_distance(),
        });
    }
    let layers = all.layers.into_iter().enumerate();
    let mut gates: Vec<LayerGates> = layers
        .filter(|(_, (queries, _))| !queries.gates.is_empty())
        .map(|(layer, (queries, heads))| summary(layer, queries, &heads))
        .collect();
    if !gates.is_empty() {
        let mut before = Collected::default();
        let model = untrained()?;
        for chunk in looked_at.chunks(8) {
            before.add(&model, chunk, &mut Queries::default())?;
        }
        for layer in &mut gates {
            layer.untrained = before.layers[layer.layer].0.mean_gate();
        }
    }
    Ok(Mechanism {
        fixed_gates: fixed(model, &rows, &gates)?,
        gates,
        by_position: all
            .positions
            .into_iter()
            .enumerate()
            .filter_map(|(i, mut queries)| {
                let (from, to) = span_ends(i);
                Some(PositionGates {
                    from,
                    to,
                    queries: queries.gates.len(),
                    gate: queries.mean_gate()?,
                    unreached: queries.unreached()?,
                    distance: queries.median_distance()?,
                })
            })
            .collect(),
        by_length,
    })
}

/// What the gates are worth: the loss of the rows with them, with each head's mean in their place,
/// and with 1; none where there is no gate.
fn fixed(model: &mut Model, rows: &[Encoded], gates: &[LayerGates]) -> Result<Option<FixedLosses>> {
    if gates.is_empty() {
        return Ok(None);
    }
    let batches = in_batches(&rows.iter().collect::<Vec<_>>());
    let own = evaluate(model, &batches)?;
    let mut with = |of: &dyn Fn(f64) -> f64| {
        let heads = |g: &LayerGates| g.heads.iter().map(|mean| of(*mean)).collect();
        let gates: FixedGates = gates.iter().map(|g| (g.layer, heads(g))).collect();
        model.with_fixed_gates(gates, |m| evaluate(m, &batches))
    };
    Ok(Some(FixedLosses {
        own,
        head_mean: with(&|mean| mean)?,
        one: with(&|_| 1.0)?,
    }))
}

fn summary(layer: usize, mut queries: Queries, heads: &[Queries]) -> LayerGates {
    let unreached = queries.unreached();
    queries.gates.sort_by(f64::total_cmp);
    queries.distances.sort_by(f64::total_cmp);
    let mut histogram = vec![0.0; 20];
    for x in &queries.gates {
        histogram[((x * 20.0) as usize).min(19)] += 1.0 / queries.gates.len() as f64;
    }
    LayerGates {
        layer,
        mean: mean(&queries.gates),
        quantiles: QUANTILES.map(|q| quantile(&queries.gates, q)),
        histogram,
        heads: heads.iter().map(|h| mean(&h.gates)).collect(),
        distance: Some(QUANTILES.map(|q| quantile(&queries.distances, q))),
        unreached,
        untrained: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_have_equal_counts_and_equal_lengths_are_never_apart() {
        let lengths: Vec<usize> = (0..40).map(|i| (i * 7) % 40).collect();
        let four = bins(&lengths, 4);
        assert_eq!(four.iter().map(Vec::len).collect::<Vec<_>>(), [10; 4]);
        assert!(four[1].iter().all(|i| (10..20).contains(&lengths[*i])));
        // three lengths, one of them most of all: the tie moves the border
        let tied: Vec<usize> = (0..20).map(|i| [1, 5, 5, 5, 9][i % 5]).collect();
        let out = bins(&tied, 4);
        for (a, b) in out.iter().zip(&out[1..]) {
            let highest = a.iter().map(|i| tied[*i]).max();
            assert!(highest < b.iter().map(|i| tied[*i]).min(), "{out:?}");
        }
        assert_eq!(out.concat().len(), 20);
        assert!(bins(&[], 4).is_empty());
    }

    #[test]
    fn spans_double_and_cover_every_position_once() {
        for position in 0..600 {
            let (from, to) = span_ends(span(position));
            assert!(
                (from..=to).contains(&position),
                "{position}: {from} to {to}"
            );
        }
        assert_eq!([0, 7, 8, 15, 16, 100].map(span), [0, 0, 1, 1, 2, 4]);
    }

    #[test]
    fn a_query_with_less_than_a_hundredth_is_not_reached() {
        let mut q = Queries::default();
        for gate in [0.5, 0.0099, 0.01, 0.0] {
            q.push(gate, 1.0 + gate);
        }
        assert_eq!(q.unreached(), Some(0.5));
        assert_eq!(Queries::default().unreached(), None);
        assert_eq!(q.median_distance(), Some(1.01));
    }
}
