//! Parts: what a method adds to a backbone.
//!
//! A backbone knows a part only by the places where one can act: on q, k, v; on the attention's
//! output, before and after W^o; and beside the FFN. A method is a list of parts in each layer; a
//! new one is a new [`Part`].

mod adapter;
mod inducer;
mod lora;
mod prefix;

pub use adapter::Bottleneck;
pub use inducer::{Inducer, KeyTensors};
pub use lora::LowRank;
pub use prefix::{Prefix, Reparametrised};

use crate::cache::Cache;
use crate::error::Result;
use crate::ops::attention::{Heads, Visible};
use crate::ops::dropout::Dropout;
use crate::probe::Observation;
use crate::tape::{Parameter, Tape, Value};
use candle_core::Tensor;
use std::cell::RefCell;

/// Everything that is fixed during one forward pass.
pub struct Pass<'a> {
    /// The tape.
    pub tape: &'a Tape,
    /// Heads of the backbone.
    pub heads: Heads,
    /// Row boundaries of the packed batch.
    pub starts: &'a [usize],
    /// What a query sees of its own row.
    pub visible: Visible,
    /// Whether dropout is active at all.
    pub training: bool,
    /// Dropout of this step; off in evaluation.
    pub dropout: Dropout,
    /// Keys and values of earlier tokens while decoding.
    pub cache: Option<RefCell<&'a mut Cache>>,
    /// Prefix keys and values of each layer made by a reparametrisation.
    pub prefix: Vec<(Value, Value)>,
    /// What the parts show of themselves, when asked for.
    pub observed: Option<RefCell<Vec<Observation>>>,
}

/// The places where dropout acts, each with its own mask.
#[derive(Clone, Copy, Debug)]
pub enum Site {
    /// Attention weights.
    Attention,
    /// Attention weights of the prefix.
    Prefix,
    /// λ.
    Gate,
    /// The attention's residual branch.
    AttentionBranch,
    /// The FFN's residual branch.
    FfnBranch,
    /// LoRA's input.
    Lora,
}

impl Pass<'_> {
    /// Dropout at a place of a layer.
    pub fn drop(&self, layer: usize, site: Site) -> Dropout {
        self.dropout.at((layer * 16 + site as usize) as u64)
    }

    /// Keeps the gate [tokens, H] of a layer's part, and the distances [tokens, H] to its keys,
    /// when somebody looks.
    ///
    /// # Errors
    /// Those of `distance`.
    pub fn observe(
        &self,
        layer: usize,
        gate: &Value,
        distance: impl FnOnce() -> Result<Tensor>,
    ) -> Result<()> {
        if let Some(observed) = &self.observed {
            observed.borrow_mut().push(Observation {
                layer,
                gate: gate.tensor.clone(),
                distance: distance()?,
            });
        }
        Ok(())
    }
}

/// The attention's result on its way out.
pub struct Attended {
    /// Heads' outputs side by side, before W^o: [tokens, d].
    pub f: Value,
    /// Log-sum-exp of each row of scores: [tokens, H].
    pub lse: Value,
    /// What is added after W^o: [tokens, d].
    pub update: Option<Value>,
}

/// One part of a method in one layer.
pub trait Part: Send + Sync {
    /// Its tensors, by their names in files.
    fn parameters(&self) -> Vec<&Parameter>;

    /// The same, to be changed by the optimiser.
    fn parameters_mut(&mut self) -> Vec<&mut Parameter>;

