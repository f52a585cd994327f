//! Conversations about passages of a length that one sets, in CoQA's JSON layout.
//!
//! A passage tells of several invented things of the same kinds, so that a question is answered by
//! finding the right thing and its property, not by the shape of the answer alone. A conversation
//! stays with a thing for some turns: "And its length?" is understood only from the turn before.
//! Some questions ask yes or no, a few ask what the passage does not say.
//! [`CoqaConfig::passage_words`] is the dial: with everything else equal, the evidence for a
//! question lies further and further from it.

use std::path::Path;

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::facts::{Fact, draw};
use super::world::{CATEGORIES, Category, Occurrence, Property, Thing};
use super::{generator, say, write_json};
use crate::error::{Error, Result};

/// Size, seed and length of the generated conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoqaConfig {
    /// Seed.
    pub seed: u64,
    /// Training stories.
    pub train: usize,
    /// Stories of the development file, on which the loader reports.
    pub dev: usize,
    /// Turns a story.
    pub turns: usize,
    /// Words a passage, at least: it ends with the sentence that reaches them.
    pub passage_words: usize,
    /// Words of the longest passages: with it each length between is drawn, as many short ones as
    /// long ones on a logarithmic scale.
    pub longest_passage_words: Option<usize>,
    /// At how many lengths each conversation of the development file is had, from the shortest
    /// passage to the longest, each of which holds the one before it word for word; with 1 every
    /// conversation has a passage of its own.
    pub lengths: usize,
}

impl Default for CoqaConfig {
    fn default() -> Self {
        Self {
            seed: 2022,
            train: 1200,
            dev: 50,
            turns: 8,
            passage_words: 120,
            longest_passage_words: None,
            lengths: 1,
        }
    }
}

/// Writes `coqa-train-v1.0.json` and `coqa-dev-v1.0.json`; the latter has `additional_answers`, as
/// in the official release. The same configuration gives the same bytes.
///
/// # Errors
/// The directory cannot be written.
///
/// ```
/// use inducer_datasets::synthetic::{CoqaConfig, write_coqa};
/// use inducer_datasets::{Input, Malformed, Task, directory};
/// let dir = tempfile::tempdir().unwrap();
/// let config = CoqaConfig { train: 20, dev: 4, passage_words: 300, ..Default::default() };
/// write_coqa(dir.path(), config).unwrap();
/// let data = directory::load(Task::Coqa, dir.path(), Malformed::Refuse).unwrap();
/// let Input::Conversation { passage, .. } = &data.test[0].input else { panic!() };
/// assert!(passage.split(' ').count() >= 300);
/// ```
pub fn write_coqa(dir: &Path, config: CoqaConfig) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    for (name, stream, count, lengths) in [
        ("coqa-train-v1.0.json", 10, config.train, 1),
        ("coqa-dev-v1.0.json", 11, config.dev, config.lengths),
    ] {
        let mut rng = generator(config.seed, stream);
        let stories: Vec<Value> = (0..count)
            .flat_map(|i| match lengths {
                0 | 1 => vec![story(&mut rng, &config, i, stream == 11)],
                _ => at_lengths(&mut rng, &config, i),
            })
            .collect();
        write_json(
            &dir.join(name),
            &json!({ "version": "1.0", "data": stories }),
        )?;
    }
    Ok(())
}

/// A question about a thing, its answer, and the words of the passage that hold it.
struct Turn {
    about: String,
    question: String,
    answer: String,
    evidence: Option<String>,
}

/// The words of the next passage, as many short ones as long ones on a logarithmic scale.
fn words(rng: &mut ChaCha12Rng, shortest: usize, longest: Option<usize>) -> usize {
    match longest {
        Some(longest) if longest > shortest => {
            let ratio = longest as f64 / shortest.max(1) as f64;
            (shortest.max(1) as f64 * ratio.powf(rng.random())).round() as usize
        }
        _ => shortest,
    }
}

/// A passage about things of a category and a conversation about it.
fn about(
    rng: &mut ChaCha12Rng,
    category: &'static Category,
    (shortest, longest): (usize, Option<usize>),
    turns: usize,
) -> (String, Vec<Turn>) {
    let words = words(rng, shortest, longest);
    let (told, texts) = things(rng, category, words);
    (texts.join(" "), conversation(rng, &told, turns))
}

