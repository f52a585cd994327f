//! Rows of the ledger about what this crate does with models: runs and what they are scored by,
//! and the figures that a report makes of them.

mod assembled;
mod choices;
mod classes;
mod inside;
mod mechanism;
mod run;
mod settings;
mod slopes;
mod statistics;
mod study;
mod world;

use inducer_verify::{Claim, Error, Result, ledger};
use std::sync::{Mutex, PoisonError};

/// The rows in words.
const TEXT: &str = include_str!("../../../claims.toml");

/// Gives the ledger these rows and their checks; a second time it changes nothing.
///
/// # Errors
/// The text of the rows is broken.
pub fn register() -> Result<()> {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !*done {
        ledger::extend(TEXT, all)?;
        *done = true;
    }
    Ok(())
}

fn all() -> Vec<Claim> {
    let groups = [
        run::claims(),
        classes::claims(),
        mechanism::claims(),
        inside::claims(),
        settings::claims(),
        study::claims(),
        assembled::claims(),
        slopes::claims(),
        choices::claims(),
        statistics::claims(),
    ];
    groups.into_iter().flatten().collect()
}

/// What keeps a check from being made.
fn failed(error: anyhow::Error) -> Error {
    Error::Missing(format!("{error:#}"))
}
