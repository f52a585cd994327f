//! Reading files: layouts that mean the same model, every dtype, and an error that names what is
//! wrong.
//!
//! The files are written with the `safetensors` crate, the reader under test parses the bytes
//! itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::common::{every_method, inducer, random_adapter, random_backbone};
use half::{bf16, f16};
use inducer_reference::files::tensors::read_tensors;
use inducer_reference::{
    Adapter, AdapterConfig, Backbone as _, Gpt2, Gpt2Config, Roberta, RobertaConfig, TensorMap,
    Variant,
};
use ndarray::{ArrayD, Axis, IxDyn, concatenate};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

const IDS: [u32; 5] = [3, 1, 4, 1, 5];

fn small() -> Gpt2Config {
    Gpt2Config::new(11, 16, 8, 2, 2)
}

/// The parallel adapter of MAM, without `scale`.
fn parallel_adapter(bottleneck: usize) -> Value {
    json!({"kind": "adapter", "placement": "parallel", "bottleneck": bottleneck,
           "layer_norm": false})
}

fn bytes_of(tensor: &ArrayD<f64>, dtype: Dtype) -> Vec<u8> {
    let bytes = |x: &f64| match dtype {
        Dtype::F16 => f16::from_f64(*x).to_le_bytes().to_vec(),
        Dtype::BF16 => bf16::from_f64(*x).to_le_bytes().to_vec(),
        Dtype::F32 => (*x as f32).to_le_bytes().to_vec(),
        _ => x.to_le_bytes().to_vec(),
    };
    tensor.iter().flat_map(bytes).collect()
}

fn write(path: &Path, tensors: &TensorMap<f64>, dtype: Dtype) {
    let data: Vec<_> = tensors
        .iter()
        .map(|(name, t)| (name, t.shape().to_vec(), bytes_of(t, dtype)))
        .collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        (
            (*name).clone(),
            TensorView::new(dtype, shape.clone(), bytes).unwrap(),
        )
    });
    serialize_to_file(views, None, path).unwrap();
}

/// Values that every dtype holds exactly.
fn exact_tensors() -> TensorMap<f64> {
    let mut tensors = random_backbone::<f64>(&small(), 41).tensors();
    for tensor in tensors.values_mut() {
        tensor.mapv_inplace(|x| (x * 64.0).round() / 64.0);
    }
    tensors
}

fn directory(config: &Value, tensors: &TensorMap<f64>, dtype: Dtype) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    write(&dir.path().join("model.safetensors"), tensors, dtype);
    dir
}

fn config() -> Value {
    serde_json::to_value(small()).unwrap()
}

fn logits(dir: &Path) -> ndarray::Array2<f64> {
    Gpt2::<f64>::load(dir)
        .unwrap()
        .forward(&IDS, None, None, None)
        .unwrap()
        .logits
}

fn load_error(dir: &Path) -> String {
    Gpt2::<f64>::load(dir).unwrap_err().to_string()
}

#[test]
fn files_every_dtype_reads_as_its_value() {
    let expected = Gpt2::from_tensors(small(), &exact_tensors()).unwrap();
    let expected = expected.forward(&IDS, None, None, None).unwrap().logits;
    for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64] {
        let dir = directory(&config(), &exact_tensors(), dtype);
        assert_eq!(logits(dir.path()), expected, "{dtype:?}");
    }
}

