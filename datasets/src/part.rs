//! One file's examples, what was left out of them, and the rule for what is malformed.

use crate::{Error, Example, Result};

/// What to do with an entry or a row that lacks something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Malformed {
    /// It is an error.
    #[default]
    Refuse,
    /// It is left out and listed. A file that cannot be read on from there remains an error.
    Skip,
}

/// What one file, or several of one part, gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The examples.
    pub examples: Vec<Example>,
    /// Positions of WebNLG's entries without a usable text.
    pub without_text: Vec<usize>,
    /// What was left out or chosen, one sentence each.
    pub notes: Vec<String>,
    /// Messages on malformed entries or rows, in their order; empty unless they were to be skipped.
    pub malformed: Vec<String>,
}

impl Part {
    /// Takes what was read, or deals with what was wrong.
    ///
    /// # Errors
    /// The error given, unless such are to be skipped. A file that ends or cannot be read is never
    /// skipped over.
    pub(crate) fn take(&mut self, read: Result<Vec<Example>>, malformed: Malformed) -> Result<()> {
        match read {
            Ok(examples) => self.examples.extend(examples),
            Err(e @ Error::Io { .. }) => return Err(e),
            Err(e) if malformed == Malformed::Skip => self.malformed.push(e.to_string()),
            Err(e) => return Err(e),
        }
        Ok(())
    }
}
