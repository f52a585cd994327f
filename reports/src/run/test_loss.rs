//! The loss of every reference of the scored examples: how probable the model finds what people
//! wrote. Unlike a score of one decoded text it takes all references, and no decoding comes
//! between.

use super::prepared::{Prepared, by_length};
use crate::files::{At, read_json};
use anyhow::Result;
use inducer_datasets::batches::pack;
use inducer_datasets::{Encoded, Example};
use inducer_gpu::Model;
use inducer_gpu::files::write_json;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file of a run's directory that holds the losses by example.
const FILE: &str = "test_losses.json";

/// The loss of one example: over the target tokens of all its references, or over its class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExampleLoss {
    /// Target tokens, end tokens included; 1 for a class.
    pub tokens: usize,
    /// Sum of their losses, nats.
    pub nats: f64,
}

/// Nats a token over some examples; none without a token.
pub fn mean(losses: &[ExampleLoss]) -> Option<f64> {
    let tokens: usize = losses.iter().map(|l| l.tokens).sum();
    let nats: f64 = losses.iter().map(|l| l.nats).sum();
    (tokens > 0).then(|| nats / tokens as f64)
}

/// The losses of examples, in their order.
///
/// # Errors
/// A row that does not fit the model.
pub fn measure(
    model: &Model,
    prepared: &Prepared,
    examples: &[Example],
) -> Result<Vec<ExampleLoss>> {
    let layout = prepared.layout()?;
    let (mut rows, mut owners) = (Vec::new(), Vec::new());
    for (i, example) in examples.iter().enumerate() {
        for mut row in layout.training_rows(example)? {
            prepared.to_head(&mut row);
            owners.push(i);
            rows.push(row);
        }
    }
    let mut out = vec![ExampleLoss::default(); examples.len()];
    for batch in by_length(&rows.iter().collect::<Vec<_>>()) {
        let packed = pack(&batch.iter().map(|i| &rows[*i]).collect::<Vec<_>>());
        let mut losses = model.losses(&packed)?.into_iter();
        for i in batch {
            let of = &mut out[owners[i]];
            let count = targets(&rows[i]);
            of.tokens += count;
            of.nats += losses.by_ref().take(count).sum::<f64>();
        }
    }
    Ok(out)
}

/// How many targets a row has.
fn targets(row: &Encoded) -> usize {
    match row.class {
        Some(_) => 1,
        None => row.labels.iter().filter(|l| **l >= 0).count(),
    }
}

/// Keeps the losses in a run's directory.
///
/// # Errors
/// The file cannot be written.
pub fn keep(dir: &Path, losses: &[ExampleLoss]) -> Result<()> {
    Ok(write_json(&dir.join(FILE), &losses)?)
}

/// The losses that a run kept; none of a run of an earlier version.
///
/// # Errors
/// A broken file.
pub fn kept(dir: &Path) -> Result<Option<Vec<ExampleLoss>>> {
    let path = dir.join(FILE);
    path.exists().then(|| read_json(&path)).transpose()
}

/// Removes them.
///
/// # Errors
/// The system's.
pub fn clear(dir: &Path) -> Result<()> {
    let path = dir.join(FILE);
    match path.exists() {
        true => std::fs::remove_file(&path).at(&path),
        false => Ok(()),
    }
}
