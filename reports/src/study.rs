//! The study as data: everything that a report shows, and nothing that it has to look up elsewhere.
//!
//! `report.json` is exactly [`Study`]; `report.html` and `report.md` are functions of it. Means,
//! intervals and verdicts are not stored: they follow from the runs ([`crate::stats`]). All numbers
//! must be finite, because JSON has no others.

use crate::run::read_json;
use anyhow::{Result, ensure};
use inducer_verify::Verdict;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// Version of the layout of `report.json`; [`Study::read`] also reads the ones before.
pub const SCHEMA: u32 = 2;

/// A study: methods, their runs, and where all of it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Version of this layout ([`SCHEMA`]).
    pub schema: u32,
    /// The task: `webnlg`, `coqa`, `mnli` or `sst2`.
    #[serde(default = "webnlg")]
    pub task: String,
    /// Where the numbers come from.
    pub provenance: Provenance,
    /// One row a method, in the order of the tables.
    pub rows: Vec<Row>,
    /// Test inputs with every method's text.
    pub samples: Vec<Sample>,
    /// The same question asked with long inputs.
    #[serde(default)]
    pub long: Option<Long>,
    /// What the claims ledger said when the report was made.
    #[serde(default)]
    pub ledger: Option<Ledger>,
}

fn webnlg() -> String {
    "webnlg".into()
}

/// Runs on conversational questions over passages of many lengths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Long {
    /// What its runs share.
    pub settings: Settings,
    /// Its data.
    pub data: DataSource,
    /// One row a method.
    pub rows: Vec<Row>,
}

/// Summary of the claims ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The command that gives it.
    pub command: String,
    /// Random cases of each claim.
    pub cases: usize,
    /// Claims.
    pub claims: Vec<ClaimLine>,
}

/// One claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimLine {
    /// Its id.
    pub id: String,
    /// In words.
    pub statement: String,
    /// Its place in the paper.
    pub place: String,
    /// Engines on which it held, and its negative control was caught.
    pub passed: usize,
    /// Engines on which it did not.
    pub failed: usize,
    /// Engines on which it was not checked, which never counts as passed.
    pub not_run: usize,
    /// Cases over all engines.
    pub cases: usize,
    /// Largest error as a share of its bound, over all engines; none where it is exact or was not
    /// run.
    pub worst: Option<f64>,
}

/// Where the numbers come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of this program.
    pub version: String,
    /// The command line.
    pub command: String,
    /// The command that gives this report again.
    pub rerun: String,
    /// Start, RFC 3339.
    pub started: String,
    /// End, RFC 3339.
    pub finished: String,
    /// Device, in words.
    pub device: String,
    /// Threads.
    pub threads: usize,
    /// What all runs share.
    pub settings: Settings,
    /// The data.
    pub data: DataSource,
    /// The backbone.
    pub backbone: BackboneSource,
    /// Sentences on what is comparable with the paper and what is not.
    pub comparable: Vec<String>,
}

/// Settings that all runs of a study share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Optimiser steps.
    pub steps: usize,
    /// Texts a step.
    pub batch_size: usize,
    /// Warm-up steps.
    pub warmup: usize,
    /// Label smoothing.
    pub label_smoothing: f64,
    /// Dropout rate.
    pub dropout: f64,
    /// Seeds that were asked for; a row without a run of one of them shows it as missing.
    pub seeds: Vec<u64>,
    /// Most new tokens in decoding.
    pub max_new_tokens: usize,
}

/// The data of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// Name, for headings: `WebNLG 2017`.
    pub name: String,
    /// Directory, or `embedded generator, seed s`.
    pub origin: String,
    /// SHA-256 of the files.
    pub fingerprint: String,
    /// Training part.
    pub train: PartCount,
    /// Development part (as far as it is used).
    pub dev: PartCount,
    /// Test part (as far as it is scored).
    pub test: PartCount,
    /// Test entries of categories that occur in training.
    pub test_seen: usize,
    /// Test entries of categories that do not.
    pub test_unseen: usize,
    /// Entries without a usable text, left out.
    pub skipped: usize,
}

