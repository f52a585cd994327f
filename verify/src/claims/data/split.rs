//! One file divided into three parts.

use super::given;
use crate::{Case, Result, Tolerance};
use inducer_datasets::reading::Split;
use inducer_datasets::{Example, Malformed, Reading, Task, directory};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Rows of a file that is divided fall to one part each, in the file's order; no group, or without
/// groups no input, is in two parts; and the parts end where they should, up to half of the largest
/// group. In the control every row of the file has a group, or an input, of its own.
pub(super) fn split(case: &mut Case) -> Result<()> {
    let dir = crate::scratch::folder()?;
    let path = dir.path().join("all.jsonl");
    let grouped = case.draw.chance(0.5);
    let units = case.draw.size(16, 30);
    let mut rows: Vec<usize> = Vec::new();
    for unit in 0..units {
        let size = case.draw.size(1, 3);
        rows.extend(std::iter::repeat_n(unit, size));
    }
    // rows of a group need not lie together
    for i in (1..rows.len()).rev() {
        let other = case.draw.size(0, i);
        rows.swap(i, other);
    }
    let lines = rows.iter().enumerate().map(|(i, unit)| {
        let unit = case.or_control(*unit, i);
        match grouped {
            true => json!({"input": format!("text {i}"), "target": "x", "group": unit, "id": i}),
            false => json!({"input": format!("text {unit}"), "target": "x", "id": i}),
        }
    });
    let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
    fs::write(&path, lines.join("\n"))?;
    let shares = case.draw.pick(&[[0.6, 0.2, 0.2], [0.5, 0.25, 0.25]]);
    let split = given(Split::new(shares, case.draw.bits()))?;
    let reading = Reading {
        split: Some(split),
        ..Reading::default()
    };
    let read = || {
        given(directory::load_as(
            Task::Generate,
            &path,
            Malformed::Refuse,
            &reading,
        ))
    };
    let found = read()?;
    let number = |example: &Example| example.id.as_ref().and_then(|id| id.parse::<usize>().ok());
    let parts = [&found.train, &found.dev, &found.test]
        .map(|part| part.iter().filter_map(number).collect::<Vec<_>>());
    let place = |what: &str| format!("{what}: units {rows:?}, parts {parts:?}");
    let mut all = parts.concat();
    all.sort_unstable();
    case.same(all, (0..rows.len()).collect(), || place("rows"));
    let in_order = parts.iter().all(|part| part.is_sorted());
    case.same(in_order, true, || place("their order"));
    let mut of_unit = BTreeMap::<usize, BTreeSet<usize>>::new();
    for (name, part) in parts.iter().enumerate() {
        for row in part {
            of_unit.entry(rows[*row]).or_default().insert(name);
        }
    }
    let torn = of_unit.values().filter(|parts| parts.len() > 1).count();
    case.same(torn, 0, || place("units in two parts"));
    let largest = (0..units)
        .map(|unit| rows.iter().filter(|of| **of == unit).count())
        .max();
    let bound = largest.unwrap_or(0) as f64 / 2.0 + 1e-9;
    let why = "half of the largest group, which falls to the part of its middle";
    let tolerance = Tolerance::stated(bound, why);
    let (mut ends, mut asked) = (0, 0.0);
    for (part, share) in parts.iter().zip(shares) {
        (ends, asked) = (ends + part.len(), asked + share * rows.len() as f64);
        case.close(ends as f64, asked, &tolerance, || {
            place("the end of a part")
        });
    }
    case.same(read()?, found, || "the same seed again".into());
    Ok(())
}
