//! A case as files: backbone directory, adapter directory, batch.

use super::about::CUSTOM;
use crate::cases::{BackboneConfig, ModelCase, TextRow};
use crate::error::{Error, Result};
use inducer_reference::TensorMap;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

/// A text with tokens around it that are not visible.
#[derive(Clone, Debug)]
pub struct Surrounded {
    /// The whole row; labels as its own text has them.
    pub row: TextRow,
    /// Where the text begins.
    pub from: usize,
    /// How many tokens the text has.
    pub length: usize,
}

impl Surrounded {
    /// A text and nothing around it.
    pub(super) fn plain(row: &TextRow) -> Self {
        Self {
            row: row.clone(),
            from: 0,
            length: row.ids.len(),
        }
    }

    fn extend(&self, width: usize, pad: u32, classifies: bool) -> TextRow {
        let more = width - self.row.ids.len();
        let with = |ids: &[u32]| [ids, &vec![pad; more][..]].concat();
        let labels = match classifies {
            true => self.row.labels.clone(),
            false => [&self.row.labels[..], &vec![-100; more]].concat(),
        };
        TextRow {
            ids: with(&self.row.ids),
            segments: self.row.segments.as_deref().map(with),
            labels,
        }
    }
}

/// The texts as the file of a batch, all of one width; without a mask where everything is visible.
pub(super) fn batch(case: &ModelCase, rows: &[Surrounded], masked: bool) -> Value {
    let width = width(rows);
    let (pad, classifies) = (
        case.backbone.padding().unwrap_or(0),
        case.backbone.classifies(),
    );
    let whole: Vec<TextRow> = rows
        .iter()
        .map(|row| row.extend(width, pad, classifies))
        .collect();
    let ids: Vec<&Vec<u32>> = whole.iter().map(|row| &row.ids).collect();
    let labels: Vec<&Vec<i64>> = whole.iter().map(|row| &row.labels).collect();
    let mut file = json!({ "input_ids": ids, "labels": labels });
    if masked {
        let mask = rows.iter().map(|row| {
            let text = row.from..row.from + row.length;
            (0..width).map(|t| u8::from(text.contains(&t))).collect()
        });
        file["attention_mask"] = json!(mask.collect::<Vec<Vec<u8>>>());
    }
    if whole.iter().all(|row| row.segments.is_some()) {
        let segments: Vec<_> = whole.iter().map(|row| &row.segments).collect();
        file["segment_ids"] = json!(segments);
    }
    file
}

/// The width of the batch.
pub(super) fn width(rows: &[Surrounded]) -> usize {
    rows.iter().map(|row| row.row.ids.len()).max().unwrap_or(0)
}

/// `config.json`, without the fields that have no value.
fn backbone_config(config: &BackboneConfig) -> Result<String> {
    let mut value = match config {
        BackboneConfig::Gpt2(config) => serde_json::to_value(config)?,
        BackboneConfig::Roberta(config) => serde_json::to_value(config)?,
    };
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    Ok(serde_json::to_string_pretty(&value)?)
}

/// `adapter_config.json`; a variant of one's own has a kind of its own.
fn adapter_config(case: &ModelCase) -> Result<String> {
    let mut value = serde_json::to_value(&case.method)?;
    if case.adapter.keys().any(|name| name.contains(CUSTOM)) {
        value["attention"] = json!({ "kind": "custom" });
    }
    Ok(serde_json::to_string_pretty(&value)?)
}

/// The case's two directories below `root`, written where they are not there yet: the same model
/// has the same place.
///
/// # Errors
/// The system's, or a number that is none of `f32`.
pub(super) fn directories(root: &Path, case: &ModelCase) -> Result<[PathBuf; 2]> {
    let [backbone, adapter] = [backbone_config(&case.backbone)?, adapter_config(case)?];
    let write = |config: [&str; 2], tensors_file: &str, tensors: &TensorMap<f64>| {
        let [config_file, config] = config;
        let bytes = bytes(tensors)?;
        let mut hasher = DefaultHasher::new();
        (config, &bytes).hash(&mut hasher);
        let dir = root.join(format!("{:016x}", hasher.finish()));
        if !dir.exists() {
            std::fs::create_dir(&dir)?;
            std::fs::write(dir.join(config_file), config)?;
            std::fs::write(dir.join(tensors_file), bytes)?;
        }
        Ok::<_, Error>(dir)
    };
    let adapter_tensors = "adapter_model.safetensors";
    Ok([
        write(
            ["config.json", &backbone],
            "model.safetensors",
            &case.weights,
        )?,
        write(
            ["adapter_config.json", &adapter],
            adapter_tensors,
            &case.adapter,
        )?,
    ])
}

/// A file of these tensors in `f32`.
fn bytes(tensors: &TensorMap<f64>) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for (name, tensor) in tensors {
        let mut bytes = Vec::with_capacity(4 * tensor.len());
        for x in tensor {
            let single = *x as f32;
            if f64::from(single) != *x {
                let what = format!("{name}: {x:e} is no number of f32, which files hold");
                return Err(Error::External(what));
            }
            bytes.extend(single.to_le_bytes());
        }
        all.push((name, tensor.shape(), bytes));
    }
    let unwritten =
        |error: SafeTensorError| Error::External(format!("the case's tensors: {error}"));
    let mut views = Vec::new();
    for (name, shape, bytes) in &all {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).map_err(unwritten)?;
        views.push((name, view));
    }
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    serialize(views, Some(metadata)).map_err(unwritten)
}
