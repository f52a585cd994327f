//! GPT-2's tensors: from a directory or a map into the model, and back.

use super::Gpt2Config;
use crate::attention::Linear;
use crate::error::Error;
use crate::files::backbone::read_backbone_tensors;
use crate::files::named::Named;
use crate::files::tensors::TensorMap;
use crate::layer_norm::LayerNorm;
use crate::scalar::{Field, Real};
use crate::sub_layer::Projections;
use ndarray::{Array, Array2, Dimension, s};
use std::path::Path;

/// GPT-2 with the tied language-modelling head.
#[derive(Clone, Debug)]
pub struct Gpt2<T> {
    /// The configuration.
    pub config: Gpt2Config,
    /// Token embeddings, and the head: `[vocab_size, d]`.
    pub wte: Array2<T>,
    /// Position embeddings: `[n_positions, d]`.
    pub wpe: Array2<T>,
    /// The layers.
    pub blocks: Vec<Block<T>>,
    /// The last layer normalisation.
    pub ln_f: LayerNorm<T>,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct Block<T> {
    /// Before attention.
    pub ln_1: LayerNorm<T>,
    /// W^q, W^k, W^v (the columns of `c_attn`) and W^o (`c_proj`).
    pub attention: Projections<T>,
    /// Before the FFN.
    pub ln_2: LayerNorm<T>,
    /// The FFN's first product, `mlp.c_fc`.
    pub fc: Linear<T>,
    /// The FFN's second product, `mlp.c_proj`.
    pub proj: Linear<T>,
}

/// `h.{i}.attn.bias` and `h.{i}.attn.masked_bias`: the causal mask, stored by older versions of
/// Hugging Face's software.
fn is_mask_buffer(name: &str) -> bool {
    name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")
}

/// A backbone name without its optional prefix.
fn short(name: &str) -> &str {
    name.strip_prefix("transformer.").unwrap_or(name)
}

impl<T: Real> Gpt2<T> {
    /// Reads a Hugging Face directory.
    ///
    /// # Errors
    /// When a file is missing or broken, the configuration unsupported, or a tensor missing, left
    /// over, misshapen or not finite. The error names the file and the tensor or field.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let config = Gpt2Config::read(&dir.join("config.json"))?;
        let (origin, tensors) = read_backbone_tensors(dir, is_mask_buffer)?;
        Self::new(config, tensors, origin)
    }

    /// A model from tensors in memory, named with or without `transformer.`.
    ///
    /// # Errors
    /// When the configuration is unsupported, or a tensor missing, left over or misshapen.
    pub fn from_tensors(config: Gpt2Config, tensors: &TensorMap<T>) -> Result<Self, Error> {
        config.validate("configuration")?;
        let own = tensors.iter().filter(|(name, _)| !is_mask_buffer(name));
        let own = own.map(|(name, tensor)| (name.clone(), tensor.clone()));
        Self::new(config, own.collect(), "given tensors".into())
    }

    fn new(config: Gpt2Config, tensors: TensorMap<T>, origin: String) -> Result<Self, Error> {
        let mut named = Named::new(origin, TensorMap::new());
        for (name, tensor) in tensors {
            if named.contains(short(&name)) {
                return Err(Error::UnexpectedTensor {
                    file: named.origin().to_owned(),
                    found: tensor.shape().to_vec(),
                    tensor: name,
                });
            }
            named.insert(short(&name).to_owned(), tensor);
        }
        let (d, epsilon) = (config.n_embd, config.layer_norm_epsilon);
        let wte = named.matrix("wte.weight", [config.vocab_size, d])?;
        check_tied_head(&mut named, &wte)?;
        let wpe = named.matrix("wpe.weight", [config.n_positions, d])?;
        let blocks = (0..config.n_layer)
            .map(|i| block(&mut named, &config, i))
            .collect::<Result<_, _>>()?;
        let ln_f = named.layer_norm("ln_f", d, epsilon)?;
        named.finish()?;
        Ok(Self {
            config,
            wte,
            wpe,
            blocks,
            ln_f,
        })
    }

