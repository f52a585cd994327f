//! The batch file: rows with padding, and the same rows without.

use crate::files::read_json;
use anyhow::{Context, Result, bail, ensure};
use inducer_datasets::IGNORE;
use serde::Deserialize;
use std::path::Path;

/// The batch file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) input_ids: Vec<Vec<u32>>,
    #[serde(default)]
    labels: Option<Labels>,
    #[serde(default)]
    attention_mask: Option<Vec<Vec<Visible>>>,
    #[serde(default)]
    segment_ids: Option<Vec<Vec<u32>>>,
    #[serde(default)]
    position_ids: Option<Vec<Vec<u32>>>,
}

/// Labels of tokens, or classes, which may stand by themselves or in a list for each row.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected whole numbers, in a list for each row or one for each row"
)]
enum Labels {
    Rows(Vec<Vec<i64>>),
    Classes(Vec<i64>),
}

/// 0 or 1, or a boolean.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "expected 0, 1, false or true")]
enum Visible {
    Number(u8),
    Boolean(bool),
}

/// How many entries each row of a field has, where it is there.
fn widths<T>(rows: Option<&Vec<Vec<T>>>) -> Option<Vec<usize>> {
    rows.map(|rows| rows.iter().map(Vec::len).collect())
}

/// A row without what its mask hides: where its tokens stand in the file, and what they are.
pub(super) struct Row {
    pub(super) at: Vec<usize>,
    pub(super) ids: Vec<u32>,
    pub(super) labels: Option<Vec<i64>>,
    pub(super) segments: Option<Vec<u32>>,
    /// Rows of the position table, where they are not those that a model counts by itself.
    pub(super) positions: Option<Vec<u32>>,
}

impl File {
    /// Reads the file; for a classifier `labels` has one class a row.
    pub(super) fn read(path: &Path, classifier: bool) -> Result<Self> {
        let mut file: Self = read_json(path)?;
        let at = path.display();
        let first = file.input_ids.first();
        let first =
            first.with_context(|| format!("{at}: field `input_ids`: expected at least one row"))?;
        let width = first.len();
        ensure!(
            width > 0,
            "{at}: field `input_ids`: expected at least one token"
        );
        file.labels = match file.labels {
            Some(Labels::Classes(classes)) if classifier => {
                Some(Labels::Rows(classes.into_iter().map(|c| vec![c]).collect()))
            }
            Some(Labels::Classes(_)) => {
                bail!("{at}: field `labels`: expected a list for each row, found numbers")
            }
            other => other,
        };
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
        check("input_ids", widths(Some(&file.input_ids)), width)?;
        check("labels", widths(file.label_rows()), label_width)?;
        check(
            "attention_mask",
            widths(file.attention_mask.as_ref()),
            width,
        )?;
        check("segment_ids", widths(file.segment_ids.as_ref()), width)?;
        check("position_ids", widths(file.position_ids.as_ref()), width)?;
        Ok(file)
    }

    /// Whether there are labels.
    pub(super) fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    fn label_rows(&self) -> Option<&Vec<Vec<i64>>> {
        match &self.labels {
            Some(Labels::Rows(rows)) => Some(rows),
            _ => None,
        }
    }

    /// Rows without what their masks hide. Positions are the file's; else a GPT-2 counts them from
    /// the row's first token under mask 1, and with a padding token they skip that one, whatever
    /// the mask hides. A label under mask 0 is an error.
    pub(super) fn rows(&self, path: &Path, padding: Option<u32>) -> Result<Vec<Row>> {
        let mut rows: Vec<Row> = Vec::new();
        for (i, ids) in self.input_ids.iter().enumerate() {
            let seen = self.seen(path, i)?;
            let kept: Vec<usize> = (0..ids.len()).filter(|t| seen[*t]).collect();
            ensure!(
                !kept.is_empty(),
                "{}: field `attention_mask`: row {i} hides every token",
                path.display()
            );
            let of = |all: &[u32]| kept.iter().map(|t| all[*t]).collect::<Vec<u32>>();
            let positions = match (&self.position_ids, padding) {
                (Some(given), _) => Some(of(&given[i])),
                // a model counts as well where the mask hides padding alone
                (None, Some(padding)) => {
                    let all = of(&counted(ids, padding));
                    (all != counted(&of(ids), padding)).then_some(all)
                }
                (None, None) => None,
            };
            let labels = match self.label_rows() {
                Some(labels) if labels[i].len() == ids.len() && padding.is_none() => {
                    let hidden = |t: &usize| !seen[*t] && labels[i][*t] != IGNORE;
                    if let Some(t) = (0..ids.len()).find(hidden) {
                        bail!(
                            "{}: field `labels`: row {i}, place {t}: expected {IGNORE} where \
                             `attention_mask` is 0, found {}",
                            path.display(),
                            labels[i][t]
                        );
                    }
                    Some(kept.iter().map(|t| labels[i][*t]).collect())
                }
                Some(labels) => Some(labels[i].clone()), // a class
                None => None,
            };
            rows.push(Row {
                ids: of(ids),
                labels,
                segments: self.segment_ids.as_ref().map(|s| of(&s[i])),
                positions,
                at: kept,
            });
        }
        // a batch has positions for all of its rows or for none
        if let (Some(padding), true) = (padding, rows.iter().any(|r| r.positions.is_some())) {
            for row in &mut rows {
                let given = row.positions.take();
                row.positions = Some(given.unwrap_or_else(|| counted(&row.ids, padding)));
            }
        }
        Ok(rows)
    }

    fn seen(&self, path: &Path, row: usize) -> Result<Vec<bool>> {
        let Some(mask) = &self.attention_mask else {
            return Ok(vec![true; self.input_ids[row].len()]);
        };
        let seen = mask[row].iter().map(|x| match x {
            Visible::Boolean(x) => Ok(*x),
            Visible::Number(x @ 0..=1) => Ok(*x == 1),
            Visible::Number(x) => bail!(
                "{}: field `attention_mask`: row {row}: expected 0 or 1, found {x}",
                path.display()
            ),
        });
        seen.collect()
    }
}

/// Positions after the padding token's own row, which padding has.
fn counted(ids: &[u32], padding: u32) -> Vec<u32> {
    let mut at = padding;
    let position = |id: &u32| match *id == padding {
        true => padding,
        false => {
            at += 1;
            at
        }
    };
    ids.iter().map(position).collect()
}
