//! Golden numbers of every method of the paper on both backbones, from a statement of its equations
//! in PyTorch that shares nothing with this one (`golden/make_methods.py`): logits, losses with and
//! without label smoothing, and every coordinate of every gradient.
//!
//! Adapters are read from their directories, so that names and layouts of files are held to the
//! statement as well. That every method has its golden is asked where the methods have names:
//! `gpu/tests/golden_methods.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::golden::{UNITS, dir};
use crate::golden_peft::{Model, constants, flat, worst};
use inducer_reference::attention::Linear;
use inducer_reference::files::tensors::read_tensors;
use inducer_reference::prefix::Reparametrised;
use inducer_reference::{Adapter, Dual, Real, TensorMap, cross_entropy, shift_labels};
use ndarray::{Array2, ArrayD, Axis, Ix1, Ix2, stack};
use serde_json::{Value, json};

const FAMILIES: [&str; 2] = ["gpt2", "roberta"];
// The bound of `golden.rs`: a method adds fewer roundings to a path than the 400 leave room for.
const MOST: f64 = UNITS * f64::EPSILON / 2.0;
// A gradient goes through the same products backwards, and through the derivative of each.
const MOST_OF_A_GRADIENT: f64 = 4.0 * MOST;
// What half a tensor moves the logits by at least, of the greatest: a key network acts through the
// gate alone, and in RoBERTa's last layer on one token of a row.
const LEAST: f64 = 1e-4;
const NETWORK: &str = "transformer.prefix.";

fn read_json(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(dir(path)).unwrap()).unwrap()
}

/// One directory: an adapter's configuration and tensors, and what it computes.
struct Golden {
    name: String,
    config: Value,
    tensors: TensorMap<f64>,
    expected: TensorMap<f64>,
}

/// A backbone, its batch row by row, and the goldens on it.
struct Family {
    model: Model<f64>,
    rows: Vec<Value>,
    smoothing: f64,
    goldens: Vec<Golden>,
}

/// What a batch of rows gives.
struct Found<T> {
    logits: Vec<T>,
    loss: T,
    plain_loss: T,
}

impl Golden {
    fn read(name: String) -> Self {
        let file = |file: &str| dir("methods").join(&name).join(file);
        let read = |name: &str| read_tensors(&file(name), |_| false).unwrap();
        Self {
            config: read_json(&format!("methods/{name}/adapter_config.json")),
            tensors: read("adapter_model.safetensors"),
            expected: read("expected.safetensors"),
            name,
        }
    }

    fn expected(&self, field: &str) -> Vec<f64> {
        self.expected[field].iter().copied().collect()
    }

    /// The worst error of logits and losses, each relative to the greatest of its kind.
    fn error(&self, found: &Found<f64>) -> f64 {
        let losses = worst(&[found.loss, found.plain_loss], &self.expected("loss"));
        worst(&found.logits, &self.expected("logits")).max(losses)
    }

    /// The worst error of the gradients, each relative to its tensor's greatest; one that is 0 but
    /// for roundings, relative to the greatest of all.
    fn gradient_error(&self, found: &[f64]) -> f64 {
        let expected = self.expected("gradients");
        assert_eq!(found.len(), expected.len(), "{}", self.name);
        let greatest = |x: &[f64]| x.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        let (mut from, mut most) = (0, 0.0_f64);
        for (name, tensor) in &self.tensors {
            let own = from..from + tensor.len();
            let size = match is_unseen(name) {
                true => greatest(&expected),
                false => greatest(&expected[own.clone()]),
            };
            let errors = found[own.clone()].iter().zip(&expected[own.clone()]);
            most = errors.fold(most, |most, (a, b)| most.max((a - b).abs() / size));
            from = own.end;
        }
        assert_eq!(from, expected.len(), "{}", self.name);
        most
    }
}

