//! Plain prose about the invented world, to pretrain a small backbone on: its language and the
//! habit of copying a name.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha12Rng;

use super::coqa::conversation_as_text;
use super::facts::{Fact, draw};
use super::say;
use super::world::CATEGORIES;

/// Plain prose of at least `bytes` bytes: paragraphs, a blank line between two, about things of all
/// categories of the data (none of them in the data) and of others. Names come again within a
/// paragraph, in other words, in questions, and in lists of facts; the layout of triples never
/// occurs.
///
/// ```
/// use inducer_datasets::synthetic::pretraining_text;
/// let text = pretraining_text(1, 1000);
/// assert!((1000..2000).contains(&text.len()));
/// assert_eq!(text, pretraining_text(1, 1000));
/// ```
pub fn pretraining_text(seed: u64, bytes: usize) -> String {
    let mut rng = super::generator(seed, 100);
    paragraphs(bytes, || paragraph(&mut rng))
}

/// Such prose of which three paragraphs in four are a passage about several things, as short or as
/// long as `words` says, and then a conversation about it, question and answer in turn ("What is
/// the length of Rado Bridge? 20 metres. And its material? iron.", "Q: What is …? A: 20 metres"):
/// the habit of looking up in a passage what is asked. It is drawn apart from the stories of
/// [`write_coqa`](super::write_coqa), whose markers never occur.
///
/// ```
/// use inducer_datasets::synthetic::conversations_text;
/// let text = conversations_text(1, 10_000, (15, 110));
/// assert!((10_000..13_000).contains(&text.len()) && text.contains(" unknown"));
/// ```
pub fn conversations_text(seed: u64, bytes: usize, words: (usize, usize)) -> String {
    let mut rng = super::generator(seed, 101);
    paragraphs(bytes, || match rng.random_range(0..4) {
        0 => paragraph(&mut rng),
        _ => conversation_as_text(&mut rng, words),
    })
}

/// Paragraphs of at least so many bytes, a blank line between two.
fn paragraphs(bytes: usize, mut next: impl FnMut() -> String) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(&next());
    }
    text
}

fn paragraph(rng: &mut ChaCha12Rng) -> String {
    let Some(category) = CATEGORIES.choose(rng) else {
        return String::new();
    };
    let size = rng.random_range(2..6);
    let facts = draw(rng, category, size);
    let name = &facts[0].subject.name;
    let mut parts = Vec::new();
    match rng.random_range(0..10) {
        0..1 => parts.push(format!(
            "{name} is {} {}.",
            article(category.noun),
            category.noun
        )),
        1..9 => parts.push(list(&facts)),
        _ => {}
    }
    parts.push(say::text(rng, &facts));
    let mut again = facts.clone();
    again.shuffle(rng);
    again.truncate(rng.random_range(1..4));
    match rng.random_range(0..10) {
        0..4 => parts.push(say::text(rng, &again)),
        4..9 => parts.extend(again.iter().map(question)),
        _ => {}
    }
    parts.join(" ")
}

/// "Facts about Rado Bridge: length 20 metres; material iron."
fn list(facts: &[Fact]) -> String {
    let about = &facts[0].subject;
    let own = facts.iter().filter(|f| f.subject == *about);
    let items: Vec<String> = own
        .map(|f| format!("{} {}", f.property.words(), f.object.name))
        .collect();
    format!("Facts about {}: {}.", about.name, items.join("; "))
}

fn question(f: &Fact) -> String {
    let (words, name) = (f.property.words(), &f.subject.name);
    format!(
        "What is the {words} of {name}? The {words} of {name} is {}.",
        f.object.name
    )
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o']) {
        "an"
    } else {
        "a"
    }
}
