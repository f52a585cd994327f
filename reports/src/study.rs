//! The study as data: everything that a report shows, and nothing that it has to look up elsewhere.
//!
//! `report.json` is exactly [`Study`]; `report.html` and `report.md` are functions of it. Means, intervals and verdicts are
//! not stored: they follow from the runs ([`crate::stats`]). All numbers must be finite, because JSON has no others.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the layout of `report.json`.
pub const SCHEMA: u32 = 1;

/// A study: methods, their runs, and where all of it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Version of this layout ([`SCHEMA`]).
    pub schema: u32,
    /// Where the numbers come from.
    pub provenance: Provenance,
    /// One row a method, in the order of the tables.
    pub rows: Vec<Row>,
    /// Test inputs with every method's text.
    pub samples: Vec<Sample>,
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
}

/// One finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Seed.
    pub seed: u64,
    /// BLEU on the test part.
    pub bleu: Bleu,
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

impl Study {
    /// The row of a method.
    pub fn row(&self, method: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.method == method)
    }

    /// The seeds that were asked for and have no run in a row.
    pub fn missing(&self, row: &Row) -> Vec<u64> {
        let seeds = &self.provenance.settings.seeds;
        seeds
            .iter()
            .copied()
            .filter(|s| row.run(*s).is_none())
            .collect()
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
