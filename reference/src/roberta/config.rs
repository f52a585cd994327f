//! RoBERTa's `config.json`: the fields that change the function, and an error for those that are
//! not supported.

use crate::error::Error;
use crate::files::backbone::read_json;
use crate::files::layout::{Backbone, Layout, Shapes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The part of Hugging Face's configuration that matters here; other fields are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RobertaConfig {
    /// Always `roberta`.
    pub model_type: String,
    /// Number of tokens.
    pub vocab_size: usize,
    /// Number of rows of the position table: padding_idx + 1 more than positions.
    pub max_position_embeddings: usize,
    /// Number of segment types.
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    /// d.
    pub hidden_size: usize,
    /// L.
    pub num_hidden_layers: usize,
    /// H.
    pub num_attention_heads: usize,
    /// The FFN's width.
    pub intermediate_size: usize,
    /// ε of the layer normalisations.
    #[serde(default = "epsilon")]
    pub layer_norm_eps: f64,
    /// `gelu`, the exact form.
    #[serde(default = "activation")]
    pub hidden_act: String,
    /// The padding token, and the row before the first position.
    #[serde(default = "padding")]
    pub pad_token_id: u32,
    /// `absolute`.
    #[serde(default = "absolute")]
    pub position_embedding_type: String,
    /// The classes, by index; two when absent.
    #[serde(default)]
    pub id2label: Option<BTreeMap<String, serde_json::Value>>,
    /// The number of classes, where the file gives it instead of names.
    #[serde(default)]
    pub num_labels: Option<usize>,
    /// Must be false.
    #[serde(default)]
    pub is_decoder: bool,
}

/// The default of transformers' `RobertaConfig`; published RoBERTas have one type and say so.
fn two() -> usize {
    2
}

fn epsilon() -> f64 {
    1e-12
}

fn activation() -> String {
    "gelu".into()
}

fn padding() -> u32 {
    1
}

fn absolute() -> String {
    "absolute".into()
}

impl RobertaConfig {
    /// A configuration with RoBERTa's defaults in the fields not named.
    #[must_use]
    pub fn new(
        vocab_size: usize,
        max_position_embeddings: usize,
        hidden_size: usize,
        num_hidden_layers: usize,
        num_attention_heads: usize,
        num_labels: usize,
    ) -> Self {
        Self {
            model_type: "roberta".into(),
            vocab_size,
            max_position_embeddings,
            type_vocab_size: 1,
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            intermediate_size: 4 * hidden_size,
            layer_norm_eps: 1e-5,
            hidden_act: activation(),
            pad_token_id: padding(),
            position_embedding_type: absolute(),
            id2label: None,
            num_labels: Some(num_labels),
            is_decoder: false,
        }
    }

    /// RoBERTa base: 124,645,632 parameters with the pooler, which no classifier uses.
    #[must_use]
    pub fn base(num_labels: usize) -> Self {
        Self::new(50265, 514, 768, 12, 12, num_labels)
    }

