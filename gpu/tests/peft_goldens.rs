//! Adapters that the peft package wrote, with the logits that it computed in f64
//! (`reference/tests/golden/make_peft.py`): read, merged, and written back.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device};
use inducer_datasets::Batch;
use inducer_datasets::batch::Labels;
use inducer_gpu::files::merge::merge;
use inducer_gpu::files::{read_adapter, write_json};
use inducer_gpu::parts::{LoraConfig, Target};
use inducer_gpu::peft::export;
use inducer_gpu::{LossOptions, Model, SavedAdapter};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";
const GOLDEN: [(&str, &str); 6] = [
    ("gpt2", "peft/gpt2-ia3"),
    ("gpt2", "peft/gpt2-rslora"),
    ("gpt2", "peft/gpt2-dora"),
    ("roberta", "peft/roberta-ia3"),
    ("roberta", "peft/roberta-rslora"),
    ("roberta", "peft/roberta-dora"),
];
/// Of the greatest logit: some hundred roundings in f64, each enlarged by less than 8.
const MOST: f64 = 1e-12;
/// Of a tensor's greatest gradient: the same products backwards, and the derivative of each.
const MOST_OF_A_GRADIENT: f64 = 4.0 * MOST;

fn golden(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reference/tests/golden");
    tests.join(name)
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn model(backbone: &str) -> Model {
    Model::load(&golden(backbone), DType::F64, &Device::Cpu).unwrap()
}

fn read_from(backbone: &str, dir: &Path) -> SavedAdapter {
    let backbone = model(backbone).backbone;
    read_adapter(dir, backbone.as_ref(), DType::F64, &Device::Cpu).unwrap()
}

fn flat(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(all) => all.iter().flat_map(flat).collect(),
        None => vec![value.as_f64().unwrap()],
    }
}

/// The worst difference, of the greatest number expected.
fn relative(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let size = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let errors = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    errors.fold(0.0, f64::max) / size
}

/// The worst error of the logits on real tokens, of the greatest logit.
fn worst(model: &Model, golden: &Path, field: &str) -> f64 {
    let expected = json_of(&golden.join("expected.json"));
    let mut worst = 0.0_f64;
    for case in expected["cases"].as_array().unwrap() {
        let real = |row: &[f64]| -> Vec<f64> {
            let mask = flat(&case["mask"]);
            let width = row.len() / mask.len().min(row.len());
            let kept = row.chunks(width).zip(mask).filter(|(_, m)| *m == 1.0);
            kept.flat_map(|(x, _)| x.to_vec()).collect()
        };
        let ids = real(&flat(&case["ids"]))
            .iter()
            .map(|x| *x as u32)
            .collect();
        let found = model.logits(&Batch::pack(&[ids], None, None)).unwrap();
        let found: Vec<f64> = found.flatten_all().unwrap().to_vec1().unwrap();
        let expected = flat(&case[field]);
        let expected = match model.backbone.head().classifier() {
            Ok(_) => expected,
            Err(_) => real(&expected),
        };
        worst = worst.max(relative(&found, &expected));
    }
    worst
}

fn with(backbone: &str, adapter: &SavedAdapter) -> Model {
    let mut model = model(backbone);
    model
        .install(&adapter.config, adapter.tensors.clone())
        .unwrap();
    model
}

#[test]
fn what_peft_saved_computes_what_peft_computed() {
    for (backbone, name) in GOLDEN {
        let dir = golden(name);
        let error = worst(&with(backbone, &read_from(backbone, &dir)), &dir, "logits");
        assert!(error < MOST, "{name}: {error:e}");
        let control = worst(&model(backbone), &dir, "logits");
        assert!(control > 1e-3, "{name}: without the adapter, {control:e}");
    }
}

#[test]
fn merged_it_computes_what_peft_computed_merged() {
    for (backbone, name) in GOLDEN {
        let dir = golden(name);
        let mut merged = model(backbone).backbone;
        let rest = merge(merged.as_mut(), &read_from(backbone, &dir)).unwrap();
        assert!(rest.is_none(), "{name}");
        let merged = Model::new(merged, DType::F64, &Device::Cpu);
        let error = worst(&merged, &dir, "merged_logits");
        assert!(error < MOST, "{name}: {error:e}");
    }
}

#[test]
fn written_for_peft_and_read_again_it_is_the_same_function_and_tensors() {
    for (backbone, name) in GOLDEN {
        let (dir, again) = (golden(name), tempfile::tempdir().unwrap());
        let saved = read_from(backbone, &dir);
        export(&saved, model(backbone).backbone.as_ref(), again.path()).unwrap();
        let read = read_from(backbone, again.path());
        let error = worst(&with(backbone, &read), &dir, "logits");
        // files hold f32, and products of two of its numbers are rounded to it
        assert!(error < 1e-5, "{name}: {error:e}");
        if saved.config.ia3.is_some() {
            assert_eq!(read.config, saved.config, "{name}");
        }
        if let Some(lora) = &saved.config.lora {
            let written = json_of(&again.path().join(CONFIG));
            assert!(lora.use_rslora != lora.use_dora, "{name}");
            assert_eq!(written["use_rslora"], lora.use_rslora, "{name}");
            assert_eq!(written["use_dora"], lora.use_dora, "{name}");
        }
    }
}

