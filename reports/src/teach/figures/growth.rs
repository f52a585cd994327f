//! Figure 4: a fixed prefix and one inducer a query, while a causal input grows and its queries
//! move on.

use super::Figure;
use crate::teach::draw::Draw;
use crate::teach::quantity::{Formula, Quantity, real, rows};
use inducer_reference::Real;
use inducer_reference::attention::attend;
use inducer_reference::distance::squared_distances;
use inducer_reference::inducer::{lambda, own_scores};
use inducer_reference::prefix::gated;
use inducer_reference::visible::Visible;
use ndarray::{Array1, Array2};
use serde::Serialize;

/// Tokens of the longest input.
const LONGEST: usize = 64;

/// An input of which `length` tokens have come, and a prefix.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Growth {
    length: usize,
    queries: Vec<[f64; 2]>,
    keys: Vec<[f64; 2]>,
    prefix_keys: Vec<[f64; 2]>,
    threshold: f64,
}

impl Growth {
    /// Tokens whose centre goes round a circle once: what a text is about changes as it goes on.
    fn drifting(draw: &mut Draw, tokens: usize) -> (Vec<[f64; 2]>, Vec<[f64; 2]>) {
        let around = |i: usize, draw: &mut Draw| {
            let angle = (100.0 - 270.0 * i as f64 / LONGEST as f64).to_radians();
            let near = |centre: f64, draw: &mut Draw| {
                let moved = 1.5 * centre + draw.number(-0.55, 0.55);
                (moved * 100.0).round() / 100.0
            };
            [near(angle.cos(), draw), near(angle.sin(), draw)]
        };
        let queries = (0..tokens).map(|i| around(i, draw)).collect();
        let keys = (0..tokens).map(|i| around(i, draw)).collect();
        (queries, keys)
    }
}

/// ‖q_i − P_a‖ to the nearest prefix key, in units of the kernel's bandwidth p^{1/4}.
fn nearest<T: Real>(q: &Array2<T>, p_k: &Array2<T>) -> Array1<T> {
    let bandwidth = T::from_usize(q.ncols()).sqrt().sqrt();
    let to = |point: usize| {
        let repeated = Array2::from_shape_fn(q.raw_dim(), |(_, a)| p_k[[point, a]]);
        squared_distances(q, &repeated)
    };
    let all: Vec<Array1<T>> = (0..p_k.nrows()).map(to).collect();
    let least = |i: usize| {
        let of_query = all.iter().map(|distances| distances[i]);
        of_query.fold(all[0][i], |least, d| if d < least { d } else { least })
    };
    let nearest = (0..q.nrows()).map(|i| least(i).sqrt() / bandwidth);
    nearest.collect()
}

impl Formula for Growth {
    fn quantities<T: Real>(&self) -> Vec<Quantity<T>> {
        let n = self.length;
        let (q, k) = (rows::<T, 2>(&self.queries[..n]), rows(&self.keys[..n]));
        let p_k = rows(&self.prefix_keys);
        let attended = attend(&q, &k, &k, &Visible::causal(n));
        // The values do not matter for a gate: the keys stand in for them.
        let (_, mu) = gated(&q, &attended, &p_k, &p_k);
        let lambda = lambda(&own_scores(&q, &q), &attended.lse);
        let threshold: T = real(self.threshold);
        let below =
            |gate: &Array1<T>| T::from_usize(gate.iter().filter(|g| **g < threshold).count());
        vec![
            Quantity::new("notReachedByPrefix", [below(&mu)]),
            Quantity::new("notReachedByInducer", [below(&lambda)]),
            Quantity::new("nearest", nearest(&q, &p_k)),
            Quantity::new("mu", mu),
            Quantity::new("lambda", lambda),
        ]
    }
}

impl Figure for Growth {
    const NAME: &'static str = "growth";

    fn start() -> Self {
        let (queries, keys) = Self::drifting(&mut Draw::new(0), LONGEST);
        Self {
            length: 40,
            queries,
            keys,
            prefix_keys: vec![[0.35, 1.6], [1.2, 1.1]],
            threshold: 0.05,
        }
    }

    fn other(draw: &mut Draw) -> Self {
        let length = 6 + draw.index(12);
        let (queries, keys) = Self::drifting(draw, length);
        Self {
            length,
            queries,
            keys,
            prefix_keys: draw.points(2, 2.5),
            threshold: draw.number(0.02, 0.3),
        }
    }
}
