//! Every method of the paper on both backbones against a statement of its equations in PyTorch
//! (`reference/tests/golden/make_methods.py`): logits, losses with and without label smoothing, and
//! the gradient of every trained tensor, in f64 and f32. Adapters are read from their directories.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, safetensors};
use inducer_datasets::Batch;
use inducer_datasets::batch::Labels;
use inducer_gpu::files::read_adapter;
use inducer_gpu::{AdapterConfig, LossOptions, Method, Model, SavedAdapter};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const FAMILIES: [&str; 2] = ["gpt2", "roberta"];
/// Goldens beside those that have a method's name: the other forms that the paper's text or its
/// authors' code give a method.
const FORMS: [&str; 6] = [
    "lora-without-bias",
    "lora-bias",
    "lora-qkv",
    "lora-qkv-bias",
    "prefix-in-place",
    "prefix-network",
];
/// Roundings on the longest path of two layers of products over at most 12 terms, layer norms and
/// softmaxes, each enlarged by less than 8, as in `reference/tests/golden.rs`.
const ROUNDINGS: f64 = 400.0 * 8.0;
/// A gradient goes through the same products backwards, and through the derivative of each.
const MORE_IN_A_GRADIENT: f64 = 4.0;

/// What half a tensor moves the logits by at least, of the greatest: a key network acts through the
/// gate alone, and in RoBERTa's last layer on one token of a row.
const LEAST: f64 = 1e-4;

/// The bound of a type: of the greatest logit, of a loss.
fn most(dtype: DType) -> f64 {
    let epsilon = match dtype {
        DType::F64 => f64::EPSILON,
        _ => f64::from(f32::EPSILON),
    };
    ROUNDINGS * epsilon / 2.0
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../reference/tests/golden")
}

fn methods() -> PathBuf {
    goldens().join("methods")
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The names of the goldens on a backbone.
fn names(family: &str) -> Vec<String> {
    let entries = std::fs::read_dir(methods()).unwrap();
    let entries = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let own = entries.filter_map(|e| Some(e.strip_prefix(&format!("{family}-"))?.to_owned()));
    let mut names: Vec<String> = own.collect();
    names.sort();
    names
}

fn numbers(t: &Tensor) -> Vec<f64> {
    let t = t.to_dtype(DType::F64).unwrap();
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// What a batch gives; gradients by name.
struct Found {
    logits: Vec<f64>,
    losses: Vec<f64>,
    gradients: BTreeMap<String, Vec<f64>>,
}

impl Found {
    /// What the golden of that name has.
    fn expected(golden: &str) -> Self {
        let load = |file| {
            let path = methods().join(golden).join(file);
            safetensors::load(path, &Device::Cpu).unwrap()
        };
        let tensors: BTreeMap<_, _> = load("adapter_model.safetensors").into_iter().collect();
        let expected = load("expected.safetensors");
        let all = numbers(&expected["gradients"]);
        let mut rest = all.as_slice();
        let gradients = tensors.into_iter().map(|(name, tensor)| {
            let (own, others) = rest.split_at(tensor.elem_count());
            rest = others;
            (name, own.to_vec())
        });
        let gradients = gradients.collect();
        assert!(rest.is_empty(), "{golden}");
        Self {
            logits: numbers(&expected["logits"]),
            losses: numbers(&expected["loss"]),
            gradients,
        }
    }

    /// The worst difference of logits and losses, relative to the greatest of their kind.
    fn values_from(&self, expected: &Self) -> f64 {
        let losses = relative(&self.losses, &expected.losses);
        relative(&self.logits, &expected.logits).max(losses)
    }

    /// The worst difference of gradients, each relative to its tensor's greatest; of one that is 0
    /// but for roundings, relative to the greatest of all.
    fn gradients_from(&self, expected: &Self) -> f64 {
        assert!(self.gradients.keys().eq(expected.gradients.keys()));
        let all = greatest(expected.gradients.values().flatten());
        let pairs = self.gradients.iter().zip(expected.gradients.values());
        let errors = pairs.map(|((name, found), expected)| match is_unseen(name) {
            true => difference(found, expected) / all,
            false => relative(found, expected),
        });
        errors.fold(0.0, f64::max)
    }
}

/// Whether a tensor adds the same to every score of a query, which a softmax does not see: a bias
/// of the keys, where there is no point beside them.
fn is_unseen(name: &str) -> bool {
    name.ends_with(".self.key.bias") || name.ends_with(".lora.k.bias")
}

fn greatest<'a>(all: impl IntoIterator<Item = &'a f64>) -> f64 {
    all.into_iter().fold(0.0, |most, x| most.max(x.abs()))
}

fn difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let errors = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    errors.fold(0.0, f64::max)
}

