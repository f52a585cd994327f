//! The tables that say how the numbers were made: costs of a run, settings, sources,
//! configurations.

use super::measure::Measure;
use super::table::{Cell, Column, Table};
use super::words::{NOTHING, count, fixed, spread};
use crate::stats::Summary;
use crate::study::{Row, Run, Study};
use serde_json::Value;

/// What time and memory mean.
pub const EFFORT: &str = "Seconds and tokens a second are of runs that shared the machine with \
 each other. MB at most: the most memory that a run's own threads had allocated at once while \
 training (weights, activations, gradients, moments), counted by the allocator, so that runs in \
 one process do not mix; what the whole process holds is more.";

/// Size, learning rate, time and memory of each method.
pub fn effort(study: &Study) -> Table {
    let columns = vec![
        Column::words("Method"),
        Column::number("trained").under("Parameters"),
        Column::number("stored").under("Parameters"),
        Column::number("Learning rate"),
        Column::number("seconds").under("Training"),
        Column::number("tokens a second").under("Training"),
        Column::number("MB at most").under("Training"),
        Column::words("Parts"),
    ];
    let mut table = Table::new("Size, learning rate, time and memory", columns);
    for row in &study.rows {
        let of = |f: fn(&Run) -> f64| {
            let values: Vec<f64> = row.runs.iter().map(f).filter(|x| *x > 0.0).collect();
            Summary::of(&values)
        };
        table.rows.push(vec![
            row.title.as_str().into(),
            count(row.trained as u64).into(),
            count(row.stored as u64).into(),
            row.learning_rate.map_or(NOTHING.into(), rate).into(),
            spread(of(|r| r.training.train_seconds).as_ref(), 1).into(),
            spread(of(|r| r.tokens_per_second).as_ref(), 0).into(),
            spread(
                of(|r| r.peak_bytes.map_or(0.0, |b| b as f64 / 1e6)).as_ref(),
                1,
            )
            .into(),
            adapter(row).into(),
        ]);
    }
    table
}

/// A learning rate: `1.25e-3`.
fn rate(x: f64) -> String {
    format!("{x:e}")
}

/// The parts of a method, without the fields that say nothing about it.
fn adapter(row: &Row) -> String {
    const SILENT: [&str; 3] = ["peft_type", "task_type", "base_model_name_or_path"];
    let parts: Vec<String> = flat(&row.adapter)
        .into_iter()
        .filter(|(path, _)| !SILENT.contains(&path.as_str()))
        .map(|(path, value)| format!("{path} = {value}"))
        .collect();
    if parts.is_empty() {
        return "none".into();
    }
    parts.join("; ")
}

/// Every run.
pub fn runs(study: &Study) -> Table {
    let scores: Vec<Measure> = Measure::main(study.task)
        .iter()
        .copied()
        .filter(|m| *m != Measure::Loss)
        .collect();
    let mut columns = vec![Column::words("Method"), Column::number("Seed")];
    columns.extend(
        scores
            .iter()
            .map(|m| Column::number(m.title()).under(m.group())),
    );
    columns.extend([
        Column::number("lowest").under("Validation loss"),
        Column::number("at step").under("Validation loss"),
        Column::number("last").under("Validation loss"),
        Column::number("Tokens"),
        Column::number("Seconds"),
        Column::words("Directory"),
    ]);
    let mut table = Table::new("Every run", columns);
    for (row, r) in each(study) {
        let mut cells: Vec<Cell> = vec![row.title.as_str().into(), r.seed.to_string().into()];
        for m in &scores {
            let score = m.of(r).map(|x| fixed(x, m.digits()));
            cells.push(score.unwrap_or(NOTHING.into()).into());
        }
        cells.extend([
            fixed(r.training.validation_loss, 4).into(),
            count(r.training.best_step as u64).into(),
            fixed(r.training.last_validation_loss, 4).into(),
            count(r.training.tokens).into(),
            fixed(r.training.train_seconds, 1).into(),
            r.directory.as_str().into(),
        ]);
        table.rows.push(cells);
    }
    table
}

fn each(study: &Study) -> impl Iterator<Item = (&Row, &Run)> {
    study
        .rows
        .iter()
        .flat_map(|row| row.runs.iter().map(move |run| (row, run)))
}

