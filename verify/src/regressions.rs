//! Cases that once failed: they run with every run of their claim, before the random ones.
//!
//! As proptest keeps them, each is a line of a file in `proptest-regressions`, with what it was
//! after a `#`. A failing test of the ledger writes its smallest case there.

use crate::ReportRow;
use crate::cases::CaseName;
use crate::error::{Error, Result};
use std::path::Path;

/// The cases, as the file has them.
const KEPT: &str = include_str!("../proptest-regressions/ledger.txt");

/// A case that once failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// The claim's id.
    pub claim: String,
    /// The seed.
    pub seed: u64,
    /// The case.
    pub case: CaseName,
}

impl Regression {
    /// Its line, with what was wrong.
    #[must_use]
    pub fn line(&self, what: &str) -> String {
        format!("{} {} {} # {what}\n", self.claim, self.seed, self.case)
    }
}

/// Those of the file that the crate is built with.
///
/// # Errors
/// A line is not what [`read`] takes.
pub fn kept() -> Result<Vec<Regression>> {
    read(KEPT)
}

/// The cases of a file: in each line a claim, a seed and a case; what follows a `#` is a remark.
///
/// # Errors
/// A line has something else, or a number that is none.
pub fn read(text: &str) -> Result<Vec<Regression>> {
    let lines = text.lines().enumerate().map(|(at, line)| {
        let wrong = || {
            Error::Missing(format!(
                "a claim, a seed and a case in line {} of proptest-regressions/ledger.txt; found \
                 `{line}`",
                at + 1
            ))
        };
        let words: Vec<&str> = line
            .split('#')
            .next()
            .into_iter()
            .flat_map(str::split_whitespace)
            .collect();
        match words[..] {
            [] => Ok(None),
            [claim, seed, case] => Ok(Some(Regression {
                claim: claim.into(),
                seed: seed.parse().map_err(|_| wrong())?,
                case: case.parse()?,
            })),
            _ => Err(wrong()),
        }
    });
    lines.filter_map(Result::transpose).collect()
}

/// Adds a case to a file, unless it is there.
///
/// # Errors
/// The file cannot be read or written.
pub fn keep(file: &Path, regression: &Regression, what: &str) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    if read(&text)?.contains(regression) {
        return Ok(());
    }
    Ok(std::fs::write(file, text + &regression.line(what))?)
}

/// Keeps the smallest case of a row that failed, so that it is tried from now on.
///
/// # Errors
/// As [`keep`].
pub fn keep_smallest(file: &Path, row: &ReportRow) -> Result<()> {
    let Some(found) = &row.smallest else {
        return Ok(());
    };
    let regression = Regression {
        claim: row.claim.clone(),
        seed: found.seed,
        case: found.case.clone(),
    };
    let what = format!("{}: {}", row.engine, found.worst.location);
    keep(file, &regression, &what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_kept_once_and_read_as_it_was_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "# a remark\n").unwrap();
        let regression = Regression {
            claim: "eq05-attention".into(),
            seed: 4,
            case: "10:0=0,3=1".parse().unwrap(),
        };
        for _ in 0..2 {
            keep(file.path(), &regression, "L 1, H 1 # and more").unwrap();
        }
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(
            text,
            "# a remark\neq05-attention 4 10:0=0,3=1 # L 1, H 1 # and more\n"
        );
        assert_eq!(read(&text).unwrap(), [regression]);
    }

    #[test]
    fn a_line_that_names_no_case_is_refused_by_its_number() {
        for line in ["eq05 4", "eq05 x 10", "eq05 4 10 11"] {
            let error = read(&format!("\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(line), "{error}");
        }
    }
}
