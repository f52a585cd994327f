//! Reports of earlier layouts. Up to the second one a comparison had one variance of the seeds,
//! pooled over all methods; each method's own follows from the losses of its runs.

use super::{SCHEMA, Study};
use crate::files::{read_json, typed};
use crate::stats::variance;
use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

/// The version of a report's layout, whatever else stands there.
///
/// # Errors
/// A missing or broken file.
pub fn layout(path: &Path) -> Result<u32> {
    #[derive(Deserialize)]
    struct Layout {
        schema: u32,
    }
    Ok(read_json::<Layout>(path)?.schema)
}

/// Reads a report of an earlier layout as one of today's.
///
/// # Errors
/// A broken file, an unknown field.
pub fn read(path: &Path) -> Result<Study> {
    let mut report: Value = read_json(path)?;
    report["schema"] = json!(SCHEMA);
    let rows = report["rows"].clone();
    if let Some(Value::Array(contrasts)) = report.get_mut("contrasts") {
        contrasts.retain_mut(|c| with_own_variances(c, &rows).is_some());
    }
    typed(report, path)
}

/// Puts each method's own variance in the place of the pooled one; none where a method has not the
/// losses of two runs.
fn with_own_variances(contrast: &mut Value, rows: &Value) -> Option<()> {
    let mut own = Vec::new();
    for side in ["lower", "upper"] {
        let row = rows
            .as_array()?
            .iter()
            .find(|r| r["method"] == contrast[side])?;
        let runs = row["runs"].as_array()?.iter();
        let losses: Vec<f64> = runs.filter_map(|run| run["test_loss"].as_f64()).collect();
        own.push((losses.len() > 1).then(|| variance(&losses))?);
    }
    let fields = contrast.as_object_mut()?;
    fields.remove("seed_variance");
    fields.remove("seed_degrees");
    fields.insert("seed_variances".into(), json!(own));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn a_pooled_variance_becomes_each_methods_own() {
        let study = testing::study();
        let mut report = serde_json::to_value(&study).unwrap();
        report["schema"] = json!(2);
        for c in report["contrasts"].as_array_mut().unwrap() {
            let fields = c.as_object_mut().unwrap();
            fields.remove("seed_variances");
            fields.insert("seed_variance".into(), json!(0.5));
            fields.insert("seed_degrees".into(), json!(13));
        }
        // of Gating one run has a loss
        let rows = report["rows"].as_array_mut().unwrap();
        let gating = rows.iter_mut().find(|r| r["method"] == "gating").unwrap();
        for run in gating["runs"].as_array_mut().unwrap().iter_mut().skip(1) {
            run["test_loss"] = Value::Null;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        std::fs::write(&path, report.to_string()).unwrap();
        let read = Study::read(&path).unwrap();
        assert_eq!(read.schema, SCHEMA);
        assert_eq!(read.contrasts.len(), study.contrasts.len() - 1);
        assert!(read.contrast("gating", "inducer").is_none());
        let c = read.contrast("extension", "inducer").unwrap();
        for (method, found) in ["extension", "inducer"].into_iter().zip(c.seed_variances) {
            let runs = &study.row(method).unwrap().runs;
            let losses: Vec<f64> = runs.iter().filter_map(|r| r.result.test_loss).collect();
            assert_eq!((losses.len(), found), (3, variance(&losses)));
        }
        // what is wrong is named as in a report of today
        report["contrasts"][0]["difference"] = json!("x");
        std::fs::write(&path, report.to_string()).unwrap();
        let message = format!("{:#}", Study::read(&path).unwrap_err());
        assert!(
            message.contains("field `contrasts[0].difference`"),
            "{message}"
        );
    }
}
