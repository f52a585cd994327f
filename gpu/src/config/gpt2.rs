//! GPT-2's `config.json`.

use super::{Checked, Gelu, Spec, fields};
use crate::error::Result;
use crate::ops::attention::{Heads, Visible};
use crate::ranges::{COUNT, LAYERS, SIZE};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// GPT-2's configuration, the fields that decide its function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gpt2Config {
    /// Vocabulary.
    #[serde(default = "default_vocabulary")]
    pub vocab_size: usize,
    /// Number of positions.
    #[serde(default = "default_positions")]
    pub n_positions: usize,
    /// Hidden size d.
    #[serde(default = "default_hidden")]
    pub n_embd: usize,
    /// Number of layers L.
    #[serde(default = "default_layers")]
    pub n_layer: usize,
    /// Number of heads H.
    #[serde(default = "default_layers")]
    pub n_head: usize,
    /// Width of the feed-forward layer; 4 d when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_inner: Option<usize>,
    /// Layer norm's ε.
    #[serde(default = "default_eps")]
    pub layer_norm_epsilon: f64,
    /// Standard deviation of initial weights.
    #[serde(default = "super::default_range")]
    pub initializer_range: f64,
    /// End-of-text id; the first where a file has several.
    #[serde(default = "default_eos", deserialize_with = "first")]
    pub eos_token_id: Option<u32>,
    /// The FFN's activation.
    #[serde(default = "default_activation")]
    pub activation_function: Gelu,
    /// Whether the token embeddings are the head.
    #[serde(default = "tied")]
    pub tie_word_embeddings: bool,
}

fn default_vocabulary() -> usize {
    50257
}

fn default_positions() -> usize {
    1024
}

fn default_hidden() -> usize {
    768
}

fn default_layers() -> usize {
    12
}

fn default_eps() -> f64 {
    1e-5
}

fn default_eos() -> Option<u32> {
    Some(50256)
}

fn default_activation() -> Gelu {
    Gelu::Tanh
}

fn tied() -> bool {
    true
}

/// An id, or the first of a list of them; null and negative ones are none.
fn first<'de, D: serde::Deserializer<'de>>(json: D) -> std::result::Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Ids {
        One(i64),
        Many(Vec<i64>),
    }
    let id = match Option::<Ids>::deserialize(json)? {
        Some(Ids::One(id)) => Some(id),
        Some(Ids::Many(ids)) => ids.first().copied(),
        None => None,
    };
    Ok(id.and_then(|id| u32::try_from(id).ok()))
}

impl Gpt2Config {
    /// GPT-2 small: 124,439,808 parameters.
    pub fn small() -> Self {
        Self {
            vocab_size: 50257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            n_inner: None,
            layer_norm_epsilon: 1e-5,
            initializer_range: 0.02,
            eos_token_id: Some(50256),
            activation_function: Gelu::Tanh,
            tie_word_embeddings: true,
        }
    }

    /// p = d / H.
    pub fn head_width(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// Width of the feed-forward layer.
    pub fn inner(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    /// From the contents of a `config.json`; errors name `path`.
    ///
    /// # Errors
    /// A model type, activation or switch that this engine does not compute; a size that is
    /// missing, 0 or larger than any model's.
    pub fn from_json(path: &Path, value: Value) -> Result<Self> {
        let mut given = Checked { path, value };
        given.object()?;
        given.expect("model_type", "gpt2")?;
        given.rules(fields::GPT2)?;
        for (name, other) in [
            ("n_embd", "hidden_size"),
            ("n_positions", "max_position_embeddings"),
            ("n_head", "num_attention_heads"),
            ("n_layer", "num_hidden_layers"),
        ] {
            given.alias(name, other)?;
        }
        if given.value.get("n_inner").is_some_and(|n| !n.is_null()) {
            given.sizes(&[("n_inner", SIZE)])?;
        }
        given.sizes(&[
            ("vocab_size", COUNT),
            ("n_positions", COUNT),
            ("n_embd", SIZE),
            ("n_layer", LAYERS),
            ("n_head", SIZE),
        ])?;
        let config: Self = given.parse()?;
        given.divides(("n_head", config.n_head), ("n_embd", config.n_embd))?;
        Ok(config)
    }

    /// The contents of a `config.json` for transformers.
    pub fn to_json(&self) -> Value {
        json!({
            "activation_function": self.activation_function,
            "architectures": ["GPT2LMHeadModel"],
            "attn_pdrop": 0.0,
            "bos_token_id": self.eos_token_id,
            "embd_pdrop": 0.0,
            "eos_token_id": self.eos_token_id,
            "initializer_range": self.initializer_range,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "model_type": "gpt2",
            "n_embd": self.n_embd,
            "n_head": self.n_head,
            "n_inner": self.n_inner,
            "n_layer": self.n_layer,
            "n_positions": self.n_positions,
            "resid_pdrop": 0.0,
            "scale_attn_weights": true,
            "tie_word_embeddings": self.tie_word_embeddings,
            "torch_dtype": "float32",
            "vocab_size": self.vocab_size,
        })
    }

    /// What methods and models have to know of it.
    pub fn spec(&self) -> Spec {
        Spec {
            layers: self.n_layer,
            hidden: self.n_embd,
            heads: Heads::of(self.n_embd, self.n_head),
            ffn: self.inner(),
            epsilon: self.layer_norm_epsilon,
            initializer_std: self.initializer_range,
            vocabulary: self.vocab_size,
            positions: self.n_positions,
            first_position: 0,
            padding: None,
            segment_types: None,
            visible: Visible::Causal,
            layer: "transformer.h",
            attention: "attn",
            ffn_module: "mlp",
        }
    }
}
