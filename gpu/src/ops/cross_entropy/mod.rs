//! Cross-entropy of the language-model head, straight from hidden states, over labelled positions
//! only.
//!
//! ```text
//! loss = mean over labelled positions of  (1 − ε) (−log p_y) + ε/V Σ_c (−log p_c)
//! p = softmax(h Eᵀ)
//! ```
//!
//! `E` is the tied token embedding followed by the special tokens' rows. Logits exist for a chunk
//! of positions at a time and are turned at once into the gradient of the hidden states; the whole
//! [tokens × vocabulary] matrix never exists. Label smoothing and ignored positions follow
//! PyTorch's `CrossEntropyLoss`.

mod card;
mod fused;
mod tensors;

use crate::error::Result;
use crate::kernels::precision::{cast_like, upcast};
use crate::kernels::{cuda, dispatch, fused_pair};
use crate::tape::{Tape, Value};
use candle_core::{D, Device, Tensor};

/// The head: the tied embedding and the special tokens' rows.
pub struct Head {
    /// Token embeddings [vocabulary, d].
    pub tokens: Value,
    /// Rows of the special tokens [count, d].
    pub added: Option<Value>,
    /// Whether the CPU's kernels round the operands of its products to bf16.
    pub in_bf16: bool,
}

impl Head {
    fn tables(&self) -> Vec<&Tensor> {
        let tables = std::iter::once(&self.tokens).chain(&self.added);
        tables.map(|v| &v.tensor).collect()
    }

    pub(super) fn inputs<'a>(&'a self, hidden: &'a Value) -> Vec<&'a Value> {
        let inputs = [hidden, &self.tokens].into_iter();
        inputs.chain(&self.added).collect()
    }

    /// Logits [rows, vocabulary + added] of hidden states [rows, d], without a gradient.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        if !fused_pair(hidden, &self.tokens.tensor) {
            let hidden = cast_like(hidden, &self.tokens.tensor)?;
            let parts = tensors::logits(&hidden, &self.tables())?;
            return Ok(upcast(&parts)?);
        }
        dispatch!(hidden, T => fused::logits::<T>(hidden, self))
    }
}

/// What a loss is computed of: labelled positions and label smoothing.
struct Job<'a> {
    targets: &'a [(usize, u32)],
    smoothing: f64,
}

/// The loss, and its gradient by each input that wants one.
type LossAndGradients = (Tensor, Vec<Option<Tensor>>);

/// Mean loss over `targets`: (position, label) pairs. The scalar is kept in f64 until the end, but
/// on a card, where it is summed there.
///
/// # Shapes
/// `hidden` [tokens, d] → scalar.
///
/// # Errors
/// Shapes that do not fit; no target at all.
pub fn cross_entropy(
    tape: &Tape,
    hidden: &Value,
    head: &Head,
    targets: &[(usize, u32)],
    smoothing: f64,
) -> Result<Value> {
    if targets.is_empty() {
        return Err(crate::Error::Batch(
            "no labelled position: every label is -100".into(),
        ));
    }
    let job = Job { targets, smoothing };
    let inputs = head.inputs(hidden);
    if inputs.iter().all(|v| cuda::runs(&v.tensor)) {
        return card::run(tape, hidden, head, &job, card::CHUNK);
    }
    let wanted: Vec<bool> = inputs.iter().map(|v| v.tracked()).collect();
    let (loss, grads) = match fused_pair(&hidden.tensor, &head.tokens.tensor) {
        true => {
            dispatch!(hidden.tensor, T => fused::run::<T>(&hidden.tensor, head, &job, &wanted))?
        }
        false => tensors::run(&hidden.tensor, head, &job, &wanted)?,
    };
    let slots_of: Vec<_> = inputs.iter().map(|v| v.slot()).collect();
    Ok(tape.push(loss, &inputs, move |g, slots| {
        let factor = g.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        for (slot, grad) in slots_of.iter().zip(grads) {
            if let Some(grad) = grad {
                let scaled = match factor == 1.0 {
                    true => grad,
                    false => (grad * factor)?,
                };
                slots.add(*slot, scaled)?;
            }
        }
        Ok(())
    }))
}

/// [`cross_entropy`] by a card's kernels with at most so many bytes of logits at a time.
#[cfg(test)]
pub(super) fn in_chunks(
    tape: &Tape,
    hidden: &Value,
    head: &Head,
    targets: &[(usize, u32)],
    smoothing: f64,
    bytes: usize,
) -> Result<Value> {
    card::run(tape, hidden, head, &Job { targets, smoothing }, bytes)
}

/// Positions [n] and labels [n, 1] on a device.
pub(super) fn apart(
    targets: &[(usize, u32)],
    device: &Device,
) -> candle_core::Result<(Tensor, Tensor)> {
    let (rows, labels): (Vec<u32>, Vec<u32>) = targets.iter().map(|(t, y)| (*t as u32, *y)).unzip();
    let n = targets.len();
    let rows = Tensor::from_vec(rows, n, &Device::Cpu)?.to_device(device)?;
    let labels = Tensor::from_vec(labels, (n, 1), &Device::Cpu)?.to_device(device)?;
    Ok((rows, labels))
}

/// Mean of (1 − ε)(LSE − z_label) + ε(LSE − mean z) over the rows of `z` [rows, classes] with
/// `labels` [rows, 1].
pub(super) fn mean_loss(
    z: &Tensor,
    labels: &Tensor,
    smoothing: f64,
) -> candle_core::Result<Tensor> {
    let z = upcast(z)?;
    let top = z.max_keepdim(D::Minus1)?.detach();
    let total = z.broadcast_sub(&top)?.exp()?.sum_keepdim(D::Minus1)?;
    let log = (total.log()? + top)?;
    let nll = (&log - z.gather(labels, 1)?)?.mean_all()?;
    let uniform = (log - z.mean_keepdim(D::Minus1)?)?.mean_all()?;
    (nll * (1.0 - smoothing))? + (uniform * smoothing)?
}

/// Mean cross-entropy of class scores, with label smoothing as [`cross_entropy`].
///
/// # Shapes
/// `scores` [rows, classes], one class a row → scalar.
///
/// # Errors
/// Shapes that do not fit.
pub fn class_loss(tape: &Tape, scores: &Value, classes: &[u32], smoothing: f64) -> Result<Value> {
    let labels = Tensor::from_slice(classes, (classes.len(), 1), &Device::Cpu)?
        .to_device(scores.tensor.device())?;
    tape.composed(&[scores], |a| mean_loss(&a[0], &labels, smoothing))
}
