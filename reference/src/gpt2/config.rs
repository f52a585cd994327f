//! GPT-2's `config.json`: the fields that change the function, and an error for those that are not
//! supported.

use crate::error::Error;
use crate::files::backbone::read_json;
use crate::files::layout::{Backbone, Layout, Shapes};
use crate::gelu::{gelu, gelu_new};
use crate::scalar::Real;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The part of Hugging Face's configuration that matters here; other fields are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gpt2Config {
    /// Always `gpt2`.
    pub model_type: String,
    /// Number of tokens.
    pub vocab_size: usize,
    /// Number of positions.
    pub n_positions: usize,
    /// d.
    pub n_embd: usize,
    /// L.
    pub n_layer: usize,
    /// H.
    pub n_head: usize,
    /// The FFN's width; 4 d when absent.
    #[serde(default)]
    pub n_inner: Option<usize>,
    /// ε of the layer normalisations.
    #[serde(default = "epsilon")]
    pub layer_norm_epsilon: f64,
    /// `gelu_new` or a name of the same function, or `gelu`.
    #[serde(default = "activation")]
    pub activation_function: String,
    /// Whether scores are divided by √p: must be.
    #[serde(default = "yes")]
    pub scale_attn_weights: bool,
    /// Must be false.
    #[serde(default)]
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Must be false.
    #[serde(default)]
    pub add_cross_attention: bool,
    /// Whether the head is `wte`: must be.
    #[serde(default = "yes")]
    pub tie_word_embeddings: bool,
}

/// transformers' names of gelu through the hyperbolic tangent.
const TANH: [&str; 5] = [
    "gelu_new",
    "gelu_pytorch_tanh",
    "gelu_python_tanh",
    "gelu_fast",
    "gelu_accurate",
];
/// The same through the error function.
const ERF: [&str; 2] = ["gelu", "gelu_python"];

fn epsilon() -> f64 {
    1e-5
}

fn activation() -> String {
    "gelu_new".into()
}

fn yes() -> bool {
    true
}

impl Gpt2Config {
    /// A configuration with GPT-2's defaults in the fields not named.
    #[must_use]
    pub fn new(
        vocab_size: usize,
        n_positions: usize,
        n_embd: usize,
        n_layer: usize,
        n_head: usize,
    ) -> Self {
        Self {
            model_type: "gpt2".into(),
            vocab_size,
            n_positions,
            n_embd,
            n_layer,
            n_head,
            n_inner: None,
            layer_norm_epsilon: epsilon(),
            activation_function: activation(),
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            add_cross_attention: false,
            tie_word_embeddings: true,
        }
    }

    /// GPT-2 small: 124,439,808 parameters.
    #[must_use]
    pub fn small() -> Self {
        Self::new(50257, 1024, 768, 12, 12)
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
        let supported = [
            ("model_type", "gpt2", self.model_type.clone()),
            (
                "scale_attn_weights",
                "true",
                self.scale_attn_weights.to_string(),
            ),
            (
                "scale_attn_by_inverse_layer_idx",
                "false",
                self.scale_attn_by_inverse_layer_idx.to_string(),
            ),
            (
                "add_cross_attention",
                "false",
                self.add_cross_attention.to_string(),
            ),
            (
                "tie_word_embeddings",
                "true",
                self.tie_word_embeddings.to_string(),
            ),
        ];
        let positive = [
            ("vocab_size", self.vocab_size),
            ("n_positions", self.n_positions),
            ("n_embd", self.n_embd),
            ("n_head", self.n_head),
            ("n_inner", self.inner()),
        ];
        let error = |field: &str, expected: &str, found: String| {
            Err(Error::Field {
                file: file.to_owned(),
                field: field.to_owned(),
                expected: expected.to_owned(),
                found,
            })
        };
        let activation = self.activation_function.as_str();
        if !TANH.contains(&activation) && !ERF.contains(&activation) {
            return error(
                "activation_function",
                "gelu_new or gelu",
                activation.to_owned(),
            );
        }
        if let Some((field, expected, found)) = supported
            .into_iter()
            .find(|(_, expected, found)| expected != found)
        {
            return error(field, expected, found);
        }
        if let Some((field, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return error(field, "a positive number", "0".into());
        }
        if !self.n_embd.is_multiple_of(self.n_head) {
            return error(
                "n_embd",
                &format!("a multiple of n_head = {}", self.n_head),
                self.n_embd.to_string(),
            );
        }
        if !(self.layer_norm_epsilon.is_finite() && self.layer_norm_epsilon >= 0.0) {
            return error(
                "layer_norm_epsilon",
                "a finite number ≥ 0",
                self.layer_norm_epsilon.to_string(),
            );
        }
        Ok(())
    }

    /// The FFN's activation.
    #[must_use]
    pub fn activation<T: Real>(&self) -> fn(T) -> T {
        match ERF.contains(&self.activation_function.as_str()) {
            true => gelu,
            false => gelu_new,
        }
    }

    /// The FFN's width.
    #[must_use]
    pub fn inner(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    /// Every tensor by its full name.
    #[must_use]
    pub fn shapes(&self) -> Shapes {
        let (d, inner) = (self.n_embd, self.inner());
        let mut shapes = Shapes::new();
        let mut put = |name: String, shape: &[usize]| {
            shapes.insert(format!("transformer.{name}"), shape.to_vec());
        };
        put("wte.weight".into(), &[self.vocab_size, d]);
        put("wpe.weight".into(), &[self.n_positions, d]);
        for i in 0..self.n_layer {
            for norm in ["ln_1", "ln_2"] {
                put(format!("h.{i}.{norm}.weight"), &[d]);
                put(format!("h.{i}.{norm}.bias"), &[d]);
            }
            let products = [
                ("attn.c_attn", d, 3 * d),
                ("attn.c_proj", d, d),
                ("mlp.c_fc", d, inner),
                ("mlp.c_proj", inner, d),
            ];
            for (name, d_in, d_out) in products {
                put(format!("h.{i}.{name}.weight"), &[d_in, d_out]);
                put(format!("h.{i}.{name}.bias"), &[d_out]);
            }
        }
        put("ln_f.weight".into(), &[d]);
        put("ln_f.bias".into(), &[d]);
        shapes
    }
}

impl Backbone for Gpt2Config {
    fn layout(&self) -> Layout {
        Layout {
            layers: self.n_layer,
            hidden: self.n_embd,
            ffn_hidden: self.inner(),
            heads: self.n_head,
            epsilon: self.layer_norm_epsilon,
            attention: "transformer.h.{i}.attn",
            ffn: "transformer.h.{i}.mlp",
            backbone: self.shapes(),
            classifier: Shapes::new(),
            added: Some("transformer.wte.added"),
        }
    }
}
