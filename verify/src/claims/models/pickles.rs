//! Backbones in PyTorch's own files: the engine reads the numbers that it reads from safetensors of
//! the same model, however a tensor's elements lie in their storage.
//!
//! ```text
//! x[i_1, …, i_k] = storage[offset + Σ_a i_a stride_a]
//! ```

use super::imports::plain;
use super::torch::{self, BFLOAT16, BOOL, BYTE, DOUBLE, FLOAT, HALF, LONG, Storage, Type, View};
use crate::cases::{Draw, roberta};
use crate::engines::Candle;
use crate::engines::candle::array;
use crate::{Case, Claim, Result, Target};
use candle_core::{DType, Device, Tensor};
use inducer_gpu::{Backbone, Model};
use inducer_reference::TensorMap;
use ndarray::{ArrayD, Dimension};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    let share = |id| Claim::new(id).one_case_in(8).at_least(13);
    vec![
        share("backbone-pickles").on_one_sided(Target::CpuF32, read),
        share("roberta-backbone-pickles")
            .about(roberta)
            .on_one_sided(Target::CpuF32, read),
    ]
}

/// The types that floats are stored in.
const FLOATS: [Type; 4] = [FLOAT, DOUBLE, HALF, BFLOAT16];

/// How a tensor's elements lie.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// One behind the other.
    Dense,
    /// As those of a transpose.
    Turned,
    /// With a number between any two.
    Apart,
    /// All are one number, which is stored once.
    Same,
}

impl Order {
    fn stride(self, shape: &[usize]) -> Vec<usize> {
        let axes = shape.len();
        let mut next = match self {
            Self::Dense | Self::Turned => 1,
            Self::Apart => 2,
            Self::Same => 0,
        };
        let mut stride = vec![0; axes];
        for place in 0..axes {
            // the last axis is the innermost but in a transpose
            let axis = match self {
                Self::Turned => place,
                _ => axes - 1 - place,
            };
            stride[axis] = next;
            next *= shape[axis];
        }
        stride
    }
}

/// The tensors of a checkpoint, and the storages that they lie in.
#[derive(Default)]
struct Checkpoint {
    tensors: Vec<(String, View)>,
    storages: Vec<Storage>,
    /// Those that lie as a transpose.
    turned: Vec<String>,
}

impl Checkpoint {
    /// Takes up a model's tensors, which then have the numbers that are stored.
    fn fill(&mut self, draw: &mut Draw, tensors: &mut TensorMap<f64>) {
        for (name, x) in tensors {
            let order = match x.ndim() {
                // the first matrix is a transpose in every case
                2 if self.turned.is_empty() => Order::Turned,
                2 => draw.pick(&[Order::Dense, Order::Turned, Order::Apart]),
                _ => draw.pick(&[Order::Dense, Order::Apart, Order::Same]),
            };
            self.put(draw, name, x, order);
        }
    }

    fn put(&mut self, draw: &mut Draw, name: &str, x: &mut ArrayD<f64>, order: Order) {
        // a storage of its own, or behind what lies in the last one
        if self.storages.is_empty() || !draw.chance(0.4) {
            self.storages.push(Storage {
                kind: draw.pick(&FLOATS),
                numbers: Vec::new(),
            });
        }
        let place = self.storages.len() - 1;
        let Storage { kind, numbers } = &mut self.storages[place];
        x.mapv_inplace(kind.held);
        let first = x.iter().next().copied();
        if let (Order::Same, Some(first)) = (order, first) {
            x.fill(first);
        }
        let stride = order.stride(x.shape());
        let offset = numbers.len() + draw.size(0, 3);
        let steps = x.shape().iter().zip(&stride);
        let last = offset + steps.map(|(size, step)| (size - 1) * step).sum::<usize>();
        // between and behind them lie other numbers
        let behind = draw.size(0, 2);
        numbers.resize_with(last + 1 + behind, || (kind.held)(draw.number(2.0)));
        for (at, value) in x.indexed_iter() {
            let from: usize = (0..at.ndim()).map(|axis| at[axis] * stride[axis]).sum();
            numbers[offset + from] = *value;
        }
        if order == Order::Turned {
            self.turned.push(name.to_owned());
        }
        let view = View {
            storage: place,
            offset,
            shape: x.shape().to_vec(),
            stride,
            parameter: draw.chance(0.2),
        };
        self.tensors.push((name.to_owned(), view));
    }