    /// Acts on the projections: `x` [tokens, d] is their input, `qkv` [tokens, 3d] their result.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn on_qkv(&self, _pass: &Pass<'_>, _x: &Value, qkv: Value) -> Result<Value> {
        Ok(qkv)
    }

    /// Acts on the attention's result before W^o.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn on_heads(&self, _pass: &Pass<'_>, _qkv: &Value, attended: Attended) -> Result<Attended> {
        Ok(attended)
    }

    /// Acts on the sub-layer's output `y` [tokens, d] after W^o.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn on_output(&self, _pass: &Pass<'_>, y: Value) -> Result<Value> {
        Ok(y)
    }

    /// Acts beside the FFN: `x` [tokens, d] is its input, `y` its output.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn beside_ffn(&self, _pass: &Pass<'_>, _x: &Value, y: Value) -> Result<Value> {
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Target;
    use candle_core::Device;
    use std::collections::BTreeSet;

    fn pass(tape: &Tape, rate: f64) -> Pass<'_> {
        Pass {
            tape,
            heads: Heads { count: 1, width: 2 },
            starts: &[0, 3],
            visible: Visible::Causal,
            training: true,
            dropout: Dropout { rate, key: 7 },
            cache: None,
            prefix: Vec::new(),
            observed: None,
        }
    }

    #[test]
    fn every_place_of_every_layer_has_a_mask_of_its_own() {
        let tape = Tape::off();
        let pass = pass(&tape, 0.1);
        let sites = [
            Site::Attention,
            Site::Prefix,
            Site::Gate,
            Site::AttentionBranch,
            Site::FfnBranch,
            Site::Lora,
        ];
        let all = (0..48).flat_map(|layer| sites.map(|site| pass.drop(layer, site)));
        let keys: BTreeSet<u64> = all.clone().map(|dropout| dropout.key).collect();
        assert_eq!(keys.len(), 48 * sites.len());
        assert!(all.into_iter().all(|dropout| dropout.rate == 0.1));
    }

    #[test]
    fn lora_drops_its_input_at_its_own_rate() {
        let tensor = |values: &[f64], rows: usize| {
            Tensor::from_slice(values, (rows, values.len() / rows), &Device::Cpu).unwrap()
        };
        let part = |rate: f64| LowRank {
            layer: 0,
            scale: 1.0,
            rate,
            targets: vec![(
                Target::Q,
                [
                    Parameter::new("a", tensor(&[1.0, 2.0], 1), true),
                    Parameter::new("b", tensor(&[1.0, -1.0], 2), true),
                ],
                None,
            )],
        };
        let tape = Tape::off();
        let x = Value::constant(tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3));
        let q = |lora: f64, elsewhere: f64| -> Vec<f64> {
            let qkv = Value::constant(tensor(&[0.0; 18], 3));
            let out = part(lora).on_qkv(&pass(&tape, elsewhere), &x, qkv).unwrap();
            let first = out.tensor.narrow(1, 0, 1).unwrap();
            first.flatten_all().unwrap().to_vec1().unwrap()
        };
        let kept = [5.0, 11.0, 17.0];
        assert_eq!(q(0.0, 0.0), kept);
        assert_eq!(q(0.0, 0.9), kept, "another place's rate does not matter");
        assert_ne!(q(0.9, 0.0), kept);
    }
    #[test]
    fn a_prefix_hands_on_the_log_sum_exp_of_prefix_and_text() {
        let tensor = |values: &[f64], shape: &[usize]| {
            Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
        };
        let part = Prefix {
            layer: 0,
            tensors: Some(
                ["key", "value"]
                    .map(|name| Parameter::new(name, tensor(&[1.0, -2.0], &[1, 1, 2]), true)),
            ),
        };
        let queries = [[0.5, 0.1], [1.0, 3.0], [-2.0, 1.0]];
        let text = [0.3, -1.0, 2.0];
        let mut qkv = Vec::new();
        for q in queries {
            qkv.extend([q[0], q[1], 0.0, 0.0, 0.0, 0.0]);
        }
        let attended = Attended {
            f: Value::constant(tensor(&[0.0; 6], &[3, 2])),
            lse: Value::constant(tensor(&text, &[3, 1])),
            update: None,
        };
        let tape = Tape::off();
        let qkv = Value::constant(tensor(&qkv, &[3, 6]));
        let after = part.on_heads(&pass(&tape, 0.0), &qkv, attended).unwrap();
        let found: Vec<f64> = after.lse.tensor.flatten_all().unwrap().to_vec1().unwrap();
        for (found, (q, lse)) in found.iter().zip(queries.iter().zip(text)) {
            let own = (q[0] - 2.0 * q[1]) / 2.0_f64.sqrt();
            let expected = (own.exp() + lse.exp()).ln();
            assert!((found - expected).abs() < 1e-14, "{found} {expected}");
        }
    }
}