#[test]
fn files_names_with_and_without_prefix_buffers_and_a_tied_head_are_the_same_model() {
    let full = directory(&config(), &exact_tensors(), Dtype::F32);
    let mut bare: TensorMap<f64> = exact_tensors()
        .into_iter()
        .map(|(name, t)| (name.replace("transformer.", ""), t))
        .collect();
    bare.insert("h.0.attn.bias".into(), ArrayD::ones(IxDyn(&[1, 1, 16, 16])));
    bare.insert("h.1.attn.masked_bias".into(), ArrayD::zeros(IxDyn(&[])));
    bare.insert("lm_head.weight".into(), bare["wte.weight"].clone());
    let bare = directory(&config(), &bare, Dtype::F32);
    assert_eq!(logits(full.path()), logits(bare.path()));

    let mut untied = exact_tensors();
    untied.insert("lm_head.weight".into(), ArrayD::ones(IxDyn(&[11, 8])));
    let message = load_error(directory(&config(), &untied, Dtype::F32).path());
    assert!(
        message.contains("lm_head.weight") && message.contains("tied"),
        "{message}"
    );

    let mut twice = exact_tensors();
    twice.insert("wte.weight".into(), twice["transformer.wte.weight"].clone());
    let message = load_error(directory(&config(), &twice, Dtype::F32).path());
    assert!(
        message.contains("wte.weight") && message.contains("model.safetensors"),
        "{message}"
    );
}

#[test]
fn files_sharded_and_single_backbones_are_the_same_model() {
    let single = directory(&config(), &exact_tensors(), Dtype::F32);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (first, second): (TensorMap<f64>, TensorMap<f64>) = exact_tensors()
        .into_iter()
        .partition(|(name, _)| name.contains(".h.0."));
    let files = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ];
    write(&path(files[0]), &first, Dtype::F32);
    write(&path(files[1]), &second, Dtype::F32);
    std::fs::write(path("config.json"), config().to_string()).unwrap();
    let mut map: BTreeMap<&String, &str> = first.keys().map(|name| (name, files[0])).collect();
    map.extend(second.keys().map(|name| (name, files[1])));
    let index = |map: &BTreeMap<&String, &str>| {
        let index = json!({"metadata": {"total_size": 0}, "weight_map": map});
        std::fs::write(path("model.safetensors.index.json"), index.to_string()).unwrap();
    };
    index(&map);
    assert_eq!(logits(dir.path()), logits(single.path()));

    let lost = "transformer.wpe.weight".to_owned();
    map.insert(&lost, files[0]);
    index(&map);
    let message = load_error(dir.path());
    assert!(message.contains("wpe.weight"), "{message}");
    map.remove(&lost);
    index(&map);
    assert!(load_error(dir.path()).contains("wpe.weight"));

    // a buffer that is skipped need not be there; any other tensor that the index lists must
    map.insert(&lost, files[1]);
    let (buffer, nowhere) = (
        "transformer.h.0.attn.bias".to_owned(),
        "transformer.nowhere".to_owned(),
    );
    map.insert(&buffer, files[0]);
    index(&map);
    assert_eq!(logits(dir.path()), logits(single.path()));
    map.insert(&nowhere, files[1]);
    index(&map);
    let message = load_error(dir.path());
    assert!(
        message.contains("transformer.nowhere") && message.contains("in this shard"),
        "{message}"
    );
}

#[test]
fn files_wrong_tensors_are_errors_that_name_file_tensor_and_shapes() {
    let with = |change: &dyn Fn(&mut TensorMap<f64>)| {
        let mut tensors = exact_tensors();
        change(&mut tensors);
        load_error(directory(&config(), &tensors, Dtype::F32).path())
    };
    let name = "transformer.h.1.mlp.c_fc.weight";
    let missing = with(&|t| drop(t.remove(name)));
    assert!(
        missing.contains(
            "model.safetensors: tensor `h.1.mlp.c_fc.weight` is missing: expected shape [8, 32]"
        ),
        "{missing}"
    );
    let misshapen = with(&|t| drop(t.insert(name.into(), ArrayD::zeros(IxDyn(&[32, 8])))));
    assert!(
        misshapen.contains("c_fc.weight`: expected shape [8, 32], found [32, 8]"),
        "{misshapen}"
    );
    let extra = with(&|t| {
        drop(t.insert(
            "transformer.h.2.ln_1.bias".into(),
            ArrayD::zeros(IxDyn(&[8])),
        ))
    });
    assert!(
        extra.contains("`h.2.ln_1.bias` of shape [8] is not expected"),
        "{extra}"
    );
    for value in [f64::NAN, f64::INFINITY] {
        let bad = with(&|t| t.get_mut(name).unwrap().as_slice_mut().unwrap()[5] = value);
        assert!(
            bad.contains(name) && bad.contains("expected finite values") && bad.contains("index 5"),
            "{bad}"
        );
    }
}

