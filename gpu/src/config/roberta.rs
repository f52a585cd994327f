//! RoBERTa's `config.json`.

use super::{Checked, Spec};
use crate::error::{Error, Result};
use crate::ops::attention::{Heads, Visible};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// RoBERTa's configuration, the fields that decide its function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RobertaConfig {
    /// Vocabulary.
    pub vocab_size: usize,
    /// Rows of the position table: `pad_token_id + 1` more than positions.
    pub max_position_embeddings: usize,
    /// Segment types.
    #[serde(default = "default_types")]
    pub type_vocab_size: usize,
    /// Hidden size d.
    pub hidden_size: usize,
    /// Number of layers L.
    pub num_hidden_layers: usize,
    /// Number of heads H.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Layer norm's ε.
    #[serde(default = "default_roberta_eps")]
    pub layer_norm_eps: f64,
    /// Standard deviation of initial weights.
    #[serde(default = "super::default_range")]
    pub initializer_range: f64,
    /// The padding token, and the row before the first position.
    #[serde(default = "default_padding")]
    pub pad_token_id: u32,
    /// Names of the classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id2label: Option<BTreeMap<String, String>>,
    /// Number of classes, where no names are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_labels: Option<usize>,
    /// Dropout of the residual branches.
    #[serde(default = "default_dropout")]
    pub hidden_dropout_prob: f64,
}

/// Of transformers' `RobertaConfig`; published RoBERTas have one type and say so.
fn default_types() -> usize {
    2
}

fn default_roberta_eps() -> f64 {
    1e-12
}

fn default_padding() -> u32 {
    1
}

fn default_dropout() -> f64 {
    0.1
}

impl RobertaConfig {
    /// RoBERTa base, for two classes: 124,645,632 parameters with the pooler, which no classifier
    /// uses.
    pub fn base() -> Self {
        Self {
            vocab_size: 50265,
            max_position_embeddings: 514,
            type_vocab_size: 1,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            layer_norm_eps: 1e-5,
            initializer_range: 0.02,
            pad_token_id: 1,
            id2label: None,
            num_labels: Some(2),
            hidden_dropout_prob: 0.1,
        }
    }

    /// Number of classes: `num_labels`, or the number of names, or two.
    pub fn classes(&self) -> usize {
        let named = self.id2label.as_ref().map(BTreeMap::len);
        self.num_labels.or(named).unwrap_or(2)
    }

    /// From the contents of a `config.json`; errors name `path`.
    ///
    /// # Errors
    /// A model type, activation or switch that this engine does not compute; a size that is missing
    /// or 0.
    pub fn from_json(path: &Path, value: Value) -> Result<Self> {
        let given = Checked { path, value };
        given.expect("model_type", "roberta")?;
        given.expect("hidden_act", "gelu")?;
        given.expect("position_embedding_type", "absolute")?;
        given.expect("is_decoder", false)?;
        given.positive(&[
            "vocab_size",
            "max_position_embeddings",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
        ])?;
        let config: Self = given.parse()?;
        given.divides(
            ("num_attention_heads", config.num_attention_heads),
            ("hidden_size", config.hidden_size),
        )?;
        if config.classes() == 0 {
            let message = "expected at least 1, found 0";
            return Err(Error::config(path, "num_labels", message));
        }
        Ok(config)
    }

    /// The contents of a `config.json` for transformers; `architecture` is its class there.
    pub fn to_json(&self, architecture: &str) -> Value {
        let classes = 0..self.classes();
        let named = classes
            .clone()
            .map(|i| (i.to_string(), format!("LABEL_{i}")));
        let numbered = classes.map(|i| (format!("LABEL_{i}"), i));
        json!({
            "architectures": [architecture],
            "attention_probs_dropout_prob": self.hidden_dropout_prob,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "hidden_act": "gelu",
            "hidden_dropout_prob": self.hidden_dropout_prob,
            "hidden_size": self.hidden_size,
            "id2label": named.collect::<BTreeMap<_, _>>(),
            "label2id": numbered.collect::<BTreeMap<_, _>>(),
            "initializer_range": self.initializer_range,
            "intermediate_size": self.intermediate_size,
            "layer_norm_eps": self.layer_norm_eps,
            "max_position_embeddings": self.max_position_embeddings,
            "model_type": "roberta",
            "num_attention_heads": self.num_attention_heads,
            "num_hidden_layers": self.num_hidden_layers,
            "pad_token_id": self.pad_token_id,
            "position_embedding_type": "absolute",
            "torch_dtype": "float32",
            "type_vocab_size": self.type_vocab_size,
            "vocab_size": self.vocab_size,
        })
    }

    /// What methods and models have to know of it.
    pub fn spec(&self) -> Spec {
        let first_position = self.pad_token_id as usize + 1;
        Spec {
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            heads: Heads::of(self.hidden_size, self.num_attention_heads),
            ffn: self.intermediate_size,
            epsilon: self.layer_norm_eps,
            initializer_std: self.initializer_range,
            vocabulary: self.vocab_size,
            positions: self.max_position_embeddings.saturating_sub(first_position),
            first_position,
            segment_types: Some(self.type_vocab_size),
            visible: Visible::All,
            layer: "roberta.encoder.layer",
            attention: "attention.self",
            ffn_module: "ffn",
        }
    }
}
