//! Every field of peft's and transformers' configurations is one that this project knows
//! (`golden/make_fields.py` makes the list), and one that is left out has its default there.
#![allow(clippy::unwrap_used)]

use inducer_gpu::config::fields::{GPT2, PRETRAINED, ROBERTA, Rule, Rules};
use inducer_gpu::peft::fields as peft;
use inducer_gpu::{AdapterConfig, BackboneConfig, Gpt2Config};
use serde_json::{Value, json};
use std::path::Path;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/fields.json")).unwrap()
}

fn known(rules: [Rules; 2], name: &str) -> bool {
    let mut all = rules.into_iter().flatten();
    all.any(|(field, _)| *field == name)
}

fn backbone(value: Value) -> Result<BackboneConfig, String> {
    BackboneConfig::from_json(Path::new("config.json"), value).map_err(|e| e.to_string())
}

fn adapter(value: &Value) -> Result<AdapterConfig, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter_config.json");
    std::fs::write(&path, value.to_string()).unwrap();
    let gpt2 = BackboneConfig::Gpt2(Gpt2Config::small());
    AdapterConfig::read(&path, &gpt2).map_err(|e| e.to_string())
}

#[test]
fn every_field_of_today_is_known() {
    let golden = golden();
    for (kind, fields) in golden["peft"].as_object().unwrap() {
        for (name, _) in fields.as_object().unwrap() {
            let rules = [peft::ALL, peft::of(kind).unwrap()];
            assert!(known(rules, name), "{kind}: {name}");
        }
    }
    for (kind, fields) in golden["transformers"].as_object().unwrap() {
        let own = if kind == "gpt2" { GPT2 } else { ROBERTA };
        for (name, _) in fields.as_object().unwrap() {
            assert!(known([PRETRAINED, own], name), "{kind}: {name}");
        }
    }
    assert!(!known([peft::ALL, peft::LORA], "a_field_of_tomorrow"));
}

#[test]
fn a_field_that_is_left_out_has_the_foreign_default() {
    let golden = golden();
    for (kind, fields) in golden["transformers"].as_object().unwrap() {
        let absent = backbone(json!({ "model_type": kind })).unwrap();
        for (name, default) in fields.as_object().unwrap() {
            let mut given = json!({ "model_type": kind });
            given[name] = default.clone();
            assert_eq!(
                backbone(given).unwrap(),
                absent,
                "{kind}: {name} = {default}"
            );
        }
    }
    for (kind, start) in [
        ("LORA", json!({ "peft_type": "LORA" })),
        ("IA3", json!({ "peft_type": "IA3" })),
        (
            "PREFIX_TUNING",
            json!({ "peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3 }),
        ),
    ] {
        let absent = adapter(&start).unwrap();
        for (name, default) in golden["peft"][kind].as_object().unwrap() {
            if start.get(name).is_some() {
                continue;
            }
            let mut given = start.clone();
            given[name] = default.clone();
            assert_eq!(
                adapter(&given).unwrap(),
                absent,
                "{kind}: {name} = {default}"
            );
        }
    }
}

/// Another value than the default of a field that only its default is computed of.
fn other(only: &str) -> Value {
    match only {
        "true" => json!(false),
        "false" => json!(true),
        "\"absolute\"" => json!("relative_key"),
        _ => json!({ "0": [1] }),
    }
}

#[test]
fn a_value_that_is_not_computed_is_refused_by_its_fields_name() {
    for (rules, start) in [
        (GPT2, json!({ "model_type": "gpt2" })),
        (ROBERTA, json!({ "model_type": "roberta" })),
    ] {
        for (name, rule) in PRETRAINED.iter().chain(rules) {
            let Rule::Only(only) = rule else { continue };
            let mut given = start.clone();
            given[*name] = other(only);
            let error = backbone(given).unwrap_err();
            assert!(
                error.contains("config.json") && error.contains(name),
                "{name}: {error}"
            );
        }
    }
    for (name, rule) in peft::LORA {
        let Rule::Only(only) = rule else { continue };
        let mut given = json!({ "peft_type": "LORA" });
        given[*name] = other(only);
        let error = adapter(&given).unwrap_err();
        assert!(
            error.contains("adapter_config.json") && error.contains(name),
            "{error}"
        );
    }
    for (name, value) in [
        ("a_field_of_tomorrow", json!(true)),
        ("init_lora_weights", json!("pissa_niter_4")),
        ("init_lora_weights", json!("olora")),
        ("init_lora_weights", json!("corda")),
        ("init_lora_weights", json!("loftq")),
        ("bias", json!("some")),
        ("r", json!(0)),
        ("r", json!("eight")),
        ("target_modules", json!(["lm_head"])),
        ("target_modules", json!(["wte"])),
        ("target_modules", json!(".*")),
        ("target_modules", json!(["no_such"])),
        ("target_modules", json!("(")),
        ("rank_pattern", json!({ "c_attn": 1.5 })),
        ("layers_to_transform", json!("first")),
        ("layers_pattern", json!("h")),
    ] {
        let mut given = json!({ "peft_type": "LORA" });
        given[name] = value.clone();
        let error = adapter(&given).unwrap_err();
        assert!(error.contains(name), "{name} = {value}: {error}");
    }
    let error = adapter(&json!({ "peft_type": "LOHA" })).unwrap_err();
    assert!(
        error.contains("peft_type") && error.contains("LOHA"),
        "{error}"
    );
    let error = backbone(json!({ "model_type": "gpt2", "n_layer": "two" })).unwrap_err();
    assert!(error.contains("n_layer"), "{error}");
    let error = backbone(json!({ "model_type": "gpt2", "activation_function": "relu" }));
    assert!(error.unwrap_err().contains("activation_function"));
    // a null activation is no gelu, and a backbone has aliases
    let error = backbone(json!({ "model_type": "gpt2", "n_embd": 96, "hidden_size": 48 }));
    assert!(error.unwrap_err().contains("hidden_size"));
}

/// The rows of `gpu/FOREIGN_FILES.md`: file, field and a value.
fn unsupported() -> Vec<[String; 3]> {
    let text = include_str!("../../gpu/FOREIGN_FILES.md");
    let mut file = String::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            file = title.to_owned();
        }
        if let Some(cells) = line.strip_prefix("| `") {
            let (field, rest) = cells.split_once("` | `").unwrap();
            let (value, _) = rest.split_once("` | ").unwrap();
            rows.push([file.clone(), field.to_owned(), value.to_owned()]);
        }
    }
    rows
}

