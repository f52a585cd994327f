//! Which models the ledger drew: for every pair of a method and a corner of the inputs, how many.
//!
//! A corner is where faults hide, and it belongs to one method at a time: so a pair that no case
//! has met is a place that nothing looks at, whatever the number of cases. The claims that engine
//! and reference agree, in values and in gradients, meet every pair in each run; `inducer verify
//! --coverage` prints how often each was met.

use crate::cases::{Corner, ModelCase};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// Backbone, method, and what was drawn of them.
type Seen = BTreeMap<(&'static str, String), BTreeMap<&'static str, usize>>;

static SEEN: Mutex<Seen> = Mutex::new(BTreeMap::new());

/// Classes of sizes beside the corners, each with what it asks of a case.
type Class = (&'static str, fn(&ModelCase) -> bool);

const CLASSES: [Class; 5] = [
    ("one token", |case| {
        case.rows.iter().any(|row| row.ids.len() == 1)
    }),
    ("over 64", |case| {
        case.rows.iter().any(|row| row.ids.len() > 64)
    }),
    ("d ≥ 100", |case| case.backbone.hidden() >= 100),
    ("segments", |case| {
        case.rows.iter().any(|row| row.segments.is_some())
    }),
    ("smoothing", |case| case.smoothing > 0.0),
];

/// The name of a corner in the table.
fn name(corner: Corner) -> &'static str {
    match corner {
        Corner::Plain => "plain",
        Corner::OneKey => "one key",
        Corner::OneQuery => "one query",
        Corner::OneHead => "one head",
        Corner::Extreme => "extreme",
        Corner::Tied => "tied",
        Corner::Repeated => "repeated",
        Corner::Padded => "padded",
        Corner::Tiny => "tiny",
        Corner::Wide => "wide",
    }
}

/// Counts a model that an engine of this process is given.
pub(crate) fn note(case: &ModelCase) {
    let backbone = ["GPT-2", "RoBERTa"][usize::from(case.backbone.classifies())];
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let pairs = seen.entry((backbone, case.kind())).or_default();
    *pairs.entry(name(case.corner)).or_default() += 1;
    for (class, holds) in CLASSES {
        if holds(case) {
            *pairs.entry(class).or_default() += 1;
        }
    }
}

/// The pairs met so far: a row for each method on a backbone, a column for each corner and class.
#[must_use]
pub fn table() -> String {
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let corners = Corner::ALL.map(name);
    let columns: Vec<&str> = corners
        .into_iter()
        .chain(CLASSES.map(|(class, _)| class))
        .collect();
    let mut text = format!("{:<34}", "models by method");
    for column in &columns {
        let _ = write!(text, " {column:>9}");
    }
    let (mut empty, mut fewest) = (0, usize::MAX);
    for ((backbone, method), pairs) in seen.iter() {
        let _ = write!(text, "\n{:<34}", format!("{backbone}, {method}"));
        for column in &columns {
            let count = pairs.get(column).copied().unwrap_or(0);
            empty += usize::from(count == 0);
            if corners.contains(column) {
                fewest = fewest.min(count);
            }
            let _ = write!(text, " {count:>9}");
        }
    }
    let pairs = seen.len() * columns.len();
    let _ = write!(
        text,
        "\n{} of {pairs} pairs met; every method and corner {fewest} times at least",
        pairs - empty
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::draw::PAIRS;
    use crate::cases::{Draw, gpt2, method};
    use inducer_gpu::Method;
    use std::collections::BTreeSet;

    #[test]
    fn as_many_cases_as_there_are_pairs_meet_every_one() {
        type Of = fn(usize) -> Method;
        for (of, methods) in [(method::of_case as Of, 13), (method::trained as Of, 12)] {
            for id in ["models-agree", "roberta-gradients"] {
                let drawn = (0..PAIRS).map(|index| Draw::new(1, id, index));
                let met = drawn.map(|draw| (name(draw.corner()), of(draw.turn).name()));
                assert_eq!(met.collect::<BTreeSet<_>>().len(), methods * 10);
            }
        }
    }

    #[test]
    fn a_model_that_is_counted_shows_in_its_row() {
        let mut draw = Draw::new(1, "x", 1);
        let model = ModelCase::random(&mut draw, gpt2).unwrap();
        note(&model);
        let table = table();
        let own = table.lines().find(|line| line.contains(&model.kind()));
        assert!(own.unwrap().contains('1'), "{table}");
        assert!(table.contains("pairs met"), "{table}");
    }
}