/// Entries and texts of one part of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartCount {
    /// Entries (one input each).
    pub entries: usize,
    /// Texts (references).
    pub texts: usize,
}

/// The backbone of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneSource {
    /// Name, for headings.
    pub name: String,
    /// How it came about, in words.
    pub origin: String,
    /// Layers.
    pub layers: usize,
    /// Hidden size d.
    pub hidden: usize,
    /// Heads H.
    pub heads: usize,
    /// Vocabulary.
    pub vocabulary: usize,
    /// Parameters, the tied head counted once.
    pub parameters: usize,
    /// SHA-256 of its files.
    pub fingerprint: String,
}

/// A method and its runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Name on the command line: `inducer-lora`.
    pub method: String,
    /// Name in tables: `Inducer + LoRA`.
    pub title: String,
    /// Its parts.
    pub adapter: Value,
    /// Trained parameters.
    pub trained: usize,
    /// Stored parameters.
    pub stored: usize,
    /// Trained parameters in per cent of the backbone's.
    pub share: f64,
    /// Highest learning rate; none where nothing is trained.
    pub learning_rate: Option<f64>,
    /// Finished runs.
    pub runs: Vec<Run>,
    /// Against Inducer-tuning on the same test inputs and seeds: two-sided probability of so large
    /// a difference of the first score, by approximate randomisation over inputs.
    #[serde(default)]
    pub p_value: Option<f64>,
}

/// One finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Seed.
    pub seed: u64,
    /// BLEU on the test part.
    #[serde(default)]
    pub bleu: Bleu,
    /// METEOR on all of it, 0 to 1.
    #[serde(default)]
    pub meteor: Option<f64>,
    /// TER on all of it, 0 is perfect.
    #[serde(default)]
    pub ter: Option<f64>,
    /// CoQA's exact match and F1, 0 to 100.
    #[serde(default)]
    pub coqa: Option<[f64; 2]>,
    /// Accuracy, per cent.
    #[serde(default)]
    pub accuracy: Option<f64>,
    /// Validation loss after the last step, nats a token.
    pub validation_loss: f64,
    /// Lowest validation loss.
    pub best_validation_loss: f64,
    /// Its step.
    pub best_step: usize,
    /// Training loss by step.
    pub train_curve: Vec<(usize, f64)>,
    /// Validation loss by step.
    pub validation_curve: Vec<(usize, f64)>,
    /// Seconds of training.
    pub seconds: f64,
    /// Tokens seen in training.
    pub tokens: u64,
    /// Tokens a second in training.
    pub tokens_per_second: f64,
    /// λ of inducers, μ of prefixes, by layer; empty for other methods.
    pub gates: Vec<LayerGates>,
    /// The same by position of the query.
    #[serde(default)]
    pub by_position: Vec<PositionGates>,
    /// Score and mechanism by length of the input.
    #[serde(default)]
    pub by_length: Vec<LengthBin>,
    /// KL(frozen ‖ tuned) of the next token by step, nats.
    #[serde(default)]
    pub drift_curve: Vec<(usize, f64)>,
    /// Most bytes that the run held at once; none where it was not counted.
    #[serde(default)]
    pub peak_bytes: Option<u64>,
    /// Its directory.
    pub directory: String,
    /// Its full configuration.
    pub configuration: Value,
}

/// BLEU, 0 to 100; absent where the test part has no such entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bleu {
    /// Categories that occur in training.
    pub seen: Option<f64>,
    /// Categories that do not.
    pub unseen: Option<f64>,
    /// All.
    pub all: Option<f64>,
}

impl Bleu {
    /// "BLEU seen 59.80, unseen –, all 46.10".
    pub fn words(&self) -> String {
        let figure = |x: Option<f64>| x.map_or("–".into(), |x| format!("{x:.2}"));
        let [seen, unseen, all] = [self.seen, self.unseen, self.all].map(figure);
        format!("BLEU seen {seen}, unseen {unseen}, all {all}")
    }
}

