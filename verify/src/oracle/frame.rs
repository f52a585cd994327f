//! GPT-2 and RoBERTa around any attention sub-layer: embedding, layer normalisation, FFN and head
//! of the reference, any scalar.

use crate::cases::TextRow;
use crate::error::{Error, Result};
use inducer_reference::gelu::{gelu, gelu_new};
use inducer_reference::gpt2::{Block, positions};
use inducer_reference::roberta::{self, Layer};
use inducer_reference::{Gpt2, Real, Roberta};
use ndarray::{Array2, Axis, concatenate};

/// What stands beside the FFN of a layer: (layer, the FFN's input) to what is added to its output.
pub type Beside<'a, T> = &'a dyn Fn(usize, &Array2<T>) -> Result<Option<Array2<T>>>;

/// Nothing beside any FFN.
///
/// # Errors
/// None.
pub fn nothing<T>(_: usize, _: &Array2<T>) -> Result<Option<Array2<T>>> {
    Ok(None)
}

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
    beside: Beside<'_, T>,
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
        let input = block.ln_2.forward(&x);
        let hidden = block.fc.forward(&input).mapv(gelu_new);
        x = &x + &block.proj.forward(&hidden);
        if let Some(more) = beside(i, &input)? {
            x = x + more;
        }
    }
    Ok(model.ln_f.forward(&x).dot(&table.t()))
}

/// The logits [1, classes] of one row without segments, its positions from `offset`, when
/// `attention` makes each layer's attention sub-layer: (index, layer, input) to its output before
/// the residual sum.
///
/// # Errors
/// Ids or positions that the model does not have, no classifier, and the errors of `attention`.
pub fn class_logits<T: Real>(
    model: &Roberta<T>,
    row: &TextRow,
    offset: usize,
    mut attention: impl FnMut(usize, &Layer<T>, &Array2<T>) -> Result<Array2<T>>,
    beside: Beside<'_, T>,
) -> Result<Array2<T>> {
    let places = roberta::positions(&row.ids, model.config.pad_token_id, offset);
    let known = |id: &u32| (*id as usize) < model.word.nrows();
    let placed = |place: &usize| *place < model.position.nrows();
    if !row.ids.iter().all(known) || !places.iter().all(placed) {
        return Err(Error::Missing(
            "an embedding of every id and position".into(),
        ));
    }
    let summed = Array2::from_shape_fn((row.ids.len(), model.word.ncols()), |(i, c)| {
        let token = model.word[[row.ids[i] as usize, c]];
        token + model.position[[places[i], c]] + model.token_type[[0, c]]
    });
    let mut x = model.norm.forward(&summed);
    for (i, layer) in model.layers.iter().enumerate() {
        let y = &x + &attention(i, layer, &x)?;
        let y = layer.attention_norm.forward(&y);
        let hidden = layer.intermediate.forward(&y).mapv(gelu);
        let mut sum = layer.output.forward(&hidden) + &y;
        if let Some(more) = beside(i, &y)? {
            sum = sum + more;
        }
        x = layer.output_norm.forward(&sum);
    }
    let classifier = model.classifier.as_ref();
    let classifier = classifier.ok_or_else(|| Error::Missing("a classifier".into()))?;
    Ok(classifier.forward(&x))
}
