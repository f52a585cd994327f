//! Data ready for a backbone, and batches of them for the trainer.

use anyhow::{Context, Result};
use inducer_datasets::batch::Labels;
use inducer_datasets::batches::{epoch_batches, pack, sorted_batches};
use inducer_datasets::cache::training_rows;
use inducer_datasets::{Batch, Cache, Encoded, Example, Layout, Splits, Surface, Task, Tokenizer};
use inducer_gpu::Model;
use inducer_gpu::drift::Frozen;
use inducer_gpu::train::Data;
use std::path::Path;

/// From so many examples on encoded rows are cached: fewer are encoded in less than a second.
const CACHED_FROM: usize = 10_000;

/// Data ready for a backbone.
pub struct Prepared {
    /// The task.
    pub task: Task,
    /// The examples.
    pub splits: Splits,
    /// The backbone's tokenizer.
    pub tokenizer: Tokenizer,
    /// Vocabulary of the backbone.
    pub vocabulary: usize,
    /// Training rows.
    pub train: Vec<Encoded>,
    /// Validation rows.
    pub dev: Vec<Encoded>,
    /// Most positions that any method of the study leaves for the text.
    pub longest: usize,
    /// How the pieces of an input are written.
    pub surface: Surface,
}

impl Prepared {
    /// Encodes the data for a backbone directory, or takes the rows of many examples from the
    /// cache; `longest` is the longest row that every method of the study takes.
    ///
    /// # Errors
    /// Rows that are too long; a broken tokenizer.
    pub fn new(
        task: Task,
        splits: Splits,
        backbone: &Path,
        vocabulary: usize,
        longest: usize,
        validation_entries: usize,
        surface: Surface,
    ) -> Result<Self> {
        let tokenizer = Tokenizer::load(backbone)?;
        let layout = Layout::new(&tokenizer, task, vocabulary, longest)
            .with_context(|| backbone.display().to_string())?
            .with_surface(surface);
        let rows = |examples: &[Example]| -> Result<Vec<Encoded>> {
            if examples.len() < CACHED_FROM {
                return Ok(training_rows(&layout, examples)?);
            }
            let cache = Cache::at(crate::embedded::cache().join("rows"));
            Ok(cache.rows(&layout, examples)?.0)
        };
        let train = rows(&splits.train)?;
        let dev = rows(&splits.dev[..validation_entries.min(splits.dev.len())])?;
        Ok(Self {
            task,
            splits,
            tokenizer,
            vocabulary,
            train,
            dev,
            longest,
            surface,
        })
    }

    /// The layout of the rows.
    ///
    /// # Errors
    /// As [`Layout::new`].
    pub fn layout(&self) -> Result<Layout<'_>> {
        Ok(
            Layout::new(&self.tokenizer, self.task, self.vocabulary, self.longest)?
                .with_surface(self.surface),
        )
    }

    /// The longest target among the validation rows, its end token included.
    pub fn longest_target(&self) -> usize {
        self.dev
            .iter()
            .map(|r| r.labels.iter().filter(|l| **l >= 0).count())
            .max()
            .unwrap_or(0)
    }
}

/// Rows in batches of 32 of about equal length, for a loss.
pub(super) fn in_batches(rows: &[&Encoded]) -> Vec<Batch> {
    let lengths: Vec<usize> = rows.iter().map(|r| r.ids.len()).collect();
    sorted_batches(&lengths, 32)
        .iter()
        .map(|b| pack(&b.iter().map(|i| rows[*i]).collect::<Vec<_>>()))
        .collect()
}

/// Training batches by length and validation batches; of a classification task accuracy decides
/// which adapter is best.
pub struct TaskData<'a> {
    rows: &'a [Encoded],
    lengths: Vec<usize>,
    validation: Vec<Batch>,
    batch_size: usize,
    seed: u64,
    frozen: Option<Frozen>,
}

impl<'a> TaskData<'a> {
    /// Batches of a prepared task; with `frozen` the drift from it is measured at every validation.
    pub fn new(
        prepared: &'a Prepared,
        batch_size: usize,
        seed: u64,
        frozen: Option<Frozen>,
    ) -> Self {
        Self {
            rows: &prepared.train,
            lengths: prepared.train.iter().map(|r| r.ids.len()).collect(),
            validation: in_batches(&prepared.dev.iter().collect::<Vec<_>>()),
            batch_size,
            seed,
            frozen,
        }
    }
}

impl Data for TaskData<'_> {
    fn epoch(&self, epoch: usize) -> Vec<Batch> {
        let order = epoch_batches(&self.lengths, self.batch_size, self.seed, epoch as u64);
        order
            .iter()
            .map(|b| pack(&b.iter().map(|i| &self.rows[*i]).collect::<Vec<_>>()))
            .collect()
    }

    fn validation(&self) -> &[Batch] {
        &self.validation
    }

    fn score(&self, model: &Model) -> inducer_gpu::Result<Option<f64>> {
        let (mut right, mut all) = (0, 0);
        for batch in &self.validation {
            let Labels::Classes(expected) = &batch.labels else {
                return Ok(None);
            };
            let found = model.predict(batch)?;
            right += found.iter().zip(expected).filter(|(a, b)| a == b).count();
            all += expected.len();
        }
        Ok((all > 0).then(|| right as f64 / all as f64))
    }

    fn drift(&self, model: &Model) -> inducer_gpu::Result<Option<f64>> {
        self.frozen
            .as_ref()
            .map(|f| f.divergence(model))
            .transpose()
    }
}
