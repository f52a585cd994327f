//! The loss of a batch and its gradients; the batches of small backbones in halves on two threads.

use super::Model;
use crate::backbone::heads::Targets;
use crate::error::Result;
use crate::gradients::Gradients;
use crate::kernels::cuda;
use crate::kernels::threads::{map_tasks, single_threaded};
use crate::ops::dropout::Dropout;
use crate::tape::{Tape, Value};
use candle_core::{DType, Tensor};
use inducer_datasets::batch::Batch;

/// Widest backbone whose batches are divided among threads (see [`Model::gradients`]); above it
/// operations are.
const SHARDED_WIDTH: usize = 256;

/// Targets whose probabilities over the whole vocabulary are held at once.
const TARGETS_AT_ONCE: usize = 512;

/// How a loss is taken.
#[derive(Clone, Copy, Debug)]
pub struct LossOptions {
    /// Label smoothing ε.
    pub smoothing: f64,
    /// Dropout of this step; its key also serves the parts that have a rate of their own (LoRA's
    /// input). `None` in evaluation.
    pub dropout: Option<Dropout>,
}

impl LossOptions {
    /// Plain cross-entropy, no dropout.
    pub const PLAIN: Self = Self {
        smoothing: 0.0,
        dropout: None,
    };
}

/// A mean of losses, some of which a device may still be computing.
#[derive(Clone, Debug, Default)]
pub struct Loss {
    here: f64,
    /// Scalars and their shares.
    there: Vec<(f64, Tensor)>,
}

impl Loss {
    pub(crate) fn new(t: &Tensor) -> Result<Self> {
        Ok(match cuda::runs(t) {
            true => Self {
                here: 0.0,
                there: vec![(1.0, t.clone())],
            },
            false => Self {
                here: scalar(t)?,
                there: Vec::new(),
            },
        })
    }

    /// Its value; waits for the device.
    ///
    /// # Errors
    /// The device fails.
    pub fn read(&self) -> Result<f64> {
        let values = self.on_device().map(scalar).collect::<Result<Vec<_>>>()?;
        Ok(self.of(&values))
    }

    /// The losses that a device computes.
    pub(crate) fn on_device(&self) -> impl Iterator<Item = &Tensor> {
        self.there.iter().map(|(_, t)| t)
    }

    /// The value, where the losses on the device have these.
    pub(crate) fn of(&self, values: &[f64]) -> f64 {
        let shares = self.there.iter().map(|(share, _)| share);
        shares
            .zip(values)
            .fold(self.here, |sum, (share, x)| sum + share * x)
    }

    /// Adds a share of another one.
    pub(crate) fn add(&mut self, share: f64, other: Self) {
        self.here += share * other.here;
        let there = other.there.into_iter();
        self.there.extend(there.map(|(part, t)| (share * part, t)));
    }
}

impl Model {
    /// Mean loss over the labelled positions, or over the rows of a classifier.
    ///
    /// # Errors
    /// Ids, rows or labels that do not fit the model.
    pub fn loss(&self, batch: &Batch, options: LossOptions) -> Result<f64> {
        self.check(batch)?;
        let targets = self.targets(batch)?;
        scalar(
            &self
                .loss_on(&self.tape_off(), batch, &targets, options)?
                .tensor,
        )
    }

    /// The loss of each target on its own, in nats and in the order of [`Model::targets`]; their
    /// mean is [`Model::loss`].
    ///
    /// # Errors
    /// As [`Model::loss`].
    pub fn losses(&self, batch: &Batch) -> Result<Vec<f64>> {
        self.check(batch)?;
        let targets = self.targets(batch)?;
        let tape = self.tape_off();
        let ctx = self.context(&tape, batch, None)?;
        let hidden = self.hidden(&ctx, batch, &vec![0; batch.sequences()])?;
        let mut losses = Vec::with_capacity(targets.len());
        for some in targets.chunks(TARGETS_AT_ONCE) {
            let log_p = self.log_probabilities_of(&ctx, &hidden, some)?;
            let labels: Vec<u32> = some.iter().map(|(_, label)| *label).collect();
            let labels = Tensor::from_vec(labels, (some.len(), 1), log_p.device())?;
            let found = log_p.gather(&labels, 1)?.flatten_all()?;
            let found = found.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            losses.extend(found.into_iter().map(|x| -x));
        }
        Ok(losses)
    }

    /// How many positions (rows of a classifier) the loss of a batch is the mean over.
    ///
    /// # Errors
    /// Labels that do not fit.
    pub fn labelled(&self, batch: &Batch) -> Result<usize> {
        Ok(self.targets(batch)?.len())
    }

