//! Which models the ledger drew: for every pair of what a case can be, how many.
//!
//! A fault hides where two things meet: a method and a corner of the inputs, a corner and a size, a
//! size and an option. So a pair that no case has met is a place that nothing looks at, whatever
//! the number of cases. Cases take their choices in turn, so that every run meets every pair on
//! both backbones; `inducer verify --coverage` prints how often each was met.

use crate::cases::{Corner, Draw, ModelCase, method};
use inducer_gpu::Method;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// What a row of the table is, in the order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Factor {
    Method,
    Corner,
    Size,
}

/// Whether the backbone is a RoBERTa, the row, and the number of models in each of its columns.
type Seen = BTreeMap<(bool, Factor, String), BTreeMap<&'static str, usize>>;

static SEEN: Mutex<Seen> = Mutex::new(BTreeMap::new());

thread_local! {
    static IS_CHECK: Cell<bool> = const { Cell::new(true) };
}

/// A size or an option: its name, and what it asks of a case.
type Class = (&'static str, fn(&ModelCase) -> bool);

const SIZES: [Class; 3] = [
    ("one token", |case| {
        case.rows.iter().any(|row| row.ids.len() == 1)
    }),
    ("over 64", |case| {
        case.rows.iter().any(|row| row.ids.len() > 64)
    }),
    ("d ≥ 100", |case| case.backbone.hidden() >= 100),
];

/// Options of every model, and behind them those of a GPT-2 alone.
const OPTIONS: [Class; 4] = [
    ("smoothing", |case| case.smoothing > 0.0),
    ("dropout", |case| case.dropping.is_some()),
    ("segments", |case| {
        case.rows.iter().any(|row| row.segments.is_some())
    }),
    ("special", |case| case.special() > 0),
];
const OF_BOTH: usize = 2;

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

/// The columns that a row can meet: no corner meets another one, and no size another one; a GPT-2
/// without a method has nothing to train, so nothing is dropped.
fn columns(roberta: bool, factor: Factor, row: &str) -> Vec<&'static str> {
    let options = &OPTIONS[..if roberta { OF_BOTH } else { OPTIONS.len() }];
    let corners = Corner::ALL.map(name).into_iter();
    let corners = corners.filter(|_| factor == Factor::Method);
    let sizes = SIZES.iter().filter(|_| factor != Factor::Size);
    let trains = roberta || row != ModelCase::NO_PART;
    corners
        .chain(sizes.chain(options).map(|(class, _)| *class))
        .filter(|column| trains || *column != "dropout")
        .collect()
}

/// Whether the models that this thread makes are a check's; a control's are not counted.
pub(crate) fn counted<R>(is_check: bool, of: impl FnOnce() -> R) -> R {
    let before = IS_CHECK.replace(is_check);
    let found = of();
    IS_CHECK.set(before);
    found
}

/// Counts a model that an engine of this process is given.
pub(crate) fn note(case: &ModelCase) {
    if !IS_CHECK.get() {
        return;
    }
    let holds = |classes: &'static [Class]| {
        let own = classes.iter().filter(|(_, holds)| holds(case));
        own.map(|(class, _)| *class).collect::<Vec<_>>()
    };
    let (corner, sizes, options) = (name(case.corner), holds(&SIZES), holds(&OPTIONS));
    let sizes_and_options = [&sizes[..], &options].concat();
    let mut rows = vec![
        (
            (Factor::Method, case.kind()),
            [&[corner], &sizes_and_options[..]].concat(),
        ),
        ((Factor::Corner, corner.to_owned()), sizes_and_options),
    ];
    rows.extend((sizes.iter()).map(|size| ((Factor::Size, (*size).to_owned()), options.clone())));
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    for ((factor, row), met) in rows {
        let key = (case.backbone.classifies(), factor, row);
        let pairs = seen.entry(key).or_default();
        for column in met {
            *pairs.entry(column).or_default() += 1;
        }
    }
}

/// Every row of the table, whether any case has met it or not.
fn rows() -> Seen {
    let mut all = Seen::new();
    for roberta in [false, true] {
        let methods = Method::ALL.iter().map(|one| {
            let config = method::random(&mut Draw::new(1, "coverage", 0), *one);
            (Factor::Method, ModelCase::kind_of(&config))
        });
        let corners = Corner::ALL.map(|corner| (Factor::Corner, name(corner).to_owned()));
        let sizes = SIZES.map(|(size, _)| (Factor::Size, size.to_owned()));
        for (factor, row) in methods.chain(corners).chain(sizes) {
            all.insert((roberta, factor, row), BTreeMap::new());
        }
    }
    all
}

