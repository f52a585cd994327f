//! Where the public data lie, for tests that use them when they are there.
use std::path::PathBuf;

/// `../shared/data/<name>` from the workspace's root, or a line that says the test was not run.
#[allow(dead_code, reason = "not every test binary reads them")]
pub fn shared(name: &str) -> Option<PathBuf> {
    find("data", name)
}

/// The same of `../shared/cases/<name>`.
#[allow(dead_code, reason = "not every test binary reads them")]
pub fn case(name: &str) -> Option<PathBuf> {
    find("cases", name)
}

fn find(folder: &str, name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared")
        .join(folder)
        .join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("not run: ../shared/{folder}/{name} is not there");
    None
}

/// One of the corpora that `goldens/make_sacrebleu.py` made, and its scores.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "each test binary reads its own score")]
pub struct Corpus {
    /// Hypotheses.
    pub h: Vec<String>,
    /// References of each.
    pub r: Vec<Vec<String>>,
    /// BLEU after 13a's tokenization.
    #[serde(rename = "13a")]
    pub bleu: f64,
    /// The same, lower-cased.
    #[serde(rename = "13a_lc")]
    pub lower: f64,
    /// BLEU of words between spaces.
    #[serde(rename = "none")]
    pub plain: f64,
    /// TER, times 100.
    pub ter: f64,
}

/// All 200 of them.
#[allow(dead_code, reason = "not every test binary reads them")]
pub fn sacrebleu() -> Vec<Corpus> {
    let all: Vec<Corpus> =
        serde_json::from_str(include_str!("../goldens/sacrebleu.json")).unwrap_or_default();
    assert_eq!(all.len(), 200);
    all
}
