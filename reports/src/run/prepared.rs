//! Data ready for a backbone, and batches of them for the trainer.

use crate::document::format::count;
use crate::files::{self, At};
use anyhow::{Context as _, Result, ensure};
use inducer_datasets::batch::Labels;
use inducer_datasets::batches::{epoch_batches, pack, sorted_batches};
use inducer_datasets::cache::training_rows;
use inducer_datasets::{
    Batch, Cache, Encoded, Example, Layout, Reading, Splits, Surface, Task, Tokenizer,
};
use inducer_gpu::drift::Frozen;
use inducer_gpu::files::backbone::has_head;
use inducer_gpu::train::Data;
use inducer_gpu::{AdapterConfig, BackboneConfig, Model};
use std::path::{Path, PathBuf};

/// From so many examples on encoded rows are cached: fewer are encoded in less than a second.
const CACHED_FROM: usize = 10_000;

/// Validation entries that a run uses: enough for a steady loss, few enough to be quick.
pub(super) const VALIDATION_ENTRIES: usize = 150;

/// Where data and backbone lie, and how the data are read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The task.
    pub task: Task,
    /// Directory of the data.
    pub data: PathBuf,
    /// Directory of the backbone.
    pub backbone: PathBuf,
    /// How the pieces of an input are written.
    pub surface: Surface,
    /// How the files are read.
    pub reading: Reading,
}

/// Data ready for a backbone.
pub struct Prepared {
    /// Where they come from.
    pub source: Source,
    /// The backbone.
    pub backbone: BackboneConfig,
    /// The examples.
    pub splits: Splits,
    /// The backbone's tokenizer.
    pub tokenizer: Tokenizer,
    /// Training rows.
    pub train: Vec<Encoded>,
    /// Validation rows.
    pub dev: Vec<Encoded>,
    /// The head's class of each of the task's; the head may have them in another order.
    pub classes: Vec<u32>,
    /// Most positions that any method of the study leaves for the text.
    pub longest: usize,
    /// Rows of special tokens that a model on this backbone needs: the task's, or none where
    /// `inducer merge` has made them the last ones of the backbone's vocabulary.
    pub special: usize,
    first_special: usize,
}

impl Prepared {
    /// Encodes examples for a backbone and the given adapters, or takes the rows of many examples
    /// from the cache.
    ///
    /// # Errors
    /// A backbone that is not of the task's kind; rows that are too long; a broken tokenizer.
    pub fn new(source: Source, splits: Splits, adapters: &[AdapterConfig]) -> Result<Self> {
        let (task, dir) = (source.task, &source.backbone);
        let backbone = BackboneConfig::read(dir)?;
        ensure!(
            task.generates() == matches!(backbone, BackboneConfig::Gpt2(_)),
            "{}: --task {task} needs a {}",
            dir.display(),
            if task.generates() { "GPT-2" } else { "RoBERTa" }
        );
        let offset = adapters.iter().map(AdapterConfig::position_offset).max();
        let longest = backbone
            .spec()
            .positions
            .saturating_sub(offset.unwrap_or(0));
        let tokenizer = Tokenizer::load(dir)?;
        let special = task.special_tokens().len();
        let vocabulary = backbone.spec().vocabulary;
        let merged = special > 0 && tokenizer.vocab_size() + special == vocabulary;
        let special = if merged { 0 } else { special };
        let first_special = vocabulary + special - task.special_tokens().len();
        let layout = Layout::new(&tokenizer, task, first_special, longest)
            .at(dir)?
            .with_surface(source.surface)
            .truncated(source.reading.truncate);
        let rows = |examples: &[Example]| -> Result<Vec<Encoded>> {
            if examples.len() < CACHED_FROM {
                return Ok(training_rows(&layout, examples)?);
            }
            let cache = Cache::at(files::cache().join("rows"));
            Ok(cache.rows(&layout, examples)?.0)
        };
        let advised = |rows: Result<Vec<Encoded>>| match task.is_own() && rows.is_err() {
            true => rows
                .context("--truncate N cuts inputs that are too long")
                .at(&source.data),
            false => rows,
        };
        let mut train = advised(rows(&splits.train))?;
        let validation = &splits.dev[..VALIDATION_ENTRIES.min(splits.dev.len())];
        let mut dev = advised(rows(validation))?;
        let cut = cut(&layout, &splits, &train, source.reading.truncate)?;
        let classes = class_order(task, &splits.classes, &backbone, dir)?;
        let (mut splits, identity) = (splits, (0..).zip(&classes).all(|(a, b)| a == *b));
        splits.notes.extend(cut);
        if !identity {
            let rows = train.iter_mut().chain(&mut dev);
            rows.for_each(|row| to_head(row, &classes));
            let order: Vec<String> = classes.iter().map(u32::to_string).collect();
            splits.notes.push(format!(
                "classes are matched by name: {} are {} of the backbone's head",
                splits.classes.join(", "),
                order.join(", ")
            ));
        }
        Ok(Self {
            source,
            backbone,
            splits,
            tokenizer,
            train,
            dev,
            classes,
            longest,
            special,
            first_special,
        })
    }

