//! How the loss grows with the length of a question's input, method beside method, by the losses
//! that the runs on long inputs left on disk.

use super::contrasts::Losses;
use super::paper::{NO_OFFSET, ON_LENGTH};
use super::plan::Part;
use super::planned::Planned;
use crate::run;
use crate::stats::contrast::Contrast;
use crate::stats::slope::Questions;
use anyhow::Result;
use inducer_datasets::Input;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The inducer beside the prefix, with and without an offset of the text's positions; none of data
/// that are no conversations.
///
/// # Errors
/// A broken file; questions that do not fit the layout.
pub fn of<'a>(part: &Part, done: impl Iterator<Item = &'a Planned>) -> Result<Vec<Contrast>> {
    let losses = Losses::of(done)?;
    let Some(questions) = questions(part, losses.tokens.clone())? else {
        return Ok(Vec::new());
    };
    let [prefix, inducer] = ON_LENGTH;
    let pairs = [prefix, NO_OFFSET].map(|lower| [lower, inducer]);
    let of = |methods: [&str; 2]| {
        let nats = methods.map(|method| losses.nats(method));
        questions.compare(methods, [&nats[0], &nats[1]])
    };
    Ok(pairs.into_iter().filter_map(of).collect())
}

/// The scored questions of a part; none where there are no losses of them.
fn questions(part: &Part, targets: Vec<usize>) -> Result<Option<Questions>> {
    let limit = part.runs.first().and_then(|run| run.config.test_limit);
    let examples = run::test_examples(&part.prepared, limit);
    let mut numbers: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    let mut passages = Vec::new();
    for example in &examples {
        let Input::Conversation { passage, .. } = &example.input else {
            return Ok(None);
        };
        let next = numbers.len();
        passages.push(*numbers.entry(passage.clone()).or_insert(next));
    }
    let lengths = part.prepared.prompt_lengths(&examples)?;
    let known = targets.len() == lengths.len();
    Ok(known.then_some(Questions {
        targets,
        lengths,
        passages,
    }))
}
