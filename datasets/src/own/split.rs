//! One file as three parts: whole groups, in an order that the seed decides, fall to train, dev and
//! test by their shares of the rows.
//!
//! Rows of one group never come into two parts, nor do rows of the same input where there are no
//! groups: a model would be tested on what it was trained on.

use std::collections::HashMap;
use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::classes::Labelled;
use crate::reading::Split;
use crate::{Error, Example, Result};

/// The three parts, and how they came about.
///
/// # Errors
/// A part that is left empty.
pub(super) fn divided(all: Labelled, how: Split, path: &Path) -> Result<([Labelled; 3], String)> {
    let examples = &all.part.examples;
    let grouped = examples.iter().any(|e| !e.category.is_empty());
    let units = units(examples, grouped);
    let (rows, count) = (examples.len(), units.len());
    let numbers = dealt(units, rows, how);
    let unit = match grouped {
        true => "groups",
        false => "inputs",
    };
    let shares = how.shares.map(|s| s.to_string()).join(",");
    for (name, part) in ["train", "dev", "test"].into_iter().zip(&numbers) {
        if part.is_empty() {
            return Err(Error::Invalid(format!(
                "{}: --split {shares} (seed {}) leaves part {name} empty: there are {rows} rows in \
                 {count} {unit}, which are not divided",
                path.display(),
                how.seed
            )));
        }
    }
    let [train, dev, test] = numbers.each_ref().map(Vec::len);
    let note = format!(
        "{} is divided by seed {} into {train}, {dev} and {test} rows (--split {shares}); no {} is \
         in two parts",
        path.file_name().unwrap_or_default().to_string_lossy(),
        how.seed,
        unit.trim_end_matches('s')
    );
    let mut parts = numbers.map(|rows| all.some(&rows));
    parts[0].part.malformed = all.part.malformed;
    Ok((parts, note))
}

/// The numbers of the rows that belong together, in the order of their first row.
fn units(examples: &[Example], grouped: bool) -> Vec<Vec<usize>> {
    let (mut units, mut places) = (Vec::<Vec<usize>>::new(), HashMap::new());
    for (i, example) in examples.iter().enumerate() {
        let key = match grouped {
            // a row without a group is one of its own
            true if example.category.is_empty() => format!("row {i}"),
            true => format!("group {}", example.category),
            false => format!("{:?}", example.input),
        };
        let place = *places.entry(key).or_insert_with(|| {
            units.push(Vec::new());
            units.len() - 1
        });
        units[place].push(i);
    }
    units
}

/// The rows of each part, in their order in the file. A unit falls to the part in which its middle
/// lies.
fn dealt(mut units: Vec<Vec<usize>>, rows: usize, how: Split) -> [Vec<usize>; 3] {
    units.shuffle(&mut ChaCha8Rng::seed_from_u64(how.seed));
    let mut parts: [Vec<usize>; 3] = Default::default();
    let mut before = 0;
    for unit in units {
        let middle = (before as f64 + unit.len() as f64 / 2.0) / rows as f64;
        before += unit.len();
        let part = match middle {
            m if m < how.shares[0] => 0,
            m if m < how.shares[0] + how.shares[1] => 1,
            _ => 2,
        };
        parts[part].extend(unit);
    }
    parts.iter_mut().for_each(|p| p.sort_unstable());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;

    fn example(i: usize, group: &str) -> Example {
        Example {
            position: i,
            category: group.into(),
            seen: true,
            input: Input::Sentence(format!("{}", i % 7)),
            references: vec![],
            class: None,
            id: None,
        }
    }

    #[test]
    fn every_row_falls_to_one_part_and_no_group_to_two() {
        let how = |seed| Split::new([0.6, 0.2, 0.2], seed).unwrap();
        for grouped in [true, false] {
            let group = |i: usize| {
                if grouped {
                    format!("{}", i % 9)
                } else {
                    String::new()
                }
            };
            let all: Vec<Example> = (0..200).map(|i| example(i, &group(i))).collect();
            let parts = dealt(units(&all, grouped), all.len(), how(3));
            let mut rows = parts.concat();
            rows.sort_unstable();
            assert_eq!(rows, (0..200).collect::<Vec<_>>());
            let key = |i: &usize| (all[*i].category.clone(), format!("{:?}", all[*i].input));
            let keys = |p: &Vec<usize>| -> std::collections::BTreeSet<String> {
                let one = |(category, input): (String, String)| match grouped {
                    true => category,
                    false => input,
                };
                p.iter().map(key).map(one).collect()
            };
            let [a, b, c] = parts.each_ref().map(keys);
            assert!(a.is_disjoint(&b) && a.is_disjoint(&c) && b.is_disjoint(&c));
            assert_eq!(parts, dealt(units(&all, grouped), all.len(), how(3)));
            assert_ne!(parts, dealt(units(&all, grouped), all.len(), how(4)));
        }
    }

    #[test]
    fn shares_are_met_to_the_row_where_every_row_is_its_own() {
        let mut all: Vec<Example> = (0..1000).map(|i| example(i, "")).collect();
        for (i, e) in all.iter_mut().enumerate() {
            e.input = Input::Sentence(i.to_string());
        }
        let how = Split::new([0.9, 0.05, 0.05], 0).unwrap();
        let parts = dealt(units(&all, false), all.len(), how);
        assert_eq!(parts.map(|p| p.len()), [900, 50, 50]);
    }
}
