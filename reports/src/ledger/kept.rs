//! A finished ledger kept beside a study: it says the same as long as program and cases are the
//! same, so it is not run again for every report.

use crate::files;
use crate::study::Ledger;
use anyhow::Result;
use inducer_datasets::fingerprint;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file in the study's directory.
const FILE: &str = "ledger.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Of everything that decides what the ledger says.
    fingerprint: String,
    ledger: Ledger,
}

/// The fingerprint of a ledger of this program: the binary itself stands for all of its code.
fn key(cases: usize, threads: usize) -> Result<String> {
    let binary = fingerprint::of_file(&std::env::current_exe()?)?;
    let compiler = std::env::var("CXX").unwrap_or_default();
    Ok(fingerprint::of_bytes(
        format!("{binary} {cases} {threads} {compiler}").as_bytes(),
    ))
}

/// The ledger that is kept in `dir`, or a new one, which then is.
///
/// # Errors
/// The new one's; a file that cannot be written.
pub fn or_new(
    dir: &Path,
    cases: usize,
    threads: usize,
    new: impl FnOnce() -> Result<Ledger>,
) -> Result<Ledger> {
    let (path, fingerprint) = (dir.join(FILE), key(cases, threads)?);
    // a file that another version wrote is as good as none
    if let Ok(kept) = files::read_json::<Kept>(&path)
        && kept.fingerprint == fingerprint
    {
        return Ok(kept.ledger);
    }
    let kept = Kept {
        ledger: new()?,
        fingerprint,
    };
    files::write(&path, &(serde_json::to_string_pretty(&kept)? + "\n"))?;
    Ok(kept.ledger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_made_once_for_the_same_cases_and_again_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let mut made = 0;
        let mut get = |cases| {
            let new = || {
                made += 1;
                Ok(Ledger {
                    command: String::new(),
                    cases,
                    claims: Vec::new(),
                })
            };
            assert_eq!(or_new(dir.path(), cases, 1, new).unwrap().cases, cases);
            made
        };
        assert_eq!([get(4), get(4), get(5), get(5)], [1, 1, 2, 2]);
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        let new = || anyhow::bail!("asked for");
        assert!(or_new(dir.path(), 5, 1, new).is_err());
    }
}