    /// The layout of the rows.
    ///
    /// # Errors
    /// As [`Layout::new`].
    pub fn layout(&self) -> Result<Layout<'_>> {
        let (task, first) = (self.source.task, self.first_special);
        let layout = Layout::new(&self.tokenizer, task, first, self.longest)?;
        let layout = layout.with_surface(self.source.surface);
        Ok(layout.truncated(self.source.reading.truncate))
    }

    /// Tokens of the prompt of each example.
    ///
    /// # Errors
    /// An example that does not fit the layout.
    pub fn prompt_lengths(&self, examples: &[Example]) -> Result<Vec<usize>> {
        let layout = self.layout()?;
        let of = |example| Ok(layout.prompt(example)?.prompt_len);
        examples.iter().map(of).collect()
    }

    /// How many classes a head for the data tells apart; none for generation.
    pub fn head(&self) -> Option<usize> {
        (!self.source.task.generates()).then_some(self.splits.classes.len())
    }

    /// Gives a row the head's class in place of the task's.
    pub(super) fn to_head(&self, row: &mut Encoded) {
        to_head(row, &self.classes);
    }

    /// The most new tokens in decoding: the number that is given, or the usual one.
    ///
    /// # Errors
    /// More than the positions leave beside a prompt.
    pub fn new_tokens(&self, given: Option<usize>) -> Result<usize> {
        let most = self.longest.saturating_sub(1).max(1);
        let asked = given.unwrap_or(self.usual_new_tokens().min(most));
        ensure!(
            asked <= most,
            "--max-new-tokens {asked}: expected at most {most}: the backbone has {} positions",
            self.backbone.spec().positions
        );
        Ok(asked)
    }

    /// How much of the test part is scored: `40 of 1,862 test entries`.
    pub fn scored(&self, limit: Option<usize>) -> String {
        let all = self.splits.test.len();
        match limit.filter(|n| *n < all) {
            Some(n) => format!("{} of {} test entries", count(n), count(all)),
            None => format!("{} test entries", count(all)),
        }
    }

    /// The most new tokens in decoding where no number is given: 40, or more where a validation row
    /// has a longer target, its end token included. A class is one.
    pub fn usual_new_tokens(&self) -> usize {
        if !self.source.task.generates() {
            return 1;
        }
        let target = |r: &Encoded| r.labels.iter().filter(|l| **l >= 0).count();
        self.dev.iter().map(target).max().unwrap_or(0).max(40)
    }
}

/// How many inputs were cut, in words; `train` has the rows of the training part.
fn cut(
    layout: &Layout<'_>,
    splits: &Splits,
    train: &[Encoded],
    truncate: Option<usize>,
) -> Result<Option<String>> {
    let Some(most) = truncate else {
        return Ok(None);
    };
    let prompts = |examples: &[Example]| -> Result<usize> {
        let mut cut = 0;
        for example in examples {
            cut += usize::from(layout.prompt(example)?.cut > 0);
        }
        Ok(cut)
    };
    let [dev, test] = [prompts(&splits.dev)?, prompts(&splits.test)?];
    let rows = train.iter().filter(|row| row.cut > 0).count();
    Ok(Some(format!(
        "--truncate {most}: cut were the inputs of {rows} of {} training rows, {dev} of {} dev and \
         {test} of {} test entries",
        train.len(),
        splits.dev.len(),
        splits.test.len()
    )))
}

/// The head's class of each of the data's, by their names. A head that is missing or whose classes
/// have no names (`LABEL_0` and so on) has the task's order.
fn class_order(
    task: Task,
    classes: &[String],
    backbone: &BackboneConfig,
    dir: &Path,
) -> Result<Vec<u32>> {
    let own: Vec<u32> = (0..classes.len() as u32).collect();
    let BackboneConfig::Roberta(config) = backbone else {
        return Ok(own);
    };
    let names = config.class_names();
    let Some(names) = names.filter(|n| n.len() == own.len()) else {
        return Ok(own);
    };
    if !has_head(dir)? {
        return Ok(own);
    }
    let place = |class: &String| {
        let known = match (task, class.as_str()) {
            (Task::Sst2, "0") => ["0", "negative", "neg"],
            (Task::Sst2, "1") => ["1", "positive", "pos"],
            (_, other) => [other; 3],
        };
        let named = |n: &str| known.iter().any(|k| n.trim().eq_ignore_ascii_case(k));
        names.iter().position(|n| named(n)).map(|i| i as u32)
    };
    let found: Option<Vec<u32>> = classes.iter().map(place).collect();
    let mut sorted = found.clone().unwrap_or_default();
    sorted.sort_unstable();
    ensure!(
        sorted == own,
        "{}/config.json: field `id2label`: expected the classes of --task {task} ({}) in any \
         order, found {}",
        dir.display(),
        classes.join(", "),
        names.join(", ")
    );
    Ok(found.unwrap_or_default())
}

/// As many as `n` of some items, at even distances.
pub(crate) fn evenly<T>(items: &[T], n: usize) -> impl Iterator<Item = &T> {
    let n = n.min(items.len());
    (0..n).map(move |i| &items[i * items.len() / n])
}

fn to_head(row: &mut Encoded, classes: &[u32]) {
    if let Some(class) = &mut row.class {
        *class = classes.get(*class as usize).copied().unwrap_or(*class);
    }
}

/// The numbers of rows in batches of 32 of about equal length, for a loss.
pub(super) fn by_length(rows: &[&Encoded]) -> Vec<Vec<usize>> {
    let lengths: Vec<usize> = rows.iter().map(|r| r.ids.len()).collect();
    sorted_batches(&lengths, 32)
}

/// Rows in such batches.
pub(super) fn in_batches(rows: &[&Encoded]) -> Vec<Batch> {
    by_length(rows)
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
        let frozen = self.frozen.as_ref();
        frozen.map(|f| f.divergence(model)).transpose()
    }
}
