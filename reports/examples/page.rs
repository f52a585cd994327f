//! The pages of a report.json, made again without running anything:
//!
//! ```sh
//! cargo run -p inducer-reports --example page -- reports/results/embedded.json out
//! ```
//!
//! writes out/report.html, out/report.md and out/report.json, the last in today's layout. With
//! `--slim` as the third word it is first made smaller, as a repository wants it: without the curves
//! of the runs, with the configuration of each method's first run alone, and numbers in nine digits.

use anyhow::{Context, Result, anyhow, ensure};
use inducer_reports::{report, study::Study};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Significant digits of the numbers in a small report.
const DIGITS: usize = 9;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (json, out) = arguments
        .next()
        .zip(arguments.next())
        .ok_or_else(|| anyhow!("usage: page REPORT.json OUT"))?;
    let mut study = Study::read(&json)?;
    if let Some(word) = arguments.next() {
        ensure!(
            word.as_os_str() == "--slim",
            "{}: expected --slim",
            word.display()
        );
        study = slim(study)?;
    }
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    for (name, text) in [
        ("report.html", report::html(&study)),
        ("report.md", report::markdown(&study)),
        ("report.json", serde_json::to_string(&study)?),
    ] {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The study without the curves of its runs, and what else the module says.
fn slim(mut study: Study) -> Result<Study> {
    let long = study.long.iter_mut().flat_map(|long| &mut long.rows);
    for row in study.rows.iter_mut().chain(long) {
        for (i, run) in row.runs.iter_mut().enumerate() {
            run.curves = Default::default();
            if i > 0 {
                run.configuration = Value::Object(Map::new());
            }
        }
    }
    let mut value = serde_json::to_value(&study)?;
    round(&mut value)?;
    Ok(serde_json::from_value(value)?)
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