/// Whether a tensor adds the same to every score of a query, which a softmax does not see: a bias
/// of the keys, where there is no point beside them.
fn is_unseen(name: &str) -> bool {
    name.ends_with(".self.key.bias") || name.ends_with(".lora.k.bias")
}

/// The tensors as files hold them: a prefix itself, not the network that makes it.
fn stored<T: Real>(family: &str, tensors: TensorMap<T>) -> TensorMap<T> {
    let (network, mut own): (TensorMap<T>, TensorMap<T>) = tensors
        .into_iter()
        .partition(|(n, _)| n.starts_with(NETWORK));
    if network.is_empty() {
        return own;
    }
    let of = |name: &str| network[&format!("{NETWORK}{name}")].clone();
    let matrix = |name: &str| of(name).into_dimensionality::<Ix2>().unwrap();
    let linear = |name: &str| Linear {
        weight: matrix(&format!("{name}.weight")).reversed_axes(),
        bias: of(&format!("{name}.bias"))
            .into_dimensionality::<Ix1>()
            .unwrap(),
    };
    let network = Reparametrised {
        embedding: matrix("embedding"),
        first: linear("down"),
        second: linear("up"),
    };
    for (i, prefix) in network.prefixes(2).into_iter().enumerate() {
        let at = match family {
            "gpt2" => format!("transformer.h.{i}.attn.prefix"),
            _ => format!("roberta.encoder.layer.{i}.attention.self.prefix"),
        };
        own.insert(format!("{at}.key"), prefix.key.into_dyn());
        own.insert(format!("{at}.value"), prefix.value.into_dyn());
    }
    own
}

/// The whole batch: its rows' mean loss is that over all labelled places.
fn compute<T: Real>(
    model: &Model<T>,
    adapter: &Adapter<T>,
    rows: &[Value],
    smoothing: f64,
) -> Found<T> {
    let (mut logits, mut lines, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let found: Array2<T> = model.logits(row, Some(adapter));
        let own: Vec<i64> = flat(&row["labels"]).iter().map(|&x| x as i64).collect();
        labels.extend(match model {
            Model::Gpt2(_) => shift_labels(&own),
            Model::Roberta(_) => own,
        });
        let mask = flat(&row["mask"]);
        for (i, line) in found.outer_iter().enumerate() {
            if found.nrows() == 1 || mask[i] != 0.0 {
                logits.extend(line.iter().copied());
            }
            lines.push(line.to_owned());
        }
    }
    let lines: Vec<_> = lines.iter().map(|line| line.view()).collect();
    let lines = stack(Axis(0), &lines).unwrap();
    let loss = |smoothing| {
        cross_entropy(&lines, &labels, T::from_f64(smoothing))
            .unwrap()
            .0
    };
    Found {
        logits,
        loss: loss(smoothing),
        plain_loss: loss(0.0),
    }
}

impl Family {
    fn read(family: &str) -> Self {
        let made = read_json("methods/made.json");
        let batch = read_json(&format!("methods/{family}/batch.json"));
        let count = batch["input_ids"].as_array().unwrap().len();
        let row = |i: usize| {
            json!({
                "ids": batch["input_ids"][i],
                "mask": batch["attention_mask"][i],
                "segments": batch["segment_ids"][i],
                "labels": batch["labels"][i],
            })
        };
        let names = std::fs::read_dir(dir("methods")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names
            .filter(|name| name.starts_with(&format!("{family}-")))
            .collect();
        names.sort();
        Self {
            model: Model::load(&format!("methods/{family}")),
            rows: (0..count).map(row).collect(),
            smoothing: made["label_smoothing"][family].as_f64().unwrap(),
            goldens: names.into_iter().map(Golden::read).collect(),
        }
    }

    fn name(&self) -> &'static str {
        match self.model {
            Model::Gpt2(_) => "gpt2",
            Model::Roberta(_) => "roberta",
        }
    }

