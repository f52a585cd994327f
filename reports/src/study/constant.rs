//! What always giving one answer scores: where a method does not beat it, the method has not learnt
//! the task, and its score says nothing of anything else.

use super::plan::Part;
use super::{LengthBin, Row};
use crate::run::{self, Scores};
use crate::stats::Summary;
use anyhow::Result;
use inducer_datasets::metrics::coqa::Counts;
use inducer_datasets::{Example, Task};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many of the training part's answers are tried.
const TRIED: usize = 20;

/// The answer that scores best where it is given to every question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// The answer.
    pub answer: String,
    /// Its F1, 0 to 100, on all inputs.
    #[serde(default)]
    pub score: f64,
    /// Its F1, 0 to 100, on the inputs of each bin of lengths.
    pub scores: Vec<f64>,
}

/// A run whose F1 is less than so many times the constant answer's has not learnt the task. On a
/// world that is not the report's (`DESIGN.md`), runs score either about once or five times as
/// much.
const LEARNT: f64 = 2.0;

/// A method that has not learnt the task on the inputs of a bin.
pub struct Unlearnt<'a> {
    /// The method's runs.
    pub row: &'a Row,
    /// Place of the bin among those of lengths.
    pub bin: usize,
    /// Its F1 there, 0 to 100, mean over seeds.
    pub score: f64,
    /// What the constant answer scores there.
    pub least: f64,
}

impl Constant {
    /// Whether a run of these scores has learnt the task.
    pub fn is_beaten_by(&self, scores: &Scores) -> bool {
        match scores {
            Scores::Coqa { scores } => scores.overall.f1 >= LEARNT * self.score,
            _ => true,
        }
    }

    /// The first of these methods that scores no more than the constant answer somewhere: what it
    /// has not learnt cannot fall with the length.
    pub fn unbeaten_by<'a>(&self, rows: &[&'a Row]) -> Option<Unlearnt<'a>> {
        let of = |row: &&'a Row| {
            let mut bins = self.scores.iter().enumerate();
            bins.find_map(|(bin, &least)| {
                let scores = row.of_length(bin, |b| b.score).into_iter().map(|s| s.1);
                let score = Summary::of(&scores.collect::<Vec<_>>())?.mean;
                (score <= least).then_some(Unlearnt {
                    row,
                    bin,
                    score,
                    least,
                })
            })
        };
        rows.iter().find_map(of)
    }
}

/// The best constant answer of a part on questions; none for other tasks.
///
/// # Errors
/// Examples that do not fit the layout.
pub fn of(part: &Part, test_limit: Option<usize>, bins: &[LengthBin]) -> Result<Option<Constant>> {
    if part.prepared.source.task != Task::Coqa || bins.is_empty() {
        return Ok(None);
    }
    let examples = run::test_examples(&part.prepared, test_limit);
    let lengths = part.prepared.prompt_lengths(&examples)?;
    let answers = frequent(&part.prepared.splits.train);
    let all: Vec<&Example> = examples.iter().collect();
    let best = answers
        .into_iter()
        .max_by(|a, b| f1(a, &all).total_cmp(&f1(b, &all)));
    Ok(best.map(|answer| {
        let of_bin = |bin: &LengthBin| {
            let here = lengths.iter().zip(&examples);
            let here = here.filter(|(n, _)| (bin.from..=bin.to).contains(n));
            f1(&answer, &here.map(|(_, e)| e).collect::<Vec<_>>())
        };
        Constant {
            score: f1(&answer, &all),
            scores: bins.iter().map(of_bin).collect(),
            answer,
        }
    }))
}

/// The most frequent first references, the most frequent one last: of two that score alike it is
/// taken.
fn frequent(train: &[Example]) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for answer in train.iter().filter_map(|e| e.references.first()) {
        *counts.entry(answer.to_lowercase()).or_default() += 1;
    }
    let mut all: Vec<(String, usize)> = counts.into_iter().collect();
    all.sort_by_key(|(_, n)| *n);
    let from = all.len().saturating_sub(TRIED);
    all.drain(..from);
    all.into_iter().map(|(answer, _)| answer).collect()
}

/// F1, 0 to 100, of one answer to all of these questions.
fn f1(answer: &str, examples: &[&Example]) -> f64 {
    let mut sum = Counts::default();
    for example in examples {
        sum += Counts::of(answer, &example.references);
    }
    sum.score().f1
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;
    use inducer_datasets::Input;
    use inducer_datasets::metrics::coqa::Coqa;

    fn question(answer: &str) -> Example {
        Example {
            position: 1,
            input: Input::Sentence("?".into()),
            references: vec![answer.into()],
            category: String::new(),
            seen: true,
            class: None,
            id: None,
        }
    }

    #[test]
    fn a_run_has_learnt_where_it_scores_twice_the_constant_answer() {
        let constant = Constant {
            answer: "no".into(),
            score: 10.5,
            scores: Vec::new(),
        };
        let learnt = [0.0, 11.4, 20.9, 21.0, 57.0].map(|f1| {
            let mut scores = Coqa::default();
            scores.overall.f1 = f1;
            constant.is_beaten_by(&Scores::Coqa { scores })
        });
        assert_eq!(learnt, [false, false, false, true, true]);
    }

    #[test]
    fn the_most_frequent_answer_comes_last_and_its_score_is_its_share() {
        let all: Vec<Example> = ["Yes", "no", "yes", "blue", "yes"].map(question).into();
        assert_eq!(frequent(&all).last().map(String::as_str), Some("yes"));
        let refs: Vec<&Example> = all.iter().collect();
        assert_abs_diff_eq!(f1("yes", &refs), 60.0, epsilon = 1e-9);
        assert_abs_diff_eq!(f1("red", &refs), 0.0, epsilon = 1e-9);
    }
}