#[test]
fn files_a_truncated_or_corrupt_file_is_an_error_at_every_length() {
    let dir = directory(&config(), &exact_tensors(), Dtype::F32);
    let path = dir.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let steps = (0..64).chain((64..whole.len()).step_by(whole.len() / 50));
    for length in steps {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(
            load_error(dir.path()).contains("model.safetensors"),
            "{length}"
        );
    }
    std::fs::write(&path, [whole.clone(), vec![0]].concat()).unwrap();
    assert!(load_error(dir.path()).contains("data: expected"));
    // a header that claims to be longer than any memory
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&path, huge).unwrap();
    assert!(load_error(dir.path()).contains("header: expected 18446744073709551615 bytes"));
    let header = |header: &str| {
        let bytes = [
            &(header.len() as u64).to_le_bytes()[..],
            header.as_bytes(),
            &[0; 8],
        ]
        .concat();
        std::fs::write(&path, bytes).unwrap();
        load_error(dir.path())
    };
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        header(&format!(
            r#"{{"x": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}"#
        ))
    };
    assert!(
        entry("I64", "[1]", "[0, 8]").contains("expected dtype F16, BF16, F32 or F64, found I64")
    );
    assert!(entry("F32", "[3]", "[0, 8]").contains("tensor `x`"));
    assert!(entry("F32", "[2]", "[8, 0]").contains("bytes 8..0"));
    assert!(entry("F32", "[4294967296, 4294967296, 4294967296]", "[0, 8]").contains("tensor `x`"));
    assert!(entry("F32", "[-1]", "[0, 8]").contains("entry of `x`"));
    assert!(header("{ not json").contains("model.safetensors"));
    std::fs::remove_file(&path).unwrap();
    assert!(load_error(dir.path()).contains("model.safetensors: cannot be read"));
}

#[test]
fn files_unsupported_configurations_are_errors_that_name_the_field() {
    let with = |field: &str, value: Value| {
        let mut config = config();
        config[field] = value;
        load_error(directory(&config, &exact_tensors(), Dtype::F32).path())
    };
    for (field, value) in [
        ("model_type", json!("llama")),
        ("activation_function", json!("relu")),
        ("scale_attn_weights", json!(false)),
        ("scale_attn_by_inverse_layer_idx", json!(true)),
        ("add_cross_attention", json!(true)),
        ("tie_word_embeddings", json!(false)),
        ("n_head", json!(3)),
        ("n_head", json!(0)),
        ("layer_norm_epsilon", json!(-1.0)),
    ] {
        let message = with(field, value.clone());
        let named = if field == "n_head" { "n_" } else { field };
        assert!(
            message.contains("config.json") && message.contains(named),
            "{field}: {message}"
        );
    }
    assert!(with("n_layer", json!("two")).contains("config.json"));
    assert!(with("n_layer", json!(3)).contains("h.2."));
    let mut other = config();
    // Hugging Face's files hold many fields that do not change the function
    other["some_other_field"] = json!(1);
    assert!(Gpt2::<f64>::load(directory(&other, &exact_tensors(), Dtype::F32).path()).is_ok());
}

fn write_adapter(dir: &Path, config: &Value, tensors: &TensorMap<f64>) {
    std::fs::write(dir.join("adapter_config.json"), config.to_string()).unwrap();
    write(&dir.join("adapter_model.safetensors"), tensors, Dtype::F64);
}

