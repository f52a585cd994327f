//! A corpus score for each group of examples: seen and unseen categories, every category, every
//! domain.
//!
//! A corpus-level figure of a part is computed from the sums over that part, not from the figures
//! of its sentences.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::paired;
use crate::{Example, Result};

/// One figure by WebNLG's split of the test part and by category.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ByCategory<S> {
    /// Categories that occur in training; none where the examples have none of them.
    pub seen: Option<S>,
    /// Categories that do not.
    pub unseen: Option<S>,
    /// All examples.
    pub all: S,
    /// Each category.
    pub categories: BTreeMap<String, S>,
}

/// Scores of all examples and of each group, from what every example adds; `score` turns a sum into
/// a figure.
///
/// # Errors
/// The lists differ in length.
///
/// ```
/// use inducer_datasets::metrics::groups::by_group;
/// let (all, groups) = by_group(&[1, 2, 4], &["a", "b", "a"], |sum: &i32| *sum).unwrap();
/// assert_eq!((all, groups["a"], groups["b"]), (7, 5, 2));
/// ```
pub fn by_group<C: Copy + Default + AddAssign, S>(
    counts: &[C],
    groups: &[impl AsRef<str>],
    score: impl Fn(&C) -> S,
) -> Result<(S, BTreeMap<String, S>)> {
    let (mut all, mut parts) = (C::default(), BTreeMap::<&str, C>::new());
    for (count, group) in paired(counts, groups)? {
        all += *count;
        *parts.entry(group.as_ref()).or_default() += *count;
    }
    let parts = parts.into_iter().map(|(g, c)| (g.to_owned(), score(&c)));
    Ok((score(&all), parts.collect()))
}

/// Scores by seen, unseen and category, from what every example adds.
///
/// # Errors
/// The lists differ in length.
pub fn by_category<C: Copy + Default + AddAssign, S>(
    counts: &[C],
    examples: &[Example],
    score: impl Fn(&C) -> S,
) -> Result<ByCategory<S>> {
    let side = |e: &Example| if e.seen { "seen" } else { "unseen" };
    let sides: Vec<&str> = examples.iter().map(side).collect();
    let names: Vec<&str> = examples.iter().map(|e| e.category.as_str()).collect();
    let (_, mut sides) = by_group(counts, &sides, &score)?;
    let (all, categories) = by_group(counts, &names, &score)?;
    Ok(ByCategory {
        seen: sides.remove("seen"),
        unseen: sides.remove("unseen"),
        all,
        categories,
    })
}
