//! Parts: what a method adds to a backbone.
//!
//! A backbone knows a part only by the six places where one can act: on q, k, v; on each other
//! linear map; on the attention's output, before and after W^o; on the FFN's hidden units; and
//! beside the FFN. A method is a list of parts in each layer; a new one is a new [`Part`] in a file
//! of its own, with its configuration ([`PartConfig`]), the declaration of its tensors and its
//! forward.

mod adapter;
mod context;
pub mod custom;
mod ia3;
mod inducer;
mod lora;
pub mod observe;
mod prefix;

pub use adapter::{AttentionAdapterConfig, Bottleneck, FfnAdapterConfig, Placement};
pub use context::{DropoutSite, FixedGates, ForwardContext};
pub use custom::{CustomConfig, CustomMethod};
pub use ia3::{Ia3, Ia3Config, Ia3Target};
pub use inducer::{Inducer, InducerConfig, Variant};
pub use lora::{LoraConfig, LoraException, LowRank, LowRankUpdate};
pub use prefix::{Prefix, PrefixConfig, PrefixNetwork, Reparametrisation};

use crate::config::Spec;
use crate::error::Result;
use crate::ranges::SIZE;
use crate::tape::{Pair, Value};
use crate::tensors::{Declare, Tensors};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// The attention's result on its way out.
pub struct Attended {
    /// Heads' outputs side by side, before W^o: [tokens, d].
    pub f: Value,
    /// Log-sum-exp of each row of scores: [tokens, H].
    pub lse: Value,
    /// What is added after W^o: [tokens, d].
    pub update: Option<Value>,
}

/// One part of a method in one layer; its tensors are those of [`Tensors`].
pub trait Part: Tensors + Send + Sync {
    /// Acts on the projections: `x` [tokens, d] is their input, `qkv` [tokens, 3d] their result.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn on_qkv(&self, _ctx: &ForwardContext<'_>, _x: &Value, qkv: Value) -> Result<Value> {
        Ok(qkv)
    }

    /// Acts on the attention's result before W^o.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn on_heads(
        &self,
        _ctx: &ForwardContext<'_>,
        _qkv: &Value,
        attended: Attended,
    ) -> Result<Attended> {
        Ok(attended)
    }

    /// Acts on the sub-layer's output `y` [tokens, d] after W^o.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn on_output(&self, _ctx: &ForwardContext<'_>, y: Value) -> Result<Value> {
        Ok(y)
    }

    /// Whether [`Part::on_map`] acts on the result of this map.
    fn acts_on(&self, _target: Target) -> bool {
        false
    }

    /// Acts on a linear map outside of q, k and v: `x` [tokens, inputs] is its input, `y`
    /// [tokens, outputs] its result.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn on_map(
        &self,
        _ctx: &ForwardContext<'_>,
        _target: Target,
        _x: &Value,
        y: Value,
    ) -> Result<Value> {
        Ok(y)
    }

    /// Acts on the FFN's hidden units [tokens, inner], after their activation.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn on_ffn_hidden(&self, _ctx: &ForwardContext<'_>, hidden: Value) -> Result<Value> {
        Ok(hidden)
    }

    /// Acts beside the FFN: `x` [tokens, d] is its input, `y` its output.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn beside_ffn(&self, _ctx: &ForwardContext<'_>, _x: &Value, y: Value) -> Result<Value> {
        Ok(y)
    }

    /// Gives tensors whose initial values depend on the backbone's weights those values; called
    /// once, when a new method is attached.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn begin(&mut self, _maps: &dyn FoldTarget) -> Result<()> {
        Ok(())
    }

    /// Folds the part into the weights of its layer, exactly over the reals; `false` where it
    /// cannot be and nothing was done.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn fold(&self, _weights: &mut dyn FoldTarget) -> Result<bool> {
        Ok(false)
    }
}

/// A linear map of a layer, which a part can act on and be folded into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// W^q.
    Q,
    /// W^k.
    K,
    /// W^v.
    V,
    /// W^o.
    O,
    /// The FFN's first map, to its hidden units.
    Up,
    /// The FFN's second map, from its hidden units.
    Down,
}

