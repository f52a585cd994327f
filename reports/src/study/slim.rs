//! A report made smaller, as a repository wants it, and whole again when it is read: without the
//! losses of every few steps, numbers in eight digits, and of a method's configurations the first
//! one and what the others change of it.

use super::{Row, Run, Study};
use anyhow::Result;
use serde_json::{Map, Value, json};

/// Significant digits of its numbers.
const DIGITS: usize = 8;

/// The field of a configuration that says whose it is like, by the seed of that run.
const LIKE: &str = "like_seed";

/// What is changed of that one, as a merge patch (RFC 7396).
const BUT: &str = "but";

/// The smaller report; [`Study::read`] takes it.
///
/// # Errors
/// A number that JSON has not.
pub fn slim(study: &Study) -> Result<Value> {
    let mut study = study.clone();
    for row in rows(&mut study) {
        for run in &mut row.runs {
            run.curves.train.clear();
        }
        if let [first, others @ ..] = &mut row.runs[..] {
            others.iter_mut().for_each(|run| shorten(run, first));
        }
    }
    let mut report = serde_json::to_value(&study)?;
    round(&mut report)?;
    Ok(report)
}

/// Gives the runs of a smaller report their whole configurations.
pub(super) fn restore(study: &mut Study) {
    for row in rows(study) {
        for i in 0..row.runs.len() {
            let run = &row.runs[i].configuration;
            let like = run[LIKE].as_u64().and_then(|seed| row.run(seed));
            if let Some(like) = like {
                let mut whole = like.configuration.clone();
                merge(&mut whole, &run[BUT]);
                row.runs[i].configuration = whole;
            }
        }
    }
}

fn rows(study: &mut Study) -> impl Iterator<Item = &mut Row> {
    let long = study.long.iter_mut().flat_map(|long| &mut long.rows);
    study.rows.iter_mut().chain(long)
}

/// Writes a configuration as what it changes of the first one's, where that gives it again.
fn shorten(run: &mut Run, first: &Run) {
    let but = patch(&first.configuration, &run.configuration);
    let mut again = first.configuration.clone();
    merge(&mut again, &but);
    if again == run.configuration {
        run.configuration = json!({ LIKE: first.seed, BUT: but });
    }
}

/// The merge patch from one value to another.
fn patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        return to.clone();
    };
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    let mut changes: Map<String, Value> = gone.map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in new {
        let before = old.get(key);
        if before != Some(value) {
            changes.insert(key.clone(), patch(before.unwrap_or(&Value::Null), value));
        }
    }
    Value::Object(changes)
}

/// Applies a merge patch.
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (key, change) in changes {
        match (change, value.as_object_mut()) {
            (Value::Null, Some(fields)) => drop(fields.remove(key)),
            _ => merge(&mut value[key.as_str()], change),
        }
    }
}

/// Rounds all numbers that are not whole.
fn round(value: &mut Value) -> Result<()> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(round),
        Value::Object(fields) => fields.values_mut().try_for_each(round),
        Value::Number(n) if n.is_f64() => {
            let x = n.as_f64().unwrap_or_default();
            *value = json!(format!("{x:.*e}", DIGITS - 1).parse::<f64>()?);
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn a_smaller_report_gives_the_same_configurations_and_the_same_numbers_in_eight_digits() {
        let mut study = testing::study();
        // a field less, a field more, a value inside another
        let runs = &mut study.rows[1].runs;
        runs[0].configuration = json!({"seed": 1, "train": {"steps": 3, "clip": null}, "limit": 2});
        runs[1].configuration = json!({"seed": 2, "train": {"steps": 4, "clip": null}, "new": [1]});
        // null in the place of a value cannot be said by a patch
        runs[2].configuration = json!({"seed": 3, "train": {"steps": null}, "limit": 2});
        let report = slim(&study).unwrap();
        let written = &report["rows"][1]["runs"];
        let but = json!({"seed": 2, "train": {"steps": 4}, "limit": null, "new": [1]});
        assert_eq!(written[1]["configuration"], json!({LIKE: 1, BUT: but}));
        assert_eq!(written[2]["configuration"]["seed"], 3);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        std::fs::write(&path, report.to_string()).unwrap();
        let read = Study::read(&path).unwrap();
        assert_eq!(slim(&read).unwrap(), report);
        let rounding = 0.5 * 0.1f64.powi(DIGITS as i32 - 1);
        let pairs = read.rows.iter().zip(&study.rows);
        let pairs = pairs.flat_map(|(a, b)| a.runs.iter().zip(&b.runs));
        for (found, expected) in pairs {
            assert_eq!(found.configuration, expected.configuration);
            for ((at, x), (step, y)) in found
                .curves
                .validation
                .iter()
                .zip(&expected.curves.validation)
            {
                assert_eq!(at, step);
                approx::assert_relative_eq!(x, y, max_relative = rounding);
            }
            assert!(found.curves.train.is_empty());
            let [a, b] = [found, expected].map(|run| run.result.test_loss.unwrap_or_default());
            approx::assert_relative_eq!(a, b, max_relative = rounding);
        }
    }
}
