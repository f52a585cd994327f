//! What a method's part does inside the attention: how much weight its tokens get, and how far they
//! lie from the queries. Read only; no gradient.
//!
//! ```text
//! exp(⟨q, k⟩/√p) = exp(−‖q − k‖² / 2√p) · exp(‖q‖² / 2√p) · exp(‖k‖² / 2√p)
//! ```
//!
//! So the kernel is a Gaussian of bandwidth p^{1/4} in the distance (section 2 of the spec), and
//! distances are given in that unit.

use crate::error::Result;
use crate::kernels::precision::upcast;
use crate::ops::attention::Heads;
use crate::ops::inducer::key_mlp;
use crate::tape::Parameter;
use candle_core::{D, Tensor};

/// What the attention part of one layer did with a batch.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Layer, from 0.
    pub layer: usize,
    /// λ of an inducer, μ of a prefix: [tokens, H].
    pub gate: Tensor,
    /// From each query to the nearest key that the part adds, in bandwidths:
    /// `min ‖q − k‖ / p^{1/4}`, [tokens, H].
    pub distance: Tensor,
}

/// The keys that a part puts beside the text's: support points that the frozen model has not.
#[derive(Clone, Debug)]
pub enum Added {
    /// A prefix: the same l keys for all queries, [H, l, p].
    Prefix(Tensor),
    /// An inducer for each query, `q + MLP_k(q)`: [H, tokens, p].
    Inducer(Tensor),
}

/// The heads of one layer in a pass.
#[derive(Clone, Debug)]
pub struct HeadsSeen {
    /// Layer, from 0.
    pub layer: usize,
    /// Queries, after every part that moves them: [H, tokens, p].
    pub queries: Tensor,
    /// The text's keys: [H, tokens, p].
    pub keys: Tensor,
    /// Log-sum-exp over the text's keys that each query sees: [tokens, H].
    pub lse: Tensor,
    /// What a part puts beside the text's keys.
    pub added: Option<Added>,
}

impl HeadsSeen {
    /// From the projections [tokens, 3d] of a layer and the log-sum-exp [tokens, H] of its scores.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub(crate) fn of(layer: usize, qkv: &Tensor, lse: &Tensor, heads: Heads) -> Result<Self> {
        Ok(Self {
            layer,
            queries: queries(qkv, heads)?,
            keys: upcast(&heads.split(qkv, heads.hidden())?)?,
            lse: lse.clone(),
            added: None,
        })
    }
}

/// The inducers `q + MLP_k(q)` [H, tokens, p] of the queries in `qkv` [tokens, 3d]; the queries
/// themselves where there is no MLP_k.
///
/// # Errors
/// Shapes that do not fit.
pub(crate) fn inducers(qkv: &Tensor, key: Option<&[Parameter; 4]>, heads: Heads) -> Result<Tensor> {
    let q = queries(qkv, heads)?;
    match key {
        None => Ok(q),
        Some(key) => Ok((&q + key_mlp(&q, key.each_ref().map(|p| &p.tensor))?)?),
    }
}

/// The queries of `qkv` [tokens, 3d] by head: [H, tokens, p].
fn queries(qkv: &Tensor, heads: Heads) -> Result<Tensor> {
    Ok(upcast(&heads.split(qkv, 0)?)?)
}

/// Distances [tokens, H] from squares [H, tokens].
fn in_bandwidths(squares: &Tensor, heads: Heads) -> Result<Tensor> {
    let unit = (heads.width as f64).powf(0.25);
    // ‖q‖² + ‖k‖² − 2⟨q, k⟩ may fall below zero by rounding
    Ok((squares.relu()?.sqrt()?.t()?.contiguous()? / unit)?)
}

/// From each query to the nearest of the keys [H, l, p].
///
/// # Errors
/// Shapes that do not fit.
pub(crate) fn distance_to_nearest(qkv: &Tensor, keys: &Tensor, heads: Heads) -> Result<Tensor> {
    let q = queries(qkv, heads)?;
    let keys = &upcast(keys)?;
    let cross = q.matmul(&keys.transpose(1, 2)?.contiguous()?)?;
    let own = q.sqr()?.sum_keepdim(D::Minus1)?;
    let theirs = keys.sqr()?.sum(D::Minus1)?.unsqueeze(1)?;
    let squares = (own.broadcast_add(&theirs)? - (cross * 2.0)?)?;
    in_bandwidths(&squares.min(D::Minus1)?, heads)
}