/// The worst difference, of the greatest number expected.
fn relative(found: &[f64], expected: &[f64]) -> f64 {
    difference(found, expected) / greatest(expected)
}

fn label_smoothing(family: &str) -> f64 {
    let made = json_of(&methods().join("made.json"));
    made["label_smoothing"][family].as_f64().unwrap()
}

/// The real tokens of a family's batch, packed.
fn batch(family: &str) -> Batch {
    let file = json_of(&methods().join(family).join("batch.json"));
    let rows =
        |field: &str| -> Vec<Vec<i64>> { serde_json::from_value(file[field].clone()).unwrap() };
    let masks = rows("attention_mask");
    let real = |field: &str| -> Vec<Vec<i64>> {
        let real = |(row, mask): (Vec<i64>, &Vec<i64>)| {
            let kept = row.into_iter().zip(mask).filter(|(_, m)| **m == 1);
            kept.map(|(x, _)| x).collect()
        };
        rows(field).into_iter().zip(&masks).map(real).collect()
    };
    let ids = |field: &str| -> Vec<Vec<u32>> {
        let rows = real(field).into_iter();
        rows.map(|row| row.into_iter().map(|x| x as u32).collect())
            .collect()
    };
    let mut batch = Batch::pack(&ids("input_ids"), Some(&ids("segment_ids")), None);
    batch.labels = match family {
        "gpt2" => Labels::Tokens(real("labels").concat()),
        _ => Labels::Classes(serde_json::from_value(file["labels"].clone()).unwrap()),
    };
    batch
}

fn backbone(family: &str, dtype: DType) -> Model {
    Model::load(&methods().join(family), dtype, &Device::Cpu).unwrap()
}

/// An adapter as its directory is read. The network of a prefix stands in no file of that layout,
/// so it is taken as it is.
fn adapter(family: &str, name: &str, dtype: DType) -> SavedAdapter {
    let dir = methods().join(format!("{family}-{name}"));
    if name != "prefix-network" {
        let backbone = backbone(family, dtype).backbone;
        return read_adapter(&dir, backbone.as_ref(), dtype, &Device::Cpu).unwrap();
    }
    let config = json_of(&dir.join("adapter_config.json"));
    let tensors = safetensors::load(dir.join("adapter_model.safetensors"), &Device::Cpu).unwrap();
    let tensors = tensors.into_iter();
    SavedAdapter {
        config: serde_json::from_value(config).unwrap(),
        tensors: tensors
            .map(|(name, t)| (name, t.to_dtype(dtype).unwrap()))
            .collect(),
    }
}

fn compute(family: &str, adapter: &SavedAdapter, smoothing: f64, dtype: DType) -> Found {
    let mut model = backbone(family, dtype);
    let tensors = adapter.tensors.clone();
    model.install(&adapter.config, tensors).unwrap();
    let batch = batch(family);
    let options = LossOptions {
        smoothing,
        ..LossOptions::PLAIN
    };
    let (loss, gradients) = model.gradients(&batch, options).unwrap();
    let plain = model.loss(&batch, LossOptions::PLAIN).unwrap();
    let gradients = gradients.iter().map(|(name, g)| (name.clone(), numbers(g)));
    Found {
        logits: numbers(&model.logits(&batch).unwrap()),
        losses: vec![loss, plain],
        gradients: gradients.collect(),
    }
}

