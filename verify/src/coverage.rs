//! Which models the ledger drew: for every pair of what a case can be, how many.
//!
//! A fault hides where two things meet: a method and a corner of the inputs, a corner and a size, a
//! size and an option. So a pair that no case has met is a place that nothing looks at, whatever
//! the number of cases. Cases take their choices in turn, so that every run meets every pair on
//! both backbones; `inducer verify --coverage` prints how often each was met.

use crate::cases::{Corner, Draw, ModelCase, method};
use inducer_gpu::Method;
use inducer_reference::{AdapterConfig, AttentionConfig, FfnConfig, Projection};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};

/// What a row of the table is, in the order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Factor {
    Method,
    Corner,
    Size,
    Option,
}

/// Whether the backbone is a RoBERTa, what the row is, and its name.
type Row = (bool, Factor, String);

/// The number of models in each of the columns that a row can meet.
type Seen = BTreeMap<Row, BTreeMap<&'static str, usize>>;

static SEEN: Mutex<Seen> = Mutex::new(BTreeMap::new());

thread_local! {
    static IS_CHECK: Cell<bool> = const { Cell::new(true) };
}

/// A configuration of each method.
static METHODS: LazyLock<Vec<AdapterConfig>> = LazyLock::new(|| {
    let draw = || Draw::new(1, "coverage", 0);
    let all = Method::ALL.iter();
    all.map(|one| method::random(&mut draw(), *one)).collect()
});

/// A size: its name, and what it asks of a case.
type Size = (&'static str, fn(&ModelCase) -> bool);

const SIZES: [Size; 3] = [
    ("one token", |case| {
        case.rows.iter().any(|row| row.ids.len() == 1)
    }),
    ("over 64", |case| {
        case.rows.iter().any(|row| row.ids.len() > 64)
    }),
    ("d ≥ 100", |case| case.backbone.hidden() >= 100),
];

/// What a model, its batch or its method has or has not.
struct Choice {
    name: &'static str,
    /// Whether a method leaves it open, on a RoBERTa or not.
    is_open: fn(bool, &AdapterConfig) -> bool,
    is_on: fn(&ModelCase) -> bool,
}

const OPTIONS: [Choice; 9] = [
    Choice {
        name: "smoothing",
        is_open: |_, _| true,
        is_on: |case| case.smoothing > 0.0,
    },
    Choice {
        name: "dropout",
        // a GPT-2 without a method has nothing to train
        is_open: |roberta, method| roberta || ModelCase::kind_of(method) != ModelCase::NO_PART,
        is_on: |case| case.dropping.is_some(),
    },
    Choice {
        name: "segments",
        is_open: |roberta, _| !roberta,
        is_on: |case| case.rows.iter().any(|row| row.segments.is_some()),
    },
    Choice {
        name: "special",
        is_open: |roberta, _| !roberta,
        is_on: |case| case.special() > 0,
    },
    Choice {
        name: "bias",
        is_open: |_, method| is_lora_alone(method),
        is_on: |case| case.method.lora.as_ref().is_some_and(|lora| lora.bias),
    },
    Choice {
        name: "LoRA on k",
        is_open: |_, method| is_lora_alone(method),
        is_on: |case| {
            let lora = case.method.lora.as_ref();
            lora.is_some_and(|lora| lora.targets.contains(&Projection::K))
        },
    },
    Choice {
        name: "offset",
        is_open: |_, method| matches!(method.attention, Some(AttentionConfig::Prefix { .. })),
        is_on: |case| match case.method.attention {
            Some(AttentionConfig::Prefix {
                offset_positions, ..
            }) => offset_positions,
            _ => false,
        },
    },
    Choice {
        name: "norm",
        is_open: |_, method| layer_norm(method).is_some(),
        is_on: |case| layer_norm(&case.method) == Some(true),
    },
    Choice {
        name: "s ≠ 1",
        is_open: |_, method| method.ffn.is_some(),
        is_on: |case| match case.method.ffn {
            Some(FfnConfig::Adapter { scale, .. }) => scale != 1.0,
            None => false,
        },
    },
];

/// Beside an inducer LoRA is on q, and its bias is the task's.
fn is_lora_alone(method: &AdapterConfig) -> bool {
    method.lora.is_some() && method.attention.is_none()
}

/// Whether the method's adapter has a LayerNorm of its own; `None` without an adapter.
fn layer_norm(method: &AdapterConfig) -> Option<bool> {
    match (&method.attention, &method.ffn) {
        (Some(AttentionConfig::Adapter { layer_norm, .. }), _)
        | (_, Some(FfnConfig::Adapter { layer_norm, .. })) => Some(*layer_norm),
        _ => None,
    }
}

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

/// All columns.
fn all_columns() -> impl Iterator<Item = &'static str> {
    let sizes = SIZES.iter().map(|(size, _)| *size);
    let options = OPTIONS.iter().map(|option| option.name);
    Corner::ALL
        .into_iter()
        .map(name)
        .chain(sizes)
        .chain(options)
}

