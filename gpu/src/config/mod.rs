//! The configurations of the backbones, as their `config.json` has them, and what methods have to
//! know of a backbone.

pub mod fields;
mod gpt2;
mod roberta;

pub use gpt2::Gpt2Config;
pub use roberta::{ProblemType, RobertaConfig};

use crate::error::{Error, Result};
use crate::ops::activation::Activation;
use crate::ops::attention::{Heads, Visible};
use crate::ranges::Range;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// A backbone's configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum BackboneConfig {
    /// GPT-2.
    Gpt2(Gpt2Config),
    /// RoBERTa.
    Roberta(RobertaConfig),
}

/// An activation by transformers' names; of those that are one function the last is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gelu {
    /// Through the hyperbolic tangent.
    #[serde(
        rename = "gelu_new",
        alias = "gelu_pytorch_tanh",
        alias = "gelu_python_tanh",
        alias = "gelu_fast",
        alias = "gelu_accurate"
    )]
    Tanh,
    /// Through the error function.
    #[serde(rename = "gelu", alias = "gelu_python")]
    Erf,
}

impl Gelu {
    /// The operation.
    pub fn activation(self) -> Activation {
        match self {
            Self::Tanh => Activation::GeluTanh,
            Self::Erf => Activation::GeluErf,
        }
    }
}

/// What methods and models have to know of a backbone, whichever it is.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// L.
    pub layers: usize,
    /// d.
    pub hidden: usize,
    /// H and p = d / H.
    pub heads: Heads,
    /// Hidden units of the FFN.
    pub ffn: usize,
    /// ε of its LayerNorms.
    pub epsilon: f64,
    /// Standard deviation of initial weights.
    pub initializer_std: f64,
    /// Token ids.
    pub vocabulary: usize,
    /// Positions for a text.
    pub positions: usize,
    /// The row of the position table that a text's first token has.
    pub first_position: usize,
    /// The padding token, which has the row before the first position wherever it stands.
    pub padding: Option<u32>,
    /// Number of segment ids, where segments have a table of their own.
    pub segment_types: Option<usize>,
    /// Which keys a query sees.
    pub visible: Visible,
    layer: &'static str,
    attention: &'static str,
    ffn_module: &'static str,
}

impl Spec {
    /// Name of the attention module of a layer.
    pub fn attention_name(&self, layer: usize) -> String {
        format!("{}.{layer}.{}", self.layer, self.attention)
    }

    /// Name of a layer.
    pub fn layer_name(&self, layer: usize) -> String {
        format!("{}.{layer}", self.layer)
    }

    /// Name of a method's tensors at the FFN of a layer.
    pub fn ffn_name(&self, layer: usize) -> String {
        format!("{}.{layer}.{}", self.layer, self.ffn_module)
    }
}

impl BackboneConfig {
    /// From the contents of a `config.json`; errors name `path`.
    ///
    /// # Errors
    /// A model type that this engine does not compute, and what each type asks for.
    pub fn from_json(path: &Path, value: Value) -> Result<Self> {
        match Self::model_type(path, &value)? {
            "gpt2" => Ok(Self::Gpt2(Gpt2Config::from_json(path, value)?)),
            kind if roberta::KINDS.iter().any(|(k, _)| *k == kind) => {
                Ok(Self::Roberta(RobertaConfig::from_json(path, value)?))
            }
            other => {
                let message = format!("expected {}, found \"{other}\"", expected_types());
                Err(Error::config(path, "model_type", message))
            }
        }
    }

    /// What a `config.json` says that it is of.
    ///
    /// # Errors
    /// It does not say.
    pub fn model_type<'a>(path: &Path, value: &'a Value) -> Result<&'a str> {
        let expected = format!("expected {}", expected_types());
        let message = match value.get("model_type") {
            Some(Value::String(kind)) => return Ok(kind),
            Some(other) => format!("{expected}, found {other}"),
            None => format!("missing ({expected})"),
        };
        Err(Error::config(path, "model_type", message))
    }

    /// What methods have to know.
    pub fn spec(&self) -> Spec {
        match self {
            Self::Gpt2(c) => c.spec(),
            Self::Roberta(c) => c.spec(),
        }
    }

    /// Whether layers, hidden size and heads are those of the paper's backbone, GPT-2 small or
    /// RoBERTa base: whatever the vocabulary, a method then has the paper's sizes.
    pub fn is_papers_size(&self) -> bool {
        let papers = match self {
            Self::Gpt2(_) => Gpt2Config::small().spec(),
            Self::Roberta(_) => RobertaConfig::base().spec(),
        };
        let size = |spec: Spec| (spec.layers, spec.hidden, spec.heads);
        size(self.spec()) == size(papers)
    }
}

impl From<&Self> for BackboneConfig {
    fn from(config: &Self) -> Self {
        config.clone()
    }
}

impl From<&Gpt2Config> for BackboneConfig {
    fn from(config: &Gpt2Config) -> Self {
        Self::Gpt2(config.clone())
    }
}

impl From<&RobertaConfig> for BackboneConfig {
    fn from(config: &RobertaConfig) -> Self {
        Self::Roberta(config.clone())
    }
}

