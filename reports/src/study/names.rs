//! The names of a study's methods.

use super::paper::LONG_METHODS;
use crate::run::MethodSpec;
use anyhow::{Result, bail, ensure};
use std::collections::BTreeSet;

/// The names of the methods, once nothing is asked for twice: each run has a directory of its own.
///
/// # Errors
/// A seed or a name that stands there twice; no method of that name.
pub(super) fn names(methods: &[String], seeds: &[u64], loss_seeds: &[u64]) -> Result<Vec<String>> {
    let mut all = BTreeSet::new();
    for seed in seeds {
        ensure!(all.insert(seed), "--seeds: {seed} stands there twice");
    }
    for seed in loss_seeds {
        let fresh = all.insert(seed);
        ensure!(
            fresh,
            "--loss-seeds: {seed} stands there twice, or in --seeds"
        );
    }
    let mut names: Vec<String> = Vec::new();
    for (i, given) in methods.iter().enumerate() {
        let name = MethodSpec::name_of(given)?;
        if let Some(same) = names.iter().position(|n| *n == name) {
            let (a, b) = (&methods[same], &methods[i]);
            bail!(
                "--methods: {a} and {b} would both be called `{name}`; rename a file or its folder"
            );
        }
        ensure!(
            !LONG_METHODS
                .iter()
                .any(|long| name == format!("long-{long}")),
            "--methods {given}: `{name}` is the name of a run on long inputs; rename the file"
        );
        names.push(name);
    }
    Ok(names)
}
