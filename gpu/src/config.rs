//! Configurations as they stand in files: a backbone's `config.json` and an adapter's
//! `adapter_config.json`.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Reads a file as text.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::io(path, e))
}

/// GPT-2's configuration, the fields that decide its function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gpt2Config {
    /// Vocabulary.
    pub vocab_size: usize,
    /// Number of positions.
    pub n_positions: usize,
    /// Hidden size d.
    pub n_embd: usize,
    /// Number of layers L.
    pub n_layer: usize,
    /// Number of heads H.
    pub n_head: usize,
    /// Width of the feed-forward layer; 4 d when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_inner: Option<usize>,
    /// Layer norm's ε.
    #[serde(default = "default_eps")]
    pub layer_norm_epsilon: f64,
    /// Standard deviation of initial weights.
    #[serde(default = "default_range")]
    pub initializer_range: f64,
    /// End-of-text id.
    #[serde(default)]
    pub eos_token_id: Option<u32>,
}

fn default_eps() -> f64 {
    1e-5
}

fn default_range() -> f64 {
    0.02
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

    /// Reads `config.json` of a Hugging Face directory.
    ///
    /// # Errors
    /// A missing or broken file; a model type, activation or switch that this engine does not
    /// compute.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let value = json(&path)?;
        if value.get("model_type").is_none() {
            return Err(Error::config(
                &path,
                "model_type",
                "missing (expected \"gpt2\")",
            ));
        }
        expect(&path, &value, "model_type", "gpt2".into())?;
        expect(&path, &value, "activation_function", "gelu_new".into())?;
        for (field, wanted) in [
            ("scale_attn_weights", true),
            ("tie_word_embeddings", true),
            ("scale_attn_by_inverse_layer_idx", false),
            ("reorder_and_upcast_attn", false),
            ("add_cross_attention", false),
        ] {
            expect(&path, &value, field, wanted.into())?;
        }
        positive(
            &path,
            &value,
            &["vocab_size", "n_positions", "n_embd", "n_layer", "n_head"],
        )?;
        let config: Self = serde_json::from_value(value).map_err(|e| Error::Json {
            path: path.clone(),
            message: e.to_string(),
        })?;
        divides(&path, ("n_head", config.n_head), ("n_embd", config.n_embd))?;
        Ok(config)
    }

    /// Number of parameters, the tied head counted once.
    pub fn parameters(&self) -> usize {
        crate::gpt2::shapes(self)
            .iter()
            .map(|(_, s)| s.iter().product::<usize>())
            .sum()
    }
}

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
    #[serde(default = "default_range")]
    pub initializer_range: f64,
    /// The padding token, and the row before the first position.
    #[serde(default = "default_padding")]
    pub pad_token_id: u32,
    /// Names of the classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id2label: Option<std::collections::BTreeMap<String, String>>,
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
        let named = self.id2label.as_ref().map(std::collections::BTreeMap::len);
        self.num_labels.or(named).unwrap_or(2)
    }

    /// Reads `config.json` of a Hugging Face directory.
    ///
    /// # Errors
    /// A missing or broken file; a model type, activation or switch that this engine does not
    /// compute.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let value = json(&path)?;
        expect(&path, &value, "model_type", "roberta".into())?;
        expect(&path, &value, "hidden_act", "gelu".into())?;
        expect(&path, &value, "position_embedding_type", "absolute".into())?;
        expect(&path, &value, "is_decoder", false.into())?;
        positive(
            &path,
            &value,
            &[
                "vocab_size",
                "max_position_embeddings",
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
            ],
        )?;
        let config: Self = serde_json::from_value(value).map_err(|e| Error::Json {
            path: path.clone(),
            message: e.to_string(),
        })?;
        divides(
            &path,
            ("num_attention_heads", config.num_attention_heads),
            ("hidden_size", config.hidden_size),
        )?;
        if config.classes() == 0 {
            return Err(Error::config(
                &path,
                "num_labels",
                "expected at least 1, found 0",
            ));
        }
        Ok(config)
    }
}

/// What a Hugging Face directory's `config.json` says it is.
///
/// # Errors
/// A missing or broken file; no `model_type`.
pub fn model_type(dir: &Path) -> Result<String> {
    let path = dir.join("config.json");
    match json(&path)?.get("model_type") {
        Some(serde_json::Value::String(kind)) => Ok(kind.clone()),
        Some(other) => Err(Error::config(
            &path,
            "model_type",
            format!("expected \"gpt2\" or \"roberta\", found {other}"),
        )),
        None => Err(Error::config(
            &path,
            "model_type",
            "missing (expected \"gpt2\" or \"roberta\")",
        )),
    }
}

