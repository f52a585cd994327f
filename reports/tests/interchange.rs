//! Adapters out to PEFT's layout and back, and folded into the backbone: the same function. That
//! `peft` and `transformers` themselves read these files is shown by
//! `verify/checks/peft_interchange.py`.
#![allow(clippy::unwrap_used)]

use crate::common::{Fixture, tiny_roberta};
use candle_core::{DType, Device};
use inducer_datasets::Batch;
use inducer_gpu::backbone::Roberta;
use inducer_gpu::files::adapter::head_classes;
use inducer_gpu::tensors::Init;
use inducer_gpu::{AdapterConfig, Method, Model};
use std::path::Path;

const EXPORT: &str = "export --backbone backbone --adapter own --out peft";
const ROWS: [&[u32]; 2] = [&[3, 17, 200, 4, 9], &[7, 7, 31]];

/// A backbone without a head, as masked-language pretraining writes it.
fn encoder(f: &Fixture) {
    let model = Roberta::random_masked(tiny_roberta(), 7, DType::F32, &Device::Cpu).unwrap();
    let model = Model::new(model, DType::F32, &Device::Cpu);
    model.save_backbone(&f.path("backbone")).unwrap();
}

/// An adapter whose every tensor is random, three classes on a RoBERTa.
fn adapter(f: &Fixture, method: Method, special: usize) {
    adapter_with(f, method, special, |_| {});
}

fn adapter_with(f: &Fixture, method: Method, special: usize, change: impl Fn(&mut AdapterConfig)) {
    let classes = (special == 0).then_some(3);
    let dir = f.path("backbone");
    let mut model = Model::load_for(&dir, classes, 5, DType::F32, &Device::Cpu).unwrap();
    let mut config = method.on(&model.backbone.config());
    change(&mut config);
    model.attach(&config, special, 5).unwrap();
    for p in model.trainable_mut() {
        let (name, shape) = (p.name.clone(), p.tensor.dims().to_vec());
        let start = Init::Normal(0.2);
        p.tensor = start
            .tensor(9, &name, &shape, DType::F32, &Device::Cpu)
            .unwrap();
    }
    model.save_adapter(&f.path("own")).unwrap();
}

fn logits(f: &Fixture, backbone: &str, adapter: Option<&str>) -> Vec<f32> {
    let own = adapter.map(|name| f.path(name));
    let classes = own.as_deref().and_then(|d: &Path| head_classes(d).unwrap());
    let dir = f.path(backbone);
    let mut model = Model::load_for(&dir, classes, 1, DType::F32, &Device::Cpu).unwrap();
    if let Some(dir) = own {
        model.attach_saved(&dir).unwrap();
    }
    let ids: Vec<Vec<u32>> = ROWS.iter().map(|r| r.to_vec()).collect();
    let found = model.logits(&Batch::pack(&ids, None, None)).unwrap();
    found.flatten_all().unwrap().to_vec1().unwrap()
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    a.iter()
        .zip(b)
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, f32::max)
        / largest
}

