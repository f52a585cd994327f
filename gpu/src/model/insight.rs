//! A look inside: one pass with all that its attention works on, and passes in which a method acts
//! in some layers only.

use super::Model;
use crate::error::Result;
use crate::parts::observe::{HeadsSeen, Observation};
use crate::parts::{FixedGates, ForwardContext, Part};
use candle_core::Tensor;
use inducer_datasets::batch::Batch;
use std::cell::RefCell;

/// What one pass shows of itself.
#[derive(Clone, Debug)]
pub struct Insight {
    /// As of [`Model::logits`].
    pub logits: Tensor,
    /// The heads of every layer, in order.
    pub layers: Vec<HeadsSeen>,
    /// Gates and distances of the layers in which a part has a gate.
    pub gates: Vec<Observation>,
}

impl Model {
    /// The pass that training makes, without dropout, with logits, queries, keys, log-sum-exp,
    /// gates and what a method puts beside the keys.
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn insight(&self, batch: &Batch) -> Result<Insight> {
        self.check(batch)?;
        let tape = self.tape_off();
        let ctx = ForwardContext {
            observed: Some(RefCell::default()),
            seen: Some(RefCell::default()),
            ..self.context(&tape, batch, None)?
        };
        let hidden = self.hidden(&ctx, batch, &vec![0; batch.sequences()])?;
        let head = self.backbone.head();
        let logits = head.logits(&ctx, &hidden, self.tied())?;
        Ok(Insight {
            logits,
            layers: ctx.seen.map(RefCell::into_inner).unwrap_or_default(),
            gates: ctx.observed.map(RefCell::into_inner).unwrap_or_default(),
        })
    }

    /// What `of` makes of the model while the parts act only in the layers for which `acts` says
    /// so. Special tokens' rows, a head and trained tensors of the backbone stay as they are, and
    /// so do positions after a prefix.
    pub fn with_parts_in<T>(
        &mut self,
        acts: impl Fn(usize) -> bool,
        of: impl FnOnce(&Self) -> T,
    ) -> T {
        let layers = self.attached.layers.iter_mut().enumerate();
        let aside: Vec<Option<Vec<Box<dyn Part>>>> = layers
            .map(|(i, parts)| (!acts(i)).then(|| std::mem::take(parts)))
            .collect();
        let found = of(self);
        for (parts, aside) in self.attached.layers.iter_mut().zip(aside) {
            if let Some(aside) = aside {
                *parts = aside;
            }
        }
        found
    }

    /// What `of` makes of the model while λ and μ are these numbers at every token.
    pub fn with_fixed_gates<T>(&mut self, gates: FixedGates, of: impl FnOnce(&Self) -> T) -> T {
        let before = self.fixed_gates.replace(gates);
        let found = of(self);
        self.fixed_gates = before;
        found
    }
}

#[cfg(test)]
mod tests {
    use crate::backbone::Gpt2;
    use crate::config::Gpt2Config;
    use crate::methods::Method;
    use crate::model::{LossOptions, Model};
    use crate::parts::FixedGates;
    use crate::parts::observe::Added;
    use candle_core::{DType, Device};
    use inducer_datasets::batch::Batch;

    fn model(method: Method) -> Model {
        let config = Gpt2Config {
            vocab_size: 30,
            n_positions: 300,
            n_embd: 12,
            n_layer: 3,
            n_head: 3,
            ..Gpt2Config::small()
        };
        let backbone = Gpt2::random(config, 3, DType::F64, &Device::Cpu).unwrap();
        let mut model = Model::new(backbone, DType::F64, &Device::Cpu);
        let config = method.on(&model.backbone.config());
        model.attach(&config, 0, 1).unwrap();
        for p in model.trainable_mut() {
            // at the start of training hardly anything would be seen of a part
            p.tensor = (&p.tensor * 20.0).unwrap();
        }
        model
    }

    fn batch() -> Batch {
        let ids = vec![3, 1, 4, 1, 5, 9, 2, 6];
        let labels: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        Batch::pack(&[ids], None, Some(&[labels]))
    }