#[test]
fn files_adapters_of_every_method_survive_the_way_through_a_directory() {
    let model = random_backbone::<f64>(&small(), 42);
    for (name, config) in every_method() {
        let adapter = random_adapter::<f64>(&config, &small(), 2, 43);
        let dir = tempfile::tempdir().unwrap();
        write_adapter(
            dir.path(),
            &serde_json::to_value(&config).unwrap(),
            &adapter.tensors,
        );
        let read = Adapter::<f64>::load(dir.path(), &small()).unwrap();
        assert_eq!(read.config, config, "{name}");
        let forward = |adapter: &Adapter<f64>| {
            model
                .forward(&[3, 11], None, None, Some(adapter))
                .unwrap()
                .logits
        };
        assert_eq!(forward(&read), forward(&adapter), "{name}");
    }
}

#[test]
fn files_wrong_adapters_are_errors_that_name_file_and_field_or_tensor() {
    let good = serde_json::to_value(inducer(Variant::Inducer, 2, 3)).unwrap();
    let adapter = random_adapter::<f64>(&inducer(Variant::Inducer, 2, 3), &small(), 0, 44);
    let dir = tempfile::tempdir().unwrap();
    let error = |config: &Value, tensors: &TensorMap<f64>| {
        write_adapter(dir.path(), config, tensors);
        Adapter::<f64>::load(dir.path(), &small())
            .unwrap_err()
            .to_string()
    };
    let edited = |pointer: &str, key: &str, value: Value| {
        let mut config = good.clone();
        config.pointer_mut(pointer).unwrap()[key] = value;
        error(&config, &adapter.tensors)
    };
    for (pointer, key, value, named) in [
        ("", "atention", json!({}), "atention"),
        ("/attention", "value_botleneck", json!(3), "value_botleneck"),
        ("/attention", "kind", json!("prefixes"), "prefixes"),
        (
            "/attention",
            "key_bottleneck",
            json!(0),
            "attention.key_bottleneck",
        ),
        (
            "/attention",
            "variant",
            json!("adaptive"),
            "attention.key_bottleneck",
        ),
        (
            "/attention",
            "value_bottleneck",
            json!(0),
            "attention.value_bottleneck",
        ),
        (
            "",
            "attention",
            json!({"kind": "adapter", "bottleneck": 0, "layer_norm": true}),
            "attention.bottleneck",
        ),
        ("", "peft_type", json!("LORA"), "peft_type"),
        (
            "",
            "lora",
            json!({"targets": ["q", "q"], "rank": 1, "alpha": 1.0}),
            "lora.targets",
        ),
        (
            "",
            "lora",
            json!({"targets": ["q"], "rank": 0, "alpha": 1.0}),
            "lora.rank",
        ),
        (
            "",
            "lora",
            json!({"targets": ["o"], "rank": 1, "alpha": 1.0}),
            "`o`",
        ),
        ("", "ia3", json!({"targets": []}), "ia3.targets"),
        ("", "ia3", json!({"targets": ["k", "k"]}), "ia3.targets"),
        ("", "ia3", json!({"targets": ["q"]}), "`q`"),
        ("", "ia3", json!({"targets": ["k"], "scale": 1.0}), "scale"),
        ("", "ia3", json!({}), "targets"),
        ("", "ffn", parallel_adapter(0), "ffn.bottleneck"),
        (
            "",
            "ffn",
            json!({"kind": "adapter", "placement": "serial", "bottleneck": 1, "layer_norm": false}),
            "serial",
        ),
    ] {
        let message = edited(pointer, key, value);
        assert!(
            message.contains("adapter_config.json") && message.contains(named),
            "{key}: {message}"
        );
    }
    let swapped = edited("/attention", "key_bottleneck", json!(3));
    assert!(
        swapped.contains("key.down")
            && swapped.contains("[2, 4, 3]")
            && swapped.contains("[2, 4, 2]"),
        "{swapped}"
    );
    let mut lost = adapter.tensors.clone();
    lost.remove("transformer.h.1.attn.inducer.value.up_bias");
    assert!(error(&good, &lost).contains("inducer.value.up_bias` is missing"));
    let mut wide = adapter.tensors.clone();
    wide.insert(
        "transformer.wte.added".into(),
        ArrayD::zeros(IxDyn(&[2, 9])),
    );
    assert!(
        error(&good, &wide).contains("transformer.wte.added`: expected shape [2, 8], found [2, 9]")
    );
    let mut extra = adapter.tensors.clone();
    extra.insert(
        "transformer.h.0.attn.prefix.key".into(),
        ArrayD::zeros(IxDyn(&[2, 1, 4])),
    );
    assert!(error(&good, &extra).contains("prefix.key` of shape [2, 1, 4] is not expected"));
}