    /// The adapter as its directory is read; a prefix's network, which no file has, by its tensors.
    fn adapter(&self, golden: &Golden) -> Adapter<f64> {
        let has_network = golden.tensors.keys().any(|name| name.starts_with(NETWORK));
        let path = dir("methods").join(&golden.name);
        match &self.model {
            _ if has_network => self.with(golden, golden.tensors.clone()),
            Model::Gpt2(m) => Adapter::load(&path, &m.config).unwrap(),
            Model::Roberta(m) => Adapter::load(&path, &m.config).unwrap(),
        }
    }

    /// The adapter with these tensors in place of its own.
    fn with(&self, golden: &Golden, tensors: TensorMap<f64>) -> Adapter<f64> {
        let tensors = stored(self.name(), tensors);
        self.model.adapter(&golden.config, tensors)
    }

    fn compute(&self, adapter: &Adapter<f64>) -> Found<f64> {
        compute(&self.model, adapter, &self.rows, self.smoothing)
    }

    /// The gradients of the smoothed and of the plain loss, tensor after tensor.
    fn gradients(&self, model: &Model<Dual<f64>>, golden: &Golden) -> (Vec<f64>, Vec<f64>) {
        let constants = constants(&golden.tensors);
        let (mut smoothed, mut plain) = (Vec::new(), Vec::new());
        for (name, tensor) in &golden.tensors {
            for i in 0..tensor.len() {
                let mut varied = constants.clone();
                let variable = varied.get_mut(name).unwrap().iter_mut().nth(i).unwrap();
                *variable = Dual::variable(variable.re);
                let adapter = model.adapter(&golden.config, stored(self.name(), varied));
                let found = compute(model, &adapter, &self.rows, self.smoothing);
                smoothed.push(found.loss.eps);
                plain.push(found.plain_loss.eps);
            }
        }
        (smoothed, plain)
    }
}

#[test]
fn every_method_computes_what_its_equations_in_pytorch_compute() {
    for family in FAMILIES.map(Family::read) {
        let mut most = (0.0, String::new());
        for golden in &family.goldens {
            let (name, found) = (&golden.name, family.compute(&family.adapter(golden)));
            let error = golden.error(&found);
            assert!(error < MOST, "{name}: {error:e}");
            if error >= most.0 {
                most = (error, name.clone());
            }
            // control: what any other method computes
            for other in family.goldens.iter().filter(|other| other.name != *name) {
                let control = other.error(&found);
                assert!(control > 1e-3, "{name} as {}: {control:e}", other.name);
            }
        }
        println!("values: {:e} ({})", most.0, most.1);
    }
}

#[test]
fn a_golden_sees_each_tensor_halved() {
    for family in FAMILIES.map(Family::read) {
        for golden in &family.goldens {
            for (name, tensor) in &golden.tensors {
                if is_unseen(name) {
                    continue;
                }
                let mut tensors = golden.tensors.clone();
                let half: ArrayD<f64> = tensor / 2.0;
                tensors.insert(name.clone(), half);
                let found = family.compute(&family.with(golden, tensors));
                let control = golden.error(&found);
                assert!(control > LEAST, "{}: {name}: {control:e}", golden.name);
            }
        }
    }
}

#[test]
fn every_gradient_is_that_of_the_equations_in_pytorch() {
    for family in FAMILIES.map(Family::read) {
        let (model, mut most) = (family.model.dual(), (0.0, String::new()));
        for golden in &family.goldens {
            let (found, plain) = family.gradients(&model, golden);
            let (name, error) = (&golden.name, golden.gradient_error(&found));
            assert!(error < MOST_OF_A_GRADIENT, "{name}: {error:e}");
            if error >= most.0 {
                most = (error, name.clone());
            }
            // control: the loss without label smoothing
            let control = golden.gradient_error(&plain);
            assert!(control > 1e-3, "{name}: {control:e}");
        }
        println!("gradients: {:e} ({})", most.0, most.1);
    }
}
