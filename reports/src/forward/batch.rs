//! The batch file: rows with padding, and the same rows without.

use crate::files::read_json;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::path::Path;

/// The batch file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) input_ids: Vec<Vec<u32>>,
    #[serde(default)]
    labels: Option<Vec<Vec<i64>>>,
    #[serde(default)]
    attention_mask: Option<Vec<Vec<u8>>>,
    #[serde(default)]
    segment_ids: Option<Vec<Vec<u32>>>,
}

/// How many entries each row of a field has, where it is there.
fn widths<T>(rows: Option<&Vec<Vec<T>>>) -> Option<Vec<usize>> {
    rows.map(|rows| rows.iter().map(Vec::len).collect())
}

/// A row without its padding: where it starts and its tokens.
pub(super) struct Row {
    pub(super) from: usize,
    pub(super) ids: Vec<u32>,
    pub(super) labels: Option<Vec<i64>>,
    pub(super) segments: Option<Vec<u32>>,
}

impl File {
    /// Reads the file; for a classifier `labels` has one class a row.
    pub(super) fn read(path: &Path, classifier: bool) -> Result<Self> {
        let file: Self = read_json(path)?;
        let at = path.display();
        let first = file.input_ids.first();
        let first =
            first.with_context(|| format!("{at}: field `input_ids`: expected at least one row"))?;
        let width = first.len();
        ensure!(
            width > 0,
            "{at}: field `input_ids`: expected at least one token"
        );
        let check = |field: &str, rows: Option<Vec<usize>>, width: usize| -> Result<()> {
            let Some(rows) = rows else { return Ok(()) };
            ensure!(
                rows.len() == file.input_ids.len(),
                "{at}: field `{field}`: expected {} rows, found {}",
                file.input_ids.len(),
                rows.len()
            );
            match rows.iter().position(|n| *n != width) {
                Some(i) => bail!(
                    "{at}: field `{field}`: row {i} has {} entries, expected {width}",
                    rows[i]
                ),
                None => Ok(()),
            }
        };
        let label_width = if classifier { 1 } else { width };
        let (mask, segments) = (
            widths(file.attention_mask.as_ref()),
            widths(file.segment_ids.as_ref()),
        );
        check("input_ids", widths(Some(&file.input_ids)), width)?;
        check("labels", widths(file.labels.as_ref()), label_width)?;
        check("attention_mask", mask, width)?;
        check("segment_ids", segments, width)?;
        Ok(file)
    }

    /// Rows without padding. Positions count from the first real token, as Hugging Face does under
    /// a mask.
    pub(super) fn rows(&self, path: &Path) -> Result<Vec<Row>> {
        let width = self.input_ids[0].len();
        let mut rows = Vec::new();
        for (i, ids) in self.input_ids.iter().enumerate() {
            let (mut from, mut to) = (0, width);
            if let Some(mask) = &self.attention_mask {
                let m = &mask[i];
                let at = path.display();
                ensure!(
                    m.iter().all(|x| *x <= 1),
                    "{at}: field `attention_mask`: row {i}: expected 0 or 1"
                );
                from = m.iter().position(|x| *x == 1).with_context(|| {
                    format!("{at}: field `attention_mask`: row {i} hides every token")
                })?;
                to = m.iter().rposition(|x| *x == 1).map_or(width, |p| p + 1);
                ensure!(
                    m[from..to].iter().all(|x| *x == 1),
                    "{at}: field `attention_mask`: row {i}: expected padding at the ends only, \
                     found a hole"
                );
            }
            rows.push(Row {
                from,
                ids: ids[from..to].to_vec(),
                labels: self.labels.as_ref().map(|l| match l[i].len() == width {
                    true => l[i][from..to].to_vec(),
                    false => l[i].clone(), // a class
                }),
                segments: self.segment_ids.as_ref().map(|s| s[i][from..to].to_vec()),
            });
        }
        Ok(rows)
    }
}
