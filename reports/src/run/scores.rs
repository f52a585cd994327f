//! What a model says of examples, and how that is scored.

use super::Prepared;
use crate::study::Bleu;
use anyhow::Result;
use inducer_datasets::batches::{pack, sorted_batches};
use inducer_datasets::metrics::bleu::Counts;
use inducer_datasets::metrics::glue::{Glue, glue};
use inducer_datasets::metrics::webnlg::bleu_counts;
use inducer_datasets::metrics::{Accuracy, Coqa, coqa};
use inducer_datasets::{Encoded, Example, Task};
use inducer_gpu::Model;
use inducer_gpu::decode::greedy::{Decoding, Prompt, greedy};

/// Classes of examples, in their order.
///
/// # Errors
/// A row that does not fit the model.
pub fn classes(model: &Model, prepared: &Prepared, examples: &[Example]) -> Result<Vec<u32>> {
    let layout = prepared.layout()?;
    let rows: Vec<Encoded> = examples
        .iter()
        .map(|e| layout.prompt(e))
        .collect::<inducer_datasets::Result<_>>()?;
    let lengths: Vec<usize> = rows.iter().map(|r| r.ids.len()).collect();
    let mut out = vec![0; rows.len()];
    for batch in sorted_batches(&lengths, 64) {
        let packed = pack(&batch.iter().map(|i| &rows[*i]).collect::<Vec<_>>());
        for (i, class) in batch.iter().zip(model.predict(&packed)?) {
            out[*i] = class;
        }
    }
    Ok(out)
}

/// Accuracy of a classification, over all rows and for each genre.
///
/// # Errors
/// An example whose class is not known.
pub fn glue_scores(predicted: &[u32], examples: &[Example]) -> Result<Glue> {
    Ok(glue(predicted, examples)?)
}

/// The lines of `outputs.txt`: texts, or the classes' names.
pub fn named(task: Task, classes: &[u32]) -> Vec<String> {
    let names = task.classes();
    classes
        .iter()
        .map(|c| {
            names
                .get(*c as usize)
                .map_or_else(|| c.to_string(), |n| (*n).to_string())
        })
        .collect()
}

/// Texts for examples, in their order.
///
/// # Errors
/// A prompt that does not fit the model.
pub fn texts(
    model: &Model,
    prepared: &Prepared,
    examples: &[Example],
    max_new: usize,
    on_done: &mut dyn FnMut(usize),
) -> Result<Vec<String>> {
    let layout = prepared.layout()?;
    let mut prompts = Vec::new();
    for e in examples {
        let row = layout.prompt(e)?;
        let next_segment = row.segments.as_ref().and_then(|s| s.last().copied());
        prompts.push(Prompt {
            ids: row.ids,
            segments: row.segments,
            next_segment,
        });
    }
    let decoding = Decoding {
        max_new,
        eos: layout.eos(),
        batch: 64,
    };
    Ok(greedy(model, &prompts, decoding, on_done)?
        .iter()
        .map(|ids| layout.decode(ids).replace(['\n', '\r'], " "))
        .collect())
}

/// BLEU of texts against the examples' first three references, as the 2017 challenge computed it.
pub fn scores(texts: &[String], examples: &[Example]) -> Bleu {
    let mut sums = [Counts::default(); 3];
    let mut any = [false; 3];
    for (text, e) in texts.iter().zip(examples) {
        let counts = bleu_counts(text, e);
        for i in [if e.seen { 0 } else { 1 }, 2] {
            sums[i] += counts;
            any[i] = true;
        }
    }
    let score = |i: usize| any[i].then(|| sums[i].score().score);
    Bleu {
        seen: score(0),
        unseen: score(1),
        all: score(2),
    }
}

/// CoQA's exact match and F1 of answers, over all questions and for each domain.
///
/// # Errors
/// The lists differ in length.
pub fn coqa_scores(answers: &[String], examples: &[Example]) -> Result<Coqa> {
    let references: Vec<Vec<String>> = examples.iter().map(|e| e.references.clone()).collect();
    let domains: Vec<String> = examples.iter().map(|e| e.category.clone()).collect();
    Ok(coqa(answers, &references, &domains)?)
}

/// A class by its name in `outputs.txt`; a name that is no class is a wrong one, `u32::MAX`.
pub fn class_named(task: Task, name: &str) -> u32 {
    let class = task.classes().iter().position(|c| *c == name);
    class.map_or(u32::MAX, |c| c as u32)
}

/// Accuracy of classes by name.
///
/// # Errors
/// An example whose class is not known.
pub fn accuracy(task: Task, names: &[String], examples: &[Example]) -> Result<Accuracy> {
    let predicted: Vec<u32> = names.iter().map(|n| class_named(task, n)).collect();
    Ok(glue_scores(&predicted, examples)?.overall)
}

/// The score that stands first for a task, 0 to 100: BLEU on all, CoQA's F1, accuracy. None without
/// examples.
///
/// # Errors
/// An example whose class is not known.
pub fn headline(task: Task, outputs: &[String], examples: &[Example]) -> Result<Option<f64>> {
    if examples.is_empty() {
        return Ok(None);
    }
    Ok(match task {
        Task::WebNlg => scores(outputs, examples).all,
        Task::Coqa => Some(coqa_scores(outputs, examples)?.overall.f1),
        Task::Mnli | Task::Sst2 => Some(100.0 * accuracy(task, outputs, examples)?.score),
    })
}