/// A value of a file; an error names the field that is wrong.
///
/// # Errors
/// It has another form.
pub(crate) fn parsed<T: serde::de::DeserializeOwned>(path: &Path, value: &Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let (field, reason) = (e.path().to_string(), e.inner().to_string());
        match field.as_str() {
            "." => Error::json(path, reason),
            _ => Error::config(path, field, reason),
        }
    })
}

/// The model types that are computed, in words.
fn expected_types() -> String {
    let roberta = roberta::KINDS.iter().map(|(kind, _)| format!("\"{kind}\""));
    format!(
        "one of \"gpt2\", {}",
        roberta.collect::<Vec<_>>().join(", ")
    )
}

/// Of transformers, for both.
fn default_range() -> f64 {
    0.02
}

/// The contents of a `config.json` under examination.
struct Checked<'a> {
    path: &'a Path,
    value: Value,
}

impl Checked<'_> {
    /// A field that, where it is given, has one value that the engine computes.
    fn expect(&self, field: &str, wanted: impl Into<Value>) -> Result<()> {
        let wanted = wanted.into();
        match self.value.get(field) {
            Some(found) if !found.is_null() && *found != wanted => {
                let message = format!("expected {wanted}, found {found}");
                Err(Error::config(self.path, field, message))
            }
            _ => Ok(()),
        }
    }

    /// Fields that are sizes where they are there.
    fn sizes(&self, fields: &[(&str, Range)]) -> Result<()> {
        for (field, range) in fields {
            let whole = |v: &Value| v.as_u64().is_some_and(|n| range.contains(n as f64));
            match self.value.get(field) {
                Some(v) if !whole(v) => {
                    return Err(Error::config(self.path, *field, range.refusal(v)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The contents are those of an object.
    fn object(&self) -> Result<()> {
        match self.value.is_object() {
            true => Ok(()),
            false => Err(Error::json(self.path, "expected an object")),
        }
    }

    fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        parsed(self.path, &self.value)
    }

    fn divides(&self, heads: (&str, usize), hidden: (&str, usize)) -> Result<()> {
        if hidden.1.is_multiple_of(heads.1) {
            return Ok(());
        }
        let message = format!(
            "expected a divisor of {} = {}, found {}",
            hidden.0, hidden.1, heads.1
        );
        Err(Error::config(self.path, heads.0, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Of `GPT2Config` and `RobertaConfig` (transformers 5.24.0).
    #[test]
    fn a_field_that_is_left_out_has_transformers_default() {
        let gpt2: Gpt2Config = serde_json::from_value(json!({
            "vocab_size": 12, "n_positions": 8, "n_embd": 4, "n_layer": 1, "n_head": 2
        }))
        .unwrap();
        assert_eq!(
            (gpt2.layer_norm_epsilon, gpt2.initializer_range),
            (1e-5, 0.02)
        );
        let roberta: RobertaConfig = serde_json::from_value(json!({
            "vocab_size": 12, "max_position_embeddings": 10, "hidden_size": 4,
            "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 6
        }))
        .unwrap();
        assert_eq!((roberta.type_vocab_size, roberta.pad_token_id), (2, 1));
        assert_eq!(
            (roberta.layer_norm_eps, roberta.initializer_range),
            (1e-12, 0.02)
        );
        assert_eq!((roberta.classes(), roberta.hidden_dropout_prob), (2, 0.1));
    }

    fn refusal(kind: &str, field: &str, value: Value) -> Option<String> {
        let mut config = json!({ "model_type": kind, "vocab_size": 12 });
        config[field] = value;
        let read = BackboneConfig::from_json("config.json".as_ref(), config);
        read.err().map(|e| e.to_string())
    }

    /// Of a layer a name and a shape are made for each tensor before any weights are looked at.
    #[test]
    fn a_size_that_no_model_has_is_refused_by_its_field() {
        let gpt2 = [
            "vocab_size",
            "n_positions",
            "n_embd",
            "n_layer",
            "n_head",
            "n_inner",
        ];
        let roberta = [
            "vocab_size",
            "max_position_embeddings",
            "type_vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "num_labels",
        ];
        let all = gpt2.map(|f| ("gpt2", f)).into_iter();
        for (kind, field) in all.chain(roberta.map(|f| ("roberta", f))) {
            for value in [json!(0), json!(u64::MAX)] {
                let message = refusal(kind, field, value.clone()).unwrap();
                assert!(
                    message.contains(&format!("field `{field}`: expected")),
                    "{message}"
                );
            }
        }
        assert_eq!(refusal("gpt2", "n_inner", Value::Null), None);
        let message = refusal("gpt2", "n_layer", json!(10_001)).unwrap();
        assert!(
            message.contains("expected a whole number, 1 to 10,000, found 10001"),
            "{message}"
        );
    }

    #[test]
    fn what_is_no_object_is_no_configuration() {
        for value in [json!(null), json!([1]), json!("gpt2")] {
            assert!(Gpt2Config::from_json("x".as_ref(), value.clone()).is_err());
            assert!(RobertaConfig::from_json("x".as_ref(), value).is_err());
        }
    }
}