#[test]
fn files_the_documented_example_is_read_as_documented() {
    let text = r#"{
      "peft_type": "INDUCER", "task_type": "CAUSAL_LM", "base_model_name_or_path": "gpt2",
      "attention": { "kind": "inducer", "variant": "inducer",
                     "key_bottleneck": 10, "value_bottleneck": 15 },
      "lora": { "targets": ["q"], "rank": 24, "alpha": 32.0, "dropout": 0.1, "bias": true },
      "ffn": { "kind": "adapter", "placement": "parallel", "bottleneck": 42,
               "layer_norm": false, "scale": 1.0 } }"#;
    let config: AdapterConfig = serde_json::from_str(text).unwrap();
    config.validate("example").unwrap();
    let back: Value = serde_json::to_value(&config).unwrap();
    assert_eq!(back, serde_json::from_str::<Value>(text).unwrap());
    let prefix = r#"{"peft_type": "INDUCER", "attention": {
      "kind": "prefix", "length": 5, "reparametrisation": {"width": 512}}}"#;
    let config: AdapterConfig = serde_json::from_str(prefix).unwrap();
    let expected = inducer_reference::AttentionConfig::Prefix {
        length: 5,
        offset_positions: true,
        reparametrisation: Some(
            inducer_reference::files::adapter_config::Reparametrisation { width: 512 },
        ),
    };
    assert_eq!(config.attention, Some(expected));
    let ffn = json!({"peft_type": "INDUCER", "ffn": parallel_adapter(2)});
    let config: AdapterConfig = serde_json::from_value(ffn).unwrap();
    assert_eq!(serde_json::to_value(&config).unwrap()["ffn"]["scale"], 1.0);
}

#[test]
fn files_ia3s_vectors_have_the_width_of_what_they_rescale() {
    let text = r#"{"peft_type": "INDUCER", "ia3": {"targets": ["k", "v", "ffn"]}}"#;
    let config: AdapterConfig = serde_json::from_str(text).unwrap();
    let again = serde_json::to_value(&config).unwrap();
    assert_eq!(again, serde_json::from_str::<Value>(text).unwrap());
    let vectors = |attention: &str, ffn: &str| {
        [
            (attention, ".ia3.k", 8),
            (attention, ".ia3.v", 8),
            (ffn, ".ia3", 32),
        ]
        .map(|(module, vector, length)| (format!("{module}{vector}"), vec![length]))
    };
    let expected = vectors("transformer.h.1.attn", "transformer.h.1.mlp");
    let shapes = small().layout().adapter_shapes(&config);
    assert_eq!(shapes.len(), 2 * expected.len());
    for (name, shape) in expected {
        assert_eq!(shapes.get(&name), Some(&shape), "{name}");
    }
    let layer = "roberta.encoder.layer.1";
    let shapes = RobertaConfig::new(13, 20, 8, 2, 2, 3)
        .layout()
        .adapter_shapes(&config);
    for (name, shape) in vectors(&format!("{layer}.attention.self"), &format!("{layer}.ffn")) {
        assert_eq!(shapes.get(&name), Some(&shape), "{name}");
    }
    let mut wrong = random_adapter::<f64>(&config, &small(), 0, 52).tensors;
    let name = "transformer.h.1.mlp.ia3";
    wrong.insert(name.into(), ArrayD::zeros(IxDyn(&[8])));
    let error = |tensors: TensorMap<f64>| {
        let adapter = Adapter::from_tensors(config.clone(), &small(), tensors);
        adapter.unwrap_err().to_string()
    };
    let message = error(wrong.clone());
    assert!(
        message.contains("mlp.ia3`: expected shape [32], found [8]"),
        "{message}"
    );
    wrong.remove(name);
    assert!(error(wrong).contains("mlp.ia3` is missing"));
}

