//! How far a tuned model has moved from the frozen one: KL(frozen ‖ tuned).

use crate::error::{Error, Result};
use crate::model::Model;
use candle_core::{D, DType, Device, Tensor};
use inducer_datasets::batch::Batch;

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
            0 => Err(Error::NoData("labelled")),
            n => Ok(sum / n as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{AdapterConfig, Attention};
    use crate::backbone::Gpt2;
    use crate::config::Gpt2Config;
    use crate::methods::Method;
    use approx::assert_abs_diff_eq;

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
            assert_abs_diff_eq!(
                row.iter().map(|x| x.exp()).sum::<f64>(),
                1.0,
                epsilon = 1e-12
            );
        }
        assert_abs_diff_eq!(frozen.divergence(&model).unwrap(), 0.0, epsilon = 1e-15);
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
        assert!(found > 0.0, "{found}");
        assert_abs_diff_eq!(found, by_hand, epsilon = 1e-14);
    }

    #[test]
    fn a_prefix_of_length_zero_is_far_from_every_query_and_has_no_weight() {
        let mut model = model();
        let mut config = Method::Prefix.on(&model.backbone.config());
        if let Some(Attention::Prefix(prefix)) = &mut config.attention {
            (prefix.length, prefix.reparametrisation) = (0, None);
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
