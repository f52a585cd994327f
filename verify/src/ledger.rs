//! The ledger: `claims.toml`, one row for each claim, in words.

use crate::claim::Claim;
use crate::engines::Target;
use crate::error::Result;
use serde::{Deserialize, Deserializer};
use std::sync::{PoisonError, RwLock};

/// The ledger's text.
pub const TEXT: &str = include_str!("../claims.toml");

/// All rows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The rows.
    pub claim: Vec<Row>,
}

/// What a claim rests on first of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Exact: over the prime field, or in integers.
    Exact,
    /// To 28 digits in double-double.
    Digits,
    /// In floating point with a derived bound.
    Float,
    /// Across engines.
    Engines,
    /// Gradients.
    Gradients,
    /// Data, scores, runs and reports, held against their definitions.
    Definitions,
    /// Measured by the report, not provable here.
    Empirical,
}

/// A claim in words.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name.
    pub id: String,
    /// What is claimed.
    #[serde(deserialize_with = "paragraph")]
    pub statement: String,
    /// The same as a formula.
    #[serde(deserialize_with = "paragraph")]
    pub formula: String,
    /// Where the paper (or the project's statement of it) says so.
    #[serde(deserialize_with = "paragraph")]
    pub citation: String,
    /// The functions it is about.
    pub functions: Vec<String>,
    /// The change that must make the check fail.
    #[serde(deserialize_with = "paragraph")]
    pub control: String,
    /// The term of (5)–(11) whose breakage is the control, by name.
    #[serde(default)]
    pub breaks: Option<String>,
    /// Where it is checked; held against the code.
    pub engines: Vec<String>,
    /// For an empirical claim: where the report measures it.
    #[serde(default)]
    pub measured: Option<String>,
}

/// A text of several lines as one paragraph.
fn paragraph<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<String, D::Error> {
    let text = String::deserialize(from)?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

impl Row {
    /// What the claim rests on first of all: the strongest evidence among its engines.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let on = |targets: &[Target]| {
            let mut names = targets.iter().map(|target| target.name());
            names.any(|name| self.engines.iter().any(|engine| engine == name))
        };
        let elsewhere = [Target::Proved, Target::External].map(Target::name);
        let about_gradients = self
            .functions
            .iter()
            .any(|f| f.ends_with("Model::gradients"));
        if self.measured.is_some() {
            Kind::Empirical
        } else if self.is_around_models() {
            Kind::Definitions
        } else if on(&[Target::PrimeField, Target::Integers]) {
            Kind::Exact
        } else if on(&[Target::DoubleDouble]) {
            Kind::Digits
        } else if about_gradients {
            Kind::Gradients
        } else if self
            .engines
            .iter()
            .any(|engine| !engine.starts_with("reference") && !elsewhere.contains(&engine.as_str()))
        {
            Kind::Engines
        } else {
            Kind::Float
        }
    }

    /// Whether it is about what stands around models: data and scores, runs and reports.
    fn is_around_models(&self) -> bool {
        const CRATES: [&str; 2] = ["inducer_datasets::", "inducer_reports::"];
        let around = |function: &String| CRATES.iter().any(|name| function.starts_with(name));
        self.functions.iter().all(around)
    }
}

/// Rows about what is no part of this crate.
static FURTHER: RwLock<Vec<Row>> = RwLock::new(Vec::new());

/// Adds rows behind this crate's.
pub(crate) fn add(rows: impl Iterator<Item = Row>) {
    let mut all = FURTHER.write().unwrap_or_else(PoisonError::into_inner);
    all.extend(rows);
}

/// Gives this program the rows of another crate, written as `claims.toml` is, and their checks. Do
/// it once, before the ledger is read.
///
/// # Errors
/// The text is no ledger.
pub fn extend(text: &str, checks: impl Fn() -> Vec<Claim> + Send + Sync + 'static) -> Result<()> {
    let rows: Ledger = toml::from_str(text)?;
    add(rows.claim.into_iter());
    crate::claims::add(checks);
    Ok(())
}

impl Ledger {
    /// The ledger of this crate, and behind it the claims of other crates ([`extend`]) and those
    /// about the variants that are [registered](crate::custom::register).
    ///
    /// # Errors
    /// It is not the TOML that it should be.
    pub fn read() -> Result<Self> {
        let mut ledger: Self = toml::from_str(TEXT)?;
        let further = FURTHER.read().unwrap_or_else(PoisonError::into_inner);
        ledger.claim.extend(further.iter().cloned());
        Ok(ledger)
    }
}
