//! The tables that say how the numbers were made: settings, sources, every run and its
//! configuration.

use crate::document::format::{count, fixed, optional, or_dash};
use crate::document::table::{Table, TableOf};
use crate::document::{Block, Section};
use crate::progress::duration;
use crate::study::budget::TimeBudget;
use crate::study::measure::Measure;
use crate::study::{
    BackboneSource, DataSource, Long, PartCount, Row, Run, Settings, Study, TrainingSummary,
};
use serde_json::Value;

/// The section.
pub fn section(study: &Study) -> Section {
    let [common, differing] = configurations(study).map(Block::Table);
    let options = match &study.provenance.options {
        Value::Object(all) if !all.is_empty() => {
            let rows = all.iter().map(|(name, value)| (name, value.to_string()));
            let table = Table::pairs("Every option", ["Option", "Value"], rows);
            Some(Block::details("Every option", vec![Block::Table(table)]))
        }
        _ => None,
    };
    Section::new(
        "record",
        "Settings",
        "Settings and sources",
        [
            Some(Block::heading("Run it again")),
            Some(Block::Code(study.provenance.rerun.clone())),
            Some(Block::Table(sources(study))),
            options,
            Some(Block::details("Every run", vec![Block::Table(runs(study))])),
            Some(Block::details(
                "Every run's configuration",
                vec![common, differing],
            )),
        ]
        .into_iter()
        .flatten()
        .collect(),
    )
}

/// The parts of a method, without the fields that say nothing about it.
pub fn parts(row: &Row) -> String {
    const SILENT: [&str; 3] = ["peft_type", "task_type", "base_model_name_or_path"];
    let parts: Vec<String> = leaves(&row.adapter)
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
fn runs(study: &Study) -> Table {
    fn trained<'a>((_, run): &(&Row, &'a Run)) -> &'a TrainingSummary {
        &run.result.training
    }
    let mut table = by_run("Every run", study);
    for m in Measure::main(study.task) {
        if *m != Measure::Loss {
            table = table.under(m.named().group, m.named().title, |r| {
                optional(m.of(r.1), m.named().digits)
            });
        }
    }
    table
        .under("Validation loss", "lowest", |r| {
            fixed(trained(r).validation_loss, 4)
        })
        .under("Validation loss", "at step", |r| {
            count(trained(r).best_step)
        })
        .under("Validation loss", "last", |r| {
            fixed(trained(r).last_validation_loss, 4)
        })
        .number("Tokens", |r| count(trained(r).tokens))
        .number("Seconds", |r| fixed(trained(r).train_seconds, 1))
        .text("Directory", |r| r.1.directory.clone())
        .finish()
}

/// A table with a row for each run, its method and its seed.
fn by_run<'a>(caption: &str, study: &'a Study) -> TableOf<(&'a Row, &'a Run)> {
    let rows = study.rows.iter();
    let runs = rows.flat_map(|row| row.runs.iter().map(move |run| (row, run)));
    Table::of(caption, runs)
        .text("Method", |r| r.0.title.clone())
        .number("Seed", |r| r.1.seed.to_string())
}

/// Settings that all runs share, and where data and backbone come from.
pub fn sources(study: &Study) -> Table {
    let p = &study.provenance;
    let long = study.long.as_ref().map(long_inputs);
    let program = [
        ("Program", format!("inducer {}", p.version)),
        ("Command", p.command.clone()),
        ("Time", format!("{} to {}", p.started, p.finished)),
        ("Device", format!("{}, {} threads", p.device, p.threads)),
    ];
    let long = [(
        "Long inputs",
        long.unwrap_or("not part of this study".into()),
    )];
    let budget = p.budget.iter().map(|b| ("Budget", budget(b)));
    let rows = program
        .into_iter()
        .chain(budget)
        .chain(settings(&p.settings))
        .chain(data(&p.data))
        .chain(long)
        .chain(backbone(&p.backbone));
    Table::pairs("Settings and sources", ["What", "Value"], rows)
}

/// What a time allowed: `10 min: 2 seeds of 80 steps took 9 min`.
fn budget(b: &TimeBudget) -> String {
    let seeds = match b.seeds {
        1 => "one seed".into(),
        n => format!("{n} seeds"),
    };
    let steps = b
        .steps
        .map_or("all steps".into(), |n| format!("{} steps", count(n)));
    format!(
        "{}: {seeds} of {steps} took {}, rates and report included",
        duration(b.seconds),
        duration(b.used)
    )
}