/// The columns that a row can meet, none of them met yet: no corner meets another one, no size
/// another one, and an option the ones behind it that some method leaves open together with it.
fn unmet(row: &Row, methods: &[AdapterConfig]) -> BTreeMap<&'static str, usize> {
    let (roberta, factor, row) = row;
    let at = OPTIONS.iter().position(|option| option.name == row);
    let own = at.filter(|_| *factor == Factor::Option);
    let open = |option: &Choice| {
        let mut methods = methods.iter();
        methods.any(|method| {
            (option.is_open)(*roberta, method)
                && own.is_none_or(|own| (OPTIONS[own].is_open)(*roberta, method))
        })
    };
    let corners = Corner::ALL.into_iter().map(name);
    let corners = corners.filter(|_| *factor == Factor::Method);
    let sizes = SIZES.iter().map(|(size, _)| *size);
    let sizes = sizes.filter(|_| [Factor::Method, Factor::Corner].contains(factor));
    let options = OPTIONS.iter().skip(own.map_or(0, |own| own + 1));
    let options = options.filter(|option| open(option));
    let columns = corners
        .chain(sizes)
        .chain(options.map(|option| option.name));
    columns.map(|column| (column, 0)).collect()
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
    let roberta = case.backbone.classifies();
    let sizes = SIZES.iter().filter(|(_, holds)| holds(case));
    let sizes = sizes.map(|(size, _)| (Factor::Size, *size));
    let options = OPTIONS.iter().filter(|option| (option.is_on)(case));
    let options = options.map(|option| (Factor::Option, option.name));
    let corner = [(Factor::Corner, name(case.corner))];
    let classes: Vec<_> = corner.into_iter().chain(sizes).chain(options).collect();
    let own = case.kind();
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    for (factor, row) in [(Factor::Method, own.as_str())].iter().chain(&classes) {
        let row = (roberta, *factor, (*row).to_owned());
        let methods = match factor {
            Factor::Method => std::slice::from_ref(&case.method),
            _ => &METHODS,
        };
        let pairs = seen
            .entry(row)
            .or_insert_with_key(|row| unmet(row, methods));
        for (_, column) in &classes {
            if let Some(count) = pairs.get_mut(column) {
                *count += 1;
            }
        }
    }
}

/// Every row of the table, nothing of it met.
fn rows() -> Seen {
    let mut all = Seen::new();
    let mut add = |row: Row, methods: &[AdapterConfig]| {
        let pairs = unmet(&row, methods);
        if !pairs.is_empty() {
            all.insert(row, pairs);
        }
    };
    for roberta in [false, true] {
        for method in METHODS.iter() {
            let row = (roberta, Factor::Method, ModelCase::kind_of(method));
            add(row, std::slice::from_ref(method));
        }
        let corners = Corner::ALL.map(|corner| (Factor::Corner, name(corner)));
        let sizes = SIZES.map(|(size, _)| (Factor::Size, size));
        let options = OPTIONS.map(|option| (Factor::Option, option.name));
        for (factor, row) in corners.into_iter().chain(sizes).chain(options) {
            add((roberta, factor, row.to_owned()), &METHODS);
        }
    }
    all
}

/// How often the pairs were met.
#[derive(Clone, Debug)]
pub struct Table {
    /// A row for each method, corner, size and option on a backbone, a column for each corner, size
    /// and option; a dash where the two cannot meet.
    pub text: String,
    /// Of the pair that was met by the fewest models, how many.
    pub least: usize,
}

/// The pairs met so far by the checks of this process, controls left out.
#[must_use]
pub fn table() -> Table {
    let mut seen = rows();
    let met = SEEN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    seen.extend(met.into_iter().filter(|(_, pairs)| !pairs.is_empty()));
    let mut text = format!("{:<45}", "models that have both");
    for column in all_columns() {
        let _ = write!(text, " {column:>9}");
    }
    for ((roberta, _, row), pairs) in &seen {
        let backbone = ["GPT-2", "RoBERTa"][usize::from(*roberta)];
        let _ = write!(text, "\n{:<45}", format!("{backbone}, {row}"));
        for column in all_columns() {
            let _ = match pairs.get(column) {
                Some(count) => write!(text, " {count:>9}"),
                None => write!(text, " {:>9}", "–"),
            };
        }
    }
    let counts: Vec<usize> = seen
        .values()
        .flat_map(|row| row.values().copied())
        .collect();
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
            let pairs = (0..8).flat_map(|b| (0..b).map(move |a| (a, b)));
            let shared = [ModelOption::Segments, ModelOption::LoraKeys];
            for (a, b) in pairs.filter(|(a, b)| [*a, *b].map(|at| ModelOption::ALL[at]) != shared) {
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