    /// Reads and validates `config.json`.
    ///
    /// # Errors
    /// When it cannot be read, or asks for something that this model does not do.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let config: Self = read_json(path)?;
        config.validate(&path.display().to_string())?;
        Ok(config)
    }

    /// That this configuration is supported. `file` is named in the error.
    ///
    /// # Errors
    /// When it is not.
    pub fn validate(&self, file: &str) -> Result<(), Error> {
        let error = |field: &str, expected: &str, found: String| {
            Err(Error::Field {
                file: file.to_owned(),
                field: field.to_owned(),
                expected: expected.to_owned(),
                found,
            })
        };
        let kinds = ["roberta", "xlm-roberta", "camembert"];
        if !kinds.contains(&self.model_type.as_str()) {
            return error("model_type", &kinds.join(", "), self.model_type.clone());
        }
        if !["gelu", "gelu_python"].contains(&self.hidden_act.as_str()) {
            return error("hidden_act", "gelu", self.hidden_act.clone());
        }
        if self.is_decoder {
            return error("is_decoder", "false", "true".into());
        }
        let supported = [(
            "position_embedding_type",
            "absolute",
            &self.position_embedding_type,
        )];
        if let Some((field, expected, found)) = supported
            .into_iter()
            .find(|(_, expected, found)| expected != found)
        {
            return error(field, expected, found.clone());
        }
        let positive = [
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("num_labels", self.classes()),
        ];
        if let Some((field, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return error(field, "a positive number", "0".into());
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let expected = format!(
                "a multiple of num_attention_heads = {}",
                self.num_attention_heads
            );
            return error("hidden_size", &expected, self.hidden_size.to_string());
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps >= 0.0) {
            return error(
                "layer_norm_eps",
                "a finite number ≥ 0",
                self.layer_norm_eps.to_string(),
            );
        }
        Ok(())
    }

    /// The number of classes: `num_labels`, or the number of names, or two.
    #[must_use]
    pub fn classes(&self) -> usize {
        let named = self.id2label.as_ref().map(BTreeMap::len);
        named.or(self.num_labels).unwrap_or(2)
    }

    /// Every tensor of the encoder by its full name (no pooler, no head).
    #[must_use]
    pub fn shapes(&self) -> Shapes {
        let (d, inner) = (self.hidden_size, self.intermediate_size);
        let mut shapes = Shapes::new();
        let mut put = |name: String, shape: &[usize]| {
            shapes.insert(format!("roberta.{name}"), shape.to_vec());
        };
        put(
            "embeddings.word_embeddings.weight".into(),
            &[self.vocab_size, d],
        );
        put(
            "embeddings.position_embeddings.weight".into(),
            &[self.max_position_embeddings, d],
        );
        put(
            "embeddings.token_type_embeddings.weight".into(),
            &[self.type_vocab_size, d],
        );
        let norms = |i: usize| {
            ["attention.output", "output"].map(|part| format!("encoder.layer.{i}.{part}.LayerNorm"))
        };
        let all_norms = (0..self.num_hidden_layers).flat_map(norms);
        for norm in std::iter::once("embeddings.LayerNorm".to_owned()).chain(all_norms) {
            put(format!("{norm}.weight"), &[d]);
            put(format!("{norm}.bias"), &[d]);
        }
        for i in 0..self.num_hidden_layers {
            let products = [
                ("attention.self.query", d, d),
                ("attention.self.key", d, d),
                ("attention.self.value", d, d),
                ("attention.output.dense", d, d),
                ("intermediate.dense", d, inner),
                ("output.dense", inner, d),
            ];
            for (name, d_in, d_out) in products {
                put(format!("encoder.layer.{i}.{name}.weight"), &[d_out, d_in]);
                put(format!("encoder.layer.{i}.{name}.bias"), &[d_out]);
            }
        }
        shapes
    }

    /// The tensors of the classification head.
    #[must_use]
    pub fn classifier_shapes(&self) -> Shapes {
        let (d, classes) = (self.hidden_size, self.classes());
        Shapes::from([
            ("classifier.dense.weight".into(), vec![d, d]),
            ("classifier.dense.bias".into(), vec![d]),
            ("classifier.out_proj.weight".into(), vec![classes, d]),
            ("classifier.out_proj.bias".into(), vec![classes]),
        ])
    }
}

impl Backbone for RobertaConfig {
    fn layout(&self) -> Layout {
        Layout {
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            ffn_hidden: self.intermediate_size,
            heads: self.num_attention_heads,
            epsilon: self.layer_norm_eps,
            attention: "roberta.encoder.layer.{i}.attention.self",
            ffn: "roberta.encoder.layer.{i}.ffn",
            backbone: self.shapes(),
            classifier: self.classifier_shapes(),
            added: None,
        }
    }
}
