//! Where batches come from, and the loss over the validation part.

use crate::error::{Error, Result};
use crate::model::{LossOptions, Model};
use inducer_datasets::batch::Batch;

/// Where batches come from.
pub trait Data {
    /// The batches of an epoch, the same ones whenever it is asked.
    fn epoch(&self, epoch: usize) -> Vec<Batch>;
    /// Validation batches.
    fn validation(&self) -> &[Batch];
    /// The task's own figure on the validation part, higher is better: what the best adapter is
    /// chosen by. `None`: by the loss.
    ///
    /// # Errors
    /// Rows that do not fit the model.
    fn score(&self, _model: &Model) -> Result<Option<f64>> {
        Ok(None)
    }
    /// How far the model has moved from the frozen one, where somebody wants to know; goes into
    /// `metrics.jsonl` and nowhere else.
    ///
    /// # Errors
    /// Rows that do not fit the model.
    fn drift(&self, _model: &Model) -> Result<Option<f64>> {
        Ok(None)
    }
}

/// Mean loss over all labelled positions of the batches, without smoothing and dropout.
///
/// # Errors
/// As [`Model::loss`]; no batch.
pub fn evaluate(model: &Model, batches: &[Batch]) -> Result<f64> {
    let (mut total, mut count) = (0.0, 0);
    for b in batches {
        let n = model.labelled(b)?;
        total += model.loss(b, LossOptions::PLAIN)? * n as f64;
        count += n;
    }
    if count == 0 {
        return Err(Error::NoData("validation"));
    }
    Ok(total / count as f64)
}

/// Iterates over micro-batches across epochs.
pub(super) struct Stream<'a> {
    data: &'a dyn Data,
    per_epoch: usize,
    epoch: usize,
    batches: Vec<Batch>,
}

impl<'a> Stream<'a> {
    /// From the first batch on.
    pub(super) fn new(data: &'a dyn Data) -> Result<Self> {
        let batches = data.epoch(0);
        if batches.is_empty() {
            return Err(Error::NoData("training"));
        }
        Ok(Self {
            data,
            per_epoch: batches.len(),
            epoch: 0,
            batches,
        })
    }

    /// The micro-batch of this number.
    pub(super) fn at(&mut self, index: usize) -> &Batch {
        let epoch = index / self.per_epoch;
        if self.epoch != epoch {
            self.batches = self.data.epoch(epoch);
            self.epoch = epoch;
        }
        &self.batches[index % self.per_epoch]
    }
}
