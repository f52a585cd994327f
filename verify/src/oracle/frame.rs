//! GPT-2 around any attention sub-layer: embedding, layer normalisation, FFN and head of the
//! reference, any scalar.

use crate::cases::TextRow;
use crate::error::{Error, Result};
use inducer_reference::gelu::gelu_new;
use inducer_reference::gpt2::{Block, positions};
use inducer_reference::{Gpt2, Real};
use ndarray::{Array2, Axis, concatenate};

/// The logits of one row, [n, ids], its positions from `offset`, when `attention` makes each
/// layer's attention sub-layer: (layer, block, LN_1(x)) to its output before the residual sum.
///
/// # Errors
/// Lengths that differ, ids or positions that the model does not have, and the errors of
/// `attention`.
pub fn logits<T: Real>(
    model: &Gpt2<T>,
    added: &Array2<T>,
    row: &TextRow,
    mask: Option<&[bool]>,
    offset: usize,
    mut attention: impl FnMut(usize, &Block<T>, &Array2<T>) -> Result<Array2<T>>,
) -> Result<Array2<T>> {
    let table = concatenate(Axis(0), &[model.wte.view(), added.view()])?;
    let places = positions(row.ids.len(), mask, offset)?;
    let greatest = places.iter().max().copied().unwrap_or(0);
    let ids = row.ids.iter().chain(row.segments.iter().flatten());
    if greatest >= model.wpe.nrows() || ids.clone().any(|id| *id as usize >= table.nrows()) {
        return Err(Error::Missing(
            "an embedding of every id and position".into(),
        ));
    }
    let mut x = Array2::from_shape_fn((row.ids.len(), table.ncols()), |(i, c)| {
        let token = table[[row.ids[i] as usize, c]];
        let segment = row.segments.as_ref();
        let segment = segment.map_or(T::zero(), |ids| table[[ids[i] as usize, c]]);
        token + segment + model.wpe[[places[i], c]]
    });
    for (i, block) in model.blocks.iter().enumerate() {
        x = &x + &attention(i, block, &block.ln_1.forward(&x))?;
        let hidden = block.fc.forward(&block.ln_2.forward(&x)).mapv(gelu_new);
        x = &x + &block.proj.forward(&hidden);
    }
    Ok(model.ln_f.forward(&x).dot(&table.t()))
}
