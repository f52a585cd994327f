//! Logits, loss and gradients of a batch file, from the training engine or from the reference, as
//! named tensors that other software can be held against.

mod batch;
mod engine;
mod reference;

use crate::compute::{self, Precision};
use anyhow::{Context, Result, bail, ensure};
use batch::{File, Row};
use candle_core::{DType, Device, Tensor};
use inducer_gpu::BackboneConfig;
use inducer_gpu::config::ProblemType;
use inducer_gpu::files::adapter::head_classes as saved_classes;
use inducer_gpu::files::backbone::has_head;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What is computed.
#[derive(Clone, Debug)]
pub struct Request {
    /// Hugging Face directory.
    pub backbone: PathBuf,
    /// Adapter directory.
    pub adapter: Option<PathBuf>,
    /// JSON file with input_ids, and optionally labels, attention_mask, segment_ids.
    pub batch: PathBuf,
    /// Scalar type.
    pub dtype: Precision,
    /// Gradients of every adapter tensor as well.
    pub gradients: bool,
    /// Implementation.
    pub engine: Engine,
    /// Where the training engine computes.
    pub device: compute::Device,
}

/// Which implementation computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The training engine.
    Gpu,
    /// The ndarray reference.
    Reference,
}

/// What either engine computes, in f64: logits of each row (`width` for each of its tokens, or for
/// the row when it has a class), loss, gradients.
struct Computed {
    logits: Vec<Vec<f64>>,
    width: usize,
    loss: Option<f64>,
    gradients: Vec<(String, Tensor)>,
}

/// Tensors in the order in which they are written.
pub type NamedTensors = Vec<(String, Tensor)>;

/// The tensors `logits`, `loss` (where the batch has labels) and `grad.…`, and the loss. Logits of
/// padding are 0.
///
/// # Errors
/// Files that are missing or do not fit each other.
pub fn tensors(request: &Request) -> Result<(NamedTensors, Option<f64>)> {
    let config = BackboneConfig::read(&request.backbone)?;
    let (spec, classifier) = (config.spec(), is_classifier(&request.backbone)?);
    let file = File::read(&request.batch, classifier)?;
    if let BackboneConfig::Roberta(config) = &config {
        let plain = config.problem() == ProblemType::SingleLabelClassification;
        ensure!(
            plain || !file.has_labels(),
            "{}: field `problem_type`: expected \"single_label_classification\" for a loss over \
             classes, found {} ({} classes); leave `labels` out for logits alone",
            request.backbone.join("config.json").display(),
            serde_json::to_string(&config.problem())?,
            config.classes()
        );
    }
    let rows = file.rows(&request.batch, spec.padding)?;
    let found = match (request.engine, request.dtype) {
        (Engine::Gpu, _) => engine::compute(request, &rows)?,
        (_, Precision::F32) => reference::compute::<f32>(request, &rows)?,
        (_, Precision::F64) => reference::compute::<f64>(request, &rows)?,
        (_, Precision::Bf16 | Precision::Tf32) => {
            bail!("--dtype: the reference computes in f32 and f64")
        }
    };
    let (all, shape) = (found.logits.concat(), (rows.len(), found.width));
    let logits = match classifier {
        true => Tensor::from_vec(all, shape, &Device::Cpu)?,
        false => padded(&rows, &found, file.input_ids[0].len())?,
    };
    let mut out = vec![("logits".to_string(), logits)];
    if let Some(loss) = found.loss {
        out.push(("loss".to_string(), Tensor::new(&[loss], &Device::Cpu)?));
    }
    let gradients = found.gradients.into_iter();
    out.extend(gradients.map(|(name, gradient)| (format!("grad.{name}"), gradient)));
    let dtype = match request.dtype {
        Precision::F64 => DType::F64,
        Precision::F32 | Precision::Tf32 | Precision::Bf16 => DType::F32,
    };
    for (_, tensor) in &mut out {
        *tensor = tensor.to_dtype(dtype)?;
    }
    Ok((out, found.loss))
}

/// Logits of a language model where the tokens stand in the file: `[rows, tokens, width]`.
fn padded(rows: &[Row], found: &Computed, tokens: usize) -> Result<Tensor> {
    let mut logits = vec![0.0; rows.len() * tokens * found.width];
    for (i, (row, values)) in rows.iter().zip(&found.logits).enumerate() {
        for (t, values) in row.at.iter().zip(values.chunks(found.width)) {
            let at = (i * tokens + t) * found.width;
            logits[at..at + values.len()].copy_from_slice(values);
        }
    }
    let shape = (rows.len(), tokens, found.width);
    Ok(Tensor::from_vec(logits, shape, &Device::Cpu)?)
}

/// Whether a backbone's directory is one of a classifier.
fn is_classifier(dir: &Path) -> Result<bool> {
    Ok(matches!(
        BackboneConfig::read(dir)?,
        BackboneConfig::Roberta(_)
    ))
}

/// What a reader of the logits must know: that a head is missing and starts at random.
///
/// # Errors
/// A missing or broken file.
pub fn note(request: &Request) -> Result<Option<String>> {
    if has_head(&request.backbone)? || head_classes(request)?.is_some() {
        return Ok(None);
    }
    Ok(Some(format!(
        "{}: no classification head (`classifier.*`) in the backbone{}: it starts at random, and \
         the logits mean nothing yet",
        request.backbone.display(),
        if request.adapter.is_some() {
            " or the adapter"
        } else {
            ""
        }
    )))
}

/// The class of each row.
fn class_ids(labels: &[Vec<i64>], count: usize, path: &Path) -> Result<Vec<u32>> {
    labels
        .iter()
        .enumerate()
        .map(|(i, row)| {
            let class = row.first().and_then(|c| u32::try_from(*c).ok());
            class.filter(|c| (*c as usize) < count).with_context(|| {
                format!(
                    "{}: field `labels`: row {i}: expected one class below {count}, found {row:?}",
                    path.display()
                )
            })
        })
        .collect()
}

/// The classes that the adapter's own head tells apart, which a backbone without a head is loaded
/// for.
fn head_classes(request: &Request) -> Result<Option<usize>> {
    let found = request.adapter.as_deref().map(saved_classes).transpose()?;
    Ok(found.flatten())
}
