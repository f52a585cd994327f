//! RoBERTa with a classification head, whole, with any method attached.
//!
//! ```text
//! x = LN(word[token] + position[padding_idx + 1 + i] + type[segment])
//! L times, post-norm:
//!     y = LN(heads W^o + b^o + Σ_h λ MLP_v + b_2 + x)
//!     x = LN(FFN(y) + s · Adapter(y) + y)
//! logits = tanh(x_0 W_dense + b) W_out + b        (x_0 at <s>)
//! ```
//!
//! One sequence at a time, without dropout but where its factors are given. Positions count tokens
//! other than padding; a padding token has position `padding_idx`. Keys that the attention mask
//! hides are invisible in λ's denominator too: the authors' code takes λ before it adds the padding
//! mask, so that there a sentence's output depends on how far it was padded; Equation (7) sums over
//! visible keys.
//!
//! Checked by `roberta_logits_match_transformers` (golden numbers) and
//! `roberta_padding_changes_no_output_under_any_method`.

mod config;
mod weights;

pub use config::RobertaConfig;
pub use weights::{Classifier, Layer, Roberta};

use crate::dropout::{Masks, dropped};
use crate::embedding::{add_to, row, same_length};
use crate::error::Error;
use crate::files::adapter::Adapter;
use crate::gelu::gelu;
use crate::gpt2::Forward;
use crate::ia3::rescale;
use crate::parts::LayerParts;
use crate::scalar::Real;
use crate::visible::Visible;
use ndarray::{Array2, s};
use std::borrow::Cow;

impl<T: Real> Roberta<T> {
    /// The classifier on one row: `logits` is `[1, classes]`, `hidden` the encoder's output
    /// `[n, d]`.
    ///
    /// # Shapes
    /// `ids`, `segments`, `attention_mask`: n ≥ 1.
    ///
    /// # Errors
    /// When an id or a position is out of range, lengths differ, the adapter does not fit, or
    /// neither backbone nor adapter has a classifier.
    pub fn forward(
        &self,
        ids: &[u32],
        segments: Option<&[u32]>,
        attention_mask: Option<&[bool]>,
        adapter: Option<&Adapter<T>>,
    ) -> Result<Forward<T>, Error> {
        self.forward_at(ids, segments, None, attention_mask, adapter)
    }

