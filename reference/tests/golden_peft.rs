//! Golden numbers of the peft package (`golden/make_peft.py`): (IA)³ and rsLoRA on both backbones.
//! Logits, losses, every coordinate of every gradient, and the logits of merged models.
//!
//! PEFT's tensors are taken apart here, with as much of the method as its layout adds: a scale on
//! GPT-2's queries is part of l_k, one on RoBERTa's heads part of l_v.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::golden::{UNITS, dir, numbers};
use inducer_reference::attention::Linear;
use inducer_reference::files::tensors::read_tensors;
use inducer_reference::ia3::{merge_into_input, merge_into_output};
use inducer_reference::parts::LayerParts;
use inducer_reference::sub_layer::Projections;
use inducer_reference::{
    Adapter, AdapterConfig, Backbone, Dual, Gpt2, Real, Roberta, TensorMap, cross_entropy,
    shift_labels,
};
use ndarray::{Array2, ArrayD, Axis, Slice};
use serde_json::{Value, json};

/// Every number of a nested list.
pub fn flat(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(all) => all.iter().flat_map(flat).collect(),
        None => vec![value.as_f64().unwrap()],
    }
}

/// The greatest difference relative to the greatest of the expected numbers.
pub fn worst(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let size = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let errors = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    errors.fold(0.0, f64::max) / size.max(1e-3)
}

/// A tiny backbone, either one.
#[derive(Clone)]
pub enum Model<T> {
    Gpt2(Box<Gpt2<T>>),
    Roberta(Box<Roberta<T>>),
}

pub fn constants(tensors: &TensorMap<f64>) -> TensorMap<Dual<f64>> {
    let constant = |tensor: &ArrayD<f64>| tensor.mapv(Dual::constant);
    let all = tensors.iter();
    all.map(|(name, tensor)| (name.clone(), constant(tensor)))
        .collect()
}

impl Model<f64> {
    pub fn load(name: &str) -> Self {
        match name.ends_with("gpt2") {
            true => Self::Gpt2(Box::new(Gpt2::load(&dir(name)).unwrap())),
            false => Self::Roberta(Box::new(Roberta::load(&dir(name)).unwrap())),
        }
    }

    pub fn dual(&self) -> Model<Dual<f64>> {
        match self {
            Self::Gpt2(m) => Model::Gpt2(Box::new(
                Gpt2::from_tensors(m.config.clone(), &constants(&m.tensors())).unwrap(),
            )),
            Self::Roberta(m) => Model::Roberta(Box::new(
                Roberta::from_tensors(m.config.clone(), &constants(&m.tensors())).unwrap(),
            )),
        }
    }

    /// The model with the adapter's layers merged by `merge`, and its classifier.
    fn merged(
        &self,
        adapter: &Adapter<f64>,
        merge: impl Fn(&mut Projections<f64>, &mut Linear<f64>, &LayerParts<f64>),
    ) -> Self {
        let mut model = self.clone();
        match &mut model {
            Self::Gpt2(m) => {
                for (i, block) in m.blocks.iter_mut().enumerate() {
                    let parts = adapter.layer(i).unwrap();
                    merge(&mut block.attention, &mut block.proj, &parts);
                }
            }
            Self::Roberta(m) => {
                let mut tensors = m.tensors();
                tensors.extend(adapter.replacements());
                **m = Roberta::from_tensors(m.config.clone(), &tensors).unwrap();
                for (i, layer) in m.layers.iter_mut().enumerate() {
                    let parts = adapter.layer(i).unwrap();
                    merge(&mut layer.attention, &mut layer.output, &parts);
                }
            }
        }
        model
    }
}

impl<T: Real> Model<T> {
    pub fn adapter(&self, config: &Value, tensors: TensorMap<T>) -> Adapter<T> {
        fn new<T: Real>(
            config: &Value,
            backbone: &impl Backbone,
            tensors: TensorMap<T>,
        ) -> Adapter<T> {
            let config: AdapterConfig = serde_json::from_value(config.clone()).unwrap();
            Adapter::from_tensors(config, backbone, tensors).unwrap()
        }
        match self {
            Self::Gpt2(m) => new(config, &m.config, tensors),
            Self::Roberta(m) => new(config, &m.config, tensors),
        }
    }

