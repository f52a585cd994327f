//! Files as people have them: small ones of the kinds that were reported against other loaders,
//! with the logits of transformers and peft (`../shared/cases`; "not run" where that is not there).
#![allow(clippy::unwrap_used)]

use approx::assert_abs_diff_eq;
use candle_core::{DType, Device, Tensor};
use inducer_gpu::files::safetensors::{Weights, same_name};
use inducer_reports::compute::{self, Precision};
use inducer_reports::forward::{Engine, Request, tensors};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Of the logits, on a scale of some units: f32 here and there.
const MOST: f64 = 2e-5;

fn cases() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cases");
    if dir.exists() {
        return Some(dir);
    }
    eprintln!("not run: ../shared/cases is not there");
    None
}

fn request(backbone: &Path, adapter: Option<&Path>, batch: &Path, engine: Engine) -> Request {
    Request {
        backbone: backbone.into(),
        adapter: adapter.map(Into::into),
        batch: batch.into(),
        dtype: Precision::F32,
        gradients: false,
        engine,
        device: compute::Device::Cpu,
    }
}

fn logits(request: &Request) -> Result<Tensor, String> {
    let (out, _) = tensors(request).map_err(|e| format!("{e:#}"))?;
    Ok(out
        .into_iter()
        .find(|(name, _)| name == "logits")
        .unwrap()
        .1)
}

fn want(path: &Path) -> Tensor {
    let weights = Weights::open(path).unwrap();
    let shape = weights.shape("logits").unwrap().unwrap();
    let expected = [("logits".to_string(), shape)];
    let found = weights.read(&expected, same_name, DType::F32, &Device::Cpu);
    found.unwrap().remove("logits").unwrap()
}