/// LoRA's factor is α/r, rsLoRA's α/√r: a rank that is made four times as great by zeros, with α
/// four times or twice as great, is the same update.
#[test]
fn files_loras_factor_is_alpha_over_rank_and_rsloras_over_its_root() {
    let model = random_backbone::<f64>(&small(), 50);
    let dir = tempfile::tempdir().unwrap();
    for (use_rslora, times) in [(false, 4.0), (true, 2.0)] {
        let config = |rank: usize, alpha: f64| {
            json!({"peft_type": "INDUCER", "lora": {
                "targets": ["q"], "rank": rank, "alpha": alpha, "dropout": 0.0, "bias": true,
                "use_rslora": use_rslora,
            }})
        };
        let narrow: AdapterConfig = serde_json::from_value(config(1, 3.0)).unwrap();
        let tensors = random_adapter::<f64>(&narrow, &small(), 0, 51).tensors;
        let mut padded = tensors.clone();
        for (name, tensor) in &mut padded {
            if let Some((_, axis)) = [(".a", 0), (".b", 1)]
                .iter()
                .find(|(end, _)| name.ends_with(end))
            {
                let zeros = ArrayD::zeros(tensor.raw_dim());
                let quarters = [tensor.view(), zeros.view(), zeros.view(), zeros.view()];
                *tensor = concatenate(Axis(*axis), &quarters).unwrap();
            }
        }
        let logits = |config: &Value, tensors: &TensorMap<f64>| {
            write_adapter(dir.path(), config, tensors);
            let adapter = Adapter::<f64>::load(dir.path(), &small()).unwrap();
            model
                .forward(&[3, 10, 5], None, None, Some(&adapter))
                .unwrap()
                .logits
        };
        let expected = logits(&config(1, 3.0), &tensors);
        assert_eq!(logits(&config(4, times * 3.0), &padded), expected);
        assert_ne!(logits(&config(4, 3.0), &padded), expected, "control");
    }
}

#[test]
fn files_roberta_with_old_names_other_heads_and_no_classifier() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/roberta");
    let tensors: TensorMap<f64> =
        read_tensors(&golden.join("model.safetensors"), |_| false).unwrap();
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(golden.join("config.json")).unwrap())
            .unwrap();
    let mut old: TensorMap<f64> = tensors
        .iter()
        .map(|(name, t)| {
            let name = name
                .replace("LayerNorm.weight", "LayerNorm.gamma")
                .replace("LayerNorm.bias", "LayerNorm.beta");
            (name, t.clone())
        })
        .collect();
    old.insert("lm_head.bias".into(), ArrayD::zeros(IxDyn(&[13])));
    old.insert(
        "roberta.pooler.dense.bias".into(),
        ArrayD::zeros(IxDyn(&[8])),
    );
    let new = Roberta::<f64>::load(&golden).unwrap();
    let old_dir = directory(&config, &old, Dtype::F32);
    let read = Roberta::<f64>::load(old_dir.path()).unwrap();
    assert_eq!(read.tensors(), new.tensors());

    old.retain(|name, _| !name.starts_with("classifier"));
    let headless = Roberta::<f64>::load(directory(&config, &old, Dtype::F32).path()).unwrap();
    let message = headless
        .forward(&[0, 2], None, None, None)
        .unwrap_err()
        .to_string();
    assert!(message.contains("classifier.dense.weight"), "{message}");
    let parsed = RobertaConfig::read(&golden.join("config.json")).unwrap();
    assert_eq!(parsed.classes(), 3);
    let adapter = random_adapter::<f64>(&inducer(Variant::Inducer, 2, 3), &parsed, 0, 45);
    assert!(
        headless
            .forward(&[0, 2], None, None, Some(&adapter))
            .is_ok()
    );

    old.insert("classifier.dense.bias".into(), ArrayD::zeros(IxDyn(&[8])));
    let half = Roberta::<f64>::load(directory(&config, &old, Dtype::F32).path()).unwrap_err();
    assert!(
        half.to_string()
            .contains("classifier.dense.weight` is missing"),
        "{half}"
    );
}

