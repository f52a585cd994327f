//! Facts in words: one fact a sentence or several, joined by "and", by asides and by relative
//! clauses.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha12Rng;

use super::facts::Fact;
use super::world::Thing;

/// Says facts in their order. A subject is named first; later it may be a pronoun or "The bridge".
pub(super) fn text(rng: &mut ChaCha12Rng, facts: &[Fact]) -> String {
    let mut sentences: Vec<String> = Vec::new();
    let (mut i, mut last): (usize, Option<&Thing>) = (0, None);
    while let Some(fact) = facts.get(i) {
        let again = last == Some(&fact.subject);
        let (sentence, used) = sentence(rng, &facts[i..], again);
        sentences.push(sentence);
        last = Some(&fact.subject);
        i += used;
    }
    sentences.join(" ")
}

/// How the subject is called.
fn mention(rng: &mut ChaCha12Rng, thing: &Thing, again: bool) -> String {
    match (again, rng.random_range(0..10), thing.noun()) {
        (true, 0..5, _) => thing.pronoun().to_owned(),
        (true, 5..7, Some(noun)) => format!("The {noun}"),
        _ => capital(&thing.name),
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().chain(letters).collect())
}

/// One sentence from the front of `facts`, and how many it took.
fn sentence(rng: &mut ChaCha12Rng, facts: &[Fact], again: bool) -> (String, usize) {
    let first = &facts[0];
    let same = facts
        .iter()
        .take_while(|f| f.subject == first.subject)
        .count();
    let subject = mention(rng, &first.subject, again);
    if rng.random_bool(0.15) {
        let name = &first.subject.name;
        return (
            format!(
                "The {} of {name} is {}.",
                first.property.words(),
                first.object.name
            ),
            1,
        );
    }
    let take = same.min([1, 1, 1, 2, 2, 2, 3, 3][rng.random_range(0..8)]);
    let mut said: Vec<String> = facts[..take].iter().map(|f| predicate(rng, f)).collect();
    let mut start = subject.clone();
    if take > 1
        && !again
        && rng.random_bool(0.4)
        && let Some(aside) = aside(&said[0])
    {
        start = format!("{subject}, {aside},");
        said.remove(0);
    }
    let last = said.pop().unwrap_or_default();
    let mut out = if said.is_empty() {
        format!("{start} {last}")
    } else {
        format!("{start} {} and {last}", said.join(", "))
    };
    let mut used = take;
    let leads = |n: &&Fact| n.subject == facts[take - 1].object && out.ends_with(&n.subject.name);
    if let Some(next) = facts.get(take).filter(leads)
        && rng.random_bool(0.6)
    {
        let who = if next.subject.is_person() {
            "who"
        } else {
            "which"
        };
        out += &format!(", {who} {}", predicate(rng, next));
        used += 1;
    }
    (out + ".", used)
}

/// "was designed by Ida Trone" as "designed by Ida Trone"; "is red" stays out of it.
fn aside(said: &str) -> Option<&str> {
    let rest = said
        .strip_prefix("was ")
        .or_else(|| said.strip_prefix("is "))?;
    (rest.contains(' ') && !rest.starts_with(|c: char| c.is_ascii_digit())).then_some(rest)
}

fn predicate(rng: &mut ChaCha12Rng, f: &Fact) -> String {
    f.property
        .phrases
        .choose(rng)
        .copied()
        .unwrap_or_default()
        .replace("{}", &f.object.name)
}