impl Target {
    /// The projections of the attention's input, in the order in which a backbone lays them out.
    pub const PROJECTIONS: [Self; 3] = [Self::Q, Self::K, Self::V];

    /// Whether it is one of W^q, W^k, W^v.
    pub fn is_projection(self) -> bool {
        Self::PROJECTIONS.contains(&self)
    }

    /// Its inputs and outputs.
    pub fn sizes(self, spec: &Spec) -> [usize; 2] {
        match self {
            Self::Up => [spec.hidden, spec.ffn],
            Self::Down => [spec.ffn, spec.hidden],
            _ => [spec.hidden; 2],
        }
    }
}

/// The linear maps of a backbone's layers, however its files lay them out.
pub trait FoldTarget {
    /// The parameters that hold a map, and the first of its outputs in them.
    fn parameters_of(&self, layer: usize, target: Target) -> (&Pair, usize);

    /// Weight [outputs, inputs] and bias \[outputs\] of a map, in f64.
    ///
    /// # Errors
    /// A candle error.
    fn map(&self, layer: usize, target: Target) -> Result<(Tensor, Tensor)>;

    /// Replaces weight [outputs, inputs] and bias \[outputs\] of a map, both given in f64 and
    /// rounded once to the type that they are kept in.
    ///
    /// # Errors
    /// What `change` returns; shapes that do not fit.
    fn replace(&mut self, layer: usize, target: Target, change: &mut Change<'_>) -> Result<()>;
}

/// New weight and bias from the old ones.
pub type Change<'a> = dyn FnMut(Tensor, Tensor) -> Result<(Tensor, Tensor)> + 'a;

/// A field that has a wrong value, and what is wrong with it.
pub type Wrong = (&'static str, String);

/// The configuration of a part, as it stands in `adapter_config.json`.
pub trait PartConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// The field, what was expected and what was found.
    fn check(&self) -> std::result::Result<(), Wrong>;

    /// Declares the part's tensors in one layer.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    fn declare(&self, layer: usize, spec: &Spec, from: &Declare<'_>) -> Result<Box<dyn Part>>;
}

/// An error unless a size is one of a network's.
fn sized(field: &'static str, size: usize) -> std::result::Result<(), Wrong> {
    let checked = SIZE.check(size as f64);
    checked.map(|_| ()).map_err(|message| (field, message))
}

/// An error unless a list of targets has any, each once.
fn some_of_each_once<T: Clone + Ord>(targets: &[T], names: &str) -> std::result::Result<(), Wrong> {
    let mut seen = targets.to_vec();
    seen.sort();
    seen.dedup();
    match seen.is_empty() || seen.len() != targets.len() {
        true => Err(("targets", format!("expected some of {names}, each once"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::attention::{Heads, Visible};
    use crate::ops::dropout::Dropout;
    use crate::tape::{Parameter, Tape};
    use approx::assert_abs_diff_eq;
    use candle_core::Device;
    use std::collections::BTreeSet;

    fn context(tape: &Tape, rate: f64) -> ForwardContext<'_> {
        ForwardContext {
            tape,
            heads: Heads { count: 1, width: 2 },
            offsets: &[0, 3],
            visible: Visible::Causal,
            training: true,
            dropout: Dropout::new(rate, 7),
            cache: None,
            prefix: Vec::new(),
            observed: None,
            seen: None,
            fixed_gates: None,
            maps: None,
        }
    }

    #[test]
    fn every_place_of_every_layer_has_a_mask_of_its_own() {
        let tape = Tape::off();
        let ctx = context(&tape, 0.1);
        let sites = [
            DropoutSite::Attention,
            DropoutSite::Prefix,
            DropoutSite::Gate,
            DropoutSite::AttentionBranch,
            DropoutSite::FfnBranch,
            DropoutSite::Lora,
        ];
        let all = (0..48).flat_map(|layer| sites.map(|site| ctx.dropout(layer, site)));
        let keys: BTreeSet<u64> = all.clone().map(|dropout| dropout.key).collect();
        assert_eq!(keys.len(), 48 * sites.len());
        assert!(all.into_iter().all(|dropout| dropout.rate == 0.1));
    }

    #[test]
    fn sizes_of_nothing_and_targets_that_stand_there_twice_are_refused_by_their_field() {
        let field = |checked: std::result::Result<(), Wrong>| checked.err().map(|(field, _)| field);
        assert_eq!(field(sized("rank", 0)), Some("rank"));
        assert_eq!(field(sized("rank", 1)), None);
        let targets = |all: &[Target]| field(some_of_each_once(all, "some"));
        assert_eq!(targets(&[]), Some("targets"));
        assert_eq!(targets(&[Target::Q, Target::Q]), Some("targets"));
        assert_eq!(targets(&[Target::Q, Target::V]), None);
    }

    /// The field that a configuration of this kind is refused by.
    fn refused<C: PartConfig + serde::de::DeserializeOwned>(
        fields: serde_json::Value,
    ) -> Option<&'static str> {
        let config: C = serde_json::from_value(fields).unwrap();
        config.check().err().map(|(field, _)| field)
    }

    #[test]
    fn a_part_is_refused_by_the_field_that_is_wrong() {
        use serde_json::json;
        let adapter = |r: usize| refused::<AttentionAdapterConfig>(json!({ "bottleneck": r }));
        assert_eq!([adapter(1), adapter(0)], [None, Some("bottleneck")]);
        let ffn = |r: usize| {
            refused::<FfnAdapterConfig>(json!({ "placement": "parallel", "bottleneck": r }))
        };
        assert_eq!([ffn(1), ffn(0)], [None, Some("bottleneck")]);
        let ia3 = |targets: &[&str]| refused::<Ia3Config>(json!({ "targets": targets }));
        assert_eq!(
            [ia3(&["k", "ffn"]), ia3(&["k", "k"])],
            [None, Some("targets")]
        );
        let inducer = |variant: &str, key: usize, value: usize| {
            let fields = json!({
                "variant": variant, "key_bottleneck": key, "value_bottleneck": value
            });
            refused::<InducerConfig>(fields)
        };
        assert_eq!(inducer("inducer", 1, 1), None);
        assert_eq!(inducer("inducer", 1, 0), Some("value_bottleneck"));
        assert_eq!(inducer("inducer", 0, 1), Some("key_bottleneck"));
        assert_eq!(inducer("adaptive", 0, 1), None);
        assert_eq!(inducer("adaptive", 1, 1), Some("key_bottleneck"));
        let prefix = |length: usize, width: usize| {
            let fields = json!({ "length": length, "reparametrisation": { "width": width } });
            refused::<PrefixConfig>(fields)
        };
        assert_eq!(prefix(1, 1), None);
        assert_eq!(prefix(0, 1), Some("length"));
        assert_eq!(prefix(1, 0), Some("reparametrisation.width"));
    }

    #[test]
    fn lora_is_refused_by_the_field_that_is_wrong() {
        use serde_json::json;
        let lora = |changed: serde_json::Value| {
            let mut fields = json!({ "targets": ["q", "v"], "rank": 2, "alpha": 1.0 });
            for (name, value) in changed.as_object().unwrap() {
                fields[name] = value.clone();
            }
            refused::<LoraConfig>(fields)
        };
        let other = |layer: usize, target: &str, rank: usize| {
            let fields = json!({ "layer": layer, "target": target, "rank": rank });
            let mut fields = fields.as_object().unwrap().clone();
            fields.insert("alpha".into(), 1.0.into());
            serde_json::Value::from(fields)
        };
        assert_eq!(lora(json!({})), None);
        assert_eq!(lora(json!({ "rank": 0 })), Some("rank"));
        assert_eq!(lora(json!({ "targets": [] })), Some("targets"));
        assert_eq!(lora(json!({ "dropout": 1.0 })), Some("dropout"));
        assert_eq!(lora(json!({ "dropout": -0.1 })), Some("dropout"));
        assert_eq!(
            lora(json!({ "use_dora": true, "bias": true })),
            Some("use_dora")
        );
        let exceptions = |all: &[serde_json::Value]| lora(json!({ "exceptions": all }));
        let (none, one) = (other(0, "q", 0), other(1, "q", 1));
        assert_eq!(exceptions(&[none.clone(), one, other(0, "v", 3)]), None);
        assert_eq!(
            exceptions(&[other(0, "k", 1)]),
            Some("exceptions"),
            "no target"
        );
        assert_eq!(
            exceptions(&[none.clone(), none]),
            Some("exceptions"),
            "twice"
        );
        let endless = LoraConfig {
            alpha: f64::INFINITY,
            ..LoraConfig::new(&[Target::Q], 1, 1.0)
        };
        assert_eq!(endless.check().err().map(|(field, _)| field), Some("alpha"));
        let large = json!({ "exceptions": [other(0, "q", usize::MAX)] });
        assert_eq!(lora(large), Some("exceptions.rank"));
    }

    #[test]
    fn an_exception_of_rank_0_is_no_update_and_names_follow_the_map() {
        let config = LoraConfig {
            exceptions: vec![
                LoraException {
                    layer: 0,
                    target: Target::Q,
                    rank: 0,
                    alpha: 1.0,
                },
                LoraException {
                    layer: 1,
                    target: Target::Up,
                    rank: 3,
                    alpha: 5.0,
                },
            ],
            ..LoraConfig::new(&[Target::Q, Target::Up], 2, 4.0)
        };
        assert_eq!(config.at(0, Target::Q), None);
        assert_eq!(config.at(1, Target::Q), Some((2, 4.0)));
        assert_eq!(config.at(0, Target::Up), Some((2, 4.0)));
        assert_eq!(config.at(1, Target::Up), Some((3, 5.0)));
        assert_eq!(config.at(0, Target::K), None);
        let spec = crate::BackboneConfig::from(&crate::Gpt2Config::small()).spec();
        let [q, up] = [Target::Q, Target::Up].map(|t| LoraConfig::name(t, 1, &spec));
        assert_eq!(
            [q, up],
            [
                format!("{}.lora.q", spec.attention_name(1)),
                format!("{}.lora.up", spec.ffn_name(1)),
            ]
        );
    }

    #[test]
    fn a_map_has_its_own_sizes_and_three_are_projections() {
        let spec = crate::BackboneConfig::from(&crate::Gpt2Config::small()).spec();
        assert_eq!(Target::Up.sizes(&spec), [768, 3072]);
        assert_eq!(Target::Down.sizes(&spec), [3072, 768]);
        assert_eq!(Target::O.sizes(&spec), [768, 768]);
        assert!(Target::V.is_projection() && !Target::O.is_projection());
    }

    #[test]
    fn lora_drops_its_input_at_its_own_rate() {
        let tensor = |values: &[f64], rows: usize| {
            Tensor::from_slice(values, (rows, values.len() / rows), &Device::Cpu).unwrap()
        };
        let part = |rate: f64| LowRank {
            layer: 0,
            rate,
            targets: vec![LowRankUpdate {
                target: Target::Q,
                slot: 0,
                scale: 1.0,
                a: Parameter::new("a", tensor(&[1.0, 2.0], 1), true),
                b: Parameter::new("b", tensor(&[1.0, -1.0], 2), true),
                bias: None,
                magnitude: None,
            }],
        };
        let tape = Tape::off();
        let x = Value::constant(tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3));
        let q = |lora: f64, elsewhere: f64| -> Vec<f64> {
            let qkv = Value::constant(tensor(&[0.0; 18], 3));
            let out = part(lora)
                .on_qkv(&context(&tape, elsewhere), &x, qkv)
                .unwrap();
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
        let after = part.on_heads(&context(&tape, 0.0), &qkv, attended).unwrap();
        let found: Vec<f64> = after.lse.tensor.flatten_all().unwrap().to_vec1().unwrap();
        for (found, (q, lse)) in found.iter().zip(queries.iter().zip(text)) {
            let own = (q[0] - 2.0 * q[1]) / 2.0_f64.sqrt();
            let expected = (own.exp() + lse.exp()).ln();
            assert_abs_diff_eq!(*found, expected, epsilon = 1e-14);
        }
    }
}
