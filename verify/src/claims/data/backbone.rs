//! Backbones as transformers' directories hold them, and tuned ones: names, shapes and files as its
//! formats have them, written and read here without the engine's code.

use crate::cases::Draw;
use crate::{Case, Result};
use candle_core::{DType, Device, Tensor};
use inducer_gpu::backbone::Backbone;
use inducer_gpu::files::adapter::SavedAdapter;
use inducer_gpu::files::merge::merge;
use inducer_gpu::{AdapterConfig, Model};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// A tensor's name, and its shape.
type Shape = (String, Vec<usize>);

/// The sizes of a tiny backbone.
struct Sizes {
    vocabulary: usize,
    positions: usize,
    hidden: usize,
    layers: usize,
    inner: usize,
    classes: usize,
}

impl Sizes {
    /// A matrix as it is stored, and its bias.
    fn pair(name: &str, shape: [usize; 2], outputs: usize) -> [Shape; 2] {
        let weight = (format!("{name}.weight"), shape.to_vec());
        [weight, (format!("{name}.bias"), vec![outputs])]
    }

    fn norm(&self, name: &str) -> [Shape; 2] {
        ["weight", "bias"].map(|part| (format!("{name}.{part}"), vec![self.hidden]))
    }

    /// GPT-2's: weights of maps [in, out].
    fn gpt2(&self) -> Vec<Shape> {
        let (d, inner) = (self.hidden, self.inner);
        let mut all = vec![
            ("transformer.wte.weight".into(), vec![self.vocabulary, d]),
            ("transformer.wpe.weight".into(), vec![self.positions, d]),
        ];
        for layer in 0..self.layers {
            let at = format!("transformer.h.{layer}");
            all.extend(self.norm(&format!("{at}.ln_1")));
            all.extend(self.norm(&format!("{at}.ln_2")));
            for (name, input, output) in [
                ("attn.c_attn", d, 3 * d),
                ("attn.c_proj", d, d),
                ("mlp.c_fc", d, inner),
                ("mlp.c_proj", inner, d),
            ] {
                all.extend(Self::pair(&format!("{at}.{name}"), [input, output], output));
            }
        }
        all.extend(self.norm("transformer.ln_f"));
        all
    }

    /// RoBERTa's with a classifier: weights of maps [out, in].
    fn roberta(&self) -> Vec<Shape> {
        let (d, inner) = (self.hidden, self.inner);
        let at = "roberta.embeddings";
        let table = |name: &str, rows| (format!("{at}.{name}_embeddings.weight"), vec![rows, d]);
        let mut all = vec![
            table("word", self.vocabulary),
            table("position", self.positions + 2),
            table("token_type", 1),
        ];
        all.extend(self.norm(&format!("{at}.LayerNorm")));
        for layer in 0..self.layers {
            let at = format!("roberta.encoder.layer.{layer}");
            all.extend(self.norm(&format!("{at}.attention.output.LayerNorm")));
            all.extend(self.norm(&format!("{at}.output.LayerNorm")));
            for (name, input, output) in [
                ("attention.self.query", d, d),
                ("attention.self.key", d, d),
                ("attention.self.value", d, d),
                ("attention.output.dense", d, d),
                ("intermediate.dense", d, inner),
                ("output.dense", inner, d),
            ] {
                all.extend(Self::pair(&format!("{at}.{name}"), [output, input], output));
            }
        }
        all.extend(Self::pair("classifier.dense", [d, d], d));
        let classes = self.classes;
        all.extend(Self::pair("classifier.out_proj", [classes, d], classes));
        all
    }

    fn config(&self, gpt2: bool) -> Value {
        match gpt2 {
            true => json!({
                "model_type": "gpt2", "vocab_size": self.vocabulary, "n_positions": self.positions,
                "n_embd": self.hidden, "n_layer": self.layers, "n_head": 2, "n_inner": self.inner,
                "layer_norm_epsilon": 1e-6, "activation_function": "gelu_new",
            }),
            false => json!({
                "model_type": "roberta", "vocab_size": self.vocabulary, "hidden_size": self.hidden,
                "max_position_embeddings": self.positions + 2, "num_hidden_layers": self.layers,
                "num_attention_heads": 2, "intermediate_size": self.inner, "type_vocab_size": 1,
                "layer_norm_eps": 1e-6, "pad_token_id": 1, "num_labels": self.classes,
                "hidden_act": "gelu",
            }),
        }
    }
}

