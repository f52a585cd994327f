//! RoBERTa's `config.json`.

use super::{Checked, Gelu, Spec, fields};
use crate::error::{Error, Result};
use crate::ops::attention::{Heads, Visible};
use crate::ranges::{COUNT, LAYERS, SIZE};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Its `model_type`s, which have one architecture and differ in the tokenizer, with what
/// transformers calls their classes.
pub(super) const KINDS: [(&str, &str); 3] = [
    ("roberta", "Roberta"),
    ("xlm-roberta", "XLMRoberta"),
    ("camembert", "Camembert"),
];

/// RoBERTa's configuration, the fields that decide its function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RobertaConfig {
    /// `roberta`, `xlm-roberta` or `camembert`.
    #[serde(default = "default_type")]
    pub model_type: String,
    /// Vocabulary.
    pub vocab_size: usize,
    /// Rows of the position table: `pad_token_id + 1` more than positions.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    /// Segment types.
    #[serde(default = "default_types")]
    pub type_vocab_size: usize,
    /// Hidden size d.
    #[serde(default = "default_hidden")]
    pub hidden_size: usize,
    /// Number of layers L.
    #[serde(default = "default_layers")]
    pub num_hidden_layers: usize,
    /// Number of heads H.
    #[serde(default = "default_layers")]
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    #[serde(default = "default_intermediate")]
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
    /// Names of the classes by their ids.
    #[serde(
        default,
        deserialize_with = "names",
        skip_serializing_if = "Option::is_none"
    )]
    pub id2label: Option<BTreeMap<u32, String>>,
    /// Number of classes, where no names are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_labels: Option<usize>,
    /// Dropout of the residual branches.
    #[serde(default = "default_dropout")]
    pub hidden_dropout_prob: f64,
    /// The FFN's activation.
    #[serde(default = "default_activation")]
    pub hidden_act: Gelu,
    /// What transformers takes the loss of a head to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem_type: Option<ProblemType>,
}

/// What a head is trained to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemType {
    /// Numbers.
    Regression,
    /// One class.
    SingleLabelClassification,
    /// Any number of classes.
    MultiLabelClassification,
}

/// Names of classes, which some files have as numbers.
fn names<'de, D: serde::Deserializer<'de>>(
    json: D,
) -> std::result::Result<Option<BTreeMap<u32, String>>, D::Error> {
    let all = Option::<BTreeMap<u32, Value>>::deserialize(json)?;
    let name = |v: Value| v.as_str().map_or_else(|| v.to_string(), String::from);
    Ok(all.map(|all| all.into_iter().map(|(id, v)| (id, name(v))).collect()))
}

fn default_type() -> String {
    "roberta".into()
}

fn default_positions() -> usize {
    512
}

fn default_hidden() -> usize {
    768
}

fn default_layers() -> usize {
    12
}

fn default_intermediate() -> usize {
    3072
}

fn default_activation() -> Gelu {
    Gelu::Erf
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
            model_type: default_type(),
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
            hidden_act: Gelu::Erf,
            problem_type: None,
        }
    }

    /// Number of classes: the number of names, or `num_labels`, or two, as in transformers.
    pub fn classes(&self) -> usize {
        let named = self.id2label.as_ref().map(BTreeMap::len);
        named.or(self.num_labels).unwrap_or(2)
    }

    /// The classes' names, where they have any but transformers' `LABEL_0` and so on.
    pub fn class_names(&self) -> Option<Vec<&str>> {
        let names: Vec<&str> = self
            .id2label
            .iter()
            .flatten()
            .map(|(_, n)| n.as_str())
            .collect();
        let numbered = |(i, name): (usize, &&str)| {
            name.strip_prefix("LABEL_")
                .is_some_and(|n| n == i.to_string())
        };
        let all = !names.is_empty() && !names.iter().enumerate().all(numbered);
        all.then_some(names)
    }

    /// What the loss of the head is: transformers takes one class for a number.
    pub fn problem(&self) -> ProblemType {
        let usual = match self.classes() {
            1 => ProblemType::Regression,
            _ => ProblemType::SingleLabelClassification,
        };
        self.problem_type.unwrap_or(usual)
    }

    /// From the contents of a `config.json`; errors name `path`.
    ///
    /// # Errors
    /// A model type, activation or switch that this engine does not compute; a size that is
    /// missing, 0 or larger than any model's.
    pub fn from_json(path: &Path, value: Value) -> Result<Self> {
        let mut given = Checked { path, value };
        given.object()?;
        given.rules(fields::ROBERTA)?;
        if given.value.get("vocab_size").is_none() {
            let roberta = given.value["model_type"] == "roberta";
            given.value["vocab_size"] = json!(if roberta { 50265 } else { 30522 });
        }
        given.sizes(&[
            ("vocab_size", COUNT),
            ("max_position_embeddings", COUNT),
            ("type_vocab_size", SIZE),
            ("hidden_size", SIZE),
            ("num_hidden_layers", LAYERS),
            ("num_attention_heads", SIZE),
            ("intermediate_size", SIZE),
        ])?;
        let config: Self = given.parse()?;
        given.divides(
            ("num_attention_heads", config.num_attention_heads),
            ("hidden_size", config.hidden_size),
        )?;
        let numbered = config.id2label.iter().flatten().enumerate();
        for (i, (id, name)) in numbered {
            if i != *id as usize {
                let message = format!("expected ids 0, 1, …, found {id} ({name:?}) at place {i}");
                return Err(Error::config(path, "id2label", message));
            }
        }
        let classes = SIZE.check(config.classes() as f64);
        classes.map_err(|message| Error::config(path, "num_labels", message))?;
        Ok(config)
    }

    /// The contents of a `config.json` for transformers; `head` is the end of its class there.
    pub fn to_json(&self, head: &str) -> Value {
        let given = |i: usize| self.id2label.as_ref()?.get(&(i as u32)).cloned();
        let name = |i: usize| given(i).unwrap_or_else(|| format!("LABEL_{i}"));
        let named = (0..self.classes()).map(|i| (i.to_string(), name(i)));
        let numbered = (0..self.classes()).map(|i| (name(i), i));
        let kind = KINDS.iter().find(|(kind, _)| *kind == self.model_type);
        let architecture = format!("{}{head}", kind.map_or("Roberta", |(_, class)| class));
        json!({
            "architectures": [architecture],
            "attention_probs_dropout_prob": self.hidden_dropout_prob,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "hidden_act": self.hidden_act,
            "hidden_dropout_prob": self.hidden_dropout_prob,
            "hidden_size": self.hidden_size,
            "id2label": named.collect::<BTreeMap<_, _>>(),
            "label2id": numbered.collect::<BTreeMap<_, _>>(),
            "initializer_range": self.initializer_range,
            "intermediate_size": self.intermediate_size,
            "layer_norm_eps": self.layer_norm_eps,
            "max_position_embeddings": self.max_position_embeddings,
            "model_type": self.model_type,
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
            padding: Some(self.pad_token_id),
            segment_types: Some(self.type_vocab_size),
            visible: Visible::All,
            layer: "roberta.encoder.layer",
            attention: "attention.self",
            ffn_module: "ffn",
        }
    }
}