/// λ (or μ) of one layer over validation tokens and heads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerGates {
    /// Layer, from 0.
    pub layer: usize,
    /// Mean.
    pub mean: f64,
    /// 5, 25, 50, 75 and 95 per cent quantiles.
    pub quantiles: [f64; 5],
    /// Shares of 20 equal bins over [0, 1].
    pub histogram: Vec<f64>,
    /// Mean of each head.
    pub heads: Vec<f64>,
    /// 5, 25, 50, 75 and 95 per cent quantiles of the distance from a query to the nearest added
    /// key, in bandwidths p^{1/4} of the kernel.
    #[serde(default)]
    pub distance: Option<[f64; 5]>,
    /// Share of queries whose added tokens together get less than a hundredth of the weight.
    #[serde(default)]
    pub unreached: Option<f64>,
}

/// λ (or μ) of the queries in a span of positions, over layers and heads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionGates {
    /// First position, from 0.
    pub from: usize,
    /// Last position.
    pub to: usize,
    /// Queries, layers and heads counted.
    pub queries: usize,
    /// Mean.
    pub gate: f64,
    /// Share below a hundredth.
    pub unreached: f64,
    /// Median distance to the nearest added key, in bandwidths.
    pub distance: f64,
}

/// What a run did with the test inputs of similar length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthBin {
    /// Tokens of the shortest input.
    pub from: usize,
    /// Tokens of the longest input.
    pub to: usize,
    /// Inputs.
    pub entries: usize,
    /// The task's first score on them.
    pub score: Option<f64>,
    /// Loss of the first reference, nats a token.
    pub loss: f64,
    /// Mean of λ or μ over layers, heads and positions.
    pub gate: Option<f64>,
    /// Share of queries below a hundredth.
    pub unreached: Option<f64>,
    /// Median distance to the nearest added key, in bandwidths.
    pub distance: Option<f64>,
}

/// A test input with every method's text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Category.
    pub category: String,
    /// Whether the category occurs in training.
    pub seen: bool,
    /// The triples, one a line of text: `Ajax | ground | Amsterdam`.
    pub input: Vec<String>,
    /// The texts that people wrote.
    pub references: Vec<String>,
    /// Texts by method name, in the order of the rows.
    pub outputs: Vec<(String, String)>,
}

impl ClaimLine {
    /// The verdict over all engines; one failure is a failure.
    pub fn verdict(&self) -> Verdict {
        match (self.failed, self.passed) {
            (0, 0) => Verdict::NotRun,
            (0, _) => Verdict::Passed,
            _ => Verdict::Failed,
        }
    }
}

impl Study {
    /// Reads a `report.json` of this or an earlier version.
    ///
    /// # Errors
    /// A missing or broken file, an unknown field, a newer layout.
    pub fn read(path: &Path) -> Result<Self> {
        let study: Self = read_json(path)?;
        ensure!(
            study.schema <= SCHEMA,
            "{}: field `schema`: expected at most {SCHEMA}, found {}; a newer inducer wrote it",
            path.display(),
            study.schema
        );
        Ok(study)
    }

    /// The row of a method.
    pub fn row(&self, method: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.method == method)
    }

    /// The seeds that were asked for and have no run in a row.
    pub fn missing(&self, row: &Row) -> Vec<u64> {
        let seeds = &self.provenance.settings.seeds;
        let absent = seeds.iter().copied().filter(|s| row.run(*s).is_none());
        absent.collect()
    }
}

impl Row {
    /// The run of a seed.
    pub fn run(&self, seed: u64) -> Option<&Run> {
        self.runs.iter().find(|r| r.seed == seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_refused() {
        let good = r#"{"seen": 1.5, "unseen": null, "all": 2.5}"#;
        let bad = r#"{"seen": 1.5, "unseen": null, "all": 2.5, "al": 2.5}"#;
        assert!(serde_json::from_str::<Bleu>(good).is_ok());
        let message = serde_json::from_str::<Bleu>(bad).unwrap_err().to_string();
        assert!(message.contains("`al`"), "{message}");
    }
}