/// A name as another version of transformers writes it.
fn renamed(name: &str, bare: bool, old: bool) -> String {
    let name = match bare {
        true => name
            .trim_start_matches("transformer.")
            .trim_start_matches("roberta."),
        false => name,
    };
    match old {
        true => name
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta"),
        false => name.to_owned(),
    }
}

/// Numbers that a type holds exactly: of eight bits, where there are more of sixteen.
fn numbers(draw: &mut Draw, shape: &[usize], dtype: DType) -> Vec<f32> {
    let most = match dtype {
        DType::F64 | DType::F32 => 1 << 16,
        _ => 1 << 8,
    };
    let one = |draw: &mut Draw| 4.0 * draw.size(0, most - 1) as f32 / most as f32 - 2.0;
    (0..shape.iter().product()).map(|_| one(draw)).collect()
}

fn write(dir: &Path, tensors: HashMap<String, Tensor>, shards: bool) -> Result<()> {
    if !shards {
        let path = dir.join("model.safetensors");
        return Ok(candle_core::safetensors::save(&tensors, path)?);
    }
    let mut parts = [HashMap::new(), HashMap::new()];
    let mut places = BTreeMap::new();
    for (i, (name, tensor)) in tensors.into_iter().enumerate() {
        places.insert(name.clone(), format!("part-{}.safetensors", i % 2));
        parts[i % 2].insert(name, tensor);
    }
    for (i, part) in parts.iter().enumerate() {
        candle_core::safetensors::save(part, dir.join(format!("part-{i}.safetensors")))?;
    }
    let index = json!({ "weight_map": places }).to_string();
    Ok(fs::write(dir.join("model.safetensors.index.json"), index)?)
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// A backbone of a draw's sizes, and its numbers by name.
struct Drawn {
    gpt2: bool,
    sizes: Sizes,
    dtype: DType,
    numbers: BTreeMap<String, Vec<f32>>,
    tensors: BTreeMap<String, Tensor>,
}

fn drawn(draw: &mut Draw) -> Result<Drawn> {
    let gpt2 = draw.chance(0.5);
    let [layers, vocabulary, inner] = draw.sizes([(1, 2), (5, 9), (3, 9)]);
    let sizes = Sizes {
        vocabulary,
        positions: 6,
        hidden: 4,
        layers,
        inner,
        classes: 3,
    };
    let dtype = draw.pick(&[DType::F64, DType::F32, DType::F16, DType::BF16]);
    let shapes = if gpt2 { sizes.gpt2() } else { sizes.roberta() };
    let (mut all, mut tensors) = (BTreeMap::new(), BTreeMap::new());
    for (name, shape) in shapes {
        let own = numbers(draw, &shape, dtype);
        let tensor = Tensor::from_slice(&own, shape, &Device::Cpu)?.to_dtype(dtype)?;
        tensors.insert(name.clone(), tensor);
        all.insert(name, own);
    }
    Ok(Drawn {
        gpt2,
        sizes,
        dtype,
        numbers: all,
        tensors,
    })
}

impl Drawn {
    /// The model that the engine reads from a directory with these tensors.
    fn read(&self, tensors: HashMap<String, Tensor>, shards: bool) -> Result<Model> {
        let dir = crate::scratch::folder()?;
        write(dir.path(), tensors, shards)?;
        let config = self.sizes.config(self.gpt2).to_string();
        fs::write(dir.path().join("config.json"), config)?;
        Ok(Model::load(dir.path(), DType::F32, &Device::Cpu)?)
    }

    fn name(&self) -> String {
        let kind = if self.gpt2 { "a GPT-2" } else { "a RoBERTa" };
        format!("{kind} in {:?}", self.dtype)
    }
}

/// A backbone's numbers by name.
fn numbers_of(backbone: &dyn Backbone) -> Result<BTreeMap<String, Vec<f32>>> {
    let parameters = backbone.parameters().into_iter();
    parameters
        .map(|p| Ok((p.name.clone(), flat(&p.tensor)?)))
        .collect()
}

/// A directory's numbers become the tensors of the same names, with or without the prefix, older
/// names of LayerNorm's included, in one file or two, of every type of floats; what no function
/// needs is passed over, ε is the one that stands there; and a backbone that is saved has the same
/// numbers under transformers' names. In the control one number is another one.
pub(super) fn files(case: &mut Case) -> Result<()> {
    let own = drawn(&mut case.draw)?;
    let [bare, old, shards] = [(); 3].map(|()| case.draw.chance(0.5));
    let written = own.tensors.iter();
    let written = written.map(|(name, t)| (renamed(name, bare, old && !own.gpt2), t.clone()));
    let mut written: HashMap<String, Tensor> = written.collect();
    let unused = match own.gpt2 {
        true => "transformer.h.0.attn.masked_bias",
        false => "roberta.pooler.dense.bias",
    };
    written.insert(unused.into(), Tensor::zeros(1, own.dtype, &Device::Cpu)?);
    let model = own.read(written, shards)?;
    let mut expected = own.numbers.clone();
    if let Some(numbers) = expected.values_mut().next().filter(|_| case.control) {
        numbers[0] += 1.0;
    }
    let name = format!("{}, bare {bare}, old {old}, two files {shards}", own.name());
    let found = numbers_of(model.backbone.as_ref())?;
    case.same(&found, &expected, || name.clone());
    let json = model.backbone.json();
    let eps = ["layer_norm_epsilon", "layer_norm_eps"].map(|field| json[field].as_f64());
    case.same(eps[0].or(eps[1]), Some(1e-6), || format!("{name}: ε"));
    let again = crate::scratch::folder()?;
    model.save_backbone(again.path())?;
    let path = again.path().join("model.safetensors");
    let mut saved = BTreeMap::new();
    for (name, tensor) in candle_core::safetensors::load(path, &Device::Cpu)? {
        saved.insert(name, flat(&tensor)?);
    }
    case.same(&saved, &expected, || format!("{name}, saved"));
    Ok(())
}

/// Tuned biases that are merged are the backbone's, nothing else of it changes, and the trained
/// rows of special tokens become the last ones of its vocabulary. In the control one tuned number
/// is another one.
pub(super) fn merged(case: &mut Case) -> Result<()> {
    let own = drawn(&mut case.draw)?;
    let written = own.tensors.clone().into_iter().collect();
    let mut backbone = own.read(written, false)?.backbone;
    let mut expected = own.numbers.clone();
    let mut tensors = BTreeMap::new();
    for (name, old) in &own.tensors {
        if name.ends_with(".bias") {
            let new = numbers(&mut case.draw, old.dims(), DType::F32);
            tensors.insert(
                name.clone(),
                Tensor::from_slice(&new, old.shape(), &Device::Cpu)?,
            );
            expected.insert(name.clone(), new);
        }
    }
    if own.gpt2 {
        let shape = (case.draw.size(1, 3), own.sizes.hidden);
        let rows = numbers(&mut case.draw, &[shape.0, shape.1], DType::F32);
        let special = Tensor::from_slice(&rows, shape, &Device::Cpu)?;
        tensors.insert("transformer.wte.added".into(), special);
        let embeddings = expected.get_mut("transformer.wte.weight");
        embeddings.into_iter().for_each(|e| e.extend(&rows));
    }
    let saved = SavedAdapter {
        config: AdapterConfig {
            bitfit: true,
            ..AdapterConfig::none()
        },
        tensors,
    };
    let rest = merge(backbone.as_mut(), &saved)?;
    let name = own.name();
    case.same(rest.is_none(), true, || format!("{name}: nothing is left"));
    let tuned = expected
        .iter_mut()
        .find(|(name, _)| name.ends_with(".bias"));
    if let Some((_, numbers)) = tuned.filter(|_| case.control) {
        numbers[0] += 1.0;
    }
    let found = numbers_of(backbone.as_ref())?;
    case.same(&found, &expected, || format!("{name}, merged"));
    Ok(())
}
