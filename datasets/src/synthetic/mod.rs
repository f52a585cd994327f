//! Data that need no download: a seeded world of invented things, described in WebNLG's JSON
//! layout, and plain prose about the same kind of world to pretrain a small backbone on.
//!
//! Names are composed of syllables, so that a test entity has to be copied, not remembered. Ten
//! categories occur in training; three occur only in the test part, with some properties of their
//! own. An entry has one to seven triples and one to three texts that differ in phrasing and
//! aggregation (pronouns, "and", asides, relative clauses), a test entry always three: multi-bleu
//! takes a missing reference for an empty one, and then a text that leaves out facts escapes the
//! brevity penalty. Here and there is a text marked `toFix`, as in the official files. The files go
//! through the same loader as those.
//!
//! The other tasks have data of the same world in their official layouts: conversations over
//! passages of any length ([`write_coqa`]), pairs of sentences ([`write_mnli`]), and sentences with
//! a mood ([`write_sst2`]).

mod coqa;
mod facts;
mod glue;
mod prose;
mod say;
mod world;

use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::files::write_atomic;
pub use coqa::{CoqaConfig, write_coqa};
use facts::{Fact, draw};
pub use glue::{GlueConfig, write_mnli, write_sst2};
pub use prose::{conversations_text, pretraining_text};
use world::{CATEGORIES, Category, Occurrence};

/// Size and seed of the generated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyntheticConfig {
    /// Seed.
    pub seed: u64,
    /// Training entries.
    pub train: usize,
    /// Development entries.
    pub dev: usize,
    /// Test entries, half of them of unseen categories.
    pub test: usize,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self {
            seed: 2022,
            train: 1200,
            dev: 150,
            test: 300,
        }
    }
}

/// Per cent of entries with 1, 2, … 7 triples, about as in the official training file.
const TRIPLES: [u32; 7] = [28, 22, 19, 15, 10, 4, 2];

/// Writes `train.json`, `dev.json` and `test.json`. The same configuration gives the same bytes.
///
/// # Errors
/// The directory cannot be written.
///
/// ```
/// use inducer_datasets::{Malformed, synthetic, webnlg};
/// let dir = tempfile::tempdir().unwrap();
/// let config = synthetic::SyntheticConfig { train: 20, dev: 5, test: 6, ..Default::default() };
/// synthetic::write(dir.path(), config).unwrap();
/// let data = webnlg::load(dir.path(), Malformed::Refuse).unwrap();
/// assert_eq!((data.train.len(), data.test.iter().filter(|e| !e.seen).count()), (20, 3));
/// ```
pub fn write(dir: &Path, config: SyntheticConfig) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    let unseen = config.test / 2;
    let part = |stream, count, occurrence, number| {
        let rng = generator(config.seed, stream);
        entries(rng, count, occurrence, number)
    };
    let (seen, unseen_part) = (Occurrence::Seen, Occurrence::Unseen);
    let test = [
        part(2, config.test - unseen, seen, Texts::Three),
        part(3, unseen, unseen_part, Texts::Three),
    ]
    .concat();
    let files = [
        ("train.json", part(0, config.train, seen, Texts::OneToThree)),
        ("dev.json", part(1, config.dev, seen, Texts::OneToThree)),
        ("test.json", test),
    ];
    for (name, entries) in files {
        let keyed: Vec<Value> = entries
            .into_iter()
            .enumerate()
            .map(|(i, e)| json!({ (i + 1).to_string(): e }))
            .collect();
        write_json(&dir.join(name), &json!({ "entries": keyed }))?;
    }
    Ok(())
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    write_text(path, &format!("{value:#}\n"))
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    write_atomic(path, text.as_bytes()).map_err(|e| Error::io(path, e))
}

/// A generator for one part of the data.
fn generator(seed: u64, stream: u64) -> ChaCha12Rng {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// How many texts an entry has.
#[derive(Clone, Copy)]
enum Texts {
    /// As many as chance gives.
    OneToThree,
    /// Three, with which no reference is missing.
    Three,
}

fn entries(
    mut rng: ChaCha12Rng,
    count: usize,
    occurrence: Occurrence,
    number: Texts,
) -> Vec<Value> {
    let categories: Vec<&'static Category> = CATEGORIES
        .iter()
        .filter(|c| c.occurrence == occurrence)
        .collect();
    (0..count)
        .map(|i| {
            let category = categories[i % categories.len()];
            let size = 1 + weighted(&mut rng, &TRIPLES);
            let facts = draw(&mut rng, category, size);
            let (wanted, tries) = match number {
                Texts::OneToThree => (1 + weighted(&mut rng, &[30, 30, 40]), 12),
                Texts::Three => (3, 1000),
            };
            let texts = texts(&mut rng, &facts, wanted, tries);
            as_json(&mut rng, category, &facts, &texts, i)
        })
        .collect()
}

fn weighted(rng: &mut ChaCha12Rng, weights: &[u32]) -> usize {
    let mut x = rng.random_range(0..weights.iter().sum::<u32>());
    weights
        .iter()
        .position(|w| x.checked_sub(*w).map(|rest| x = rest).is_none())
        .unwrap_or(0)
}

/// So many different texts, or as many as are found in so many tries.
fn texts(rng: &mut ChaCha12Rng, facts: &[Fact], wanted: usize, tries: usize) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for _ in 0..tries {
        let text = say::text(rng, facts);
        if !out.contains(&text) {
            out.push(text);
        }
        if out.len() == wanted {
            break;
        }
    }
    out
}

fn as_json(
    rng: &mut ChaCha12Rng,
    category: &Category,
    facts: &[Fact],
    texts: &[String],
    index: usize,
) -> Value {
    let entity = |s: &str| s.replace(' ', "_");
    let triple = |f: &Fact| {
        json!({
            "object": entity(&f.object.name),
            "property": f.property.name,
            "subject": entity(&f.subject.name),
        })
    };
    let triples: Vec<Value> = facts.iter().map(triple).collect();
    let lex = |(i, (comment, text)): (usize, (&str, &str))| {
        let id = format!("Id{}", i + 1);
        json!({ "comment": comment, "lang": "", "lex": text, "xml_id": id })
    };
    let mut marked: Vec<(&str, &str)> = texts.iter().map(|t| ("good", t.as_str())).collect();
    if rng.random_bool(0.02) {
        marked.push(("toFix", &facts[0].subject.name));
    }
    json!({
        "category": category.name,
        "lexicalisations": marked.into_iter().enumerate().map(lex).collect::<Vec<_>>(),
        "modifiedtripleset": triples,
        "originaltriplesets": { "originaltripleset": [triples] },
        "shape": "NA",
        "shape_type": "NA",
        "size": facts.len().to_string(),
        "xml_id": format!("Id{}", index + 1),
    })
}
