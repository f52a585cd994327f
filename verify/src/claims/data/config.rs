//! What a `config.json` means: transformers' own value wherever a field is absent, GPT-2's older
//! names, and what follows from the fields. The values stand here as transformers' documentation
//! of `GPT2Config`, `RobertaConfig` and `XLMRobertaConfig` states them.

use crate::cases::Draw;
use crate::{Case, Result};
use inducer_gpu::BackboneConfig;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A field, its other name, what it is where it is absent, and what it may be.
type Field = (&'static str, Option<&'static str>, Value, Vec<Value>);

/// Values that a case chooses from.
fn any<const N: usize>(values: [usize; N]) -> Vec<Value> {
    values.map(Value::from).to_vec()
}

fn gpt2() -> Vec<Field> {
    let eos = vec![json!(7), json!([5, 9, 11])];
    vec![
        ("vocab_size", None, json!(50257), any([90, 1000])),
        (
            "n_positions",
            Some("max_position_embeddings"),
            json!(1024),
            any([64, 300]),
        ),
        ("n_embd", Some("hidden_size"), json!(768), any([48, 96])),
        ("n_layer", Some("num_hidden_layers"), json!(12), any([1, 5])),
        (
            "n_head",
            Some("num_attention_heads"),
            json!(12),
            any([2, 3]),
        ),
        ("n_inner", None, Value::Null, any([50, 400])),
        (
            "layer_norm_epsilon",
            None,
            json!(1e-5),
            vec![json!(1e-6), json!(1e-12)],
        ),
        ("initializer_range", None, json!(0.02), vec![json!(0.1)]),
        ("eos_token_id", None, json!(50256), eos),
        (
            "activation_function",
            None,
            json!("gelu_new"),
            vec![json!("gelu")],
        ),
        ("tie_word_embeddings", None, json!(true), vec![json!(false)]),
    ]
}

fn roberta(vocabulary: usize) -> Vec<Field> {
    vec![
        ("vocab_size", None, json!(vocabulary), any([90, 1000])),
        ("max_position_embeddings", None, json!(512), any([64, 514])),
        ("type_vocab_size", None, json!(2), any([1, 3])),
        ("hidden_size", None, json!(768), any([48, 96])),
        ("num_hidden_layers", None, json!(12), any([1, 5])),
        ("num_attention_heads", None, json!(12), any([2, 3])),
        ("intermediate_size", None, json!(3072), any([50, 400])),
        (
            "layer_norm_eps",
            None,
            json!(1e-12),
            vec![json!(1e-5), json!(1e-6)],
        ),
        ("initializer_range", None, json!(0.02), vec![json!(0.1)]),
        ("pad_token_id", None, json!(1), any([0, 3])),
        ("hidden_act", None, json!("gelu"), vec![json!("gelu_new")]),
    ]
}

/// A file's contents, and what each field of it means.
fn drawn(draw: &mut Draw, kind: &str, fields: Vec<Field>) -> (Value, BTreeMap<String, Value>) {
    let mut file = json!({ "model_type": kind });
    let mut meant = BTreeMap::new();
    for (name, other, usual, values) in fields {
        let [present, by_other] = [(); 2].map(|()| draw.chance(0.5));
        let at = draw.size(0, values.len() - 1);
        let value = if present { values[at].clone() } else { usual };
        if present {
            let key = other.filter(|_| by_other).unwrap_or(name);
            file[key] = value.clone();
        }
        let first = value.as_array().map(|ids| ids[0].clone());
        meant.insert(name.to_owned(), first.unwrap_or(value));
    }
    (file, meant)
}

/// A number of a meaning.
fn number(meant: &BTreeMap<String, Value>, field: &str) -> usize {
    let number = meant.get(field).and_then(Value::as_u64);
    number.map_or(usize::MAX, |n| n as usize)
}

/// Every field has the value that stands in the file, under either of its names, or transformers'
/// own where none does; the FFN of a GPT-2 has 4 d hidden units where nothing else is said, and
/// RoBERTa's positions begin behind the padding token's number. In the control one value is another
/// one.
pub(super) fn configs(case: &mut Case) -> Result<()> {
    let kind = case
        .draw
        .pick(&["gpt2", "gpt2", "roberta", "xlm-roberta", "camembert"]);
    let fields = match kind {
        "gpt2" => gpt2(),
        "roberta" => roberta(50265),
        _ => roberta(30522),
    };
    let (file, mut meant) = drawn(&mut case.draw, kind, fields);
    if case.control {
        let at = case.draw.size(0, meant.len() - 1);
        meant
            .values_mut()
            .skip(at)
            .take(1)
            .for_each(|v| *v = json!(4321));
    }
    let config = BackboneConfig::from_json(Path::new("config.json"), file.clone())?;
    let spec = config.spec();
    let (json, ffn, first) = match &config {
        BackboneConfig::Gpt2(config) => {
            let inner = meant.get("n_inner").and_then(Value::as_u64);
            let ffn = inner.map_or(4 * number(&meant, "n_embd"), |n| n as usize);
            (serde_json::to_value(config), ffn, 0)
        }
        BackboneConfig::Roberta(config) => (
            serde_json::to_value(config),
            number(&meant, "intermediate_size"),
            number(&meant, "pad_token_id").saturating_add(1),
        ),
    };
    let json = json?;
    for (field, value) in &meant {
        case.same(&json[field], value, || format!("`{field}` of {file}"));
    }
    case.same(spec.ffn, ffn, || {
        format!("hidden units of the FFN of {file}")
    });
    case.same(spec.first_position, first, || format!("position of {file}"));
    let rows = ["n_positions", "max_position_embeddings"].map(|field| number(&meant, field));
    let positions = rows[0].min(rows[1]).saturating_sub(first);
    case.same(spec.positions, positions, || format!("positions of {file}"));
    Ok(())
}