/// The projections of one of PEFT's modules: GPT-2's fused map has three.
fn projections(module: &str) -> &'static [Target] {
    match module.rsplit('.').next().unwrap() {
        "c_attn" => &[Target::Q, Target::K, Target::V],
        "query" => &[Target::Q],
        "value" => &[Target::V],
        other => panic!("{other}"),
    }
}

/// The worst error of the gradients of one case in every tensor of PEFT's LoRA. Each projection
/// has an A of its own here where PEFT has one for a fused map, so their gradients add up.
fn gradient_error(model: &Model, case: &Value) -> f64 {
    let mask = flat(&case["mask"]);
    let real = |field: &str| {
        let kept = flat(&case[field]).into_iter().zip(&mask);
        kept.filter(|(_, m)| **m == 1.0).map(|(x, _)| x)
    };
    let mut batch = Batch::pack(&[real("ids").map(|x| x as u32).collect()], None, None);
    batch.labels = match case["labels"].is_array() {
        true => Labels::Tokens(real("labels").map(|x| x as i64).collect()),
        false => Labels::Classes(vec![case["labels"].as_u64().unwrap() as u32]),
    };
    let (_, gradients) = model.gradients(&batch, LossOptions::PLAIN).unwrap();
    let mut worst = 0.0_f64;
    for (name, expected) in case["gradients"].as_object().unwrap() {
        let name = name.trim_end_matches(".weight");
        let Some((module, tensor)) = name.rsplit_once(".lora_") else {
            continue;
        };
        let layer = module.split('.').find_map(|n| n.parse().ok()).unwrap();
        let found = projections(module).iter().map(|target| -> Vec<f64> {
            let at = LoraConfig::name(*target, layer, &model.backbone.spec());
            let tensor = match tensor {
                "A" => "a",
                "B" => "b",
                _ => "magnitude",
            };
            let g = &gradients[&format!("{at}.{tensor}")];
            g.flatten_all().unwrap().to_vec1().unwrap()
        });
        let found = match tensor {
            "A" => found
                .reduce(|sum, g| sum.iter().zip(g).map(|(a, b)| a + b).collect())
                .unwrap(),
            _ => found.flatten().collect(),
        };
        worst = worst.max(relative(&found, &flat(expected)));
    }
    worst
}

/// The norm of DoRA counts as a constant in the gradient, as it does in PEFT.
#[test]
fn the_gradients_of_lora_are_peft_s() {
    for (backbone, name) in GOLDEN {
        if name.ends_with("ia3") {
            continue;
        }
        let dir = golden(name);
        let saved = read_from(backbone, &dir);
        let model = with(backbone, &saved);
        // the control has the factor of the other kind
        let mut other = saved.clone();
        let lora = other.config.lora.as_mut().unwrap();
        lora.use_rslora = !lora.use_rslora;
        let other = with(backbone, &other);
        let expected = json_of(&dir.join("expected.json"));
        for case in expected["cases"].as_array().unwrap() {
            let error = gradient_error(&model, case);
            assert!(error < MOST_OF_A_GRADIENT, "{name}: {error:e}");
            let control = gradient_error(&other, case);
            assert!(control > 1e-2, "{name}: {control:e}");
        }
    }
}

fn message(change: impl Fn(&mut Value)) -> String {
    let (dir, folder) = (golden("peft/roberta-ia3"), tempfile::tempdir().unwrap());
    let mut config = json_of(&dir.join(CONFIG));
    change(&mut config);
    write_json(&folder.path().join(CONFIG), &config).unwrap();
    std::fs::copy(dir.join(TENSORS), folder.path().join(TENSORS)).unwrap();
    let backbone = model("roberta").backbone;
    match read_adapter(folder.path(), backbone.as_ref(), DType::F64, &Device::Cpu) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_an_ia3_configuration_cannot_mean_here_is_refused_by_its_name() {
    for (field, value, named) in [
        (
            "target_modules",
            json!("all-linear"),
            "expected a list of module names",
        ),
        (
            "target_modules",
            json!(["key", "intermediate.dense"]),
            "intermediate.dense",
        ),
        ("target_modules", json!(["c_attn"]), "expected modules like"),
        (
            "feedforward_modules",
            json!([]),
            "input of roberta.encoder.layer.0",
        ),
        (
            "feedforward_modules",
            json!(["key", "output.dense"]),
            "output of roberta.encoder",
        ),
        ("modules_to_save", json!("embeddings"), "names of modules"),
        ("scale", json!(2.0), "none of PEFT"),
    ] {
        let message = message(|config| config[field] = value.clone());
        assert!(
            message.contains(CONFIG) && message.contains(field),
            "{field}: {message}"
        );
        assert!(message.contains(named), "{field}: {message}");
    }
    // tensors that the configuration leaves without a module
    let extra = message(|config| config["exclude_modules"] = json!(["attention.output.dense"]));
    assert!(extra.contains("attention.output.dense.ia3_l"), "{extra}");
    let saved = message(|config| config["modules_to_save"] = json!(["word_embeddings"]));
    assert!(
        saved.contains("word_embeddings.weight` is missing"),
        "{saved}"
    );
    // PEFT's defaults for fields that are not given
    let absent = |config: &mut Value| {
        for field in ["target_modules", "feedforward_modules", "exclude_modules"] {
            config.as_object_mut().unwrap().remove(field);
        }
    };
    assert_eq!(message(absent), "");
}
