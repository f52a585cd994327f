//! Folding an adapter into its backbone: `W ← W + (α/r) AᵀBᵀ`, `b ← b + (α/r) b_lora` (Eq. 10), exact over the reals.
//!
//! # Numerics
//! Computed in f64 and rounded once to the backbone's type, so a merged weight is within half a unit in its last place of the exact one; the
//! merged model's projections then differ from the unmerged one's by that and by the rounding of a sum of d products.

use crate::config::AdapterConfig;
use crate::error::Result;
use crate::gpt2::Gpt2;
use crate::model::ADDED;
use crate::saved::Saved;
use candle_core::{DType, Tensor};

/// Folds LoRA and tuned backbone tensors of `saved` into `backbone`; returns the parts that cannot be folded (an inducer, a prefix, adapters), if
/// there are any. Trained rows of special tokens stay with that rest, or, without a rest, become the last rows of the embedding.
///
/// # Errors
/// A tensor is missing or does not fit.
pub fn merge(backbone: &mut Gpt2, saved: &Saved) -> Result<Option<Saved>> {
    let mut rest = saved.clone();
    for p in backbone.parameters_mut() {
        if let Some(t) = rest.tensors.remove(&p.name) {
            p.tensor = t.to_dtype(p.tensor.dtype())?;
        }
    }
    if let Some(lora) = rest.config.lora.take() {
        let d = backbone.config.n_embd;
        let scale = lora.alpha / lora.rank as f64;
        for (i, block) in backbone.blocks.iter_mut().enumerate() {
            for target in &lora.targets {
                let mut take = |name: &str| -> Result<Option<Tensor>> {
                    let name = format!("transformer.h.{i}.attn.lora.{}.{name}", target.letter());
                    let t = rest.tensors.remove(&name);
                    Ok(t.map(|t| t.to_dtype(DType::F64)).transpose()?)
                };
                let from = *target as usize * d;
                if let (Some(a), Some(b)) = (take("a")?, take("b")?) {
                    let update = (a.t()?.matmul(&b.t()?)? * scale)?;
                    add(
                        &mut block.c_attn[0].tensor,
                        &update.pad_with_zeros(1, from, 2 * d - from)?,
                    )?;
                }
                if let Some(bias) = take("bias")? {
                    let update = (bias * scale)?.pad_with_zeros(0, from, 2 * d - from)?;
                    add(&mut block.c_attn[1].tensor, &update)?;
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
    if let Some(added) = rest.tensors.remove(ADDED) {
        let added = added.to_dtype(backbone.wte.tensor.dtype())?;
        backbone.config.vocab_size += added.dim(0)?;
        backbone.wte.tensor = Tensor::cat(&[&backbone.wte.tensor, &added], 0)?;
    }
    Ok(None)
}

/// `weight + update`, in f64, rounded to the weight's type.
fn add(weight: &mut Tensor, update: &Tensor) -> Result<()> {
    let sum = (weight.to_dtype(DType::F64)? + update)?;
    *weight = sum.to_dtype(weight.dtype())?;
    Ok(())
}
