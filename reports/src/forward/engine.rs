//! The training engine's side.

use super::batch::Row;
use super::{Computed, Request, class_ids, head_classes};
use crate::files::At;
use anyhow::{Result, ensure};
use candle_core::DType;
use inducer_datasets::{Batch, Labels};
use inducer_gpu::{BackboneConfig, LossOptions, Model};

/// Logits, loss and gradients of the training engine.
pub(super) fn compute(request: &Request, rows: &[Row]) -> Result<Computed> {
    let device = request.device.open()?;
    let (classes, dtype) = (head_classes(request)?, request.dtype.begin());
    let mut model = Model::load_for(&request.backbone, classes, 0, dtype, &device)?;
    if let Some(dir) = &request.adapter {
        model.attach_saved(dir)?;
    }
    let ids: Vec<Vec<u32>> = rows.iter().map(|r| r.ids.clone()).collect();
    let segments: Option<Vec<Vec<u32>>> = rows.iter().map(|r| r.segments.clone()).collect();
    let labels: Option<Vec<Vec<i64>>> = rows.iter().map(|r| r.labels.clone()).collect();
    let classes = match model.backbone.config() {
        BackboneConfig::Gpt2(_) => None,
        BackboneConfig::Roberta(config) => Some(config.classes()),
    };
    ensure!(
        model.config.position_offset() == 0 || rows.iter().all(|r| r.positions.is_none()),
        "{}: field `position_ids`: expected none beside a prefix, after which positions start",
        request.batch.display()
    );
    let positions: Option<Vec<Vec<u32>>> = rows.iter().map(|r| r.positions.clone()).collect();
    let mut batch = match (classes, &labels) {
        (Some(count), Some(labels)) => {
            let mut batch = Batch::pack(&ids, segments.as_deref(), None);
            batch.labels = Labels::Classes(class_ids(labels, count, &request.batch)?);
            batch
        }
        _ => Batch::pack(&ids, segments.as_deref(), labels.as_deref()),
    };
    batch.positions = positions.map(|p| p.concat());
    let all: Vec<Vec<f64>> = model
        .logits(&batch)
        .at(&request.batch)?
        .to_dtype(DType::F64)?
        .to_vec2()?;
    let logits = match classes {
        Some(_) => all,
        None => (0..rows.len())
            .map(|r| all[batch.sequence(r)].concat())
            .collect(),
    };
    let (mut loss, mut gradients) = (None, Vec::new());
    if request.gradients {
        ensure!(
            labels.is_some(),
            "{}: --gradients needs the field `labels`",
            request.batch.display()
        );
        ensure!(
            !model.trainable().is_empty(),
            "--gradients: nothing is trainable; give --adapter"
        );
        let (value, found) = model.gradients(&batch, LossOptions::PLAIN)?;
        loss = Some(value);
        for p in model.trainable() {
            let gradient = found.get(&p.name).cloned();
            let gradient = gradient.map_or_else(|| p.tensor.zeros_like(), Ok)?;
            gradients.push((p.name.clone(), gradient));
        }
    } else if labels.is_some() {
        loss = Some(model.loss(&batch, LossOptions::PLAIN)?);
    }
    Ok(Computed {
        logits,
        width: classes.unwrap_or(model.ids()),
        loss,
        gradients,
    })
}
