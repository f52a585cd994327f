//! The engine "proved": the theorems of `verify/proofs`, checked by Coq for all inputs.
//!
//! `theorems.toml` names the claims that each theorem proves over the reals. The files are part of
//! this crate; they are checked by their own script, `check.sh`, at most once a process.

use crate::error::{Error, Result};
use crate::ledger;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../proofs/", $name)))),*]
    };
}

/// The files of `verify/proofs`, by name.
const FILES: [(&str, &str); 19] = files![
    "Attention.v",
    "Counts.v",
    "Definite.v",
    "Departures.v",
    "Estimator.v",
    "Extension.v",
    "Gradients.v",
    "Ia3.v",
    "Inducer.v",
    "Kernel.v",
    "Ladder.v",
    "Lora.v",
    "Prefix.v",
    "Sparse.v",
    "Start.v",
    "Vectors.v",
    "Visible.v",
    "check.sh",
    "theorems.toml",
];

/// The status of a script that could not be run here.
const NOT_RUN: i32 = 77;

/// A theorem.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Theorem {
    /// Its name in Coq.
    pub name: String,
    /// Its file in `verify/proofs`.
    pub file: String,
    /// Its place in the paper.
    pub equation: String,
    /// The claims of the ledger that it proves.
    #[serde(default)]
    pub claims: Vec<String>,
}

/// A false variation of a theorem, whose negation is proved.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Its name in Coq.
    pub name: String,
    /// Its file in `verify/proofs`.
    pub file: String,
    /// The theorem that it varies.
    pub varies: String,
}

/// `theorems.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The theorems.
    pub theorem: Vec<Theorem>,
    /// Their controls.
    pub control: Vec<Control>,
}

impl Index {
    /// The index of this crate.
    ///
    /// # Errors
    /// It is not the TOML that it should be.
    pub fn read() -> Result<Self> {
        toml::from_str(source("theorems.toml").unwrap_or_default()).map_err(Error::Theorems)
    }

    /// The theorems that prove a claim.
    #[must_use]
    pub fn theorems(&self, claim: &str) -> Vec<&Theorem> {
        let names = |theorem: &&Theorem| theorem.claims.iter().any(|id| id == claim);
        self.theorem.iter().filter(names).collect()
    }

    /// The controls of the theorems that prove a claim.
    #[must_use]
    pub fn controls(&self, claim: &str) -> Vec<&Control> {
        let theorems = self.theorems(claim);
        let varies = |control: &&Control| theorems.iter().any(|t| t.name == control.varies);
        self.control.iter().filter(varies).collect()
    }
}

/// The text of a file of `verify/proofs`.
#[must_use]
pub fn source(file: &str) -> Option<&'static str> {
    let mut files = FILES.into_iter();
    files.find_map(|(name, text)| (name == file).then_some(text))
}

/// A theorem's text, from the comment above it to the end of its proof.
#[must_use]
pub fn text(file: &str, name: &str) -> Option<&'static str> {
    let all = source(file)?;
    let statement = all
        .match_indices(&format!("Theorem {name}"))
        .find(|(at, found)| {
            let next = all[at + found.len()..].chars().next();
            next.is_some_and(|c| !c.is_alphanumeric() && c != '_')
        });
    let at = statement?.0;
    let from = all[..at].rfind("(** ")?;
    let to = at + all[at..].find("Qed.")? + "Qed.".len();
    Some(&all[from..to])
}

/// What came out of a check of all proofs.
#[derive(Clone, Debug)]
pub enum Checked {
    /// There is no Coq here, or no shell for the script.
    NotRun(String),
    /// The script ran.
    Ran(Verdicts),
}

/// What the script said of each theorem.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// By the theorem's name: `proved`, `refuted`, or how it failed.
    said: BTreeMap<String, String>,
    /// What is wrong with files, index or ledger.
    problem: Option<String>,
}

