//! Plain prose about the invented world, to pretrain a small backbone on: its language and the
//! habit of copying a name.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha12Rng;

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
    let mut text = String::new();
    while text.len() < bytes {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(&paragraph(&mut rng));
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
