//! Which runs of a study's list are made: `--only` and `--shard I/N`.

use super::options::{Span, numbers};
use anyhow::{Result, ensure};

/// A part of a list: every run whose number leaves `part − 1` when divided by `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub part: usize,
    /// Parts.
    pub of: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('/')
            .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match parsed {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Self { part, of }),
            _ => Err(format!(
                "expected I/N with 1 ≤ I ≤ N, as in 2/8; found `{text}`"
            )),
        }
    }
}

/// The places in the list of `--only` (numbers from 1) or `--shard`, else all.
///
/// # Errors
/// A number that the list does not have.
pub fn chosen(only: &[Span], shard: Option<Shard>, count: usize) -> Result<Vec<usize>> {
    let only: Vec<usize> = numbers(only).into_iter().map(|n| n as usize).collect();
    for number in &only {
        ensure!(
            (1..=count).contains(number),
            "--only {number}: expected a number from 1 to {count} (see --plan)"
        );
    }
    Ok(match shard {
        Some(shard) => (0..count)
            .filter(|i| i % shard.of == shard.part - 1)
            .collect(),
        None if only.is_empty() => (0..count).collect(),
        None => only.iter().map(|n| n - 1).collect(),
    })
}
