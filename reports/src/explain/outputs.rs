//! What a model says at every position, and how far the tuned one says something else than the
//! frozen one.

use super::pieces::Pieces;
use super::{Input, Target};
use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use inducer_gpu::{LossOptions, Model};
use serde::Serialize;
use std::collections::BTreeSet;

/// So many of the likeliest next tokens are shown of each model.
const LIKELY: usize = 6;

/// A model's losses on the row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Output {
    /// The loss that training takes, in nats: the mean over the target's tokens, or of the class.
    pub loss: f64,
    /// −log p of the next token at every position but the last; of a class, one number.
    pub losses: Vec<f64>,
}

/// A next token, or a class, with its probabilities.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// The token's text, or the class's name.
    pub text: String,
    /// Whether it is what comes next, or the class that the loss is of.
    pub true_one: bool,
    /// Its probability under the frozen model.
    pub frozen: f64,
    /// Its probability under the tuned one.
    pub tuned: f64,
}

/// Log-probabilities of each position, or of the row's classes.
pub(super) type LogProbabilities = Vec<Vec<f64>>;

/// Log-probabilities from logits [positions, ids] or [1, classes].
///
/// # Errors
/// A candle error.
pub(super) fn log_probabilities(logits: &Tensor) -> Result<LogProbabilities> {
    let logits = logits.to_dtype(DType::F64)?.to_device(&Device::Cpu)?;
    let normalised = |row: Vec<f64>| {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total = top + row.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
        row.into_iter().map(|x| x - total).collect()
    };
    Ok(logits
        .to_vec2::<f64>()?
        .into_iter()
        .map(normalised)
        .collect())
}

/// The id that is true at each position: the next token, or the class of the only one.
fn truths(input: &Input) -> Vec<Option<u32>> {
    match input.target.from {
        Some(_) => {
            let next = input.batch.ids[1..].iter().map(|id| Some(*id));
            next.chain([None]).collect()
        }
        None => vec![input.target.class],
    }
}

/// A model's losses.
///
/// # Errors
/// Labels that do not fit.
pub(super) fn output(model: &Model, input: &Input, says: &[Vec<f64>]) -> Result<Output> {
    let pairs = says.iter().zip(truths(input));
    let losses = pairs.filter_map(|(row, id)| Some(-row[id? as usize]));
    Ok(Output {
        losses: losses.collect(),
        loss: model.loss(&input.batch, LossOptions::PLAIN)?,
    })
}

/// KL(frozen ‖ tuned) at each position, in nats, as the report counts it.
pub(super) fn divergence(frozen: &[Vec<f64>], tuned: &[Vec<f64>]) -> Vec<f64> {
    let of = |(p, q): (&Vec<f64>, &Vec<f64>)| {
        let terms = p.iter().zip(q).map(|(p, q)| p.exp() * (p - q));
        terms.sum::<f64>().max(0.0) // rounding of a difference of nothing
    };
    frozen.iter().zip(tuned).map(of).collect()
}

/// At each position the likeliest of both models and the true one, by the tuned model's
/// probability; of classes all, in their order.
pub(super) fn candidates(
    input: &Input,
    frozen: &[Vec<f64>],
    tuned: &[Vec<f64>],
) -> Vec<Vec<Candidate>> {
    let pieces = input.pieces();
    let at = |(i, true_one): (usize, Option<u32>)| {
        let (p, q) = (&frozen[i], &tuned[i]);
        let ids: BTreeSet<usize> = match input.target.from {
            None => (0..q.len()).collect(),
            Some(_) => {
                let own = true_one.map(|id| id as usize);
                likeliest(p)
                    .into_iter()
                    .chain(likeliest(q))
                    .chain(own)
                    .collect()
            }
        };
        let mut ids: Vec<usize> = ids.into_iter().collect();
        if input.target.from.is_some() {
            ids.sort_by(|a, b| q[*b].total_cmp(&q[*a]));
        }
        let candidate = |id: &usize| Candidate {
            text: name(&input.target, pieces, *id),
            true_one: true_one == Some(*id as u32),
            frozen: short(p[*id].exp()),
            tuned: short(q[*id].exp()),
        };
        ids.iter().map(candidate).collect()
    };
    truths(input).into_iter().enumerate().map(at).collect()
}

/// A probability to six digits: the page shows three.
fn short(x: f64) -> f64 {
    format!("{x:.5e}").parse().unwrap_or(x)
}

fn name(target: &Target, pieces: Pieces<'_>, id: usize) -> String {
    match target.from {
        Some(_) => pieces.token(id as u32).text,
        None => {
            let name = target.classes.get(id).cloned();
            name.unwrap_or_else(|| format!("class {id}"))
        }
    }
}

fn likeliest(row: &[f64]) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..row.len()).collect();
    let count = LIKELY.min(ids.len());
    let descending = |a: &usize, b: &usize| row[*b].total_cmp(&row[*a]).then(a.cmp(b));
    if count < ids.len() {
        ids.select_nth_unstable_by(count, descending);
    }
    ids.truncate(count);
    ids.sort_by(descending);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn log_probabilities_sum_to_one_and_the_divergence_is_that_by_hand() {
        let logits = Tensor::new(&[[900.0, 901.0, 899.5], [0.0, 0.0, 0.0]], &Device::Cpu).unwrap();
        let p = log_probabilities(&logits).unwrap();
        for row in &p {
            let sum = row.iter().map(|x| x.exp()).sum::<f64>();
            assert_abs_diff_eq!(sum, 1.0, epsilon = 1e-12);
        }
        let q = vec![p[1].clone(), p[1].clone()];
        let found = divergence(&p, &q);
        let by_hand = (0..3)
            .map(|i| p[0][i].exp() * (p[0][i] + 3f64.ln()))
            .sum::<f64>();
        assert_abs_diff_eq!(found[0], by_hand, epsilon = 1e-12);
        assert_eq!(found[1], 0.0);
    }

    #[test]
    fn the_likeliest_come_first_and_ties_by_their_number() {
        let row = [-3.0, -1.0, -2.0, -1.0, -9.0, -4.0, -5.0, -6.0];
        assert_eq!(likeliest(&row), [1, 3, 2, 0, 5, 6]);
        assert_eq!(likeliest(&[-1.0, 0.0]), [1, 0]);
    }
}