/// Settings that all runs share, and where data and backbone come from.
pub fn sources(study: &Study) -> Table {
    let p = &study.provenance;
    let (s, d, b) = (&p.settings, &p.data, &p.backbone);
    let seeds: Vec<String> = s.seeds.iter().map(u64::to_string).collect();
    let part = |c: &crate::study::PartCount| {
        format!(
            "{} entries, {} texts",
            count(c.entries as u64),
            count(c.texts as u64)
        )
    };
    let rows = [
        ("Program", format!("inducer {}", p.version)),
        ("Command", p.command.clone()),
        ("Time", format!("{} to {}", p.started, p.finished)),
        ("Device", format!("{}, {} threads", p.device, p.threads)),
        (
            "Steps",
            format!(
                "{} of {} texts, {} of them warm-up",
                count(s.steps as u64),
                s.batch_size,
                s.warmup
            ),
        ),
        ("Label smoothing", s.label_smoothing.to_string()),
        ("Dropout", s.dropout.to_string()),
        ("Seeds", seeds.join(", ")),
        (
            "Decoding",
            format!("greedy, at most {} new tokens", s.max_new_tokens),
        ),
        ("Data", format!("{} ({})", d.name, d.origin)),
        ("Data fingerprint, SHA-256", d.fingerprint.clone()),
        ("Training part", part(&d.train)),
        ("Development part", part(&d.dev)),
        (
            "Test part",
            format!(
                "{}; {} of the entries in seen, {} in unseen categories",
                part(&d.test),
                count(d.test_seen as u64),
                count(d.test_unseen as u64)
            ),
        ),
        (
            "Left out",
            format!("{} entries without a usable text", count(d.skipped as u64)),
        ),
        (
            "Long inputs",
            study
                .long
                .as_ref()
                .map_or("not part of this study".into(), |l| {
                    format!(
                        "{} ({}), {} steps of {}; {} questions scored; SHA-256 {}",
                        l.data.name,
                        l.data.origin,
                        count(l.settings.steps as u64),
                        l.settings.batch_size,
                        count(l.data.test.entries as u64),
                        l.data.fingerprint
                    )
                }),
        ),
        ("Backbone", format!("{} ({})", b.name, b.origin)),
        (
            "Backbone size",
            format!(
                "{} layers, hidden size {}, {} heads, vocabulary {}, {} parameters",
                b.layers,
                b.hidden,
                b.heads,
                count(b.vocabulary as u64),
                count(b.parameters as u64)
            ),
        ),
        ("Backbone fingerprint, SHA-256", b.fingerprint.clone()),
    ];
    let rows = rows.map(|(name, value)| (name.to_string(), value)).to_vec();
    Table::pairs("Settings and sources", ["What", "Value"], rows)
}

/// A run with its configuration as path and value.
type RunFields<'a> = (&'a Row, &'a Run, Vec<(String, String)>);

/// The configurations of all runs: what is the same in every one, and what differs.
pub fn configurations(study: &Study) -> [Table; 2] {
    let all: Vec<RunFields> = each(study)
        .map(|(row, run)| (row, run, flat(&run.configuration)))
        .collect();
    let mut paths: Vec<&String> = Vec::new();
    for path in all.iter().flat_map(|(_, _, f)| f.iter().map(|p| &p.0)) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    let value = |f: &[(String, String)], path: &str| {
        f.iter()
            .find(|p| p.0 == path)
            .map_or(NOTHING.into(), |p| p.1.clone())
    };
    let same = |path: &str| {
        let first = all.first().map(|a| value(&a.2, path));
        all.iter().all(|a| Some(value(&a.2, path)) == first)
    };
    let (fixed, varying): (Vec<&String>, Vec<&String>) = paths.into_iter().partition(|p| same(p));
    let common = fixed
        .into_iter()
        .map(|p| {
            (
                p.clone(),
                all.first().map_or(String::new(), |a| value(&a.2, p)),
            )
        })
        .collect();
    let mut columns = vec![Column::words("Method"), Column::number("Seed")];
    columns.extend(varying.iter().map(|p| Column::words(p)));
    let mut differing = Table::new("Configuration: what differs between runs", columns);
    for (row, run, f) in &all {
        let mut cells: Vec<Cell> = vec![row.title.as_str().into(), run.seed.to_string().into()];
        cells.extend(varying.iter().map(|p| Cell::from(value(f, p))));
        differing.rows.push(cells);
    }
    let names = ["Field", "Value"];
    [
        Table::pairs("Configuration: the same in every run", names, common),
        differing,
    ]
}

/// The leaves of a JSON value with their paths; null is left out.
fn flat(value: &Value) -> Vec<(String, String)> {
    fn walk(value: &Value, path: &str, out: &mut Vec<(String, String)>) {
        match value {
            Value::Null => {}
            Value::Object(map) => {
                for (k, v) in map {
                    let at = if path.is_empty() {
                        k.clone()
                    } else {
                        format!("{path}.{k}")
                    };
                    walk(v, &at, out);
                }
            }
            Value::String(s) => out.push((path.into(), s.clone())),
            other => out.push((path.into(), other.to_string())),
        }
    }
    let mut out = Vec::new();
    walk(value, "", &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn configurations_are_split_into_common_and_differing_fields() {
        let study = fixture::study();
        let [common, differing] = configurations(&study);
        let names: Vec<&str> = common.rows.iter().map(|r| r[0].text.as_str()).collect();
        assert_eq!(names, ["train.steps", "train.clip", "device"]);
        let titles: Vec<&str> = differing.columns.iter().map(|c| c.title.as_str()).collect();
        assert_eq!(titles, ["Method", "Seed", "method", "seed"]);
        assert_eq!(
            differing.rows.len(),
            23,
            "three seeds of eight methods but one"
        );
    }

    #[test]
    fn a_study_without_runs_has_empty_tables() {
        let mut study = fixture::study();
        study.rows.clear();
        assert!(configurations(&study).iter().all(|t| t.rows.is_empty()));
        assert!(runs(&study).rows.is_empty());
    }
}