#[test]
fn files_a_real_backbone_made_by_other_software_predicts_its_language() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/backbones/wiki-192");
    if !dir.exists() {
        println!("not run: ../shared/backbones/wiki-192 is not here");
        return;
    }
    let model = Gpt2::<f32>::load(&dir).unwrap();
    let parameters: usize = model.tensors().values().map(ArrayD::len).sum();
    assert_eq!(parameters, 2_664_576, "its README's count");
    // "Special Operations Executive in popular culture\nThe Special Operations Executive …" with
    // its own tokenizer
    let ids = [
        51, 2380, 3756, 618, 1600, 2622, 278, 2568, 3885, 199, 409, 295, 2380, 3756, 618, 1600,
        2622, 357, 51, 47,
    ];
    let labels: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    let loss = |ids: &[u32], labels: &[i64]| {
        let logits = model.forward(ids, None, None, None).unwrap().logits;
        inducer_reference::cross_entropy(&logits, &inducer_reference::shift_labels(labels), 0.0)
            .unwrap()
            .0
    };
    let english = loss(&ids, &labels);
    let reversed: Vec<u32> = ids.iter().rev().copied().collect();
    let backwards = loss(&reversed, &labels.iter().rev().copied().collect::<Vec<_>>());
    println!("{english} nats a token, backwards {backwards}");
    // a uniform guess costs ln 4096 = 8.3; the model's average on this corpus is 3.98
    assert!(english < 5.5, "{english}");
    assert!(
        backwards > 7.0,
        "control: the same tokens backwards, {backwards}"
    );
}

/// The defaults are those of transformers' `GPT2Config` and `RobertaConfig` (5.24.0).
#[test]
fn files_a_field_that_is_left_out_has_transformers_default() {
    let gpt2: Gpt2Config = serde_json::from_value(json!({
        "model_type": "gpt2", "vocab_size": 12, "n_positions": 8, "n_embd": 4, "n_layer": 1,
        "n_head": 2,
    }))
    .unwrap();
    assert_eq!(gpt2.layer_norm_epsilon, 1e-5);
    let sizes = json!({
        "model_type": "roberta", "vocab_size": 12, "max_position_embeddings": 10,
        "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 6,
    });
    let roberta: RobertaConfig = serde_json::from_value(sizes.clone()).unwrap();
    assert_eq!((roberta.type_vocab_size, roberta.pad_token_id), (2, 1));
    assert_eq!((roberta.layer_norm_eps, roberta.classes()), (1e-12, 2));
    roberta.validate("config.json").unwrap();

    for (field, value) in [
        ("model_type", json!("bert")),
        ("hidden_act", json!("relu")),
        ("position_embedding_type", json!("relative_key")),
        ("vocab_size", json!(0)),
        ("max_position_embeddings", json!(0)),
        ("type_vocab_size", json!(0)),
        ("hidden_size", json!(0)),
        ("num_attention_heads", json!(0)),
        ("intermediate_size", json!(0)),
        ("num_labels", json!(0)),
        ("hidden_size", json!(5)),
        ("layer_norm_eps", json!(-1.0)),
    ] {
        let mut wrong = sizes.clone();
        wrong[field] = value;
        let wrong: RobertaConfig = serde_json::from_value(wrong).unwrap();
        let message = wrong.validate("config.json").unwrap_err().to_string();
        assert!(message.contains(field), "{field}: {message}");
    }
}
