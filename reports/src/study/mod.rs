//! The study as data: everything that a report shows, and nothing that it has to look up elsewhere.
//!
//! `report.json` is exactly [`Study`]; `report.html` and `report.md` are functions of it. Means,
//! intervals and verdicts are not stored: they follow from the runs ([`crate::stats`]). All numbers
//! must be finite, because JSON has no others.

use crate::files::read_json;
use crate::run::RunResult;
use crate::run::directory::Curves;
use crate::stats::contrast::Contrast;
use anyhow::{Result, ensure};
use inducer_datasets::Task;
use inducer_verify::Verdict;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

pub mod assemble;
pub mod budget;
mod comparable;
pub mod constant;
pub mod contrasts;
pub mod empirical;
pub mod estimate;
pub mod generated;
pub mod judged;
pub mod listed;
pub mod looks;
pub mod measure;
mod names;
mod older;
pub mod paper;
pub mod plan;
pub mod planned;
pub mod preset;
pub mod rates;
mod run_in_report;
pub mod schedule;
pub mod slim;
pub mod slopes;

use run_in_report::RunInReport;

pub use crate::run::record::{
    Bleu, FixedLosses, LayerGates, LengthBin, Mechanism, PositionGates, Scores, TrainingSummary,
};

/// Version of the layout of `report.json`; [`Study::read`] also reads the ones before.
pub const SCHEMA: u32 = 3;

/// A study: methods, their runs, and where all of it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Version of this layout ([`SCHEMA`]).
    pub schema: u32,
    /// The task; reports of the first layout were all on WebNLG.
    #[serde(default = "webnlg")]
    pub task: Task,
    /// Where the numbers come from.
    pub provenance: Provenance,
    /// One row a method, in the order of the tables.
    pub rows: Vec<Row>,
    /// Methods compared by the loss of the test part: the paper's steps, and every method with
    /// Inducer-tuning. Runs of earlier versions kept no losses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contrasts: Vec<Contrast>,
    /// Test inputs with every method's text.
    pub samples: Vec<Sample>,
    /// What is to come of a study that is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub going: Option<Going>,
    /// Test entries that were looked into, each with a page of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<Look>,
    /// The same question asked with long inputs.
    #[serde(default)]
    pub long: Option<Long>,
    /// How learning rates were chosen, where a search chose them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<rates::Found>,
    /// What the claims ledger said when the report was made.
    #[serde(default)]
    pub ledger: Option<Ledger>,
}

/// What is to come of a study.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Going {
    /// Runs, those that choose learning rates among them.
    pub runs: usize,
    /// Seconds, from the time that the runs before took.
    pub seconds: Option<f64>,
}

/// A page of `inducer explain` on a test entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// The page, beside the report.
    pub file: String,
    /// Number of the entry in the test part, from 1.
    pub entry: usize,
    /// The rule that chose it, in words.
    pub rule: String,
    /// Tokens of its row.
    pub tokens: usize,
    /// Loss of the target in nats, by method; `none` is the frozen backbone.
    pub losses: Vec<(String, f64)>,
}

fn webnlg() -> Task {
    Task::WebNlg
}

/// Runs on conversational questions over passages of many lengths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Long {
    /// What its runs share.
    pub settings: Settings,
    /// Its data.
    pub data: DataSource,
    /// Its backbone; reports of earlier versions had the study's there too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneSource>,
    /// How learning rates were chosen, where a search chose them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<rates::Found>,
    /// What always giving one answer scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant: Option<constant::Constant>,
    /// One row a method.
    pub rows: Vec<Row>,
    /// How the loss of each prefix and that of the inducer grow with the length, compared: nats a
    /// token for each doubling. Runs of earlier versions were not compared so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slopes: Vec<Contrast>,
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
    /// Every option of the study by its name, given or by default; earlier versions wrote none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub options: Value,
    /// Start, RFC 3339.
    pub started: String,
    /// End, RFC 3339.
    pub finished: String,
    /// Device, in words.
    pub device: String,
    /// Threads.
    pub threads: usize,
    /// What a budget allowed, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<budget::TimeBudget>,
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
    /// Further seeds, of the methods whose steps are judged; their runs are scored by the loss of
    /// the test part alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loss_seeds: Vec<u64>,
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
    /// Of a variant of one's own: the method that it is a step from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<OwnStep>,
}

/// A step that is judged as the paper's are: from a method to a variant of one's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnStep {
    /// The method below.
    pub lower: String,
    /// What the variant has and that method has not.
    pub change: String,
}

/// One finished run: what it found, and its way there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "RunInReport", into = "RunInReport")]
pub struct Run {
    /// Seed.
    pub seed: u64,
    /// What it found.
    pub result: RunResult,
    /// Tokens a second in training.
    pub tokens_per_second: f64,
    /// What it wrote down on its way.
    pub curves: Curves,
    /// Its directory.
    pub directory: String,
    /// Its full configuration.
    pub configuration: Value,
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
        let schema = older::layout(path)?;
        ensure!(
            schema <= SCHEMA,
            "{}: field `schema`: expected at most {SCHEMA}, found {schema}; a newer inducer \
             wrote it",
            path.display(),
        );
        let mut study = match schema {
            SCHEMA => read_json(path),
            _ => older::read(path),
        }?;
        slim::restore(&mut study);
        Ok(study)
    }

    /// The row of a method.
    pub fn row(&self, method: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.method == method)
    }

    /// The comparison of two methods by the loss of the test part.
    pub fn contrast(&self, lower: &str, upper: &str) -> Option<&Contrast> {
        let of = |c: &&Contrast| c.lower == lower && c.upper == upper;
        self.contrasts.iter().find(of)
    }

    /// The steps to variants of one's own.
    pub fn own_steps(&self) -> Vec<paper::Step<'_>> {
        self.rows.iter().filter_map(Row::own_step).collect()
    }

    /// The seeds that were asked for and have no run in a row.
    pub fn missing(&self, row: &Row) -> Vec<u64> {
        let seeds = &self.provenance.settings.seeds;
        let absent = seeds.iter().copied().filter(|s| row.run(*s).is_none());
        absent.collect()
    }
}

impl Row {
    /// A number of a bin of lengths by seed, of the runs in which it was measured.
    pub fn of_length(&self, bin: usize, of: fn(&LengthBin) -> Option<f64>) -> Vec<(u64, f64)> {
        let value = |r: &Run| Some((r.seed, of(r.result.mechanism.by_length.get(bin)?)?));
        self.runs.iter().filter_map(value).collect()
    }

    /// The step to it, where it is a variant of one's own that names one.
    pub fn own_step(&self) -> Option<paper::Step<'_>> {
        self.step.as_ref().map(|step| paper::Step {
            lower: &step.lower,
            upper: &self.method,
            change: &step.change,
        })
    }

    /// How many of its runs were scored by their loss alone.
    pub fn by_loss_alone(&self) -> usize {
        let alone = |run: &&Run| run.configuration["loss_only"] == Value::Bool(true);
        self.runs.iter().filter(alone).count()
    }

    /// The run of a seed.
    pub fn run(&self, seed: u64) -> Option<&Run> {
        self.runs.iter().find(|r| r.seed == seed)
    }
}