/// A passage of `shortest` to `longest` words and a conversation about it in one paragraph. What
/// stands before the passage, before a question and before an answer is drawn for every
/// conversation, so that a model learns to answer whatever marks the place, the tokens of a layout
/// among it.
pub(super) fn conversation_as_text(
    rng: &mut ChaCha12Rng,
    (shortest, longest): (usize, usize),
) -> String {
    let categories = seen();
    let category = categories[rng.random_range(0..categories.len())];
    let turns = CoqaConfig::default().turns;
    let (passage, turns) = about(rng, category, (shortest, Some(longest)), turns);
    let [begun, asked, answered] = [(); 3].map(|()| sign(rng));
    let end = [".", ";", ""].choose(rng).copied().unwrap_or_default();
    let said = turns.iter().flat_map(|t| {
        let last = format!("{}{end}", t.answer);
        [asked.clone(), t.question.clone(), answered.clone(), last]
    });
    let all = [begun, passage].into_iter().chain(said);
    let words: Vec<String> = all.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// What marks a question or an answer: what people write there, or any one or two characters.
fn sign(rng: &mut ChaCha12Rng) -> String {
    if rng.random_range(0..4) == 0 {
        return SIGNS.choose(rng).copied().unwrap_or_default().to_owned();
    }
    let length = rng.random_range(1..3);
    let mut one = || char::from(rng.random_range(b'!'..=b'~'));
    (0..length).map(|_| one()).collect()
}

/// What people write before a question or an answer.
const SIGNS: [&str; 10] = [
    "",
    "-",
    "*",
    ">",
    "#",
    "=>",
    "Q:",
    "A:",
    "Question:",
    "Answer:",
];

fn story(rng: &mut ChaCha12Rng, config: &CoqaConfig, index: usize, additional: bool) -> Value {
    let category = category_of(index);
    let words = (config.passage_words, config.longest_passage_words);
    let (passage, turns) = about(rng, category, words, config.turns);
    let source = (category, index.to_string());
    record(source, &passage, &turns, additional)
}

/// One conversation about the shortest passage and about longer ones: further things are told
/// before it or behind it, so that nothing but the length tells the stories apart.
fn at_lengths(rng: &mut ChaCha12Rng, config: &CoqaConfig, index: usize) -> Vec<Value> {
    let shortest = config.passage_words.max(1);
    let longest = config.longest_passage_words.unwrap_or(shortest);
    let category = category_of(index);
    let (mut told, texts) = things(rng, category, longest);
    let words: Vec<usize> = texts.iter().map(|t| t.split(' ').count()).collect();
    let enough = |least: f64| {
        let reached = |n: &usize| words[..*n].iter().sum::<usize>() as f64 >= least;
        (2..words.len()).find(reached).unwrap_or(words.len())
    };
    let ratio = longest as f64 / shortest as f64;
    let steps = config.lengths - 1;
    let counts: Vec<usize> = (0..=steps)
        .map(|k| enough(shortest as f64 * ratio.powf(k as f64 / steps as f64)))
        .collect();
    told.truncate(counts[0]);
    let turns = conversation(rng, &told, config.turns);
    let before: Vec<bool> = texts.iter().map(|_| rng.random()).collect();
    let passage = |count: usize| {
        let core = texts[..counts[0]].join(" ");
        (counts[0]..count).fold(core, |passage, i| match before[i] {
            true => texts[i].clone() + " " + &passage,
            false => passage + " " + &texts[i],
        })
    };
    let at_length = |(k, count): (usize, &usize)| {
        let source = (category, format!("{index}-{k}"));
        record(source, &passage(*count), &turns, true)
    };
    counts.iter().enumerate().map(at_length).collect()
}

/// The category of a file's story.
fn category_of(index: usize) -> &'static Category {
    let categories = seen();
    categories[index % categories.len()]
}

/// A story in CoQA's layout by its category and number; `additional` with the further answers of
/// the development file.
fn record(
    (category, number): (&Category, String),
    passage: &str,
    turns: &[Turn],
    additional: bool,
) -> Value {
    let questions = turns.iter().map(|t| &t.question);
    let questions: Vec<Value> = (1..)
        .zip(questions)
        .map(|(i, q)| json!({ "input_text": q, "turn_id": i }))
        .collect();
    let answers: Vec<Value> = (1..)
        .zip(turns)
        .map(|(i, t)| answer(i, t, &t.answer, passage))
        .collect();
    let mut story = json!({
        "source": category.name.to_lowercase(),
        "id": format!("invented-{number}"),
        "filename": format!("{number}.txt"),
        "story": passage,
        "questions": questions,
        "answers": answers,
        "name": format!("{number}.txt"),
    });
    if additional {
        let say = [lower, with_stop, in_a_sentence];
        let sets = say.iter().enumerate().map(|(k, say)| {
            let set = (1..).zip(turns);
            let set: Vec<Value> = set
                .map(|(i, t)| answer(i, t, &say(&t.answer), passage))
                .collect();
            (k.to_string(), Value::from(set))
        });
        story["additional_answers"] = Value::Object(sets.collect());
    }
    story
}

fn lower(answer: &str) -> String {
    answer.to_lowercase()
}

fn with_stop(answer: &str) -> String {
    format!("{answer}.")
}

fn in_a_sentence(answer: &str) -> String {
    match answer {
        "yes" | "no" | "unknown" => answer.to_owned(),
        _ => format!("It is {answer}."),
    }
}