    /// Mean loss and the gradient of every trainable tensor.
    ///
    /// # Errors
    /// As [`Model::loss`]; nothing is trainable.
    pub fn gradients(&self, batch: &Batch, options: LossOptions) -> Result<(f64, Gradients)> {
        let (loss, gradients) = self.loss_and_gradients(batch, options)?;
        Ok((loss.read()?, gradients))
    }

    /// The same; on a card nothing waits for the loss.
    ///
    /// # Errors
    /// As [`Model::gradients`].
    pub fn loss_and_gradients(
        &self,
        batch: &Batch,
        options: LossOptions,
    ) -> Result<(Loss, Gradients)> {
        self.check(batch)?;
        let targets = self.targets(batch)?;
        let halves = match self.middle(batch) {
            // a half without a label adds nothing; without any label the whole batch says so
            Some(middle) if !targets.is_empty() => self.halves(batch, &targets, middle),
            _ => return self.gradients_of(batch, &targets, options),
        };
        let total = targets.len() as f64;
        let parts = map_tasks(halves.len(), |i| {
            let options = LossOptions {
                dropout: options.dropout.map(|d| d.from_row(halves[i].first)),
                ..options
            };
            let Half { batch, targets, .. } = &halves[i];
            single_threaded(|| self.gradients_of(batch, targets, options))
        });
        let (mut loss, mut sum) = (Loss::default(), Gradients::default());
        for (half, part) in halves.iter().zip(parts) {
            let (value, gradients) = part?;
            let share = half.targets.len() as f64 / total;
            loss.add(share, value);
            sum.add_scaled(gradients, share)?;
        }
        Ok((loss, sum))
    }

    fn gradients_of(
        &self,
        batch: &Batch,
        targets: &[(usize, u32)],
        options: LossOptions,
    ) -> Result<(Loss, Gradients)> {
        let tape = Tape::new().computing_in(self.dtype());
        let loss = self.loss_on(&tape, batch, targets, options)?;
        let value = Loss::new(&loss.tensor)?;
        Ok((value, tape.backward(&loss, self.trainable())?))
    }

    fn loss_on(
        &self,
        tape: &Tape,
        batch: &Batch,
        targets: &[(usize, u32)],
        options: LossOptions,
    ) -> Result<Value> {
        let ctx = self.context(tape, batch, options.dropout)?;
        let hidden = self.hidden(&ctx, batch, &vec![0; batch.sequences()])?;
        let head = self.backbone.head();
        head.loss(&ctx, &hidden, self.tied(), targets, options.smoothing)
    }

    /// The row at which a batch is divided into two halves of nearly the same number of tokens,
    /// where that is faster: on the CPU, where each half goes through the whole model on one thread
    /// without waiting for the other at every operation. That pays as long as a layer's weights
    /// stay in a core's own cache. A sequence has the dropout masks that it has in the whole batch.
    /// The division depends on the batch alone, not on the number of threads, so results do not
    /// either.
    fn middle(&self, batch: &Batch) -> Option<usize> {
        let (rows, d) = (batch.sequences(), self.backbone.spec().hidden);
        let on_cpu = self.device().is_cpu() && !cuda::runs_in(self.dtype(), self.device());
        let small = on_cpu && d <= SHARDED_WIDTH && !self.config.full;
        if !small || rows < 4 {
            return None;
        }
        let half = batch.tokens() / 2;
        (1..rows).min_by_key(|r| batch.offsets[*r].abs_diff(half))
    }

    /// The halves of a batch that have targets, with them.
    fn halves(&self, batch: &Batch, targets: &[(usize, u32)], middle: usize) -> Vec<Half> {
        let first = batch.offsets[middle];
        let before = match self.backbone.head().labels_rows() {
            true => middle,
            false => first,
        };
        let (left, right) = targets.split_at(targets.partition_point(|(at, _)| *at < before));
        let right = right.iter().map(|(at, label)| (at - before, *label));
        let mut halves = vec![
            Half {
                batch: batch.slice(0..middle),
                targets: left.to_vec(),
                first: 0,
            },
            Half {
                batch: batch.slice(middle..batch.sequences()),
                targets: right.collect(),
                first,
            },
        ];
        halves.retain(|half| !half.targets.is_empty());
        halves
    }
}

/// One half of a batch.
struct Half {
    batch: Batch,
    targets: Targets,
    /// Its first token in the whole batch.
    first: usize,
}

fn scalar(t: &Tensor) -> Result<f64> {
    Ok(t.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}
