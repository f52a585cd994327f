//! Which tensors of which shapes an adapter has on a backbone: formats by name, before any data.
//!
//! The parameter counts of the paper's Tables 1, 3 and 5 are sums of these shapes:
//! `counts_every_row_comes_out`.

use crate::files::adapter_config::{AdapterConfig, AttentionConfig, FfnConfig, Ia3Target};
use std::collections::BTreeMap;

/// Tensor shapes by name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// What an adapter has to know of its backbone.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// L.
    pub layers: usize,
    /// d.
    pub hidden: usize,
    /// d_ff, the number of the FFN's hidden units.
    pub ffn_hidden: usize,
    /// H.
    pub heads: usize,
    /// The ε of the backbone's layer normalisations, also that of an adapter's.
    pub epsilon: f64,
    /// The attention module of layer i, with {i} in its place.
    pub attention: &'static str,
    /// The FFN of layer i, with {i} in its place.
    pub ffn: &'static str,
    /// Every tensor of the backbone by its full name.
    pub backbone: Shapes,
    /// The classifier's tensors, trained with every method; empty for GPT-2.
    pub classifier: Shapes,
    /// The name of the trained task embeddings, optional in an adapter.
    pub added: Option<&'static str>,
}

/// A backbone's configuration, as far as adapters are concerned.
pub trait Backbone {
    /// Its layout.
    fn layout(&self) -> Layout;
}

impl Layout {
    /// p = d/H.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.hidden / self.heads
    }

    /// The attention module of layer `i`: T in the format's table.
    #[must_use]
    pub fn attention_name(&self, i: usize) -> String {
        self.attention.replace("{i}", &i.to_string())
    }

    /// The FFN of layer `i`.
    #[must_use]
    pub fn ffn_name(&self, i: usize) -> String {
        self.ffn.replace("{i}", &i.to_string())
    }

    /// Every tensor that an adapter of this configuration has (the optional task embeddings
    /// excepted).
    #[must_use]
    pub fn adapter_shapes(&self, config: &AdapterConfig) -> Shapes {
        let mut shapes = self.classifier.clone();
        for i in 0..self.layers {
            self.attention_shapes(config, i, &mut shapes);
            self.lora_shapes(config, i, &mut shapes);
            for &target in config.ia3.iter().flat_map(|ia3| &ia3.targets) {
                let (name, length) = self.ia3_vector(target, i);
                shapes.insert(name, vec![length]);
            }
            if let Some(FfnConfig::Adapter {
                bottleneck,
                layer_norm,
                ..
            }) = config.ffn
            {
                let name = format!("{}.adapter", self.ffn_name(i));
                self.bottleneck_shapes(&name, bottleneck, layer_norm, &mut shapes);
            }
        }
        let own = self.backbone.iter();
        let taken =
            own.filter(|(name, _)| config.full || (config.bitfit && name.ends_with(".bias")));
        shapes.extend(taken.map(|(name, shape)| (name.clone(), shape.clone())));
        shapes
    }

    /// The number of values in an adapter of this configuration: the tables' "trainable" (or
    /// "store", for a prefix).
    #[must_use]
    pub fn adapter_size(&self, config: &AdapterConfig) -> usize {
        let shapes = self.adapter_shapes(config);
        shapes
            .values()
            .map(|shape| shape.iter().product::<usize>())
            .sum()
    }

    /// The name and the length of an (IA)³ vector of layer `i`.
    #[must_use]
    pub fn ia3_vector(&self, target: Ia3Target, i: usize) -> (String, usize) {
        let (attention, ffn) = (self.attention_name(i), self.ffn_name(i));
        match target {
            Ia3Target::K => (format!("{attention}.ia3.k"), self.hidden),
            Ia3Target::V => (format!("{attention}.ia3.v"), self.hidden),
            Ia3Target::Ffn => (format!("{ffn}.ia3"), self.ffn_hidden),
        }
    }

    fn attention_shapes(&self, config: &AdapterConfig, i: usize, shapes: &mut Shapes) {
        let (h, p, d) = (self.heads, self.head_dim(), self.hidden);
        let name = self.attention_name(i);
        let mut put = |suffix: &str, shape: &[usize]| {
            shapes.insert(format!("{name}.{suffix}"), shape.to_vec());
        };
        match config.attention {
            None => {}
            Some(AttentionConfig::Inducer {
                variant,
                key_bottleneck,
                value_bottleneck: r,
            }) => {
                if let (true, Some(r)) = (variant.has_key_network(), key_bottleneck) {
                    put("inducer.key.down", &[h, p, r]);
                    put("inducer.key.down_bias", &[h, r]);
                    put("inducer.key.up", &[h, r, p]);
                    put("inducer.key.up_bias", &[h, p]);
                }
                put("inducer.value.down", &[h, p, r]);
                put("inducer.value.down_bias", &[h, r]);
                if variant.extends_values() {
                    put("inducer.value.up", &[h, r, d]);
                    put("inducer.value.up_bias", &[d]);
                } else {
                    put("inducer.value.up", &[h, r, p]);
                    put("inducer.value.up_bias", &[h, p]);
                }
            }
            Some(AttentionConfig::Prefix { length: l, .. }) => {
                put("prefix.key", &[h, l, p]);
                put("prefix.value", &[h, l, p]);
            }
            Some(AttentionConfig::Adapter {
                bottleneck,
                layer_norm,
            }) => {
                self.bottleneck_shapes(&format!("{name}.adapter"), bottleneck, layer_norm, shapes);
            }
        }
    }

    fn lora_shapes(&self, config: &AdapterConfig, i: usize, shapes: &mut Shapes) {
        let Some(lora) = &config.lora else { return };
        let (d, r) = (self.hidden, lora.rank);
        for target in &lora.targets {
            let name = format!("{}.lora.{}", self.attention_name(i), target.letter());
            shapes.insert(format!("{name}.a"), vec![r, d]);
            shapes.insert(format!("{name}.b"), vec![d, r]);
            if lora.bias {
                shapes.insert(format!("{name}.bias"), vec![d]);
            }
        }
    }

    fn bottleneck_shapes(&self, name: &str, r: usize, layer_norm: bool, shapes: &mut Shapes) {
        let d = self.hidden;
        let mut put = |suffix: &str, shape: &[usize]| {
            shapes.insert(format!("{name}.{suffix}"), shape.to_vec());
        };
        put("down.weight", &[r, d]);
        put("down.bias", &[r]);
        put("up.weight", &[d, r]);
        put("up.bias", &[d]);
        if layer_norm {
            put("layer_norm.weight", &[d]);
            put("layer_norm.bias", &[d]);
        }
    }
}