/// One answer with its span, which begins at the first mention of what was asked about; −1 where
/// there is none, as in the official files.
fn answer(turn: usize, t: &Turn, text: &str, passage: &str) -> Value {
    let span = t.evidence.as_deref().and_then(|e| {
        let told = passage.find(&t.about).unwrap_or(0);
        let start = told + passage[told..].find(e)?;
        let start = passage[..start].chars().count();
        Some((start as i64, (start + e.chars().count()) as i64))
    });
    let (start, end) = span.unwrap_or((-1, -1));
    json!({
        "span_start": start,
        "span_end": end,
        "span_text": span.and(t.evidence.as_deref()).unwrap_or("unknown"),
        "input_text": text,
        "turn_id": turn,
    })
}

/// Categories of the data, prose and test-only ones left out.
fn seen() -> Vec<&'static Category> {
    let seen = |c: &&Category| c.occurrence == Occurrence::Seen;
    CATEGORIES.iter().filter(seen).collect()
}

/// A thing, its category and what is told of it.
struct Told {
    category: &'static Category,
    facts: Vec<Fact>,
}

/// Things and what a passage says of each until it has the words, the first two of one category; it
/// ends early only if no new name turns up.
fn things(
    rng: &mut ChaCha12Rng,
    category: &'static Category,
    words: usize,
) -> (Vec<Told>, Vec<String>) {
    let (all, mut told, mut texts) = (seen(), Vec::<Told>::new(), Vec::<String>::new());
    let (mut length, mut failures) = (0, 0);
    while (told.len() < 2 || length < words) && failures < 1000 {
        let category = match told.len() {
            0 | 1 => category,
            _ => all.choose(rng).copied().unwrap_or(category),
        };
        let size = rng.random_range(2..5);
        let facts = draw(rng, category, size);
        let before = || told.iter().flat_map(|t| &t.facts);
        if facts
            .iter()
            .any(|f| before().any(|g| g.subject.name == f.subject.name))
        {
            failures += 1;
            continue;
        }
        failures = 0;
        let text = say::text(rng, &facts);
        length += text.split(' ').count();
        texts.push(text);
        told.push(Told { category, facts });
    }
    (told, texts)
}

/// Turns about the things of a passage: some about one thing, then about another.
fn conversation(rng: &mut ChaCha12Rng, told: &[Told], turns: usize) -> Vec<Turn> {
    let mut out = Vec::with_capacity(turns);
    while out.len() < turns {
        let Some(thing) = told.choose(rng) else {
            break;
        };
        let mut own: Vec<&Fact> = thing.own().collect();
        own.shuffle(rng);
        let stay = rng.random_range(1..4).min(turns - out.len());
        for (i, fact) in own.into_iter().take(stay).enumerate() {
            out.push(turn(rng, thing, fact, i > 0));
        }
    }
    out
}

impl Told {
    /// Facts of the thing itself.
    fn own(&self) -> impl Iterator<Item = &Fact> {
        let main = self.facts.first().map(|f| &f.subject);
        self.facts.iter().filter(move |f| Some(&f.subject) == main)
    }
}

/// One turn; `again` when the turn before was about the same thing.
fn turn(rng: &mut ChaCha12Rng, thing: &Told, fact: &Fact, again: bool) -> Turn {
    let (words, name) = (&fact.property.words(), &fact.subject.name);
    let about = name.clone();
    let of = |words: &str| match (again, fact.subject.pronoun()) {
        (false, _) => format!("the {words} of {name}"),
        (true, "She") => format!("her {words}"),
        (true, "He") => format!("his {words}"),
        (true, _) => format!("its {words}"),
    };
    let ask = |rng: &mut ChaCha12Rng, words: &str| match rng.random_range(0..3) {
        0 if again => format!("And {}?", of(words)),
        _ => format!("What is {}?", of(words)),
    };
    match rng.random_range(0..10) {
        0..2 => {
            let other = Thing::new(rng, fact.property.object);
            let asked = if rng.random() { &fact.object } else { &other };
            Turn {
                question: format!("Is {} {}?", of(words), asked.name),
                answer: if asked.name == fact.object.name {
                    "yes"
                } else {
                    "no"
                }
                .to_owned(),
                evidence: Some(fact.object.name.clone()),
                about,
            }
        }
        2 if let Some(missing) = not_told(rng, thing) => Turn {
            question: ask(rng, &missing),
            answer: "unknown".to_owned(),
            evidence: None,
            about,
        },
        _ => Turn {
            question: ask(rng, words),
            answer: fact.object.name.clone(),
            evidence: Some(fact.object.name.clone()),
            about,
        },
    }
}

/// A property of a thing's category that the passage does not tell.
fn not_told(rng: &mut ChaCha12Rng, thing: &Told) -> Option<String> {
    let told = |words: &str| thing.own().any(|f| f.property.words() == words);
    let all = thing.category.properties.iter().map(Property::words);
    let missing: Vec<String> = all.filter(|w| !told(w)).collect();
    missing.choose(rng).cloned()
}