/// From each query to its own key `q + MLP_k(q)`; zero where there is no MLP_k.
///
/// # Errors
/// Shapes that do not fit.
pub(crate) fn distance_to_inducer(
    qkv: &Tensor,
    key: Option<&[Parameter; 4]>,
    heads: Heads,
) -> Result<Tensor> {
    let q = queries(qkv, heads)?;
    let Some(key) = key else {
        let tokens = q.dims()[1];
        return Ok(Tensor::zeros((tokens, heads.count), q.dtype(), q.device())?);
    };
    let moved = key_mlp(&q, key.each_ref().map(|p| &p.tensor))?;
    in_bandwidths(&moved.sqr()?.sum(D::Minus1)?, heads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;
    use candle_core::Device;

    const HEADS: Heads = Heads { count: 2, width: 3 };

    fn numbers(shape: &[usize], seed: f64) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f64> = (0..count)
            .map(|i| ((i as f64 + seed) * 1.7).sin())
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// Query of a token and a head, by hand.
    fn query(qkv: &[Vec<f64>], token: usize, head: usize) -> &[f64] {
        &qkv[token][head * 3..head * 3 + 3]
    }

    fn norm(x: impl Iterator<Item = f64>) -> f64 {
        x.map(|v| v * v).sum::<f64>().sqrt() / 3f64.powf(0.25)
    }

    fn cube(t: &Tensor) -> Vec<Vec<Vec<f64>>> {
        t.to_vec3().unwrap()
    }

    #[test]
    fn the_nearest_key_is_found_by_search() {
        let (qkv, keys) = (numbers(&[5, 18], 0.3), numbers(&[2, 4, 3], 9.1));
        let found: Vec<Vec<f64>> = distance_to_nearest(&qkv, &keys, HEADS)
            .unwrap()
            .to_vec2()
            .unwrap();
        let q: Vec<Vec<f64>> = qkv.to_vec2().unwrap();
        let k = cube(&keys);
        for (t, row) in found.iter().enumerate() {
            for (h, distance) in row.iter().enumerate() {
                let each = k[h]
                    .iter()
                    .map(|k| norm(query(&q, t, h).iter().zip(k).map(|(a, b)| a - b)));
                let nearest = each.fold(f64::INFINITY, f64::min);
                assert_abs_diff_eq!(*distance, nearest, epsilon = 1e-12);
            }
        }
    }

    #[test]
    fn an_inducer_lies_as_far_as_its_mlp_moves_it() {
        let qkv = numbers(&[4, 18], 0.9);
        let [down, a, up, c] = [
            numbers(&[2, 3, 2], 1.0),
            numbers(&[2, 2], 2.0),
            numbers(&[2, 2, 3], 3.0),
            numbers(&[2, 3], 4.0),
        ];
        let mlp = [&down, &a, &up, &c].map(|t| Parameter::new("x", t.clone(), false));
        let found: Vec<Vec<f64>> = distance_to_inducer(&qkv, Some(&mlp), HEADS)
            .unwrap()
            .to_vec2()
            .unwrap();
        let q: Vec<Vec<f64>> = qkv.to_vec2().unwrap();
        let (down, up) = (cube(&down), cube(&up));
        let (a, c): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (a.to_vec2().unwrap(), c.to_vec2().unwrap());
        for (t, row) in found.iter().enumerate() {
            for (h, distance) in row.iter().enumerate() {
                let x = query(&q, t, h);
                let unit =
                    |r: usize| (a[h][r] + (0..3).map(|i| x[i] * down[h][i][r]).sum::<f64>()).tanh();
                let moved = |i: usize| c[h][i] + (0..2).map(|r| unit(r) * up[h][r][i]).sum::<f64>();
                let expected = norm((0..3).map(moved));
                assert_abs_diff_eq!(*distance, expected, epsilon = 1e-12);
            }
        }
        let none = distance_to_inducer(&qkv, None, HEADS).unwrap();
        let none: Vec<Vec<f64>> = none.to_vec2().unwrap();
        assert!(none.iter().flatten().all(|d| *d == 0.0));
    }
}