fn run(f: &Fixture, line: &str) {
    let out = f.inducer(&line.split(' ').collect::<Vec<_>>());
    assert!(
        out.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// Out and back through PEFT's layout, which another rank and α may carry; read from there without
/// conversion; `merge` where it has LoRA.
fn goes_round(f: &Fixture, merged: bool) {
    let own = logits(f, "backbone", Some("own"));
    let bare = logits(f, "backbone", None);
    assert!(
        bare.len() != own.len() || worst(&bare, &own) > 1e-2,
        "the adapter does nothing"
    );
    run(f, EXPORT);
    run(
        f,
        "export --layout inducer --backbone backbone --adapter peft --out again",
    );
    for name in ["peft", "again"] {
        let error = worst(&own, &logits(f, "backbone", Some(name)));
        assert!(error < 1e-5, "{name}: {error:e}");
    }
    if merged {
        run(f, "merge --backbone backbone --adapter own --out merged");
        let error = worst(&own, &logits(f, "merged", None));
        assert!(error < 1e-5, "merged: {error:e}");
    }
}

#[test]
fn lora_on_gpt2() {
    let f = Fixture::new();
    adapter(&f, Method::Lora, 2);
    goes_round(&f, true);
}

fn rslora(config: &mut AdapterConfig) {
    let lora = config.lora.as_mut().unwrap();
    lora.use_rslora = true;
}

#[test]
fn rslora_on_gpt2_and_roberta() {
    for roberta in [false, true] {
        let f = Fixture::new();
        if roberta {
            encoder(&f);
        }
        adapter_with(&f, Method::Lora, if roberta { 0 } else { 2 }, rslora);
        goes_round(&f, true);
    }
}

#[test]
fn ia3_on_gpt2_and_roberta() {
    for roberta in [false, true] {
        let f = Fixture::new();
        if roberta {
            encoder(&f);
        }
        adapter(&f, Method::Ia3, if roberta { 0 } else { 2 });
        goes_round(&f, true);
        // what PEFT would have to know is told apart by full names
        let config = std::fs::read_to_string(f.path("peft/adapter_config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let inputs = match roberta {
            true => ["roberta.encoder.layer.0.output.dense"],
            false => ["mlp.c_proj"],
        };
        assert_eq!(config["feedforward_modules"][0], inputs[0]);
        // the scale that PEFT has on queries went out as ones
        let bytes = |dir: &str| std::fs::read(f.path(dir).join("adapter_model.safetensors"));
        assert_eq!(bytes("again").unwrap(), bytes("own").unwrap());
    }
}

#[test]
fn a_prefix_on_gpt2() {
    let f = Fixture::new();
    adapter(&f, Method::Prefix, 2);
    goes_round(&f, false);
}

#[test]
fn lora_and_head_on_roberta() {
    let f = Fixture::new();
    encoder(&f);
    adapter(&f, Method::Lora, 0);
    goes_round(&f, true);
    let config = std::fs::read_to_string(f.path("merged/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(
        config["architectures"][0],
        "RobertaForSequenceClassification"
    );
    assert_eq!(config["id2label"].as_object().unwrap().len(), 3);
}

#[test]
fn what_cannot_be_folded_stays_an_adapter_on_the_merged_backbone() {
    for roberta in [false, true] {
        let f = Fixture::new();
        if roberta {
            encoder(&f);
        }
        adapter(&f, Method::MamInducer, if roberta { 0 } else { 2 });
        let own = logits(&f, "backbone", Some("own"));
        run(&f, "merge --backbone backbone --adapter own --out merged");
        let error = worst(&own, &logits(&f, "merged", Some("merged/adapter")));
        assert!(error < 1e-5, "{error:e}");
    }
}

#[test]
fn what_peft_does_not_know_is_refused_by_name() {
    let f = Fixture::new();
    let line: Vec<&str> = EXPORT.split(' ').collect();
    adapter(&f, Method::Inducer, 2);
    f.fails(&line, &["field `attention`"]);
    encoder(&f);
    adapter(&f, Method::Prefix, 0);
    f.fails(&line, &["field `attention`", "RoBERTa"]);
}

#[test]
fn a_name_in_the_hubs_cache_is_a_backbone() {
    let f = Fixture::new();
    adapter(&f, Method::Lora, 2);
    let hub = f.path("hub/models--org--tiny");
    std::fs::create_dir_all(hub.join("refs")).unwrap();
    std::fs::create_dir_all(hub.join("snapshots")).unwrap();
    std::fs::write(hub.join("refs/main"), "0123abc").unwrap();
    std::fs::rename(f.path("backbone"), hub.join("snapshots/0123abc")).unwrap();
    let line = "export --backbone org/tiny --adapter own --out peft";
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_inducer"))
        .args(line.split(' '))
        .current_dir(f.path(""))
        .env("HF_HUB_CACHE", f.path("hub"))
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let config = std::fs::read_to_string(f.path("peft/adapter_config.json")).unwrap();
    assert!(
        config.contains(r#""base_model_name_or_path": "org/tiny""#),
        "{config}"
    );
    let cache = f.path("another");
    let elsewhere = std::process::Command::new(env!("CARGO_BIN_EXE_inducer"))
        .args(line.split(' '))
        .current_dir(f.path(""))
        .env("HF_HUB_CACHE", &cache)
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&elsewhere.stderr).into_owned();
    assert_eq!(elsewhere.status.code(), Some(2), "{message}");
    for part in [
        "hf download org/tiny",
        "nothing is downloaded",
        cache.to_str().unwrap(),
    ] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}
