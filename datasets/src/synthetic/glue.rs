//! Sentences with a mood and pairs of sentences, in GLUE's tab-separated layouts.
//!
//! *SST-2.* `sentence`, `label`: judgements in the manner of film reviews, tokenized and
//! lower-cased like the official ones, a space at their end. Words alone do not decide: *not*,
//! *hardly* and *never* turn a judgement round, and of two clauses the one after *but* counts.
//!
//! *MNLI.* The wide layout's columns without its parses. The premise tells facts of the invented
//! world. The hypothesis says one of them in other words (entailment), one with another object
//! (contradiction), or one that was not told (neutral); a third of the wrong objects are taken from
//! the premise itself. As in the official pairs the way of saying it gives some of the classes away
//! (Gururangan et al. 2018, *Annotation Artifacts in Natural Language Inference Data*): half of the
//! contradictions deny what was told, and most neutral hypotheses express a doubt. Who looks at
//! that alone is right in two pairs of three; for the rest the premise has to be read. Genres are
//! categories: those of the mismatched file do not occur in training.

use std::collections::HashSet;
use std::path::Path;

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};

use super::facts::{Fact, draw};
use super::world::{CATEGORIES, Category, Occurrence, Property, Thing, Words, pick};
use super::{generator, say, weighted, write_text};
use crate::Task;
use crate::error::{Error, Result};

/// Size and seed of the generated tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlueConfig {
    /// Seed.
    pub seed: u64,
    /// Training rows.
    pub train: usize,
    /// Rows of each development file.
    pub dev: usize,
}

impl Default for GlueConfig {
    fn default() -> Self {
        Self {
            seed: 2022,
            train: 4000,
            dev: 400,
        }
    }
}

/// Writes SST-2's `train.tsv` and `dev.tsv`; no sentence occurs in both. The same configuration
/// gives the same bytes.
///
/// # Errors
/// The directory cannot be written.
///
/// ```
/// use inducer_datasets::synthetic::{GlueConfig, write_sst2};
/// use inducer_datasets::{Malformed, Task, directory};
/// let dir = tempfile::tempdir().unwrap();
/// write_sst2(dir.path(), GlueConfig { train: 40, dev: 10, ..Default::default() }).unwrap();
/// let data = directory::load(Task::Sst2, dir.path(), Malformed::Refuse).unwrap();
/// assert_eq!((data.train.len(), data.dev.len(), data.test.len()), (38, 2, 10));
/// ```
pub fn write_sst2(dir: &Path, config: GlueConfig) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    let mut known = HashSet::new();
    for (name, stream, count) in [("train.tsv", 20, config.train), ("dev.tsv", 21, config.dev)] {
        let mut rng = generator(config.seed, stream);
        let mut lines = Vec::new();
        let mut here = HashSet::new();
        for i in 0..count {
            let positive = i % 2 == 0;
            let mut sentence = judgement(&mut rng, positive);
            while known.contains(&sentence) {
                sentence = judgement(&mut rng, positive);
            }
            lines.push(format!("{sentence} \t{}\n", u8::from(positive)));
            here.insert(sentence);
        }
        known.extend(here);
        // in no order, so that every n-th row is a fair choice
        lines.shuffle(&mut rng);
        let text = format!("sentence\tlabel\n{}", lines.concat());
        write_text(&dir.join(name), &text)?;
    }
    Ok(())
}

#[rustfmt::skip]
const NOUNS: Words = &[
    "film", "plot", "cast", "story", "script", "ending", "music", "humour", "camera work",
    "dialogue", "direction", "love story", "lead actor", "opening", "pace", "drama",
];
#[rustfmt::skip]
const GOOD: Words = &[
    "charming", "moving", "funny", "brilliant", "gripping", "clever", "beautiful", "honest", "warm",
    "fresh", "lively", "witty", "tender", "superb", "elegant", "inspired",
];
#[rustfmt::skip]
const BAD: Words = &[
    "dull", "clumsy", "tedious", "silly", "hollow", "stale", "predictable", "bland", "pretentious",
    "shallow", "lifeless", "awful", "tired", "messy", "cold", "forced",
];
#[rustfmt::skip]
const VERY: Words = &["", "", "very ", "quite ", "truly ", "utterly ", "surprisingly "];
const SAYS: Words = &["is", "feels", "remains", "turns out", "seems"];
const TURNS: Words = &["not", "hardly", "never", "by no means"];

fn adjective(rng: &mut ChaCha12Rng, positive: bool) -> &'static str {
    pick(rng, if positive { GOOD } else { BAD })
}

/// "the plot is hardly dull": a clause of one mood.
fn clause(rng: &mut ChaCha12Rng, positive: bool) -> String {
    let (noun, says) = (pick(rng, NOUNS), pick(rng, SAYS));
    if rng.random_bool(0.15) {
        let turn = pick(rng, TURNS);
        return format!("the {noun} {says} {turn} {}", adjective(rng, !positive));
    }
    format!(
        "the {noun} {says} {}{}",
        pick(rng, VERY),
        adjective(rng, positive)
    )
}

/// A sentence of one mood.
fn judgement(rng: &mut ChaCha12Rng, positive: bool) -> String {
    match rng.random_range(0..10) {
        0..2 => format!("{} and {}", clause(rng, positive), clause(rng, positive)),
        2..4 => format!("{} , but {}", clause(rng, !positive), clause(rng, positive)),
        4..7 => {
            let (first, second) = (adjective(rng, positive), adjective(rng, positive));
            format!("a {first} , {second} {}", pick(rng, NOUNS))
        }
        7 => {
            format!("without a single {} moment", adjective(rng, !positive))
                + &format!(" in its {}", pick(rng, NOUNS))
        }
        _ => clause(rng, positive) + " .",
    }
}