impl Verdicts {
    /// From the lines of the script: name, equation, verdict.
    fn read(output: &Output) -> Self {
        let [lines, problems] = [&output.stdout, &output.stderr]
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let said = lines.lines().filter_map(|line| {
            let name = line.split_whitespace().next()?;
            let verdict = match line.find("FAILED") {
                Some(at) => &line[at..],
                None => line.split_whitespace().last()?,
            };
            Some((name.to_owned(), verdict.to_owned()))
        });
        let problem = problems.lines().find(|line| !line.trim().is_empty());
        let problem = problem.unwrap_or("check.sh failed");
        Self {
            said: said.collect(),
            problem: (!output.status.success()).then(|| problem.to_owned()),
        }
    }

    /// What is wrong with a theorem of which `wanted` should have been said.
    #[must_use]
    pub fn fault(&self, name: &str, wanted: &str) -> Option<String> {
        match self.said.get(name).map(String::as_str) {
            Some(said) if said != wanted => Some(format!("{name}: {said}")),
            None => Some(
                self.problem
                    .clone()
                    .unwrap_or_else(|| format!("{name}: not checked")),
            ),
            Some(_) => self.problem.clone(),
        }
    }
}

/// Checks all proofs, once a process.
pub fn check() -> &'static Checked {
    static FOUND: OnceLock<Checked> = OnceLock::new();
    FOUND.get_or_init(|| {
        let not_run = |error: std::io::Error| Checked::NotRun(format!("check.sh: {error}"));
        match tempfile::tempdir() {
            Ok(dir) => run(dir.path()).unwrap_or_else(not_run),
            Err(error) => not_run(error),
        }
    })
}

/// The script on a copy of the files in `root`.
fn run(root: &Path) -> std::io::Result<Checked> {
    let proofs = root.join("verify/proofs");
    std::fs::create_dir_all(&proofs)?;
    for (name, text) in FILES {
        std::fs::write(proofs.join(name), text)?;
    }
    std::fs::write(root.join("verify/claims.toml"), ledger::TEXT)?;
    let mut script = Command::new("bash");
    script
        .arg(proofs.join("check.sh"))
        .arg("--no-install")
        .stdin(Stdio::null());
    let output = script.output()?;
    if output.status.code() == Some(NOT_RUN) {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Ok(Checked::NotRun(said));
    }
    Ok(Checked::Ran(Verdicts::read(&output)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_proofs_is_part_of_the_crate() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("proofs");
        let files = std::fs::read_dir(dir).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "README.md").collect();
        names.sort();
        assert_eq!(names, FILES.map(|(name, _)| name.to_owned()));
    }

    #[test]
    fn every_theorem_has_its_text_and_its_file_says_it_once() {
        let index = Index::read().unwrap();
        let theorems = index.theorem.iter().map(|t| (&t.file, &t.name));
        for (file, name) in theorems.chain(index.control.iter().map(|c| (&c.file, &c.name))) {
            let text = text(file, name).unwrap_or_else(|| panic!("{file}: {name}"));
            assert!(text.starts_with("(** ") && text.ends_with("Qed."), "{text}");
            assert_eq!(text.matches("Theorem ").count(), 1, "{text}");
        }
    }

    #[test]
    fn a_theorem_that_failed_and_one_of_which_nothing_was_said_are_faults() {
        let said = |name: &str, verdict: &str| (name.to_owned(), verdict.to_owned());
        let mut verdicts = Verdicts {
            said: [said("a", "proved"), said("b", "FAILED: does not compile")].into(),
            problem: None,
        };
        assert_eq!(verdicts.fault("a", "proved"), None);
        assert!(verdicts.fault("a", "refuted").is_some());
        assert!(
            verdicts
                .fault("b", "proved")
                .unwrap()
                .contains("does not compile")
        );
        assert!(verdicts.fault("c", "proved").is_some());
        verdicts.problem = Some("a proof is left open".into());
        assert!(verdicts.fault("a", "proved").is_some());
    }
}
