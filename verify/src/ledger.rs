//! The ledger: `claims.toml`, one row for each claim, in words.

use crate::error::Result;
use serde::{Deserialize, Serialize};

/// The ledger's text.
pub const TEXT: &str = include_str!("../claims.toml");

/// All rows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The rows.
    pub claim: Vec<Row>,
}

/// What a claim rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    pub statement: String,
    /// The same as a formula.
    pub formula: String,
    /// Where the paper (or the project's statement of it) says so.
    pub place: String,
    /// The functions it is about.
    pub functions: Vec<String>,
    /// The tests that check it.
    pub tests: Vec<String>,
    /// The change that must make the check fail.
    pub control: String,
    /// The term of (5)–(11) whose breakage is the control, by name.
    #[serde(default)]
    pub breaks: Option<String>,
    /// Where it is checked.
    pub engines: Vec<String>,
    /// What it rests on.
    pub kind: Vec<Kind>,
    /// For an empirical claim: where the report measures it.
    #[serde(default)]
    pub measured: Option<String>,
}

impl Ledger {
    /// The ledger of this crate.
    ///
    /// # Errors
    /// It is not the TOML that it should be.
    pub fn read() -> Result<Self> {
        Ok(toml::from_str(TEXT)?)
    }
}