    #[test]
    fn an_insight_is_of_the_same_pass_as_logits_and_observations() {
        let model = model(Method::Inducer);
        let seen = model.insight(&batch()).unwrap();
        let apart = (seen.logits - model.logits(&batch()).unwrap()).unwrap();
        let apart: f64 = apart.abs().unwrap().max_all().unwrap().to_scalar().unwrap();
        assert_eq!(apart, 0.0);
        assert_eq!(
            seen.layers.iter().map(|l| l.layer).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        for (layer, observed) in seen.layers.iter().zip(&seen.gates) {
            assert_eq!(layer.queries.dims(), [3, 8, 4]);
            let Some(Added::Inducer(keys)) = &layer.added else {
                panic!("no inducers");
            };
            // the distance that is observed is that between the two
            let moved = (keys - &layer.queries)
                .unwrap()
                .sqr()
                .unwrap()
                .sum(2)
                .unwrap();
            let apart = (moved.sqrt().unwrap().t().unwrap() / 2f64.sqrt()).unwrap();
            let apart = (apart - &observed.distance).unwrap().abs().unwrap();
            assert!(apart.max_all().unwrap().to_scalar::<f64>().unwrap() < 1e-12);
        }
    }

    #[test]
    fn parts_act_where_they_are_let_and_are_all_there_afterwards() {
        for method in [Method::Inducer, Method::InducerLora, Method::MamAdapter] {
            let mut model = model(method);
            let loss = |m: &Model| m.loss(&batch(), LossOptions::PLAIN).unwrap();
            let whole = loss(&model);
            let without: Vec<f64> = (0..3)
                .map(|l| model.with_parts_in(|i| i != l, loss))
                .collect();
            let none = model.with_parts_in(|_| false, loss);
            assert_eq!(loss(&model), whole, "{method:?}");
            assert_eq!(model.with_parts_in(|_| true, loss), whole);
            for other in without.iter().chain([&none]) {
                assert!((other - whole).abs() > 1e-9, "{method:?}: {other} {whole}");
            }
            assert!(
                without.iter().all(|x| (x - none).abs() > 1e-9),
                "{method:?}"
            );
        }
    }

    fn logits(model: &Model, batch: &Batch) -> Vec<f64> {
        let logits = model.logits(batch).unwrap().flatten_all().unwrap();
        logits.to_vec1().unwrap()
    }

    fn apart(a: &[f64], b: &[f64]) -> f64 {
        let each = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        each.fold(0.0, f64::max)
    }

    #[test]
    fn gates_that_are_given_take_the_place_of_the_methods_own_while_they_are_asked_for() {
        // of one token, λ and μ of each head are one number
        let one = Batch::pack(&[vec![3]], None, None);
        for method in [
            Method::Prefix,
            Method::Adaptive,
            Method::Gating,
            Method::Inducer,
        ] {
            let mut model = model(method);
            let whole = logits(&model, &one);
            let observed = model.observations(&one).unwrap();
            let own: FixedGates = observed
                .iter()
                .map(|o| (o.layer, o.gate.flatten_all().unwrap().to_vec1().unwrap()))
                .collect();
            assert_eq!(own.len(), 3, "{method:?}");
            let found = model.with_fixed_gates(own.clone(), |m| logits(m, &one));
            assert!(apart(&found, &whole) < 1e-12, "{method:?}");
            // the control: one head of one layer has another
            let mut other = own;
            other
                .entry(1)
                .and_modify(|heads| heads[2] = 1.0 - 0.5 * heads[2]);
            let found = model.with_fixed_gates(other, |m| logits(m, &one));
            assert!(apart(&found, &whole) > 1e-6, "{method:?}");
            assert_eq!(logits(&model, &one), whole, "{method:?}");
        }
    }

    #[test]
    fn a_prefix_of_no_weight_is_none() {
        let mut model = model(Method::Prefix);
        let none = model.with_parts_in(|_| false, |m| logits(m, &batch()));
        let zero: FixedGates = (0..3).map(|layer| (layer, vec![0.0; 3])).collect();
        let found = model.with_fixed_gates(zero, |m| logits(m, &batch()));
        assert!(apart(&found, &none) < 1e-12);
        assert!(apart(&logits(&model, &batch()), &none) > 1e-6);
    }
}
