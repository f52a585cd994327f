//! The reference's side, which knows nothing of the training engine.

use super::batch::Row;
use super::{Computed, Request, class_ids, head_classes, is_classifier};
use crate::files::At;
use anyhow::{Result, ensure};
use inducer_datasets::IGNORE;
use inducer_gpu::peft;
use inducer_reference as reference;
use ndarray::Array2;

/// Logits and loss of the reference.
pub(super) fn compute<T: reference::Real>(request: &Request, rows: &[Row]) -> Result<Computed> {
    ensure!(
        !request.gradients,
        "--gradients: the reference computes values only; use --engine gpu (the verification \
         compares its gradients with differences of the reference)"
    );
    let dir = request.adapter.as_deref();
    if let Some(dir) = dir {
        ensure!(
            !peft::is_peft(dir)?,
            "{}: an adapter in PEFT's layout is read by the training engine; `inducer export \
             --layout inducer` writes what the reference reads",
            dir.display()
        );
    }
    if is_classifier(&request.backbone)? {
        let mut model = reference::Roberta::<T>::load(&request.backbone)?;
        if let (None, Some(classes)) = (&model.classifier, head_classes(request)?) {
            model.config.id2label = None;
            model.config.num_labels = Some(classes);
        }
        let adapter = dir.map(|dir| reference::Adapter::<T>::load(dir, &model.config));
        let adapter = adapter.transpose()?;
        return values(request, rows, Some(model.config.classes()), |row, at| {
            let (ids, segments) = (&row.ids, row.segments.as_deref());
            Ok(model
                .forward_at(ids, segments, at, None, adapter.as_ref())?
                .logits)
        });
    }
    let model = reference::Gpt2::<T>::load(&request.backbone)?;
    let adapter = dir.map(|dir| reference::Adapter::<T>::load(dir, &model.config));
    let adapter = adapter.transpose()?;
    values(request, rows, None, |row, at| {
        let (ids, segments) = (&row.ids, row.segments.as_deref());
        Ok(model
            .forward_at(ids, segments, at, None, adapter.as_ref())?
            .logits)
    })
}

/// Logits and loss of the reference's forward pass.
fn values<T: reference::Real>(
    request: &Request,
    rows: &[Row],
    classes: Option<usize>,
    forward: impl Fn(&Row, Option<&[usize]>) -> Result<Array2<T>>,
) -> Result<Computed> {
    let (mut logits, mut total, mut count, mut width) = (Vec::new(), 0.0, 0, 0);
    for row in rows {
        let at = row
            .positions
            .as_ref()
            .map(|p| p.iter().map(|p| *p as usize).collect());
        let at: Option<Vec<usize>> = at;
        let out = forward(row, at.as_deref()).at(&request.batch)?;
        width = out.ncols();
        if let Some(labels) = &row.labels {
            let expected = match classes {
                Some(classes) => {
                    class_ids(std::slice::from_ref(labels), classes, &request.batch)?;
                    labels.clone()
                }
                None => reference::shift_labels(labels),
            };
            if expected.iter().any(|y| *y != IGNORE) {
                let (mean, n) = reference::cross_entropy(&out, &expected, T::from_f64(0.0))?;
                total += mean.to_f64() * n as f64;
                count += n;
            }
        }
        logits.push(out.iter().map(|x| x.to_f64()).collect());
    }
    Ok(Computed {
        logits,
        width,
        loss: (count > 0).then(|| total / count as f64),
        gradients: Vec::new(),
    })
}