#[test]
fn the_table_of_what_is_not_supported_is_true_and_whole() {
    let rows = unsupported();
    for [file, field, value] in &rows {
        let value: Value = serde_json::from_str(value).unwrap();
        let mut given = match file.split('\'').next().unwrap() {
            "GPT-2" => json!({ "model_type": "gpt2" }),
            "RoBERTa" => json!({ "model_type": "roberta" }),
            "LoRA" => json!({ "peft_type": "LORA" }),
            other => panic!("{other}"),
        };
        let without = given.clone();
        given[field] = value;
        let read = |given: &Value| match file.starts_with("LoRA") {
            true => adapter(given).err(),
            false => backbone(given.clone()).err(),
        };
        assert_eq!(read(&without), None);
        let error = read(&given).unwrap_or_default();
        assert!(error.contains(field.as_str()), "{file}, {field}: {error}");
    }
    for (file, rules) in [
        ("GPT-2", [PRETRAINED, GPT2]),
        ("RoBERTa", [PRETRAINED, ROBERTA]),
        ("LoRA", [peft::ALL, peft::LORA]),
    ] {
        for (name, rule) in rules.into_iter().flatten() {
            let found = |[f, n, _]: &[String; 3]| f.starts_with(file) && n == name;
            let refused = matches!(rule, Rule::Only(_));
            assert!(!refused || rows.iter().any(found), "{file}: {name}");
        }
    }
}

/// What `targets` of a LoRA on GPT-2 means.
fn targets(fields: Value) -> (String, usize) {
    let mut given = json!({ "peft_type": "LORA" });
    for (name, value) in fields.as_object().unwrap() {
        given[name] = value.clone();
    }
    let lora = adapter(&given).unwrap().lora.unwrap();
    let names = serde_json::to_value(&lora.targets).unwrap();
    let names = names
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_str().unwrap().to_owned());
    (names.collect::<Vec<_>>().join(" "), lora.exceptions.len())
}

#[test]
fn modules_are_named_in_every_form_that_peft_takes() {
    for (given, expected) in [
        (json!({}), ("q k v", 0)),
        (
            json!({ "target_modules": "all-linear" }),
            ("q k v o up down", 0),
        ),
        (json!({ "target_modules": ["c_proj"] }), ("o down", 0)),
        (
            json!({ "target_modules": ["attn.c_proj", "c_fc"] }),
            ("o up", 0),
        ),
        (
            json!({ "target_modules": ".*attn\\.c_(attn|proj)" }),
            ("q k v o", 0),
        ),
        // eleven layers without an update on three maps
        (
            json!({ "target_modules": ["transformer.h.3.attn.c_attn"] }),
            ("q k v", 33),
        ),
        (json!({ "layers_to_transform": [0, 11] }), ("q k v", 30)),
        (
            json!({ "layers_to_transform": 1, "layers_pattern": "h" }),
            ("q k v", 33),
        ),
        (
            json!({ "target_modules": ["c_attn", "c_fc"], "exclude_modules": ["c_attn"] }),
            ("up", 0),
        ),
        (
            json!({ "exclude_modules": ".*\\.h\\.[0-9]\\..*" }),
            ("q k v", 30),
        ),
        (
            json!({ "rank_pattern": { "h.2.attn.c_attn": 3 } }),
            ("q k v", 3),
        ),
        (json!({ "alpha_pattern": { "c_attn": 3 } }), ("q k v", 36)),
    ] {
        let (names, exceptions) = targets(given.clone());
        assert_eq!((names.as_str(), exceptions), expected, "{given}");
    }
}