    /// A tensor that no function needs.
    fn unused(&mut self, name: &str, kind: Type, shape: &[usize]) {
        let count: usize = shape.iter().product();
        self.storages.push(Storage {
            kind,
            numbers: (0..count).map(|i| (i % 2) as f64).collect(),
        });
        let view = View {
            storage: self.storages.len() - 1,
            offset: 0,
            shape: shape.to_vec(),
            stride: Order::Dense.stride(shape),
            parameter: false,
        };
        self.tensors.push((name.to_owned(), view));
    }

    /// What a state dict has besides: the tied head of a GPT-2, which is the embedding once more,
    /// and buffers.
    fn beside(&mut self, classifies: bool) {
        if classifies {
            return self.unused("roberta.embeddings.position_ids", LONG, &[1, 6]);
        }
        let mut embedding = self.tensors.iter();
        let embedding = embedding.find(|(name, _)| name == "transformer.wte.weight");
        let head = embedding.map(|(_, view)| ("lm_head.weight".to_owned(), view.clone()));
        self.tensors.extend(head);
        // of truth values, which are not read, or of bytes
        self.unused("transformer.h.0.attn.bias", BOOL, &[1, 1, 4, 4]);
        self.unused("transformer.h.1.attn.bias", BYTE, &[1, 1, 4, 4]);
        self.unused("transformer.h.0.attn.masked_bias", FLOAT, &[]);
    }

    /// Writes one file, or several and their index.
    fn save(&self, dir: &Path, folder: &str, parts: usize) -> Result<()> {
        let mut places = BTreeMap::new();
        for part in 0..parts {
            let own = self.tensors.iter().skip(part).step_by(parts).cloned();
            let own: Vec<(String, View)> = own.collect();
            let name = match parts {
                1 => "pytorch_model.bin".to_owned(),
                _ => format!("pytorch_model-{:05}-of-{parts:05}.bin", part + 1),
            };
            torch::save(&dir.join(&name), folder, &own, &self.storages)?;
            places.extend(own.into_iter().map(|(tensor, _)| (tensor, name.clone())));
        }
        if parts > 1 {
            let index = json!({ "metadata": {}, "weight_map": places }).to_string();
            fs::write(dir.join("pytorch_model.bin.index.json"), index)?;
        }
        Ok(())
    }
}

/// The numbers of what the engine reads from a directory.
fn numbers(dir: &Path) -> Result<TensorMap<f64>> {
    let model = Model::load(dir, DType::F32, &Device::Cpu)?;
    let backbone: &dyn Backbone = model.backbone.as_ref();
    let parameters = backbone.parameters().into_iter();
    parameters
        .map(|p| Ok((p.name.clone(), array(&p.tensor)?)))
        .collect()
}

/// Every tensor of a checkpoint, in whatever type, order, storage and file it lies, has the numbers
/// of the same model's safetensors. In the control these are written as if the elements of every
/// tensor lay one behind the other.
fn read(case: &mut Case) -> Result<()> {
    let given = plain(case)?;
    let classifies = given.backbone.classifies();
    let (parts, folder) = (
        case.draw.size(1, 2),
        case.draw.pick(&["archive", "pytorch_model"]),
    );
    let mut tensors = given.weights.clone();
    tensors.extend(given.adapter.clone());
    let mut checkpoint = Checkpoint::default();
    checkpoint.fill(&mut case.draw, &mut tensors);
    checkpoint.beside(classifies);
    if case.control {
        for name in &checkpoint.turned {
            if let Some(x) = tensors.get_mut(name) {
                let lying = x.t().iter().copied().collect();
                *x = ArrayD::from_shape_vec(x.raw_dim(), lying)?;
            }
        }
    }
    let (pickles, safe) = (crate::scratch::folder()?, crate::scratch::folder()?);
    let engine = Candle::cpu_f32();
    engine.backbone(&given)?.save_backbone(safe.path())?;
    let config = "config.json";
    fs::copy(safe.path().join(config), pickles.path().join(config))?;
    let all = tensors.iter();
    let all: Result<HashMap<String, Tensor>> = all
        .map(|(name, x)| Ok((name.clone(), engine.tensor(x)?)))
        .collect();
    candle_core::safetensors::save(&all?, safe.path().join("model.safetensors"))?;
    checkpoint.save(pickles.path(), folder, parts)?;
    let (found, expected) = (numbers(pickles.path())?, numbers(safe.path())?);
    let describe = format!("{}, files {parts}", given.describe());
    for (name, x) in &tensors {
        case.same(found.get(name), Some(x), || format!("{describe}: {name}"));
        case.same(expected.get(name), Some(x), || {
            format!("{describe}: {name} of the safetensors")
        });
    }
    case.same(found.len(), expected.len(), || {
        format!("{describe}: how many tensors")
    });
    Ok(())
}