/// How often the pairs were met.
#[derive(Clone, Debug)]
pub struct Table {
    /// A row for each method, corner and size on a backbone, a column for each corner, size and
    /// option; a dash where the two cannot meet.
    pub text: String,
    /// Of the pair that was met by the fewest models, how many.
    pub least: usize,
}

/// The pairs met so far by the checks of this process, controls left out.
#[must_use]
pub fn table() -> Table {
    let mut seen = rows();
    seen.extend(SEEN.lock().unwrap_or_else(PoisonError::into_inner).clone());
    let all = columns(false, Factor::Method, "");
    let mut text = format!("{:<45}", "models that have both");
    for column in &all {
        let _ = write!(text, " {column:>9}");
    }
    let mut counts = Vec::new();
    for ((roberta, factor, row), pairs) in seen.iter() {
        let own = columns(*roberta, *factor, row);
        let backbone = ["GPT-2", "RoBERTa"][usize::from(*roberta)];
        let _ = write!(text, "\n{:<45}", format!("{backbone}, {row}"));
        for column in &all {
            let count = pairs.get(column).copied().unwrap_or(0);
            if own.contains(column) {
                counts.push(count);
                let _ = write!(text, " {count:>9}");
            } else {
                let _ = write!(text, " {:>9}", "–");
            }
        }
    }
    let least = counts.iter().min().copied().unwrap_or(0);
    let met = counts.iter().filter(|count| **count > 0).count();
    let all = counts.len();
    let _ = write!(
        text,
        "\n{met} of {all} pairs met, each at least {least} times"
    );
    Table { text, least }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::draw::PAIRS;
    use crate::cases::{ModelOption, gpt2};
    use std::collections::BTreeSet;

    #[test]
    fn as_many_cases_as_there_are_pairs_meet_every_one() {
        type Of = fn(usize) -> Method;
        for (of, methods) in [(method::of_case as Of, 13), (method::trained as Of, 12)] {
            for (seed, id) in [(1, "models-agree"), (8, "roberta-gradients")] {
                let drawn = || (0..PAIRS).map(move |index| Draw::new(seed, id, index));
                let met = drawn().map(|draw| (name(draw.corner()), of(draw.turn).name()));
                assert_eq!(met.collect::<BTreeSet<_>>().len(), methods * 10);
                for option in ModelOption::ALL {
                    let set = |of: &dyn Fn(&Draw) -> &'static str| {
                        let met = drawn().map(|mut draw| (of(&draw), draw.option(option)));
                        met.collect::<BTreeSet<_>>().len()
                    };
                    assert_eq!(set(&|draw| name(draw.corner())), 2 * 10, "{option:?}");
                    assert_eq!(set(&|draw| of(draw.turn).name()), 2 * methods, "{option:?}");
                }
            }
        }
    }

    #[test]
    fn any_two_options_meet_in_all_four_ways_within_ten_cases() {
        for first in 0..20 {
            for (a, b) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
                let met = (first..first + 10).map(|index| {
                    let mut draw = Draw::new(3, "x", index);
                    [a, b].map(|at| draw.option(ModelOption::ALL[at]))
                });
                assert_eq!(
                    met.collect::<BTreeSet<_>>().len(),
                    4,
                    "{first}: {a} and {b}"
                );
            }
        }
    }

    #[test]
    fn a_row_that_no_case_has_met_is_there_and_a_control_is_not_counted() {
        let mut draw = Draw::new(1, "x", 1);
        let method = Method::MamAdapter;
        let model = ModelCase::with(&mut draw, crate::cases::roberta, method).unwrap();
        counted(false, || note(&model));
        let found = table();
        let own = format!("RoBERTa, {}", model.kind());
        let own = found
            .text
            .lines()
            .find(|line| line.starts_with(&own))
            .unwrap();
        assert!(!own.chars().any(|c| ('1'..='9').contains(&c)), "{own}");
        assert_eq!(found.least, 0);
    }

    #[test]
    fn a_model_that_is_counted_shows_in_its_row() {
        let mut draw = Draw::new(1, "x", 1);
        let model = ModelCase::random(&mut draw, gpt2).unwrap();
        note(&model);
        let table = table().text;
        let own = table.lines().find(|line| line.contains(&model.kind()));
        assert!(own.unwrap().contains('1'), "{table}");
        assert!(table.contains("pairs met"), "{table}");
    }
}
