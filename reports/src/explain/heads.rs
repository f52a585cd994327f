//! What the heads work on, as the page carries it.

use super::Chosen;
use super::numbers::{Floats, Packed, Sixteen};
use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use inducer_gpu::model::Insight;
use inducer_gpu::parts::observe::{Added, HeadsSeen};
use inducer_reference::spectrum::eigenvalues;
use ndarray::Array2;
use serde::Serialize;

/// Queries, keys and what a method puts beside them, of the chosen layers and heads; gates of all.
#[derive(Clone, Debug)]
pub struct Heads {
    /// q: [layers, heads, tokens, p].
    pub queries: Sixteen,
    /// k: [layers, heads, tokens, p].
    pub keys: Sixteen,
    /// A prefix's keys [layers, heads, l, p], or how far each inducer lies from its query,
    /// P_k − q, [layers, heads, tokens, p].
    pub added: Option<Sixteen>,
    /// The engine's log-sum-exp over the text's keys: [layers, heads, tokens].
    pub lse: Floats,
    /// The engine's λ or μ: [all layers, all heads, tokens].
    pub gate: Option<Floats>,
    /// The engine's distance to the nearest added key in bandwidths, likewise.
    pub distance: Option<Floats>,
    /// Shares of the variance of queries, keys and added keys in the first two principal
    /// components of each chosen layer and head.
    pub share: Vec<[f64; 2]>,
}

/// The numbers as they stand in `--json`.
#[derive(Serialize)]
pub(super) struct Open {
    queries: Sixteen,
    keys: Sixteen,
    added: Option<Sixteen>,
    lse: Floats,
    gate: Option<Floats>,
    distance: Option<Floats>,
    share: Vec<[f64; 2]>,
    error: f64,
}

/// The numbers as text, for the page.
#[derive(Serialize)]
pub(super) struct Text {
    queries: Packed,
    keys: Packed,
    added: Option<Packed>,
    lse: Packed,
    gate: Option<Packed>,
    distance: Option<Packed>,
    share: Vec<[f64; 2]>,
    error: f64,
}

/// One head's points: [points, p].
type Points = Vec<Vec<f32>>;

impl Heads {
    /// From a pass.
    ///
    /// # Errors
    /// Layers that have no gate beside some that have; a spectrum that does not converge.
    pub(super) fn of(seen: &Insight, chosen: &Chosen) -> Result<Self> {
        let layers: Vec<&HeadsSeen> = chosen.layers.iter().map(|l| &seen.layers[*l]).collect();
        let mut blocks = [Vec::new(), Vec::new(), Vec::new()];
        let (mut share, mut lse) = (Vec::new(), Vec::new());
        for layer in &layers {
            let (queries, keys) = (cube(&layer.queries)?, cube(&layer.keys)?);
            let added = layer.added.as_ref().map(keys_of).transpose()?;
            let sums = columns(&layer.lse)?;
            for h in &chosen.heads {
                let (q, k) = (&queries[*h], &keys[*h]);
                let empty = Points::new();
                let beside = added.as_ref().map_or(&empty, |added| &added[*h]);
                share.push(explained(&[q, k, beside])?);
                lse.extend_from_slice(&sums[*h]);
                let kept = match &layer.added {
                    Some(Added::Inducer(_)) => minus(beside, q),
                    _ => beside.concat(),
                };
                let parts = [q.concat(), k.concat(), kept];
                blocks
                    .iter_mut()
                    .zip(parts)
                    .for_each(|(all, part)| all.push(part));
            }
        }
        let [l, h] = [chosen.layers.len(), chosen.heads.len()];
        let (tokens, width) = (
            seen.layers[0].queries.dim(1)?,
            seen.layers[0].queries.dim(2)?,
        );
        let of = |points, blocks: &[Vec<f32>]| Sixteen::of(vec![l, h, points, width], blocks);
        let points = blocks[2].first().map_or(0, |b: &Vec<f32>| b.len() / width);
        let added = layers.iter().any(|l| l.added.is_some());
        let gates = gates(seen)?;
        Ok(Self {
            queries: of(tokens, &blocks[0]),
            keys: of(tokens, &blocks[1]),
            added: added.then(|| of(points, &blocks[2])),
            lse: Floats {
                shape: vec![l, h, tokens],
                values: lse,
            },
            gate: gates.as_ref().map(|g| g[0].clone()),
            distance: gates.map(|[_, distance]| distance),
            share,
        })
    }

    /// The greatest error of a coordinate that the 16 bits make.
    pub fn error(&self) -> f64 {
        let added = self.added.as_ref().map_or(0.0, Sixteen::error);
        self.queries.error().max(self.keys.error()).max(added)
    }