fn json(path: &Path) -> Result<serde_json::Value> {
    serde_json::from_str(&read(path)?).map_err(|e| Error::Json {
        path: path.to_path_buf(),
        message: e.to_string(),
    })
}

/// A field that, where it is given, has one value that the engine computes.
fn expect(
    path: &Path,
    value: &serde_json::Value,
    field: &str,
    wanted: serde_json::Value,
) -> Result<()> {
    match value.get(field) {
        Some(found) if !found.is_null() && *found != wanted => Err(Error::config(
            path,
            field,
            format!("expected {wanted}, found {found}"),
        )),
        _ => Ok(()),
    }
}

/// Fields that must be there as positive integers.
fn positive(path: &Path, value: &serde_json::Value, fields: &[&str]) -> Result<()> {
    for field in fields {
        match value.get(field) {
            None => {
                return Err(Error::config(
                    path,
                    *field,
                    "missing (expected a positive integer)",
                ));
            }
            Some(v) if v.as_u64().is_none_or(|v| v == 0) => {
                return Err(Error::config(
                    path,
                    *field,
                    format!("expected a positive integer, found {v}"),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn divides(path: &Path, heads: (&str, usize), hidden: (&str, usize)) -> Result<()> {
    if hidden.1.is_multiple_of(heads.1) {
        return Ok(());
    }
    let message = format!(
        "expected a divisor of {} = {}, found {}",
        hidden.0, hidden.1, heads.1
    );
    Err(Error::config(path, heads.0, message))
}

/// The ablation's variants (section 6.2 of the paper).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// P_k = q, values in R^p.
    Adaptive,
    /// P_k = q, values in R^d (Eqs. 9, 11).
    Extension,
    /// Extension with MLP_k, and P_v = MLP_v(q) without f.
    Gating,
    /// The paper's method.
    Inducer,
}

impl Variant {
    /// Whether P_k = q + MLP_k(q).
    pub fn has_key_mlp(self) -> bool {
        matches!(self, Self::Gating | Self::Inducer)
    }

    /// Whether MLP_v returns R^d.
    pub fn extended(self) -> bool {
        self != Self::Adaptive
    }
}

/// What acts in the attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Attention {
    /// Inducers (Eqs. 5–11).
    Inducer {
        /// Which variant.
        variant: Variant,
        /// r_k; absent for the variants without MLP_k.
        #[serde(default, skip_serializing_if = "is_zero")]
        key_bottleneck: usize,
        /// r_v.
        value_bottleneck: usize,
    },
    /// A learned prefix.
    Prefix {
        /// l.
        length: usize,
        /// Whether the text's positions start at l.
        #[serde(default = "yes")]
        offset_positions: bool,
        /// Training through P = MLP(E).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reparametrisation: Option<Reparametrisation>,
    },
    /// An adapter on the sub-layer's output (Eq. 1).
    Adapter {
        /// r.
        bottleneck: usize,
        /// LayerNorm on the adapter's input.
        #[serde(default)]
        layer_norm: bool,
    },
}

fn yes() -> bool {
    true
}

fn is_zero(x: &usize) -> bool {
    *x == 0
}

fn is_false(x: &bool) -> bool {
    !*x
}

/// The prefix's MLP while training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reparametrisation {
    /// Width of the hidden layer.
    pub width: usize,
}

/// Which projection LoRA acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// W^q.
    Q,
    /// W^k.
    K,
    /// W^v.
    V,
}

impl Target {
    /// Its letter in tensor names.
    pub fn letter(self) -> &'static str {
        ["q", "k", "v"][self as usize]
    }
}

/// LoRA (Eq. 10).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    /// Projections.
    pub targets: Vec<Target>,
    /// r.
    pub rank: usize,
    /// α.
    pub alpha: f64,
    /// Dropout on its input.
    #[serde(default)]
    pub dropout: f64,
    /// Whether it has the trainable bias of the authors' code.
    #[serde(default)]
    pub bias: bool,
}

/// Where an adapter stands at the FFN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// FFN(x) + s · Adapter(x).
    Parallel,
}

/// What acts beside the FFN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Ffn {
    /// An adapter (MAM).
    Adapter {
        /// Where.
        placement: Placement,
        /// r.
        bottleneck: usize,
        /// LayerNorm on its input.
        #[serde(default)]
        layer_norm: bool,
        /// s.
        #[serde(default = "one")]
        scale: f64,
    },
}