#[test]
fn logits_losses_and_gradients_are_those_of_the_equations_in_pytorch() {
    for dtype in [DType::F64, DType::F32] {
        for family in FAMILIES {
            let mut worst = [(0.0, String::new()), (0.0, String::new())];
            for name in names(family) {
                let expected = Found::expected(&format!("{family}-{name}"));
                let found = compute(
                    family,
                    &adapter(family, &name, dtype),
                    label_smoothing(family),
                    dtype,
                );
                let errors = [
                    found.values_from(&expected),
                    found.gradients_from(&expected),
                ];
                let at = format!("{family}-{name} {dtype:?}");
                assert!(errors[0] < most(dtype), "{at}: {:e}", errors[0]);
                let bound = MORE_IN_A_GRADIENT * most(dtype);
                assert!(errors[1] < bound, "{at}: gradients {:e}", errors[1]);
                for (worst, error) in worst.iter_mut().zip(errors) {
                    if error >= worst.0 {
                        *worst = (error, name.clone());
                    }
                }
            }
            println!("{family} {dtype:?}: {worst:?}");
        }
    }
}

#[test]
fn no_method_computes_what_another_s_golden_has() {
    for family in FAMILIES {
        for name in names(family) {
            let found = compute(
                family,
                &adapter(family, &name, DType::F64),
                label_smoothing(family),
                DType::F64,
            );
            for other in names(family).into_iter().filter(|other| *other != name) {
                let control = found.values_from(&Found::expected(&format!("{family}-{other}")));
                assert!(control > 1e-3, "{name} as {other}: {control:e}");
            }
        }
    }
}

/// A tensor's half in its place is another function with other gradients, and so is each gradient
/// of another loss.
#[test]
fn a_golden_sees_every_tensor_and_the_label_smoothing() {
    let dtype = DType::F64;
    for family in FAMILIES {
        for name in names(family) {
            let expected = Found::expected(&format!("{family}-{name}"));
            let whole = adapter(family, &name, dtype);
            for tensor in whole.tensors.keys() {
                if is_unseen(tensor) {
                    continue;
                }
                let mut halved = whole.clone();
                let half = (&whole.tensors[tensor] * 0.5).unwrap();
                halved.tensors.insert(tensor.clone(), half);
                let found = compute(family, &halved, label_smoothing(family), dtype);
                let control = found.values_from(&expected);
                assert!(control > LEAST, "{family}-{name}: {tensor}: {control:e}");
                let control = found.gradients_from(&expected);
                assert!(control > LEAST, "{family}-{name}: {tensor}: {control:e}");
            }
            let control = compute(family, &whole, 0.0, dtype).gradients_from(&expected);
            assert!(
                control > 1e-3,
                "{family}-{name}: without smoothing {control:e}"
            );
        }
    }
}

/// What a configuration is but for its sizes and factors.
fn kind(config: &AdapterConfig) -> Value {
    fn without_numbers(value: &mut Value) {
        match value {
            Value::Number(_) => *value = json!(0),
            Value::Array(all) => all.iter_mut().for_each(without_numbers),
            Value::Object(all) => all.values_mut().for_each(without_numbers),
            _ => {}
        }
    }
    let stored = AdapterConfig {
        base_model_name_or_path: String::new(),
        ..config.stored()
    };
    let mut kind = serde_json::to_value(stored).unwrap();
    without_numbers(&mut kind);
    kind
}

/// A new method without goldens fails here; those of (IA)³ are PEFT's (`peft_goldens.rs`).
#[test]
fn every_method_has_its_golden_on_both_backbones() {
    for family in FAMILIES {
        let peft = goldens().join(format!("peft/{family}-ia3"));
        assert!(peft.is_dir());
        let of_paper = Method::ALL.into_iter().filter(|m| *m != Method::Ia3);
        let mut left = names(family);
        for method in of_paper {
            let name = method.name();
            let at = left.iter().position(|golden| golden == name);
            left.remove(at.unwrap_or_else(|| panic!("{name} has no golden on {family}")));
            let config = method.on(&backbone(family, DType::F32).backbone.config());
            let golden = adapter(family, name, DType::F32).config;
            assert_eq!(kind(&golden), kind(&config), "{family}-{name}");
        }
        for golden in left {
            assert!(FORMS.contains(&golden.as_str()), "{golden} is no method");
        }
    }
}
