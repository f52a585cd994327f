//! What came out of a run: a row for each claim on an engine.

use crate::claim::Worst;
use crate::smallest::Smallest;
use serde::Serialize;

/// What became of a claim on an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every case within its bound, the bound not vacuous, and the control caught.
    Passed,
    /// A case beyond its bound, a vacuous bound, or a control that passed.
    Failed,
    /// Not checked here: never counts as passed.
    NotRun,
    /// What a study says of an empirical claim: neither passed nor failed.
    Measured,
    /// A study was looked at and says nothing of an empirical claim: its row says why.
    NotMeasured,
}

impl Verdict {
    /// The word for it in tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::NotRun => "not run",
            Self::Measured => "measured",
            Self::NotMeasured => "not measured",
        }
    }
}

/// A claim on an engine.
#[derive(Clone, Debug, Serialize)]
pub struct ReportRow {
    /// The claim.
    pub claim: String,
    /// The engine.
    pub engine: String,
    /// What came out.
    pub verdict: Verdict,
    /// Cases run.
    pub cases: usize,
    /// Numbers compared in them.
    pub comparisons: usize,
    /// The comparison nearest to (or furthest beyond) its bound.
    pub worst: Option<Worst>,
    /// The same of the control, which has to be beyond.
    pub control: Option<Worst>,
    /// In how many of how many cases the control was caught.
    pub caught: (usize, usize),
    /// For an identity over the prime field: its degree, and log₁₀ of the chance that all cases
    /// missed that it is false.
    pub chance: Option<Chance>,
    /// On the engine "proved": file and name of each theorem.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub theorems: Vec<String>,
    /// Why it failed or was not run.
    pub note: Option<String>,
    /// Where a case is beyond its bound: the smallest one that still is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smallest: Option<Smallest>,
    /// Seconds taken.
    pub seconds: f64,
}

impl ReportRow {
    /// A claim on an engine where nothing was run yet.
    pub(crate) fn new(claim: &str, engine: &str) -> Self {
        Self {
            claim: claim.into(),
            engine: engine.into(),
            verdict: Verdict::NotRun,
            cases: 0,
            comparisons: 0,
            worst: None,
            control: None,
            caught: (0, 0),
            chance: None,
            theorems: Vec::new(),
            note: None,
            smallest: None,
            seconds: 0.0,
        }
    }

    /// Why it failed or was not run, with the smallest case that fails, in one line.
    #[must_use]
    pub fn why(&self) -> String {
        let found = self.smallest.iter();
        let found = found.flat_map(|found| [found.says(), found.again(&self.claim, &self.engine)]);
        let all: Vec<String> = self.note.clone().into_iter().chain(found).collect();
        all.join("; ")
    }
}

/// Schwartz and Zippel: (D/p)^cases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Chance {
    /// D.
    pub degree: u64,
    /// log₁₀ (D/p)^cases.
    pub log10: f64,
}

/// All claims.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The suite's version.
    pub version: &'static str,
    /// The seed.
    pub seed: u64,
    /// Cases asked for.
    pub cases: usize,
    /// Seconds taken.
    pub seconds: f64,
    /// One row for each claim and engine.
    pub rows: Vec<ReportRow>,
}

impl Report {
    /// Whether no claim failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Verdict::Failed)
    }

    /// How many rows have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rows
            .iter()
            .filter(|row| row.verdict == verdict)
            .count()
    }
}