    /// Every tensor by its full name, as Hugging Face writes it.
    #[must_use]
    pub fn tensors(&self) -> TensorMap<T> {
        let mut out = Out(TensorMap::new());
        out.put("wte.weight", &self.wte);
        out.put("wpe.weight", &self.wpe);
        out.layer_norm("ln_f", &self.ln_f);
        for (i, block) in self.blocks.iter().enumerate() {
            out.layer_norm(&format!("h.{i}.ln_1"), &block.ln_1);
            out.layer_norm(&format!("h.{i}.ln_2"), &block.ln_2);
            out.linear(&format!("h.{i}.attn.c_attn"), &fused(&block.attention));
            out.linear(&format!("h.{i}.attn.c_proj"), &block.attention.o);
            out.linear(&format!("h.{i}.mlp.c_fc"), &block.fc);
            out.linear(&format!("h.{i}.mlp.c_proj"), &block.proj);
        }
        out.0
    }
}

/// A stored `lm_head.weight` must be `wte`, since the head is tied.
fn check_tied_head<T: Real>(named: &mut Named<T>, wte: &Array2<T>) -> Result<(), Error> {
    if !named.contains("lm_head.weight") {
        return Ok(());
    }
    let head = named.matrix("lm_head.weight", [wte.nrows(), wte.ncols()])?;
    if head == *wte {
        return Ok(());
    }
    Err(Error::Field {
        file: named.origin().to_owned(),
        field: "lm_head.weight".into(),
        expected: "the same values as wte.weight (the head is tied)".into(),
        found: "other values".into(),
    })
}

fn block<T: Real>(named: &mut Named<T>, config: &Gpt2Config, i: usize) -> Result<Block<T>, Error> {
    let (d, inner, epsilon) = (config.n_embd, config.inner(), config.layer_norm_epsilon);
    let qkv = named.conv1d(&format!("h.{i}.attn.c_attn"), [d, 3 * d])?;
    let columns = |part: usize| Linear {
        weight: qkv
            .weight
            .slice(s![.., part * d..(part + 1) * d])
            .to_owned(),
        bias: qkv.bias.slice(s![part * d..(part + 1) * d]).to_owned(),
    };
    Ok(Block {
        ln_1: named.layer_norm(&format!("h.{i}.ln_1"), d, epsilon)?,
        attention: Projections {
            q: columns(0),
            k: columns(1),
            v: columns(2),
            o: named.conv1d(&format!("h.{i}.attn.c_proj"), [d, d])?,
            heads: config.n_head,
        },
        ln_2: named.layer_norm(&format!("h.{i}.ln_2"), d, epsilon)?,
        fc: named.conv1d(&format!("h.{i}.mlp.c_fc"), [d, inner])?,
        proj: named.conv1d(&format!("h.{i}.mlp.c_proj"), [inner, d])?,
    })
}

/// [W^q W^k W^v] and [b^q b^k b^v].
fn fused<T: Real>(attention: &Projections<T>) -> Linear<T> {
    let d = attention.q.bias.len();
    let parts = [&attention.q, &attention.k, &attention.v];
    Linear {
        weight: Array2::from_shape_fn((d, 3 * d), |(a, c)| parts[c / d].weight[[a, c % d]]),
        bias: (0..3 * d).map(|c| parts[c / d].bias[c % d]).collect(),
    }
}

struct Out<T>(TensorMap<T>);

impl<T: Field> Out<T> {
    fn put<D: Dimension>(&mut self, name: &str, tensor: &Array<T, D>) {
        self.0
            .insert(format!("transformer.{name}"), tensor.clone().into_dyn());
    }

    fn linear(&mut self, name: &str, linear: &Linear<T>) {
        self.put(&format!("{name}.weight"), &linear.weight);
        self.put(&format!("{name}.bias"), &linear.bias);
    }

    fn layer_norm(&mut self, name: &str, norm: &LayerNorm<T>) {
        self.put(&format!("{name}.weight"), &norm.weight);
        self.put(&format!("{name}.bias"), &norm.bias);
    }
}
