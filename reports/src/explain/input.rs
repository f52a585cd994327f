//! The row that is looked at: a text of one's own, or an entry of a task's test part.

use super::pieces::{Pieces, Token};
use crate::files::At;
use crate::inference;
use crate::run::Prepared;
use anyhow::{Context, Result, bail, ensure};
use inducer_datasets::batch::Labels;
use inducer_datasets::batches::pack;
use inducer_datasets::{Batch, Task, Tokenizer};
use inducer_gpu::BackboneConfig;
use inducer_gpu::files::adapter::head_classes;
use serde::Serialize;
use std::path::Path;

/// One row ready for a model.
#[derive(Clone, Debug)]
pub struct Input {
    /// Where it is from, in words.
    pub source: String,
    /// The row, with labels where they are known.
    pub batch: Batch,
    /// Its tokens.
    pub tokens: Vec<Token>,
    /// What the loss is of.
    pub target: Target,
    /// Special tokens' rows that the adapter must have.
    pub special: Option<usize>,
    tokenizer: Tokenizer,
    task: Task,
    vocabulary: usize,
}

/// What a class is called.
struct Names<'a> {
    /// The data's names, in the order of their ids.
    data: &'a [String],
    /// The head's class of each of them; none where they are the same.
    order: Option<&'a [u32]>,
    /// How many classes the head has; none for as many as the backbone's.
    count: Option<usize>,
}

/// What the loss is of: tokens from one on, or a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The first token that the loss is of; none for a class.
    pub from: Option<usize>,
    /// The classes' names, in the head's order; empty for tokens.
    pub classes: Vec<String>,
    /// The class that the loss is of.
    pub class: Option<u32>,
    /// Whether that class is the data's; otherwise it is what the first adapter says.
    pub given: bool,
}