fn settings(s: &Settings) -> [(&'static str, String); 5] {
    let (steps, batch, warmup) = (count(s.steps), s.batch_size, s.warmup);
    let listed = |seeds: &[u64]| {
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        seeds.join(", ")
    };
    let mut seeds = listed(&s.seeds);
    if !s.loss_seeds.is_empty() {
        seeds += &format!(
            "; of the methods whose steps are judged, by their loss alone, {} as well",
            listed(&s.loss_seeds)
        );
    }
    let decoding = format!("greedy, at most {} new tokens", s.max_new_tokens);
    [
        (
            "Steps",
            format!("{steps} of {batch} texts, {warmup} of them warm-up"),
        ),
        ("Label smoothing", s.label_smoothing.to_string()),
        ("Dropout", s.dropout.to_string()),
        ("Seeds", seeds),
        ("Decoding", decoding),
    ]
}

fn data(d: &DataSource) -> [(&'static str, String); 6] {
    let part = |c: &PartCount| format!("{} entries, {} texts", count(c.entries), count(c.texts));
    let categories = format!(
        "{} of the entries in seen, {} in unseen categories",
        count(d.test_seen),
        count(d.test_unseen)
    );
    let skipped = format!("{} entries without a usable text", count(d.skipped));
    [
        ("Data", format!("{} ({})", d.name, d.origin)),
        ("Data fingerprint, SHA-256", d.fingerprint.clone()),
        ("Training part", part(&d.train)),
        ("Development part", part(&d.dev)),
        ("Test part", format!("{}; {categories}", part(&d.test))),
        ("Left out", skipped),
    ]
}

fn long_inputs(long: &Long) -> String {
    let backbone = long.backbone.as_ref().map(|b| {
        let (name, origin, print) = (&b.name, &b.origin, &b.fingerprint);
        format!("; backbone {name} ({origin}), SHA-256 {print}")
    });
    format!(
        "{} ({}), {} steps of {}; {} questions scored; SHA-256 {}{}",
        long.data.name,
        long.data.origin,
        count(long.settings.steps),
        long.settings.batch_size,
        count(long.data.test.entries),
        long.data.fingerprint,
        backbone.unwrap_or_default()
    )
}

fn backbone(b: &BackboneSource) -> [(&'static str, String); 3] {
    let size = format!(
        "{} layers, hidden size {}, {} heads, vocabulary {}, {} parameters",
        b.layers,
        b.hidden,
        b.heads,
        count(b.vocabulary),
        count(b.parameters)
    );
    [
        ("Backbone", format!("{} ({})", b.name, b.origin)),
        ("Backbone size", size),
        ("Backbone fingerprint, SHA-256", b.fingerprint.clone()),
    ]
}

/// The configurations of all runs: what is the same in every one, and what differs.
fn configurations(study: &Study) -> [Table; 2] {
    let runs = study.rows.iter().flat_map(|row| &row.runs);
    let all: Vec<Vec<(String, String)>> = runs.map(|run| leaves(&run.configuration)).collect();
    let mut paths: Vec<&str> = Vec::new();
    for (path, _) in all.iter().flatten() {
        if !paths.contains(&path.as_str()) {
            paths.push(path);
        }
    }
    let value = |leaves: &[(String, String)], path: &str| {
        let found = leaves.iter().find(|leaf| leaf.0 == path);
        or_dash(found.map(|leaf| leaf.1.clone()))
    };
    let first = |path: &str| all.first().map_or(String::new(), |run| value(run, path));
    let same = |path: &&str| all.iter().all(|run| value(run, path) == first(path));
    let (common, varying): (Vec<&str>, Vec<&str>) = paths.iter().copied().partition(same);
    let mut differing = by_run("Configuration: what differs between runs", study);
    for path in varying {
        differing = differing.text(path, |r| value(&leaves(&r.1.configuration), path));
    }
    let common = common.into_iter().map(|path| (path, first(path)));
    [
        Table::pairs(
            "Configuration: the same in every run",
            ["Field", "Value"],
            common,
        ),
        differing.finish(),
    ]
}

/// The leaves of a JSON value with their paths; null is left out.
fn leaves(value: &Value) -> Vec<(String, String)> {
    fn walk(value: &Value, path: &str, out: &mut Vec<(String, String)>) {
        match value {
            Value::Null => {}
            Value::Object(map) => {
                for (key, inner) in map {
                    let dot = if path.is_empty() { "" } else { "." };
                    walk(inner, &format!("{path}{dot}{key}"), out);
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
    use super::*;
    use crate::report::testing;

    #[test]
    fn configurations_are_split_into_common_and_differing_fields() {
        let study = testing::study();
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
        let mut study = testing::study();
        study.rows.clear();
        assert!(configurations(&study).iter().all(|t| t.rows.is_empty()));
        assert!(runs(&study).rows.is_empty());
    }
}
