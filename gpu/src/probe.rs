//! What a method's part does inside the attention: how much weight its tokens get, how far they lie
//! from the queries, and how far the tuned model has moved from the frozen one. Read only; no
//! gradient.
//!
//! ```text
//! exp(⟨q, k⟩/√p) = exp(−‖q − k‖² / 2√p) · exp(‖q‖² / 2√p) · exp(‖k‖² / 2√p)
//! ```
//!
//! So the kernel is a Gaussian of bandwidth p^{1/4} in the distance (section 2 of the spec), and
//! distances are given in that unit.

use crate::error::{Error, Result};
use crate::kernels::precision::upcast;
use crate::model::Model;
use crate::ops::attention::Heads;
use crate::parts::KeyTensors;
use candle_core::{D, DType, Device, Tensor};
use inducer_datasets::batch::Batch;

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

/// The queries of `qkv` [tokens, 3d] by head: [H, tokens, p].
fn queries(qkv: &Tensor, heads: Heads) -> Result<Tensor> {
    let tokens = qkv.dims()[0];
    let q = upcast(&qkv.narrow(1, 0, heads.count * heads.width)?)?;
    let q = q.reshape((tokens, heads.count, heads.width))?;
    Ok(q.transpose(0, 1)?.contiguous()?)
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
pub(crate) fn to_nearest(qkv: &Tensor, keys: &Tensor, heads: Heads) -> Result<Tensor> {
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
pub(crate) fn to_own(qkv: &Tensor, key: Option<&KeyTensors>, heads: Heads) -> Result<Tensor> {
    let q = queries(qkv, heads)?;
    let Some([down, down_bias, up, up_bias]) = key else {
        let tokens = q.dims()[1];
        return Ok(Tensor::zeros((tokens, heads.count), q.dtype(), q.device())?);
    };
    let units = q.matmul(&down.tensor)?;
    let units = units
        .broadcast_add(&down_bias.tensor.unsqueeze(1)?)?
        .tanh()?;
    let moved = units.matmul(&up.tensor)?;
    let moved = moved.broadcast_add(&up_bias.tensor.unsqueeze(1)?)?;
    in_bandwidths(&moved.sqr()?.sum(D::Minus1)?, heads)
}

/// The frozen model's log-probabilities on some batches, to measure how far a tuned one moves away.
pub struct Frozen {
    batches: Vec<Batch>,
    log_p: Vec<Tensor>,
}

impl Frozen {
    /// Keeps what `model` says now.
    ///
    /// # Errors
    /// Batches that do not fit the model.
    pub fn of(model: &Model, batches: Vec<Batch>) -> Result<Self> {
        let log_p = batches
            .iter()
            .map(|b| model.log_probabilities(b))
            .collect::<Result<_>>()?;
        Ok(Self { batches, log_p })
    }

    /// Mean over the labelled positions (rows of a classifier) of
    /// `KL(frozen ‖ tuned) = Σ_y P(y) (log P(y) − log Q(y))`, in nats.
    ///
    /// # Errors
    /// As [`Frozen::of`]; there is no position.
    pub fn divergence(&self, tuned: &Model) -> Result<f64> {
        let (mut sum, mut count) = (0.0, 0);
        for (batch, p) in self.batches.iter().zip(&self.log_p) {
            let q = tuned.log_probabilities(batch)?;
            let each = (p.exp()? * (p - q)?)?.sum(D::Minus1)?;
            sum += each
                .sum_all()?
                .to_dtype(DType::F64)?
                .to_device(&Device::Cpu)?
                .to_scalar::<f64>()?;
            count += p.dims()[0];
        }
        match count {
            0 => Err(Error::Batch("labels: no position to compare at".into())),
            n => Ok(sum / n as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Attention;
    use crate::gpt2::Gpt2;
    use crate::method::Method;
    use crate::tape::Parameter;
    use crate::{AdapterConfig, Gpt2Config};

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
        let found: Vec<Vec<f64>> = to_nearest(&qkv, &keys, HEADS).unwrap().to_vec2().unwrap();
        let q: Vec<Vec<f64>> = qkv.to_vec2().unwrap();
        let k = cube(&keys);
        for (t, row) in found.iter().enumerate() {
            for (h, distance) in row.iter().enumerate() {
                let each = k[h]
                    .iter()
                    .map(|k| norm(query(&q, t, h).iter().zip(k).map(|(a, b)| a - b)));
                let nearest = each.fold(f64::INFINITY, f64::min);
                assert!((distance - nearest).abs() < 1e-12, "{distance} {nearest}");
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
        let mlp: KeyTensors = [&down, &a, &up, &c].map(|t| Parameter::new("x", t.clone(), false));
        let found: Vec<Vec<f64>> = to_own(&qkv, Some(&mlp), HEADS).unwrap().to_vec2().unwrap();
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
                assert!((distance - expected).abs() < 1e-12, "{distance} {expected}");
            }
        }
        let none = to_own(&qkv, None, HEADS).unwrap();
        let none: Vec<Vec<f64>> = none.to_vec2().unwrap();
        assert!(none.iter().flatten().all(|d| *d == 0.0));
    }

    fn model() -> Model {
        let config = Gpt2Config {
            vocab_size: 30,
            n_positions: 300,
            n_embd: 12,
            n_layer: 2,
            n_head: 3,
            ..Gpt2Config::small()
        };
        let backbone = Gpt2::random(config, 3, DType::F64, &Device::Cpu).unwrap();
        Model::new(backbone, DType::F64, &Device::Cpu)
    }

    #[test]
    fn divergence_is_zero_from_itself_and_what_the_sum_by_hand_says_from_another() {
        let mut model = model();
        let batch = Batch::pack(
            &[vec![1, 2, 3, 4], vec![5, 6, 7]],
            None,
            Some(&[vec![-100, -100, 3, 4], vec![-100, 6, 7]]),
        );
        model.attach(&AdapterConfig::none(), 0, 1).unwrap();
        let frozen = Frozen::of(&model, vec![batch.clone()]).unwrap();
        let p: Vec<Vec<f64>> = model.log_probabilities(&batch).unwrap().to_vec2().unwrap();
        assert_eq!((p.len(), p[0].len()), (4, 30));
        for row in &p {
            assert!((row.iter().map(|x| x.exp()).sum::<f64>() - 1.0).abs() < 1e-12);
        }
        assert!(frozen.divergence(&model).unwrap().abs() < 1e-15);
        let gating = Method::Gating.on(&model.backbone.config());
        model.attach(&gating, 0, 1).unwrap();
        let q: Vec<Vec<f64>> = model.log_probabilities(&batch).unwrap().to_vec2().unwrap();
        let by_hand: f64 = p
            .iter()
            .flatten()
            .zip(q.iter().flatten())
            .map(|(p, q)| p.exp() * (p - q))
            .sum::<f64>()
            / 4.0;
        let found = frozen.divergence(&model).unwrap();
        assert!(
            found > 0.0 && (found - by_hand).abs() < 1e-14,
            "{found} {by_hand}"
        );
    }

    #[test]
    fn a_prefix_of_length_zero_is_far_from_every_query_and_has_no_weight() {
        let mut model = model();
        let mut config = Method::Prefix.on(&model.backbone.config());
        if let Some(Attention::Prefix {
            length,
            reparametrisation,
            ..
        }) = &mut config.attention
        {
            (*length, *reparametrisation) = (0, None);
        }
        let empty = Tensor::zeros((3, 0, 4), DType::F64, &Device::Cpu).unwrap();
        let named = |i| ["key", "value"].map(|x| format!("transformer.h.{i}.attn.prefix.{x}"));
        let names = (0..2).flat_map(named);
        let tensors = names.map(|name| (name, empty.clone())).collect();
        model.install(&config, tensors).unwrap();
        let batch = Batch::pack(&[vec![1, 2, 3], vec![4, 5]], None, None);
        for o in model.observations(&batch).unwrap() {
            let (gate, distance): (Vec<Vec<f64>>, Vec<Vec<f64>>) =
                (o.gate.to_vec2().unwrap(), o.distance.to_vec2().unwrap());
            assert_eq!(gate, vec![vec![0.0; 3]; 5]);
            assert_eq!(distance, vec![vec![f64::INFINITY; 3]; 5]);
        }
    }

    #[test]
    fn every_layer_of_a_method_with_a_gate_is_observed() {
        let mut model = model();
        let batch = Batch::pack(&[vec![1, 2, 3], vec![4, 5]], None, None);
        for (method, seen) in [
            (Method::Inducer, 2),
            (Method::Prefix, 2),
            (Method::Adaptive, 2),
            (Method::Lora, 0),
        ] {
            let config = method.on(&model.backbone.config());
            model.attach(&config, 0, 1).unwrap();
            let found = model.observations(&batch).unwrap();
            assert_eq!(found.len(), seen, "{}", method.name());
            for (i, o) in found.iter().enumerate() {
                assert_eq!(o.layer, i);
                assert_eq!(
                    (o.gate.dims(), o.distance.dims()),
                    (&[5, 3][..], &[5, 3][..])
                );
            }
        }
    }
}