impl Input {
    /// A text of one's own: a language model predicts each token after the first; a classifier
    /// reads it between `<s>` and `</s>` and tells the adapter's classes apart.
    ///
    /// # Errors
    /// A text that is empty or too short; a broken backbone.
    pub fn text(backbone: &Path, adapter: &Path, task: Task, text: &str) -> Result<Self> {
        ensure!(!text.trim().is_empty(), "--text: the text is empty");
        let config = BackboneConfig::read(backbone)?;
        let tokenizer = Tokenizer::load(backbone)?;
        let mut ids = tokenizer.encode(text).context("--text")?;
        let target = match &config {
            BackboneConfig::Gpt2(_) => {
                ensure!(
                    ids.len() > 1,
                    "--text: expected at least 2 tokens, so that one is predicted; found 1"
                );
                Target::tokens(1)
            }
            BackboneConfig::Roberta(_) => {
                let end = |token: &str| {
                    let id = tokenizer.id(token);
                    id.with_context(|| format!("the tokenizer has no token `{token}`"))
                };
                ids.insert(0, end("<s>").at(backbone)?);
                ids.push(end("</s>").at(backbone)?);
                let task = task.classes().iter().map(ToString::to_string).collect();
                let names = Names {
                    data: &inference::class_names(adapter)?.unwrap_or(task),
                    order: None,
                    count: head_classes(adapter)?,
                };
                Target::class(names.of(&config), None)
            }
        };
        let vocabulary = config.spec().vocabulary;
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
            bail!(
                "{}: the tokenizer gives the id {id}, the backbone has {vocabulary}",
                backbone.display()
            );
        }
        let labels: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        let labels = target.from.map(|_| vec![labels]);
        let batch = Batch::pack(&[ids], None, labels.as_deref());
        let source = "A text of one’s own".into();
        Ok(Self::of(
            source,
            batch,
            target,
            (tokenizer, task, vocabulary),
        ))
    }

    /// An entry of the test part, from 1, with its first reference or its class.
    ///
    /// # Errors
    /// There is no such entry; a row that is too long.
    pub fn entry(prepared: &Prepared, entry: usize) -> Result<Self> {
        let (task, all) = (prepared.source.task, &prepared.splits.test);
        let example = entry.checked_sub(1).and_then(|i| all.get(i));
        let example = example.with_context(|| {
            format!(
                "--entry {entry}: expected a number from 1 to {}: so many entries has the test \
                 part",
                all.len()
            )
        })?;
        let layout = prepared.layout()?;
        let row = layout.training_rows(example)?.into_iter().next();
        let row = row.map_or_else(|| layout.prompt(example), Ok)?;
        let mut batch = pack(&[&row]);
        let target = match task.generates() {
            true => {
                ensure!(
                    row.labels.iter().any(|l| *l >= 0),
                    "--entry {entry}: it has no reference, and the loss is of one"
                );
                Target::tokens(row.prompt_len)
            }
            false => {
                let own = row.class.and_then(|c| prepared.classes.get(c as usize));
                let names = Names {
                    data: &prepared.splits.classes,
                    order: Some(&prepared.classes),
                    count: prepared.head(),
                };
                Target::class(names.of(&prepared.backbone), own.copied())
            }
        };
        if let Some(class) = target.class {
            batch.labels = Labels::Classes(vec![class]);
        }
        let vocabulary = match prepared.special {
            // a merged backbone holds the special tokens' rows itself
            0 => prepared.backbone.spec().vocabulary - task.special_tokens().len(),
            _ => prepared.backbone.spec().vocabulary,
        };
        let mut source = format!("Entry {entry} of {task}’s test part");
        if !example.category.is_empty() {
            source += &format!(" ({})", example.category);
        }
        let parts = (prepared.tokenizer.clone(), task, vocabulary);
        let mut input = Self::of(source, batch, target, parts);
        input.special = Some(prepared.special);
        Ok(input)
    }

    fn of(
        source: String,
        batch: Batch,
        target: Target,
        (tokenizer, task, vocabulary): (Tokenizer, Task, usize),
    ) -> Self {
        let mut input = Self {
            source,
            batch,
            tokens: Vec::new(),
            target,
            special: None,
            tokenizer,
            task,
            vocabulary,
        };
        input.tokens = input.pieces().row(&input.batch.ids);
        input
    }

    /// Ids in words.
    pub(super) fn pieces(&self) -> Pieces<'_> {
        Pieces {
            tokenizer: &self.tokenizer,
            first_special: self.vocabulary,
            special: self.task.special_tokens(),
        }
    }

    /// Takes what a model says for the class where none is known.
    pub(super) fn decide(&mut self, class: u32) {
        if self.target.from.is_none() && self.target.class.is_none() {
            self.target.class = Some(class);
            self.batch.labels = Labels::Classes(vec![class]);
        }
    }
}

impl Target {
    fn tokens(from: usize) -> Self {
        Self {
            from: Some(from),
            classes: Vec::new(),
            class: None,
            given: true,
        }
    }

    fn class(classes: Vec<String>, class: Option<u32>) -> Self {
        Self {
            from: None,
            classes,
            class,
            given: class.is_some(),
        }
    }
}

impl Names<'_> {
    /// The names of a head's classes: its own, or the data's in the head's order, or numbers.
    fn of(&self, config: &BackboneConfig) -> Vec<String> {
        let BackboneConfig::Roberta(config) = config else {
            return Vec::new();
        };
        let count = self.count.unwrap_or(config.classes());
        if let Some(names) = config.class_names().filter(|n| n.len() == count) {
            return names.into_iter().map(str::to_string).collect();
        }
        let name = |class: u32| {
            let place = match self.order {
                Some(order) => order.iter().position(|c| *c == class),
                None => Some(class as usize),
            };
            let name = place.and_then(|i| self.data.get(i));
            let name = name.filter(|_| self.data.len() == count);
            name.map_or_else(|| format!("class {class}"), String::clone)
        };
        (0..count as u32).map(name).collect()
    }
}
