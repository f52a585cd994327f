//! Standard output, for what was asked for; everything else goes to standard error.

use anyhow::Result;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line.
///
/// # Errors
/// The output is closed ([`is_closed`]) or full.
pub fn line(text: impl Display) -> Result<()> {
    whole(format_args!("{text}\n"))
}

/// Writes a text as it is.
///
/// # Errors
/// As [`line`].
pub fn whole(text: impl Display) -> Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Writes a value as JSON for people.
///
/// # Errors
/// As [`line`].
pub fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// Whether an error is only that nobody reads on, as behind `| head`.
pub fn is_closed(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|e| e.downcast_ref::<io::Error>());
    causes
        .into_iter()
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// An error in one line, no cause twice: many errors' own words end with their cause already.
pub fn words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow!("No such file")
            .context("a/b: No such file")
            .context("--data a");
        assert_eq!(words(&error), "--data a: a/b: No such file");
        let error: Result<()> = Err(io::Error::from(io::ErrorKind::BrokenPipe)).context("out");
        let error = error.unwrap_err();
        assert!(is_closed(&error) && !is_closed(&anyhow!("broken pipe")));
    }
}
