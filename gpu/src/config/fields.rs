//! The fields of transformers' `config.json`, and what is done with each. A test holds the lists
//! against the fields of the installed classes (`reports/tests/golden/make_fields.py`), so that a
//! field of a new version is noticed.

use super::Checked;
use crate::error::{Error, Result};
use crate::notes;
use serde_json::Value;

/// What is done with a field of a foreign file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Its value is part of the function here too.
    Honoured,
    /// It does not change the function; why.
    Inert(&'static str),
    /// Only this value is computed here, as JSON; it is the default of an absent field too.
    Only(&'static str),
}
use Rule::{Honoured, Inert, Only};

/// Fields with what is done with them.
pub type Rules = &'static [(&'static str, Rule)];

const TRAINING: Rule = Inert("dropout, which acts in training alone");
const SUMMARY: Rule = Inert("of GPT2DoubleHeadsModel");
const DECODING: Rule = Inert("for transformers' own generate");
const RECORD: Rule = Inert("a record of how the file came about");
const OUTPUT: Rule = Inert("what the Python call returns, not its values");

/// Fields of every model of transformers.
pub const PRETRAINED: Rules = &[
    ("transformers_version", RECORD),
    ("_name_or_path", RECORD),
    ("architectures", RECORD),
    ("model_type", Honoured),
    ("output_hidden_states", OUTPUT),
    ("output_attentions", OUTPUT),
    ("return_dict", OUTPUT),
    (
        "dtype",
        Inert("the files' own type is read; `merge` writes that of the file"),
    ),
    ("torch_dtype", Inert("the older name of dtype")),
    ("chunk_size_feed_forward", Inert("the same sums in pieces")),
    ("is_encoder_decoder", Only("false")),
    ("id2label", Honoured),
    (
        "label2id",
        Inert("id2label says the same; transformers computes with neither"),
    ),
    ("num_labels", Honoured),
    ("problem_type", Honoured),
    (
        "gradient_checkpointing",
        Inert("the same values with less memory"),
    ),
    ("pruned_heads", Only("{}")),
    ("quantization_config", Only("null")),
    ("use_cache", DECODING),
];

/// Fields of GPT-2's.
pub const GPT2: Rules = &[
    ("vocab_size", Honoured),
    ("n_positions", Honoured),
    ("n_embd", Honoured),
    ("n_layer", Honoured),
    ("n_head", Honoured),
    ("n_inner", Honoured),
    ("hidden_size", Honoured),
    ("max_position_embeddings", Honoured),
    ("num_attention_heads", Honoured),
    ("num_hidden_layers", Honoured),
    ("activation_function", Honoured),
    ("layer_norm_epsilon", Honoured),
    ("initializer_range", Honoured),
    ("tie_word_embeddings", Honoured),
    ("eos_token_id", Honoured),
    ("resid_pdrop", Honoured),
    ("embd_pdrop", TRAINING),
    ("attn_pdrop", TRAINING),
    ("summary_type", SUMMARY),
    ("summary_use_proj", SUMMARY),
    ("summary_activation", SUMMARY),
    ("summary_proj_to_labels", SUMMARY),
    ("summary_first_dropout", SUMMARY),
    ("scale_attn_weights", Only("true")),
    ("scale_attn_by_inverse_layer_idx", Only("false")),
    (
        "reorder_and_upcast_attn",
        Inert("the same function in another order"),
    ),
    ("add_cross_attention", Only("false")),
    ("bos_token_id", DECODING),
    ("pad_token_id", DECODING),
    (
        "n_ctx",
        Inert("n_positions under an older name, not read any more"),
    ),
    ("task_specific_params", DECODING),
];

/// Fields of RoBERTa's, XLM-RoBERTa's and CamemBERT's.
pub const ROBERTA: Rules = &[
    ("vocab_size", Honoured),
    ("hidden_size", Honoured),
    ("num_hidden_layers", Honoured),
    ("num_attention_heads", Honoured),
    ("intermediate_size", Honoured),
    ("hidden_act", Honoured),
    ("hidden_dropout_prob", Honoured),
    ("attention_probs_dropout_prob", TRAINING),
    ("classifier_dropout", TRAINING),
    ("max_position_embeddings", Honoured),
    ("type_vocab_size", Honoured),
    ("initializer_range", Honoured),
    ("layer_norm_eps", Honoured),
    ("pad_token_id", Honoured),
    ("bos_token_id", DECODING),
    ("eos_token_id", DECODING),
    ("is_decoder", Only("false")),
    ("add_cross_attention", Only("false")),
    (
        "tie_word_embeddings",
        Inert("of the head for masked tokens, which no file is read with"),
    ),
    ("position_embedding_type", Only("\"absolute\"")),
];

impl Checked<'_> {
    /// Refuses fields whose value asks for what is not computed here.
    ///
    /// # Errors
    /// The field, what was expected and what was found.
    pub(super) fn rules(&self, of_model: Rules) -> Result<()> {
        for (field, rule) in PRETRAINED.iter().chain(of_model) {
            if let (Only(wanted), Some(found)) = (rule, self.value.get(*field)) {
                let wanted: Value = serde_json::from_str(wanted).unwrap_or_default();
                // Python takes null for false, and an empty list or object for none
                let empty = |v: &Value| match v {
                    Value::Null | Value::Bool(false) => true,
                    Value::Array(a) => a.is_empty(),
                    Value::Object(o) => o.is_empty(),
                    _ => false,
                };
                if *found != wanted && !(empty(found) && empty(&wanted)) {
                    let message = format!("expected {wanted}, found {found}");
                    return Err(Error::config(self.path, *field, message));
                }
            }
        }
        let known = |name: &String| {
            let mut all = PRETRAINED.iter().chain(of_model);
            all.any(|(field, _)| field == name)
        };
        for name in self.value.as_object().into_iter().flatten().map(|(k, _)| k) {
            if !known(name) {
                let path = self.path.display();
                notes::tell(format!(
                    "{path}: field `{name}` is none of transformers' and is not read"
                ));
            }
        }
        Ok(())
    }

    /// A field by its name or, where that is absent, by another that transformers maps to it.
    ///
    /// # Errors
    /// Both are there and differ.
    pub(super) fn alias(&mut self, name: &str, other: &str) -> Result<()> {
        let Some(found) = self.value.get(other).cloned() else {
            return Ok(());
        };
        match self.value.get(name) {
            Some(own) if *own == found => Ok(()),
            Some(own) => {
                let message = format!("expected {own} as in `{name}`, found {found}");
                Err(Error::config(self.path, other, message))
            }
            None => {
                self.value[name] = found;
                Ok(())
            }
        }
    }
}
