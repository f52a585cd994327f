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
use inducer_datasets::{Example, Input};
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
    let passage = |example: &Example| match &example.input {
        Input::Conversation { passage, .. } => Some(passage.clone()),
        _ => None,
    };
    let Some(passages) = examples.iter().map(passage).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let passages = numbered(&passages);
    let lengths = part.prepared.prompt_lengths(&examples)?;
    let known = targets.len() == lengths.len();
    Ok(known.then_some(Questions {
        targets,
        lengths,
        passages,
    }))
}

/// A number for each passage. One that stands in another word for word is the same one made longer,
/// and has its number.
fn numbered(passages: &[Arc<str>]) -> Vec<usize> {
    let mut shortest_first: Vec<&str> = passages.iter().map(|p| &**p).collect();
    shortest_first.sort_unstable_by_key(|p| (p.len(), *p));
    shortest_first.dedup();
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut told: Vec<&str> = Vec::new();
    for passage in shortest_first {
        let within = told.iter().position(|shorter| passage.contains(shorter));
        let number = within.unwrap_or(told.len());
        if within.is_none() {
            told.push(passage);
        }
        numbers.insert(passage, number);
    }
    passages.iter().map(|p| numbers[&**p]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passage_within_another_is_the_same_one_made_longer() {
        let of = |texts: &[&str]| {
            let texts: Vec<Arc<str>> = texts.iter().map(|t| Arc::from(*t)).collect();
            numbered(&texts)
        };
        assert_eq!(
            of(&["b c", "a b c", "d", "b c", "a b c d"]),
            [1, 1, 0, 1, 0]
        );
        assert_eq!(of(&["one two", "two three", "three"]), [1, 0, 0]);
        assert_eq!(of(&["same", "same", "other"]), [0, 0, 1]);
        assert!(of(&[]).is_empty());
    }
}
