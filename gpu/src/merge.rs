//! Folding an adapter into its backbone: `W ← W + (α/r) AᵀBᵀ`, `b ← b + (α/r) b_lora` (Eq. 10),
//! exact over the reals.
//!
//! # Numerics
//! Computed in f64 and rounded once to the backbone's type, so a merged weight is within half a
//! unit in its last place of the exact one; the merged model's projections then differ from the
//! unmerged one's by that and by the rounding of a sum of d products.

use crate::backbone::Backbone;
use crate::config::{AdapterConfig, Target};
use crate::error::Result;
use crate::model::ADDED;
use crate::saved::Saved;
use candle_core::{DType, Tensor};

/// Folds LoRA and tuned backbone tensors of `saved` into `backbone`; returns the parts that cannot
/// be folded (an inducer, a prefix, adapters), if there are any. Trained rows of special tokens
/// stay with that rest, or, without a rest, become the last rows of the embedding; a classification
/// head goes into the backbone and stays with a rest as well.
///
/// # Errors
/// A tensor is missing or does not fit.
pub fn merge(backbone: &mut Backbone, saved: &Saved) -> Result<Option<Saved>> {
    let mut rest = saved.clone();
    let head = backbone.describe().head();
    for p in backbone.parameters_mut() {
        let found = match head.iter().any(|(name, _)| *name == p.name) {
            true => rest.tensors.get(&p.name).cloned(),
            false => rest.tensors.remove(&p.name),
        };
        if let Some(t) = found {
            p.tensor = t.to_dtype(p.tensor.dtype())?;
        }
    }
    if let Some(lora) = rest.config.lora.take() {
        let scale = lora.alpha / lora.rank as f64;
        for i in 0..backbone.describe().layers() {
            let at = backbone.describe().attention(i);
            for target in &lora.targets {
                let mut take = |name: &str| -> Result<Option<Tensor>> {
                    let name = format!("{at}.lora.{}.{name}", target.letter());
                    let t = rest.tensors.remove(&name);
                    Ok(t.map(|t| t.to_dtype(DType::F64)).transpose()?)
                };
                if let (Some(a), Some(b)) = (take("a")?, take("b")?) {
                    fold(backbone, i, *target, &(b.matmul(&a)? * scale)?)?;
                }
                if let Some(bias) = take("bias")? {
                    fold(backbone, i, *target, &(bias * scale)?)?;
                }
            }
        }
    }
    rest.config = AdapterConfig {
        full: false,
        bitfit: false,
        ..rest.config
    };
    if rest.config.attention.is_some() || rest.config.ffn.is_some() {
        return Ok(Some(rest));
    }
    if let (Backbone::Gpt2(backbone), Some(added)) = (backbone, rest.tensors.remove(ADDED)) {
        let added = added.to_dtype(backbone.wte.tensor.dtype())?;
        backbone.config.vocab_size += added.dim(0)?;
        backbone.wte.tensor = Tensor::cat(&[&backbone.wte.tensor, &added], 0)?;
    }
    Ok(None)
}

/// Adds `update`, [d out, d in] to the weight or [d] to the bias, to a layer's projection: GPT-2
/// has one matrix [d in, 3 d out] and one bias [3 d] for all three, RoBERTa three of each.
fn fold(backbone: &mut Backbone, layer: usize, of: Target, update: &Tensor) -> Result<()> {
    let (place, bias) = (of as usize, usize::from(update.rank() == 1));
    match backbone {
        Backbone::Gpt2(b) => {
            let d = b.config.n_embd;
            let (update, columns) = match bias {
                0 => (update.t()?.contiguous()?, 1),
                _ => (update.clone(), 0),
            };
            let update = update.pad_with_zeros(columns, place * d, (2 - place) * d)?;
            add(&mut b.blocks[layer].c_attn[bias].tensor, &update)
        }
        Backbone::Roberta(b) => add(&mut b.layers[layer].qkv[place][bias].tensor, update),
    }
}

/// `weight + update`, in f64, rounded to the weight's type.
fn add(weight: &mut Tensor, update: &Tensor) -> Result<()> {
    let sum = (weight.to_dtype(DType::F64)? + update)?;
    *weight = sum.to_dtype(weight.dtype())?;
    Ok(())
}
