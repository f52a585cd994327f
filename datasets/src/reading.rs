//! What decides, beside a task and its files, how they become examples.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::webnlg::ENGLISH;
use crate::{Error, Result, Task};

/// How files are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reading {
    /// The language of the texts, of a WebNLG release with several.
    #[serde(skip_serializing_if = "is_english")]
    pub language: String,
    /// The names of columns of data of one's own, by what they hold ([`Task::columns`]), where they
    /// are not called that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
    /// How one file is divided into three parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Inputs of data of one's own, and of the classification tasks, are cut after so many tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncate: Option<usize>,
}

/// Shares of three parts, and the seed by which rows fall to them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Of train, dev and test, each above 0, together 1.
    pub shares: [f64; 3],
    /// The seed.
    pub seed: u64,
}

fn is_english(language: &str) -> bool {
    language == ENGLISH
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            language: ENGLISH.into(),
            columns: BTreeMap::new(),
            split: None,
            truncate: None,
        }
    }
}

impl Reading {
    /// Whether nothing is asked for but the usual.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Every option is one of the task's.
    ///
    /// # Errors
    /// The option that is not.
    pub fn check(&self, task: Task) -> Result<()> {
        let refused = |message: String| Err(Error::Invalid(message));
        for (of, column) in &self.columns {
            if !task.is_own() {
                let message =
                    format!("--columns {of}={column} is for --task generate and classify");
                return refused(message);
            }
            if !task.columns().contains(&of.as_str()) {
                return refused(format!(
                    "--columns {of}={column}: expected one of {} before `=`, which --task {task} \
                     has",
                    task.columns().join(", ")
                ));
            }
        }
        if self.split.is_some() && !task.is_own() {
            return refused("--split is for --task generate and classify".into());
        }
        if self.truncate.is_some() && matches!(task, Task::WebNlg | Task::Coqa) {
            let why = match task {
                Task::WebNlg => "a triple that is cut off would be missing in every text",
                _ => "passages are cut at 400 tokens, as in the paper",
            };
            return refused(format!("--truncate is not for --task {task}: {why}"));
        }
        Ok(())
    }

    /// The column that holds something.
    pub fn column<'a>(&'a self, of: &'a str) -> &'a str {
        self.columns.get(of).map_or(of, String::as_str)
    }
}

impl Split {
    /// Three shares.
    ///
    /// # Errors
    /// A share that is not above 0; shares that are not 1 together.
    ///
    /// ```
    /// use inducer_datasets::reading::Split;
    /// assert!(Split::new([0.8, 0.1, 0.1], 0).is_ok());
    /// let e = Split::new([0.9, 0.1, 0.1], 0).unwrap_err();
    /// assert!(e.to_string().contains("together 1, found 0.9,0.1,0.1"));
    /// ```
    pub fn new(shares: [f64; 3], seed: u64) -> Result<Self> {
        let sum: f64 = shares.iter().sum();
        match shares.iter().all(|s| *s > 0.0) && (sum - 1.0).abs() < 1e-9 {
            true => Ok(Self { shares, seed }),
            false => {
                let found = shares.map(|s| s.to_string()).join(",");
                let expected = "three shares above 0, together 1";
                Err(Error::Invalid(format!(
                    "--split: expected {expected}, found {found}"
                )))
            }
        }
    }
}
