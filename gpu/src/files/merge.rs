//! Folding an adapter into its backbone: LoRA's `W ← W + (α/r) AᵀBᵀ`, `b ← b + (α/r) b_lora`
//! (Eq. 10) and (IA)³'s factors, both exact over the reals.
//!
//! # Numerics
//! Computed in f64 and rounded once to the backbone's type, so a merged weight is within half a
//! unit in its last place of the exact one; the merged model's projections then differ from the
//! unmerged one's by that and by the rounding of a sum of d products.

use super::adapter::SavedAdapter;
use crate::adapter::Attached;
use crate::backbone::Backbone;
use crate::error::{Origin, Result};
use crate::tape::Parameter;
use crate::tensors::{Source, Tensors as _};
use candle_core::Tensor;
use std::collections::BTreeMap;

/// Folds the parts of `saved` that can be (LoRA, (IA)³) and tuned backbone tensors into `backbone`;
/// returns the parts that cannot be folded (an inducer, a prefix, adapters), if there are any.
/// Trained rows of special tokens stay with that rest, or, without a rest, become the last rows of
/// the embedding; a classification head goes into the backbone and stays with a rest as well.
///
/// # Errors
/// A tensor is missing or does not fit.
pub fn merge(backbone: &mut dyn Backbone, saved: &SavedAdapter) -> Result<Option<SavedAdapter>> {
    let mut tensors = saved.tensors.clone();
    if saved.config.unties() {
        backbone.untie();
    }
    let own = backbone.own_parameters().len();
    let mut rest: BTreeMap<String, Tensor> = BTreeMap::new();
    for (i, p) in backbone.parameters_mut().into_iter().enumerate() {
        if let Some(t) = tensors.remove(&p.name) {
            p.tensor = t.to_dtype(p.tensor.dtype())?;
            if i >= own {
                rest.insert(p.name.clone(), t);
            }
        }
    }
    let special = tensors
        .get(Attached::SPECIAL_TOKENS)
        .map_or(0, |t| t.dims()[0]);
    let source = Source::given(tensors, Origin::Memory);
    let config = saved.config.stored();
    let attached = Attached::declare(&config, &backbone.spec(), special, &source.root())?;
    source.finish()?;
    let keep = |p: &Parameter| (p.name.clone(), p.tensor.clone());
    for part in attached.layers.iter().flatten() {
        if !part.fold(backbone)? {
            rest.extend(part.parameters().into_iter().map(keep));
        }
    }
    let config = config.after_folding();
    if config.has_parts() {
        rest.extend(attached.special_tokens.iter().map(keep));
        return Ok(Some(SavedAdapter {
            config,
            tensors: rest,
        }));
    }
    if let Some(special) = &attached.special_tokens {
        backbone.append_tokens(&special.tensor)?;
    }
    Ok(None)
}