/// Writes MNLI's `train.tsv`, `dev_matched.tsv` and `dev_mismatched.tsv`. The same configuration
/// gives the same bytes.
///
/// # Errors
/// The directory cannot be written.
///
/// ```
/// use inducer_datasets::synthetic::{GlueConfig, write_mnli};
/// use inducer_datasets::{Malformed, Task, directory};
/// let dir = tempfile::tempdir().unwrap();
/// write_mnli(dir.path(), GlueConfig { train: 30, dev: 9, ..Default::default() }).unwrap();
/// let data = directory::load(Task::Mnli, dir.path(), Malformed::Refuse).unwrap();
/// assert_eq!((data.train.len(), data.dev.len(), data.test.len()), (30, 9, 9));
/// ```
pub fn write_mnli(dir: &Path, config: GlueConfig) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    for (name, stream, count, occurrence) in [
        ("train.tsv", 30, config.train, Occurrence::Seen),
        ("dev_matched.tsv", 31, config.dev, Occurrence::Seen),
        ("dev_mismatched.tsv", 32, config.dev, Occurrence::Unseen),
    ] {
        let mut rng = generator(config.seed, stream);
        let genres: Vec<&'static Category> = CATEGORIES
            .iter()
            .filter(|c| c.occurrence == occurrence)
            .collect();
        let mut text = String::from(
            "index\tpromptID\tpairID\tgenre\tsentence1\tsentence2\tlabel1\tgold_label\n",
        );
        for i in 0..count {
            let genre = genres[i / 3 % genres.len()];
            let class = Task::Mnli.classes()[i % 3];
            let (premise, hypothesis) = pair(&mut rng, genre, class);
            let (prompt, letter) = (i / 3, &class[..1]);
            text += &format!(
                "{i}\t{prompt}\t{prompt}{letter}\t{}\t{premise}\t{hypothesis}\t{class}\t{class}\n",
                genre.name.to_lowercase()
            );
        }
        write_text(&dir.join(name), &text)?;
    }
    Ok(())
}

/// How a hypothesis says its fact.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Plain,
    Denied,
    Doubted,
}

impl Manner {
    /// Of every hundred hypotheses of a class so many are plain, denied and doubted.
    fn of(rng: &mut ChaCha12Rng, class: &str) -> Self {
        let shares = match class {
            "entailment" => [88, 12, 0],
            "contradiction" => [50, 50, 0],
            _ => [35, 5, 60],
        };
        [Self::Plain, Self::Denied, Self::Doubted][weighted(rng, &shares)]
    }

    /// The sentence in this manner.
    fn say(self, rng: &mut ChaCha12Rng, sentence: String) -> String {
        let openings = match self {
            Self::Plain => return sentence,
            Self::Denied => DENIALS,
            Self::Doubted => DOUBTS,
        };
        // "The length of …" begins small within a sentence, "The Song of …" is a name
        let noun = |rest: &str| rest.starts_with(char::is_lowercase);
        let inner = match sentence.strip_prefix("The ") {
            Some(rest) if noun(rest) => format!("the {rest}"),
            _ => sentence,
        };
        format!("{} {inner}", pick(rng, openings))
    }
}

const DENIALS: Words = &[
    "It is not true that",
    "It is wrong that",
    "Nobody says that",
    "It was never the case that",
];
const DOUBTS: Words = &[
    "Perhaps",
    "Some people think that",
    "It may be that",
    "Many believe that",
];

/// A premise and a hypothesis of a class.
fn pair(rng: &mut ChaCha12Rng, genre: &'static Category, class: &str) -> (String, String) {
    let size = rng.random_range(2..4);
    let facts = draw(rng, genre, size);
    let premise = say::text(rng, &facts);
    let main = facts[0].subject.clone();
    let own: Vec<&Fact> = facts.iter().filter(|f| f.subject == main).collect();
    let told = own.choose(rng).map_or(&facts[0], |f| *f);
    let manner = Manner::of(rng, class);
    // to deny what was told contradicts it, to deny anything else in its place follows from it
    let told_so = (class == "entailment") != (manner == Manner::Denied);
    let hypothesis = match class {
        "neutral" => untold(rng, genre, &own).unwrap_or_else(|| told.clone()),
        _ if told_so => told.clone(),
        _ => Fact {
            object: another(rng, told, &facts),
            ..told.clone()
        },
    };
    let said = say::text(rng, &[hypothesis]);
    (premise, manner.say(rng, said))
}

/// Another object for a fact, a third of the time one that the premise names elsewhere.
fn another(rng: &mut ChaCha12Rng, fact: &Fact, facts: &[Fact]) -> Thing {
    let fits = |t: &&Thing| t.kind == fact.object.kind && t.name != fact.object.name;
    let named: Vec<&Thing> = facts.iter().map(|f| &f.object).filter(fits).collect();
    if rng.random_range(0..3) == 0
        && let Some(thing) = named.choose(rng)
    {
        return (*thing).clone();
    }
    loop {
        let thing = Thing::new(rng, fact.object.kind);
        if thing.name != fact.object.name {
            return thing;
        }
    }
}

/// A fact of a property that was not told of the subject.
fn untold(rng: &mut ChaCha12Rng, genre: &'static Category, own: &[&Fact]) -> Option<Fact> {
    let told = |p: &&Property| own.iter().any(|f| f.property.name == p.name);
    let mut open: Vec<&'static Property> = genre.properties.iter().filter(|p| !told(p)).collect();
    open.shuffle(rng);
    let property = *open.first()?;
    Some(Fact {
        subject: own.first()?.subject.clone(),
        property,
        object: Thing::new(rng, property.object),
    })
}