    pub fn logits(&self, case: &Value, adapter: Option<&Adapter<T>>) -> Array2<T> {
        let ids: Vec<u32> = numbers(&case["ids"]).iter().map(|&x| x as u32).collect();
        let mask: Vec<bool> = numbers(&case["mask"]).iter().map(|&x| x != 0.0).collect();
        let segments = case.get("segments").map(flat);
        let segments = segments.map(|s| s.iter().map(|&x| x as u32).collect::<Vec<_>>());
        match self {
            Self::Gpt2(m) => m.forward(&ids, segments.as_deref(), Some(&mask), adapter),
            Self::Roberta(m) => m.forward(&ids, segments.as_deref(), Some(&mask), adapter),
        }
        .unwrap()
        .logits
    }

    fn loss(&self, case: &Value, adapter: &Adapter<T>) -> T {
        let labels: Vec<i64> = flat(&case["labels"]).iter().map(|&x| x as i64).collect();
        let labels = match self {
            Self::Gpt2(_) => shift_labels(&labels),
            Self::Roberta(_) => labels,
        };
        let logits = self.logits(case, Some(adapter));
        cross_entropy(&logits, &labels, T::zero()).unwrap().0
    }
}

/// Rows `from .. from + count` of a tensor, in the shape that is asked for.
fn rows<T: Real>(tensor: &ArrayD<T>, from: usize, count: usize) -> ArrayD<T> {
    tensor
        .slice_axis(Axis(0), Slice::from(from..from + count))
        .to_owned()
}

fn vector<T: Real>(tensor: &ArrayD<T>) -> ArrayD<T> {
    tensor.flatten().into_owned().into_dyn()
}

/// PEFT's (IA)³ in this project's layout; without `fold` the scales of queries and heads are lost.
fn ia3<T: Real>(peft: &TensorMap<T>, fold: bool) -> TensorMap<T> {
    let mut ours = TensorMap::new();
    let product = |a: ArrayD<T>, b: ArrayD<T>| if fold { a * b } else { a };
    for (name, tensor) in peft {
        let Some(module) = name.strip_suffix(".ia3_l") else {
            ours.insert(name.clone(), tensor.clone());
            continue;
        };
        let tensor = vector(tensor);
        if let Some(attention) = module.strip_suffix(".c_attn") {
            let d = tensor.len() / 3;
            let [q, k, v] = [0, d, 2 * d].map(|from| rows(&tensor, from, d));
            ours.insert(format!("{attention}.ia3.k"), product(k, q));
            ours.insert(format!("{attention}.ia3.v"), v);
        } else if let Some(attention) = module.strip_suffix(".key") {
            ours.insert(format!("{attention}.ia3.k"), tensor);
        } else if let Some(attention) = module.strip_suffix(".self.value") {
            let heads = vector(&peft[&format!("{attention}.output.dense.ia3_l")]);
            ours.insert(format!("{attention}.self.ia3.v"), product(tensor, heads));
        } else if let Some(ffn) = module.strip_suffix(".c_proj") {
            ours.insert(format!("{ffn}.ia3"), tensor);
        } else if !module.ends_with(".attention.output.dense") {
            let layer = module.strip_suffix(".output.dense").unwrap();
            ours.insert(format!("{layer}.ffn.ia3"), tensor);
        }
    }
    ours
}

/// PEFT's LoRA in this project's layout: A is shared by the projections that c_attn fuses.
fn lora<T: Real>(peft: &TensorMap<T>) -> TensorMap<T> {
    let mut ours = TensorMap::new();
    for (name, tensor) in peft {
        let Some((module, factor)) = name.rsplit_once(".lora_") else {
            ours.insert(name.clone(), tensor.clone());
            continue;
        };
        let letter = if factor.starts_with('A') { 'a' } else { 'b' };
        let (attention, module) = module.rsplit_once('.').unwrap();
        let mut put = |projection: &str, tensor: ArrayD<T>| {
            ours.insert(format!("{attention}.lora.{projection}.{letter}"), tensor);
        };
        if module != "c_attn" {
            put(&module[..1], tensor.clone()); // query, key, value
            continue;
        }
        for (block, projection) in ["q", "k", "v"].into_iter().enumerate() {
            let d = tensor.shape()[0] / 3;
            put(
                projection,
                match letter {
                    'a' => tensor.clone(),
                    _ => rows(tensor, block * d, d),
                },
            );
        }
    }
    ours
}