fn apart(found: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(found.dims(), want.dims());
    let apart = (found - want).unwrap().abs().unwrap().max_all().unwrap();
    apart.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

/// A case's logits are the foreign library's.
fn equals(dir: &Path, backbone: &str, adapter: Option<&str>) {
    let base = dir.join(backbone);
    let own = adapter.map(|a| dir.join(a));
    let batch = base.join("b.json");
    let found = logits(&request(&base, own.as_deref(), &batch, Engine::Gpu)).unwrap();
    let expected = own.unwrap_or(base).join("want.safetensors");
    let error = apart(&found, &want(&expected));
    println!("{backbone} {adapter:?}: {error:e}");
    assert!(error < MOST, "{backbone} {adapter:?}: {error:e}");
}

#[test]
fn backbones_compute_what_transformers_computes() {
    let Some(dir) = cases() else { return };
    for name in ["06b-gpt2-gelutanh", "10-gpt2-eoslist", "22-rob-intnames"] {
        equals(&dir, name, None);
        let (base, batch) = (dir.join(name), dir.join(name).join("b.json"));
        let found = logits(&request(&base, None, &batch, Engine::Reference)).unwrap();
        assert!(
            apart(&found, &want(&base.join("want.safetensors"))) < MOST,
            "{name}: reference"
        );
    }
}

#[test]
fn adapters_compute_what_peft_computes() {
    let Some(dir) = cases() else { return };
    for adapter in [
        "30-lora-default",
        "31-rslora",
        "34a-regex",
        "35-layers",
        "37a-wte",
        "37d-resized",
        "40b-prefixproj",
        "41b-ia3",
        "42d-minimal",
    ] {
        equals(&dir, "peft-base", Some(adapter));
    }
    equals(&dir, "peftrob-base", Some("50-rob-default"));
    equals(&dir, "peftrob-head", Some("57-rob-notask"));
}

#[test]
fn what_changes_the_function_and_is_not_computed_is_refused_by_its_name() {
    let Some(dir) = cases() else { return };
    let base = dir.join("peft-base");
    for (adapter, field) in [
        ("32a-pissa", "init_lora_weights"),
        ("39-alora", "alora_invocation_tokens"),
    ] {
        let own = dir.join(adapter);
        let batch = base.join("b.json");
        let error = logits(&request(&base, Some(&own), &batch, Engine::Gpu)).unwrap_err();
        assert!(
            error.contains(field) && error.contains("adapter_config.json"),
            "{error}"
        );
    }
    let base = dir.join("26-rob-regression");
    let mut asked = request(&base, None, &base.join("b.json"), Engine::Gpu);
    let error = tensors(&asked).unwrap_err();
    assert!(format!("{error:#}").contains("problem_type"), "{error:#}");
    asked.engine = Engine::Reference;
    let error = tensors(&asked).unwrap_err();
    assert!(format!("{error:#}").contains("problem_type"), "{error:#}");
}

#[test]
fn checkpoints_of_pytorch_are_read() {
    let Some(dir) = cases() else { return };
    let base = dir.join("08-gpt2-bin");
    let found = logits(&request(&base, None, &base.join("b.json"), Engine::Gpu)).unwrap();
    assert_eq!(found.dims().len(), 3);
}

#[test]
fn padding_without_a_mask_has_the_padding_position_and_is_seen() {
    let Some(dir) = cases() else { return };
    let base = dir.join("28-rob-pads");
    for name in ["nomask", "mask", "endmask"] {
        let batch = base.join(format!("{name}.json"));
        let want = want(&base.join(format!("{name}.safetensors")));
        for engine in [Engine::Gpu, Engine::Reference] {
            let found = logits(&request(&base, None, &batch, engine)).unwrap();
            let error = apart(&found, &want);
            assert!(error < MOST, "{name} {engine:?}: {error:e}");
        }
    }
    // padding on the left: the first token under mask 1 is read, transformers reads the padding
    for name in ["left", "leftnonpad"] {
        let batch = base.join(format!("{name}.json"));
        let [gpu, reference] = [Engine::Gpu, Engine::Reference]
            .map(|engine| logits(&request(&base, None, &batch, engine)).unwrap());
        assert!(apart(&gpu, &reference) < MOST, "{name}");
    }
}

fn inducer(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inducer"));
    command.args(args).output().unwrap()
}

#[test]
fn a_missing_head_is_said() {
    let Some(dir) = cases() else { return };
    let (base, out) = (dir.join("24-rob-mlm"), tempfile::tempdir().unwrap());
    let (batch, out) = (base.join("b.json"), out.path().join("o.safetensors"));
    let args = ["forward", "--backbone", base.to_str().unwrap(), "--batch"];
    let rest = [batch.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let done = inducer(&[&args[..], &rest].concat());
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    assert!(said.contains("no classification head"), "{said}");
}

#[test]
fn merging_writes_one_type_and_says_so() {
    let Some(dir) = cases() else { return };
    let (base, folder) = (dir.join("90-merge-fp16"), tempfile::tempdir().unwrap());
    let (adapter, out) = (dir.join("30-lora-default"), folder.path().join("merged"));
    let args = ["merge", "--backbone", base.to_str().unwrap(), "--adapter"];
    let rest = [adapter.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let done = inducer(&[&args[..], &rest].concat());
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let config = std::fs::read_to_string(out.join("config.json")).unwrap();
    assert!(config.contains("\"dtype\": \"float32\""), "{config}");
    let weights = Weights::open_backbone(&out).unwrap();
    assert_eq!(weights.dtype().unwrap(), Some(DType::F32));
    let batch = dir.join("peft-base/b.json");
    let merged = logits(&request(&out, None, &batch, Engine::Gpu)).unwrap();
    let apart_on = logits(&request(&base, Some(&adapter), &batch, Engine::Gpu)).unwrap();
    assert!(apart(&merged, &apart_on) < MOST);
}

#[test]
fn sacrebleu_is_smoothed_as_there() {
    let Some(dir) = cases() else { return };
    let [h, r] = ["h.txt", "r.txt"].map(|n| dir.join("80-score").join(n));
    let args = [
        "score",
        "--metric",
        "bleu",
        "--sacrebleu",
        "--json",
        "--hypotheses",
    ];
    let rest = [h.to_str().unwrap(), "--references", r.to_str().unwrap()];
    let bleu = |more: &[&str]| {
        let out = inducer(&[&args[..], &rest, more].concat());
        let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        found["bleu"].as_f64().unwrap()
    };
    assert_abs_diff_eq!(bleu(&[]), 12.1080, epsilon = 5e-5);
    assert_eq!(bleu(&["--smoothing", "none"]), 0.0);
}
