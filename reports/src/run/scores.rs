//! What a model says of examples, and how that is scored.

use super::Prepared;
use anyhow::Result;
use inducer_datasets::batches::{pack, sorted_batches};
use inducer_datasets::metrics::bleu::Counts;
use inducer_datasets::metrics::f1::macro_f1;
use inducer_datasets::metrics::glue::{Glue, glue};
use inducer_datasets::metrics::meteor::Files;
use inducer_datasets::metrics::webnlg::bleu_counts;
use inducer_datasets::metrics::{Coqa, coqa, texts};
use inducer_datasets::{Encoded, Example, Task};
use inducer_gpu::Model;
use inducer_gpu::decode::greedy::{Decoding, Prompt, greedy};
use std::path::{Path, PathBuf};

/// What a model says of examples, a line of `outputs.txt` each: texts, or the classes' names.
///
/// # Errors
/// A row that does not fit the model.
pub fn outputs(
    model: &Model,
    prepared: &Prepared,
    examples: &[Example],
    max_new: usize,
    on_done: &mut dyn FnMut(usize),
) -> Result<Vec<String>> {
    let layout = prepared.layout()?;
    let rows: Vec<Encoded> = examples
        .iter()
        .map(|e| layout.prompt(e))
        .collect::<inducer_datasets::Result<_>>()?;
    if !prepared.source.task.generates() {
        let own = |class: &u32| prepared.classes.iter().position(|c| c == class);
        let names = &prepared.splits.classes;
        let of_head = |h: u32| own(&h).and_then(|c| names.get(c)).map(String::as_str);
        return classes(model, &rows, &of_head);
    }
    let prompts: Vec<Prompt> = rows.into_iter().map(prompt).collect();
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

fn prompt(row: Encoded) -> Prompt {
    Prompt {
        next_segment: row.segments.as_ref().and_then(|s| s.last().copied()),
        ids: row.ids,
        segments: row.segments,
    }
}

fn classes<'n>(
    model: &Model,
    rows: &[Encoded],
    name: &dyn Fn(u32) -> Option<&'n str>,
) -> Result<Vec<String>> {
    let lengths: Vec<usize> = rows.iter().map(|r| r.ids.len()).collect();
    let mut out = vec![String::new(); rows.len()];
    for batch in sorted_batches(&lengths, 64) {
        let packed = pack(&batch.iter().map(|i| &rows[*i]).collect::<Vec<_>>());
        for (i, class) in batch.iter().zip(model.predict(&packed)?) {
            out[*i] = name(class).map_or_else(|| class.to_string(), ToString::to_string);
        }
    }
    Ok(out)
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
pub fn class_named(classes: &[String], name: &str) -> u32 {
    let class = classes.iter().position(|c| c == name);
    class.map_or(u32::MAX, |c| c as u32)
}

/// Accuracy of classes by name, over all rows and for each genre; of data of one's own F1 as well.
///
/// # Errors
/// An example whose class is not known.
pub fn glue_scores(prepared: &Prepared, names: &[String], examples: &[Example]) -> Result<Glue> {
    let classes = &prepared.splits.classes;
    let predicted: Vec<u32> = names.iter().map(|n| class_named(classes, n)).collect();
    let mut scores = glue(&predicted, examples)?;
    if prepared.source.task.is_own() {
        let name = |e: &Example| e.class.and_then(|c| classes.get(c as usize)).cloned();
        let expected: Vec<String> = examples
            .iter()
            .map(|e| name(e).unwrap_or_default())
            .collect();
        scores.f1 = Some(macro_f1(names, &expected)?);
    }
    Ok(scores)
}

/// The score that stands first for a task, 0 to 100: BLEU on all, CoQA's F1, accuracy. None without
/// examples.
///
/// # Errors
/// An example whose class is not known.
pub fn headline(
    prepared: &Prepared,
    outputs: &[String],
    examples: &[Example],
) -> Result<Option<f64>> {
    if examples.is_empty() {
        return Ok(None);
    }
    let summed = |counts: fn(&str, &Example) -> Counts| {
        let mut sum = Counts::default();
        let pairs = outputs.iter().zip(examples);
        pairs.for_each(|(text, e)| sum += counts(text, e));
        sum
    };
    Ok(match prepared.source.task {
        Task::WebNlg => Some(summed(bleu_counts).score().score),
        Task::Generate => Some(texts::bleu(&summed(texts::bleu_counts)).score),
        Task::Coqa => Some(coqa_scores(outputs, examples)?.overall.f1),
        Task::Mnli | Task::Sst2 | Task::Classify => {
            Some(100.0 * glue_scores(prepared, outputs, examples)?.overall.score)
        }
    })
}

/// METEOR's resources: the given files, else those that `METEOR_JAR` and `METEOR_PARAPHRASES` name.
pub fn meteor_files(jar: Option<&Path>, paraphrases: Option<&Path>) -> Files {
    let or = |given: Option<&Path>, name: &str| {
        let named = || std::env::var_os(name).filter(|v| !v.is_empty());
        given
            .map(Path::to_path_buf)
            .or_else(|| named().map(PathBuf::from))
    };
    Files {
        jar: or(jar, "METEOR_JAR"),
        paraphrases: or(paraphrases, "METEOR_PARAPHRASES"),
    }
}