/// One golden directory: PEFT's tensors without the wrapper's prefix, and the cases.
struct Golden {
    model: Model<f64>,
    tensors: TensorMap<f64>,
    cases: Vec<Value>,
}

const WRAPPER: &str = "base_model.model.";

impl Golden {
    fn read(backbone: &str, method: &str) -> Self {
        let dir = dir("peft").join(format!("{backbone}-{method}"));
        let tensors = read_tensors(&dir.join("adapter_model.safetensors"), |_| false).unwrap();
        let text = std::fs::read_to_string(dir.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        let stripped = |name: String| name.strip_prefix(WRAPPER).unwrap().to_owned();
        Self {
            model: Model::load(backbone),
            tensors: tensors
                .into_iter()
                .map(|(name, tensor)| (stripped(name), tensor))
                .collect(),
            cases: expected["cases"].as_array().unwrap().clone(),
        }
    }

    /// The worst error of logits and losses, relative to the greatest logit.
    fn values(&self, adapter: &Adapter<f64>) -> f64 {
        let errors = self.cases.iter().map(|case| {
            let logits = self.model.logits(case, Some(adapter));
            let loss = self.model.loss(case, adapter);
            real_rows(&logits, case, "logits").max(worst(&[loss], &flat(&case["loss"])))
        });
        errors.fold(0.0, f64::max)
    }

    /// The worst error of a merged model's logits.
    fn merged(&self, model: &Model<f64>) -> f64 {
        let errors = self.cases.iter();
        errors
            .map(|case| real_rows(&model.logits(case, None), case, "merged_logits"))
            .fold(0.0, f64::max)
    }

    /// The worst error of the gradients in every coordinate of every one of PEFT's tensors.
    fn gradients(
        &self,
        config: &Value,
        ours: impl Fn(&TensorMap<Dual<f64>>) -> TensorMap<Dual<f64>>,
    ) -> f64 {
        let (model, constants) = (self.model.dual(), constants(&self.tensors));
        let mut most = 0.0_f64;
        for (name, tensor) in &self.tensors {
            let mut found = vec![Vec::new(); self.cases.len()];
            for i in 0..tensor.len() {
                let mut varied = constants.clone();
                let variable = varied.get_mut(name).unwrap().iter_mut().nth(i).unwrap();
                *variable = Dual::variable(variable.re);
                let adapter = model.adapter(config, ours(&varied));
                for (case, found) in self.cases.iter().zip(&mut found) {
                    found.push(model.loss(case, &adapter).eps);
                }
            }
            for (case, found) in self.cases.iter().zip(&found) {
                let expected = flat(&case["gradients"][&format!("{WRAPPER}{name}")]);
                most = most.max(worst(found, &expected));
            }
        }
        most
    }
}

/// The worst relative error on real tokens (or of a classifier's one row).
fn real_rows(logits: &Array2<f64>, case: &Value, field: &str) -> f64 {
    let mask = numbers(&case["mask"]);
    let expected = flat(&case[field]);
    let classes = logits.ncols();
    let real = (0..logits.nrows()).filter(|&i| logits.nrows() == 1 || mask[i] != 0.0);
    let real: Vec<usize> = real.collect();
    let pick = |all: &[f64]| -> Vec<f64> {
        let rows = real.iter();
        rows.flat_map(|&i| all[i * classes..(i + 1) * classes].to_vec())
            .collect()
    };
    worst(&pick(logits.as_slice().unwrap()), &pick(&expected))
}

/// A method under test: its name, its configuration here, and the way from PEFT's tensors.
fn ia3_config() -> Value {
    json!({"peft_type": "INDUCER", "ia3": {"targets": ["k", "v", "ffn"]}})
}

fn rslora_config(targets: &[&str], use_rslora: bool) -> Value {
    json!({
        "peft_type": "INDUCER",
        "lora": {"targets": targets, "rank": 3, "alpha": 5.0, "use_rslora": use_rslora},
    })
}

const MOST: f64 = UNITS * f64::EPSILON / 2.0;
// A gradient goes through the same products backwards, and through the derivative of each.
const MOST_OF_A_GRADIENT: f64 = 4.0 * MOST;

#[test]
fn ia3_logits_losses_and_gradients_match_peft() {
    for backbone in ["gpt2", "roberta"] {
        let golden = Golden::read(backbone, "ia3");
        let adapter = |fold| {
            golden
                .model
                .adapter(&ia3_config(), ia3(&golden.tensors, fold))
        };
        let error = golden.values(&adapter(true));
        let gradients = golden.gradients(&ia3_config(), |tensors| ia3(tensors, true));
        println!("{backbone}: values {error:e}, gradients {gradients:e}");
        assert!(error < MOST, "{backbone}: {error:e}");
        assert!(gradients < MOST_OF_A_GRADIENT, "{backbone}: {gradients:e}");
        // control: PEFT's scales of queries and heads forgotten
        let control = golden.values(&adapter(false));
        assert!(control > 1e-3, "{backbone}: {control:e}");
        let control = golden.gradients(&ia3_config(), |tensors| ia3(tensors, false));
        assert!(control > 1e-3, "{backbone}: {control:e}");
    }
}

#[test]
fn ia3_merged_matches_peft() {
    for backbone in ["gpt2", "roberta"] {
        let golden = Golden::read(backbone, "ia3");
        let adapter = golden
            .model
            .adapter(&ia3_config(), ia3(&golden.tensors, true));
        let with = |bias: bool| {
            golden.model.merged(&adapter, |attention, ffn, parts| {
                let merge = |l, linear: &Linear<f64>| Linear {
                    bias: match bias {
                        true => merge_into_output(l, linear).bias,
                        false => linear.bias.clone(),
                    },
                    ..merge_into_output(l, linear)
                };
                let ia3 = &parts.ia3;
                attention.k = merge(ia3.key.as_ref().unwrap(), &attention.k);
                attention.v = merge(ia3.value.as_ref().unwrap(), &attention.v);
                *ffn = merge_into_input(ia3.ffn.as_ref().unwrap(), ffn);
            })
        };
        let error = golden.merged(&with(true));
        println!("{backbone}: {error:e}");
        assert!(error < MOST, "{backbone}: {error:e}");
        // control: the projections' biases left as they were
        let control = golden.merged(&with(false));
        assert!(control > 1e-3, "{backbone}: {control:e}");
    }
}

#[test]
fn rslora_logits_losses_gradients_and_merged_match_peft() {
    for (backbone, targets) in [("gpt2", &["q", "k", "v"][..]), ("roberta", &["q", "v"])] {
        let golden = Golden::read(backbone, "rslora");
        let config = rslora_config(targets, true);
        let adapter = golden.model.adapter(&config, lora(&golden.tensors));
        let error = golden.values(&adapter);
        let gradients = golden.gradients(&config, lora);
        let merged = golden.model.merged(&adapter, |attention, _, parts| {
            let Projections { q, k, v, .. } = attention;
            for (projection, part) in [(q, &parts.q), (k, &parts.k), (v, &parts.v)] {
                if let Some(part) = part {
                    *projection = part.merge(projection);
                }
            }
        });
        let merged = golden.merged(&merged);
        println!("{backbone}: values {error:e}, gradients {gradients:e}, merged {merged:e}");
        assert!(
            error < MOST && merged < MOST,
            "{backbone}: {error:e} {merged:e}"
        );
        assert!(gradients < MOST_OF_A_GRADIENT, "{backbone}: {gradients:e}");
        // control: LoRA's α/r
        let plain = rslora_config(targets, false);
        let control = golden.values(&golden.model.adapter(&plain, lora(&golden.tensors)));
        assert!(control > 1e-3, "{backbone}: {control:e}");
    }
}
