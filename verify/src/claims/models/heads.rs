//! What belongs to one head alone, and the head that masked tokens are learned with.

use super::agreement::same_as;
use super::gradients::reverse;
use crate::bounds::{DEVIATIONS, SLACK, Traced, UNIT_ROUNDOFF_F64, record};
use crate::cases::model::tensor;
use crate::cases::{BackboneConfig, Corner, Draw, ModelCase, method, roberta};
use crate::engines::candle::array;
use crate::engines::specification::lift;
use crate::engines::{Candle, Paper, candles, translate};
use crate::{Case, Claim, Engine, Error, Present, Result, Tolerance};
use inducer_datasets::batch::Batch;
use inducer_gpu::backbone::Roberta as TrainedRoberta;
use inducer_gpu::{Method, Model, Tensors as _};
use inducer_reference::gelu::gelu;
use inducer_reference::layer_norm::LayerNorm;
use inducer_reference::{Adapter, Real, Roberta, TensorMap};
use ndarray::{Array1, Array2, ArrayD, Axis, Ix1, Ix2, Slice, concatenate};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let share = |id| Claim::new(id).one_case_in(8).at_least(8);
    vec![
        share("variants-agree").on_each(candles(present), own_tensors),
        share("roberta-variants-agree")
            .about(roberta)
            .on_each(candles(present), own_tensors),
        share("masked-lm-head")
            .about(roberta)
            .on_each(candles(present), masked),
    ]
}

/// A backbone with several heads of several numbers.
fn several(draw: &mut Draw, family: crate::cases::Family) -> BackboneConfig {
    loop {
        let backbone = family(draw);
        if backbone.heads() > 1 && backbone.head_width() > 1 {
            return backbone;
        }
    }
}

/// Every variant on several heads: values and gradients, each variant as often as any other. In the
/// control the heads' tensors stand in another order.
fn own_tensors(engine: &Candle, case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let variants = [
        Method::Adaptive,
        Method::Extension,
        Method::Gating,
        Method::Inducer,
    ];
    let backbone = several(&mut case.draw, case.family);
    let variant = *case.draw.in_turn(&variants);
    let config = method::random(&mut case.draw, variant);
    let mut model = ModelCase::of(&mut case.draw, backbone, config)?;
    model.label_all(&mut case.draw);
    let mut other = model.clone();
    if case.control {
        let heads = model.backbone.heads();
        let of_heads = (other.adapter.iter_mut()).filter(|(name, x)| {
            name.contains(".inducer.") && x.ndim() > 1 && x.shape()[0] == heads
        });
        for (_, x) in of_heads {
            let [first, rest] =
                [Slice::from(0..1), Slice::from(1..)].map(|s| x.slice_axis(Axis(0), s));
            let turned = concatenate(Axis(0), &[rest, first])?;
            *x = turned;
        }
    }
    same_as::<Paper>(engine, case, &model, &other)?;
    reverse::<Paper>(engine, case, &model, &other)
}

/// Logits of the masked-LM head: `LN(gelu(h W + b)) Eᵀ`, gelu that of the error function. In the
/// control it is gelu_new.
fn masked(engine: &Candle, case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let backbone = roberta(&mut case.draw);
    let model = ModelCase::of(&mut case.draw, backbone, method::none())?;
    let BackboneConfig::Roberta(config) = &model.backbone else {
        return Err(Error::Missing("a RoBERTa".into()));
    };
    let (dtype, device) = (engine.dtype, &engine.device);
    let mut trained = TrainedRoberta::random_masked(translate(config)?, 0, dtype, device)?;
    let mut head = TensorMap::new();
    for p in trained.parameters_mut() {
        let values = match model.weights.get(&p.name) {
            Some(values) => values.clone(),
            None => {
                let values = tensor(&mut case.draw, &p.name, p.tensor.dims(), false);
                head.insert(p.name.clone(), values.clone());
                values
            }
        };
        p.tensor = engine.tensor(&values)?;
    }
    let built = Model::new(
        Box::new(trained) as Box<dyn inducer_gpu::Backbone>,
        dtype,
        device,
    );
    let new = case.control;
    let (u, describe) = (engine.roundoff() + UNIT_ROUNDOFF_F64, model.describe());
    for row in &model.rows {
        let batch = Batch::pack(std::slice::from_ref(&row.ids), None, None);
        let found = array(&built.logits(&batch)?)?;
        let (expected, trace) = record(|| logits::<Traced>(&model, &head, &row.ids, new));
        let expected = expected?;
        let flat: Vec<Traced> = expected.iter().copied().collect();
        let spreads = trace.spreads(&flat);
        case.same(found.len(), flat.len(), || format!("{describe}: logits"));
        for (i, (found, expected)) in found.iter().zip(&flat).enumerate() {
            let bound = SLACK * DEVIATIONS * u * spreads[i];
            let tolerance = Tolerance::stated(bound, "2 u 8 √Σ(∂y/∂z M)²");
            case.close(*found, expected.value(), &tolerance, || {
                format!("{describe}: logit {i}")
            });
        }
    }
    Ok(())
}

/// The reference's encoder with the head on it.
fn logits<T: Real>(
    model: &ModelCase,
    head: &TensorMap<f64>,
    ids: &[u32],
    new: bool,
) -> Result<Array2<T>> {
    let BackboneConfig::Roberta(config) = &model.backbone else {
        return Err(Error::Missing("a RoBERTa".into()));
    };
    let weights = lift::<T>(&model.weights);
    let adapter =
        Adapter::from_tensors(model.method.clone(), &model.backbone, lift(&model.adapter))?;
    let encoder = Roberta::from_tensors(config.clone(), &weights)?;
    let hidden = encoder.forward(ids, None, None, Some(&adapter))?.hidden;
    let head = lift::<T>(head);
    let of = |name: &str| -> Result<ArrayD<T>> {
        let found = head.iter().find(|(full, _)| full.ends_with(name));
        let (_, x) = found.ok_or_else(|| Error::Missing(name.to_owned()))?;
        Ok(x.clone())
    };
    let vector = |name: &str| -> Result<Array1<T>> { Ok(of(name)?.into_dimensionality::<Ix1>()?) };
    let dense: Array2<T> = of("dense.weight")?.into_dimensionality::<Ix2>()?;
    let norm = LayerNorm {
        weight: vector("layer_norm.weight")?,
        bias: vector("layer_norm.bias")?,
        epsilon: config.layer_norm_eps,
    };
    let act = match new {
        true => inducer_reference::gelu::gelu_new::<T>,
        false => gelu::<T>,
    };
    let units = (hidden.dot(&dense.t()) + &vector("dense.bias")?).mapv(act);
    let words = &weights["roberta.embeddings.word_embeddings.weight"];
    let words: Array2<T> = words.clone().into_dimensionality::<Ix2>()?;
    Ok(norm.forward(&units).dot(&words.t()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::gpt2;

    #[test]
    fn several_heads_have_several_numbers() {
        let backbone = several(&mut Draw::new(1, "x", 0), gpt2);
        assert!(backbone.heads() > 1 && backbone.head_width() > 1);
    }
}
