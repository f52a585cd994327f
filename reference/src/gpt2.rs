//! GPT-2, whole, with any method attached.
//!
//! ```text
//! x ← (wte ++ added)[token] + (wte ++ added)[segment] + wpe[position]
//! L times, pre-norm:
//!     x ← x + attention(LN_1(x))
//!     x ← x + FFN(LN_2(x)) + s · Adapter(LN_2(x))
//! logits = LN_f(x) · [wte; added]ᵀ        (tied head)
//! ```
//!
//! One sequence at a time, without dropout but where its factors are given. Token and segment ids
//! from `vocab_size` on index the adapter's trained task embeddings (`transformer.wte.added`). With
//! an attention mask, positions count from the first real token (Hugging Face's rule), and masked
//! keys are invisible; a row of a masked query is computed but means nothing. A prefix with
//! `offset_positions` moves the text's positions by l.
//!
//! Departure from the paper: none; the details are Hugging Face's.
//!
//! Checked by `gpt2_logits_match_transformers` (golden numbers), `causal_…`, `padding_…` and the
//! restriction tests.

mod config;
mod weights;

pub use config::Gpt2Config;
pub use weights::{Block, Gpt2};

use crate::dropout::{Masks, dropped};
use crate::embedding::{add_to, row, same_length};
use crate::error::Error;
use crate::files::adapter::Adapter;
use crate::ia3::rescale;
use crate::parts::LayerParts;
use crate::scalar::Real;
use crate::visible::Visible;
use ndarray::{Array2, ArrayRef2, Axis, concatenate};
use std::borrow::Cow;

/// The result of a forward pass over one row.
#[derive(Clone, Debug)]
pub struct Forward<T> {
    /// `[n, vocab_size + added]`.
    pub logits: Array2<T>,
    /// For each layer λ (μ for a prefix): `[n, H]`; empty for a method without a gate.
    pub lambda: Vec<Array2<T>>,
    /// LN_f(x), what the head sees: `[n, d]`.
    pub hidden: Array2<T>,
}

impl<T: Real> Gpt2<T> {
    /// The model on one row.
    ///
    /// # Shapes
    /// `ids`, `segments`, `attention_mask`: n.
    ///
    /// # Errors
    /// When an id or a position is out of range, when lengths differ, or when the adapter's tensors
    /// do not fit.
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
        let embeddings = model.embeddings(adapter)?;
        let offset = adapter.map_or(0, Adapter::position_offset);
        let positions = match given {
            Some(given) => given.to_vec(),
            None => positions(ids.len(), attention_mask, offset)?,
        };
        let mut x = model.embed(&embeddings, ids, segments, &positions)?;
        let visible = visible(ids.len(), attention_mask)?;
        let mut lambda = Vec::new();
        for (i, block) in model.blocks.iter().enumerate() {
            let mut parts = match adapter {
                Some(adapter) => adapter.layer(i)?,
                None => LayerParts::none(),
            };
            parts.dropout = dropout.get(i).cloned().unwrap_or_default();
            let act = self.config.activation::<T>();
            let (after, gate) = block.forward(x, &visible, &parts, act);
            x = after;
            lambda.extend(gate);
        }
        let hidden = model.ln_f.forward(&x);
        Ok(Forward {
            logits: hidden.dot(&embeddings.t()),
            lambda,
            hidden,
        })
    }

    /// The model with the tensors that a `full` or `bitfit` adapter brings along.
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

    /// wte ++ added: `[vocab_size + added, d]`.
    fn embeddings(&self, adapter: Option<&Adapter<T>>) -> Result<Array2<T>, Error> {
        let Some(added) = adapter.map(Adapter::added) else {
            return Ok(self.wte.clone());
        };
        concatenate(Axis(0), &[self.wte.view(), added.view()]).map_err(|_| Error::Length {
            what: "width of the added embeddings",
            expected: self.wte.ncols(),
            found: added.ncols(),
        })
    }

    /// Token, segment and position embeddings summed: `[n, d]`.
    fn embed(
        &self,
        embeddings: &ArrayRef2<T>,
        ids: &[u32],
        segments: Option<&[u32]>,
        positions: &[usize],
    ) -> Result<Array2<T>, Error> {
        let n = ids.len();
        same_length("position ids", n, positions.len())?;
        let mut x = Array2::zeros((n, self.config.n_embd));
        for (i, &id) in ids.iter().enumerate() {
            x.row_mut(i)
                .assign(&row(embeddings, id as usize, "token id", i)?);
        }
        if let Some(segments) = segments {
            same_length("segment ids", n, segments.len())?;
            for (i, &id) in segments.iter().enumerate() {
                let embedding = row(embeddings, id as usize, "segment id", i)?;
                add_to(x.row_mut(i), &embedding);
            }
        }
        for (i, position) in positions.iter().enumerate() {
            let embedding = row(&self.wpe, *position, "position id", i)?;
            add_to(x.row_mut(i), &embedding);
        }
        Ok(x)
    }
}

impl<T: Real> Block<T> {
    /// One pre-norm block: attention, then FFN, each with its residual.
    fn forward(
        &self,
        x: Array2<T>,
        visible: &Visible,
        parts: &LayerParts<T>,
        gelu: fn(T) -> T,
    ) -> (Array2<T>, Option<Array2<T>>) {
        let attention = self
            .attention
            .forward(&self.ln_1.forward(&x), visible, parts);
        let dropout = &parts.dropout;
        let x = x + dropped(attention.output, dropout.attention_branch.as_ref());
        let input = self.ln_2.forward(&x);
        let hidden = self.fc.forward(&input).mapv(gelu);
        let mut ffn = self.proj.forward(&rescale(parts.ia3.ffn.as_ref(), hidden));
        if let Some(part) = &parts.ffn {
            ffn = ffn + part.adapter.branch(&input) * part.scale;
        }
        let ffn = dropped(ffn, dropout.ffn_branch.as_ref());
        (x + ffn, attention.lambda)
    }
}

/// A causal row whose padding keys are hidden.
fn visible(n: usize, attention_mask: Option<&[bool]>) -> Result<Visible, Error> {
    let causal = Visible::causal(n);
    match attention_mask {
        None => Ok(causal),
        Some(mask) => {
            same_length("attention mask", n, mask.len())?;
            Ok(causal.hiding(mask))
        }
    }
}

/// Position ids: the number of real tokens before each token, plus `offset`; without a mask
/// `offset + i`.
///
/// # Errors
/// When the mask has another length than the row.
pub fn positions(
    n: usize,
    attention_mask: Option<&[bool]>,
    offset: usize,
) -> Result<Vec<usize>, Error> {
    let Some(mask) = attention_mask else {
        return Ok((offset..offset + n).collect());
    };
    same_length("attention mask", n, mask.len())?;
    let mut seen = 0_usize;
    let position = |&real: &bool| {
        seen += usize::from(real);
        offset + seen.saturating_sub(1)
    };
    Ok(mask.iter().map(position).collect())
}