    /// The same with rows of the position table that are given, not counted.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_at(
        &self,
        ids: &[u32],
        segments: Option<&[u32]>,
        given: Option<&[usize]>,
        attention_mask: Option<&[bool]>,
        adapter: Option<&Adapter<T>>,
    ) -> Result<Forward<T>, Error> {
        self.pass(ids, segments, given, attention_mask, adapter, &[])
    }

    /// The model in training: with dropout's factors in each layer.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_dropped(
        &self,
        ids: &[u32],
        segments: Option<&[u32]>,
        adapter: Option<&Adapter<T>>,
        dropout: &[Masks<T>],
    ) -> Result<Forward<T>, Error> {
        self.pass(ids, segments, None, None, adapter, dropout)
    }

    fn pass(
        &self,
        ids: &[u32],
        segments: Option<&[u32]>,
        given: Option<&[usize]>,
        attention_mask: Option<&[bool]>,
        adapter: Option<&Adapter<T>>,
        dropout: &[Masks<T>],
    ) -> Result<Forward<T>, Error> {
        let model = self.with_replacements(adapter)?;
        let offset = adapter.map_or(0, Adapter::position_offset);
        let positions = given.map_or_else(
            || positions(ids, self.config.pad_token_id, offset),
            <[usize]>::to_vec,
        );
        let mut x = model.embed(ids, segments, &positions)?;
        let mut visible = Visible::all(ids.len(), ids.len());
        if let Some(mask) = attention_mask {
            same_length("attention mask", ids.len(), mask.len())?;
            visible = visible.hiding(mask);
        }
        let mut lambda = Vec::new();
        for (i, layer) in model.layers.iter().enumerate() {
            let mut parts = match adapter {
                Some(adapter) => adapter.layer(i)?,
                None => LayerParts::none(),
            };
            parts.dropout = dropout.get(i).cloned().unwrap_or_default();
            let (after, gate) = layer.forward(&x, &visible, &parts);
            x = after;
            lambda.extend(gate);
        }
        let logits = model.classifier()?.forward(&x);
        Ok(Forward {
            logits,
            lambda,
            hidden: x,
        })
    }

    fn with_replacements(&self, adapter: Option<&Adapter<T>>) -> Result<Cow<'_, Self>, Error> {
        match adapter.map(Adapter::replacements) {
            Some(replacements) if !replacements.is_empty() => {
                let mut tensors = self.tensors();
                tensors.extend(replacements);
                Ok(Cow::Owned(Self::from_tensors(
                    self.config.clone(),
                    &tensors,
                )?))
            }
            _ => Ok(Cow::Borrowed(self)),
        }
    }

    fn classifier(&self) -> Result<&Classifier<T>, Error> {
        self.classifier
            .as_ref()
            .ok_or_else(|| Error::MissingTensor {
                file: "backbone and adapter".into(),
                tensor: "classifier.dense.weight".into(),
                expected: vec![self.config.hidden_size; 2],
            })
    }

    /// Word, position and type embeddings, summed and normalised: `[n, d]`.
    fn embed(
        &self,
        ids: &[u32],
        segments: Option<&[u32]>,
        positions: &[usize],
    ) -> Result<Array2<T>, Error> {
        let n = ids.len();
        same_length("position ids", n, positions.len())?;
        let segments = segments.map_or_else(|| vec![0; n], <[u32]>::to_vec);
        same_length("segment ids", n, segments.len())?;
        let mut x = Array2::zeros((n, self.config.hidden_size));
        for i in 0..n {
            add_to(
                x.row_mut(i),
                &row(&self.word, ids[i] as usize, "token id", i)?,
            );
            add_to(
                x.row_mut(i),
                &row(&self.position, positions[i], "position id", i)?,
            );
            add_to(
                x.row_mut(i),
                &row(&self.token_type, segments[i] as usize, "segment id", i)?,
            );
        }
        Ok(self.norm.forward(&x))
    }
}

/// Position ids: `padding_idx` plus `offset` plus the number of real tokens up to and with this
/// one; `padding_idx` on padding.
///
/// ```
/// use inducer_reference::roberta::positions;
/// assert_eq!(positions(&[0, 5, 1, 2], 1, 0), vec![2, 3, 1, 4]);
/// ```
#[must_use]
pub fn positions(ids: &[u32], padding_idx: u32, offset: usize) -> Vec<usize> {
    let mut real = 0;
    let position = |&id: &u32| {
        if id == padding_idx {
            return padding_idx as usize;
        }
        real += 1;
        padding_idx as usize + offset + real
    };
    ids.iter().map(position).collect()
}

impl<T: Real> Layer<T> {
    /// One post-norm layer: each sub-layer's output plus its input, normalised.
    fn forward(
        &self,
        x: &Array2<T>,
        visible: &Visible,
        parts: &LayerParts<T>,
    ) -> (Array2<T>, Option<Array2<T>>) {
        let attention = self.attention.forward(x, visible, parts);
        let dropout = &parts.dropout;
        let branch = dropped(attention.output, dropout.attention_branch.as_ref());
        let y = self.attention_norm.forward(&(branch + x));
        let hidden = self.intermediate.forward(&y).mapv(gelu);
        let mut ffn = self
            .output
            .forward(&rescale(parts.ia3.ffn.as_ref(), hidden));
        ffn = dropped(ffn, dropout.ffn_branch.as_ref());
        if let Some(part) = &parts.ffn {
            ffn = ffn + part.adapter.branch(&y) * part.scale;
        }
        (self.output_norm.forward(&(ffn + y)), attention.lambda)
    }
}

impl<T: Real> Classifier<T> {
    /// tanh(x_0 W_dense + b) W_out + b, x_0 the first token's row.
    ///
    /// # Shapes
    /// `x`: `[n, d]` → `[1, classes]`.
    pub fn forward(&self, x: &Array2<T>) -> Array2<T> {
        let first = x.slice(s![..1, ..]);
        self.out_proj
            .forward(&self.dense.forward(&first).mapv(T::tanh))
    }
}