    pub(super) fn open(&self) -> Open {
        Open {
            queries: self.queries.clone(),
            keys: self.keys.clone(),
            added: self.added.clone(),
            lse: self.lse.clone(),
            gate: self.gate.clone(),
            distance: self.distance.clone(),
            share: self.share.clone(),
            error: self.error(),
        }
    }

    pub(super) fn text(&self) -> Text {
        Text {
            queries: self.queries.packed(),
            keys: self.keys.packed(),
            added: self.added.as_ref().map(Sixteen::packed),
            lse: self.lse.packed(),
            gate: self.gate.as_ref().map(Floats::packed),
            distance: self.distance.as_ref().map(Floats::packed),
            share: self.share.clone(),
            error: self.error(),
        }
    }
}

/// λ or μ, and distances, of all layers and heads; none where no layer has a gate.
fn gates(seen: &Insight) -> Result<Option<[Floats; 2]>> {
    let (found, layers) = (seen.gates.len(), seen.layers.len());
    if found == 0 {
        return Ok(None);
    }
    ensure!(
        found == layers,
        "a gate in {found} of {layers} layers: only a method with one in each can be shown"
    );
    let (mut gate, mut distance) = (Vec::new(), Vec::new());
    for layer in &seen.gates {
        gate.extend(columns(&layer.gate)?.concat());
        distance.extend(columns(&layer.distance)?.concat());
    }
    let (tokens, heads) = seen.gates[0].gate.dims2()?;
    let floats = |values| Floats {
        shape: vec![layers, heads, tokens],
        values,
    };
    Ok(Some([floats(gate), floats(distance)]))
}

fn host(t: &Tensor) -> Result<Tensor> {
    Ok(t.to_dtype(DType::F32)?.to_device(&Device::Cpu)?)
}

fn cube(t: &Tensor) -> Result<Vec<Points>> {
    Ok(host(t)?.to_vec3()?)
}

/// The columns of [tokens, H].
fn columns(t: &Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(host(&t.t()?.contiguous()?)?.to_vec2()?)
}

fn keys_of(added: &Added) -> Result<Vec<Points>> {
    match added {
        Added::Prefix(keys) | Added::Inducer(keys) => cube(keys),
    }
}

/// P_k − q, point by point.
fn minus(keys: &[Vec<f32>], queries: &[Vec<f32>]) -> Vec<f32> {
    let pairs = keys.concat().into_iter().zip(queries.concat());
    pairs.map(|(k, q)| k - q).collect()
}

/// The shares of the variance of all points together that the first two principal components have.
fn explained(points: &[&Points]) -> Result<[f64; 2]> {
    let rows: Vec<&Vec<f32>> = points.iter().flat_map(|p| p.iter()).collect();
    let width = rows.first().map_or(0, |row| row.len());
    let count = rows.len().max(1) as f64;
    let centred = |a: usize| -> Vec<f64> {
        let column: Vec<f64> = rows.iter().map(|row| f64::from(row[a])).collect();
        let mean = column.iter().sum::<f64>() / count;
        column.into_iter().map(|x| x - mean).collect()
    };
    let columns: Vec<Vec<f64>> = (0..width).map(centred).collect();
    // By hand: BLAS spreads so small a product over all cores, and where they are busy each of the
    // products waits for its turn on every one of them.
    let covariance = Array2::from_shape_fn((width, width), |(a, b)| {
        let pairs = columns[a].iter().zip(&columns[b]);
        pairs.map(|(x, y)| x * y).sum::<f64>() / count
    });
    let total = covariance.diag().sum();
    if total <= 0.0 || width < 2 {
        return Ok([1.0, 0.0]);
    }
    let values = eigenvalues(&covariance)?;
    Ok([values[0] / total, values[1] / total])
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn points_on_a_line_have_one_component_and_a_square_has_two() {
        let line: Points = (0..9)
            .map(|i| vec![i as f32, 2.0 * i as f32, 1.0])
            .collect();
        let [first, second] = explained(&[&line, &line]).unwrap();
        assert_abs_diff_eq!(first, 1.0, epsilon = 1e-12);
        assert_abs_diff_eq!(second, 0.0, epsilon = 1e-12);
        let corners: Points = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
            .map(|p| p.to_vec())
            .to_vec();
        let [first, second] = explained(&[&corners]).unwrap();
        assert_abs_diff_eq!(first, 0.5, epsilon = 1e-12);
        assert_abs_diff_eq!(second, 0.5, epsilon = 1e-12);
        assert_eq!(explained(&[&vec![vec![2.0, 2.0]; 3]]).unwrap(), [1.0, 0.0]);
    }
}
