//! The fields of PEFT's configurations, and what is done with each
//! (`reports/tests/golden/make_fields.py` makes the list that a test holds these against).

use crate::config::fields::Rule::{Honoured, Inert, Only};
use crate::config::fields::{Rule, Rules};
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::Path;

const RECORD: Rule = Inert("a record of how the file came about");
const START: Rule = Inert("about the start of training");

/// Fields of every configuration.
pub const ALL: Rules = &[
    ("peft_type", Honoured),
    ("task_type", Honoured),
    ("base_model_name_or_path", Honoured),
    ("modules_to_save", Honoured),
    ("auto_mapping", RECORD),
    ("peft_version", RECORD),
    ("revision", RECORD),
    ("inference_mode", Inert("whether PEFT lets it be trained")),
];

/// Of LoRA's.
pub const LORA: Rules = &[
    ("r", Honoured),
    ("lora_alpha", Honoured),
    ("lora_dropout", Honoured),
    ("lora_bias", Honoured),
    ("bias", Honoured),
    ("use_rslora", Honoured),
    ("use_dora", Honoured),
    ("target_modules", Honoured),
    ("exclude_modules", Honoured),
    ("layers_to_transform", Honoured),
    ("layers_pattern", Honoured),
    ("rank_pattern", Honoured),
    ("alpha_pattern", Honoured),
    ("ensure_weight_tying", Honoured),
    ("init_lora_weights", Honoured),
    (
        "fan_in_fan_out",
        Inert("PEFT sets it to what the module is"),
    ),
    ("megatron_config", Only("null")),
    (
        "megatron_core",
        Inert("a module's name, for megatron_config"),
    ),
    (
        "loftq_config",
        Inert("of init_lora_weights \"loftq\", which is refused"),
    ),
    ("eva_config", START),
    (
        "corda_config",
        Inert("of init_lora_weights \"corda\", which is refused"),
    ),
    (
        "lora_ga_config",
        Inert("of init_lora_weights \"lora_ga\", which is refused"),
    ),
    (
        "qalora_group_size",
        Inert("of use_qalora, which is refused"),
    ),
    ("use_qalora", Only("false")),
    ("velora_config", Only("null")),
    ("alora_invocation_tokens", Only("null")),
    ("monteclora_config", Only("null")),
    ("layer_replication", Only("null")),
    ("runtime_config", Inert("PEFT does not save it")),
    ("target_parameters", Only("null")),
    ("trainable_token_indices", Only("null")),
    ("use_bdlora", Only("null")),
    ("arrow_config", Only("null")),
    ("kasa_config", Only("null")),
];

/// Of (IA)³'s.
pub const IA3: Rules = &[
    ("target_modules", Honoured),
    ("exclude_modules", Honoured),
    ("feedforward_modules", Honoured),
    (
        "fan_in_fan_out",
        Inert("PEFT sets it to what the module is"),
    ),
    ("init_ia3_weights", START),
];

/// Of prefix-tuning's; sizes are checked against the backbone.
pub const PREFIX: Rules = &[
    ("num_virtual_tokens", Honoured),
    ("token_dim", Honoured),
    ("num_attention_heads", Honoured),
    ("num_layers", Honoured),
    ("num_transformer_submodules", Honoured),
    (
        "encoder_hidden_size",
        Inert("of the network that made the prefix in training"),
    ),
    (
        "prefix_projection",
        Inert("the prefix that the network made is what is saved"),
    ),
    ("init_weights", START),
];

/// The rules of a configuration; none where PEFT's method of that name is not known here.
pub fn of(peft_type: &str) -> Option<Rules> {
    match peft_type {
        "LORA" => Some(LORA),
        "IA3" => Some(IA3),
        "PREFIX_TUNING" => Some(PREFIX),
        _ => None,
    }
}

/// Whether Python takes a value for none.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

/// Refuses every field whose value asks for what is not computed here, and every one that is not
/// known and says something.
///
/// # Errors
/// The field, what was expected and what was found.
pub fn check(path: &Path, config: &Value, rules: Rules) -> Result<()> {
    for (field, value) in config.as_object().into_iter().flatten() {
        let rule = ALL.iter().chain(rules).find(|(name, _)| name == field);
        let expected = match rule {
            Some((_, Only(wanted))) => *wanted,
            None => "no such field: none of PEFT 0.21's",
            Some(_) => continue,
        };
        if !is_nothing(value) {
            let message = format!("expected {expected}, found {value}");
            return Err(Error::config(path, field, message));
        }
    }
    Ok(())
}