fn one() -> f64 {
    1.0
}

/// `adapter_config.json`: a method as a composition of parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterConfig {
    /// Always `INDUCER`.
    pub peft_type: String,
    /// `CAUSAL_LM` or `SEQ_CLS`.
    pub task_type: String,
    /// The backbone it was trained on.
    #[serde(default)]
    pub base_model_name_or_path: String,
    /// Attention part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<Attention>,
    /// LoRA part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
    /// FFN part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ffn: Option<Ffn>,
    /// Every bias of the backbone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bitfit: bool,
    /// Every parameter of the backbone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub full: bool,
}

impl AdapterConfig {
    /// No part at all: the untuned backbone.
    pub fn none() -> Self {
        Self {
            peft_type: "INDUCER".into(),
            task_type: "CAUSAL_LM".into(),
            base_model_name_or_path: String::new(),
            attention: None,
            lora: None,
            ffn: None,
            bitfit: false,
            full: false,
        }
    }

    /// Reads `adapter_config.json`.
    ///
    /// # Errors
    /// A missing or broken file, an unknown field, a value out of range.
    pub fn read(path: &Path) -> Result<Self> {
        let config: Self = serde_json::from_str(&read(path)?).map_err(|e| Error::Json {
            path: path.to_path_buf(),
            message: e.to_string(),
        })?;
        config.check(path)?;
        Ok(config)
    }

    /// The prefix's length, 0 without one.
    pub fn prefix_length(&self) -> usize {
        if let Some(Attention::Prefix { length, .. }) = self.attention {
            length
        } else {
            0
        }
    }

    /// Where the text's positions start.
    pub fn position_offset(&self) -> usize {
        if let Some(Attention::Prefix {
            length,
            offset_positions: true,
            ..
        }) = self.attention
        {
            length
        } else {
            0
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The field and what it should be.
    pub fn check(&self, path: impl Into<PathBuf>) -> Result<()> {
        let path = path.into();
        let bad = |field: &str, message: &str| Err(Error::config(&path, field, message));
        if self.peft_type != "INDUCER" {
            return bad(
                "peft_type",
                &format!("expected \"INDUCER\", found \"{}\"", self.peft_type),
            );
        }
        match &self.attention {
            Some(Attention::Inducer {
                variant,
                key_bottleneck,
                value_bottleneck,
            }) => {
                if *value_bottleneck == 0 {
                    return bad("attention.value_bottleneck", "expected at least 1, found 0");
                }
                if variant.has_key_mlp() && *key_bottleneck == 0 {
                    return bad(
                        "attention.key_bottleneck",
                        "expected at least 1 for this variant, found 0",
                    );
                }
                if !variant.has_key_mlp() && *key_bottleneck != 0 {
                    return bad(
                        "attention.key_bottleneck",
                        &format!(
                            "expected none: this variant has no MLP_k; found {key_bottleneck}"
                        ),
                    );
                }
            }
            Some(Attention::Prefix { length: 0, .. }) => {
                return bad("attention.length", "expected at least 1, found 0");
            }
            Some(Attention::Prefix {
                reparametrisation: Some(Reparametrisation { width: 0 }),
                ..
            }) => {
                return bad(
                    "attention.reparametrisation.width",
                    "expected at least 1, found 0",
                );
            }
            Some(Attention::Adapter { bottleneck: 0, .. }) => {
                return bad("attention.bottleneck", "expected at least 1, found 0");
            }
            _ => {}
        }
        if let Some(lora) = &self.lora {
            if lora.rank == 0 {
                return bad("lora.rank", "expected at least 1, found 0");
            }
            let mut seen = lora.targets.clone();
            seen.sort();
            seen.dedup();
            if seen.is_empty() || seen.len() != lora.targets.len() {
                return bad(
                    "lora.targets",
                    "expected some of \"q\", \"k\", \"v\", each once",
                );
            }
            if !(0.0..1.0).contains(&lora.dropout) {
                return bad(
                    "lora.dropout",
                    &format!("expected a number in [0, 1), found {}", lora.dropout),
                );
            }
            if !lora.alpha.is_finite() {
                return bad("lora.alpha", "expected a finite number");
            }
        }
        if let Some(Ffn::Adapter { bottleneck: 0, .. }) = self.ffn {
            return bad("ffn.bottleneck", "expected at least 1, found 0");
        }
        Ok(())
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
            "vocab_size": 12, "max_position_embeddings": 10, "hidden_size": 4, "num_hidden_layers": 1,
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
}
