//! RoBERTa with its classification head and every method: reference and engine agree on logits,
//! loss and gradients, and padding changes nothing.

use super::gradients::coordinates;
use crate::claim::{Case, Claim};
use crate::engine::candle::{array, arrays};
use crate::engine::reference::{Gradients, gradients_of, lift_all};
use crate::engine::{Candle, Cuda, Engine, On, candles, training};
use crate::error::Result;
use crate::random::model::tensor;
use crate::random::{Corner, Draw, method};
use crate::tolerance::{Conditioning, Tolerance};
use crate::traced::{Traced, record};
use candle_core::DType;
use inducer_datasets::batch::{Batch, Labels};
use inducer_gpu::backbone::Roberta as Engined;
use inducer_gpu::kernels::precision::master_dtype;
use inducer_gpu::{LossOptions, Model, Tensors as _};
use inducer_reference::{
    Adapter, AdapterConfig, AttentionConfig, Backbone, Dual, Real, Roberta, RobertaConfig,
    TensorMap, cross_entropy,
};
use ndarray::{Array2, ArrayD};
use std::collections::BTreeMap;

/// The claims of this file.
#[must_use]
pub fn claims(cuda: &Cuda) -> Vec<Claim> {
    vec![
        Claim::new("roberta-agree")
            .weighing(4, 26)
            .on_each(training(cuda), agrees),
        Claim::new("roberta-gradients")
            .weighing(4, 26)
            .on_each(candles(cuda), gradients),
        Claim::new("roberta-gradients-dual")
            .weighing(8, 13)
            .on_each(training(cuda), directions),
        Claim::new("roberta-packing")
            .weighing(4, 13)
            .loosely_on_each(candles(cuda), packed),
        Claim::new("roberta-padding")
            .weighing(4, 13)
            .loosely_on(On::ReferenceF64, padded::<f64>)
            .loosely_on(On::ReferenceF32, padded::<f32>),
    ]
}

/// A RoBERTa, a method with all its tensors, and rows with their classes.
#[derive(Clone)]
struct Classified {
    backbone: RobertaConfig,
    weights: TensorMap<f64>,
    method: AdapterConfig,
    adapter: TensorMap<f64>,
    rows: Vec<(Vec<u32>, u32)>,
    smoothing: f64,
}

/// Logits of each row and the mean loss.
struct Scores<T> {
    logits: Vec<Array2<T>>,
    loss: T,
}

impl Classified {
    fn random(draw: &mut Draw) -> Self {
        let heads = if draw.corner() == Corner::OneHead {
            1
        } else {
            draw.size(1, 3)
        };
        let d = heads * draw.size(4_usize.div_ceil(heads), 12 / heads);
        let classes = draw.size(2, 3);
        let mut backbone =
            RobertaConfig::new(draw.size(9, 23), 24, d, draw.size(1, 2), heads, classes);
        backbone.intermediate_size = draw.size(3, 20);
        let mut config = method::random(draw, method::of_case(draw.index));
        if let Some(AttentionConfig::Prefix {
            reparametrisation, ..
        }) = &mut config.attention
        {
            *reparametrisation = None;
        }
        config.task_type = Some("SEQ_CLS".into());
        let extreme = draw.corner() == Corner::Extreme;
        let mut fill = |shapes: BTreeMap<String, Vec<usize>>| -> TensorMap<f64> {
            shapes
                .into_iter()
                .map(|(name, shape)| {
                    let values = tensor(
                        draw,
                        &name.replace("LayerNorm.", "layer_norm."),
                        &shape,
                        extreme,
                    );
                    (name, values)
                })
                .collect()
        };
        let weights = fill(backbone.shapes());
        let adapter = fill(backbone.layout().adapter_shapes(&config));
        let rows = (0..draw.size(1, 3))
            .map(|_| {
                // padding_idx is 1: a text does not contain it
                let text = |x: usize| if x == 1 { 0 } else { x as u32 };
                let ids = (0..draw.size(1, 6))
                    .map(|_| text(draw.size(0, backbone.vocab_size - 1)))
                    .collect();
                (ids, draw.size(0, classes - 1) as u32)
            })
            .collect();
        Self {
            backbone,
            weights,
            method: config,
            adapter,
            rows,
            smoothing: draw.pick(&[0.0, 0.125]),
        }
    }

    /// The model whose attention adds nothing but a bias, and whose trained tensors have the other
    /// sign.
    fn without_attention(&self) -> Self {
        let mut other = self.clone();
        for (name, tensor) in &mut other.weights {
            if name.ends_with("attention.output.dense.weight") {
                tensor.fill(0.0);
            }
        }
        other
            .adapter
            .values_mut()
            .for_each(|x| x.mapv_inplace(|x| -x));
        other
    }

    /// The model with one term changed.
    fn sabotaged(&self) -> Self {
        let mut other = self.clone();
        let bias = |name: &&String| name.ends_with("value.up_bias");
        let names: Vec<String> = other.adapter.keys().filter(bias).cloned().collect();
        for name in &names {
            if let Some(tensor) = other.adapter.get_mut(name) {
                tensor.mapv_inplace(|x| x / 2.0);
            }
        }
        if names.is_empty() {
            other.backbone.layer_norm_eps = 0.3;
        }
        other
    }

    fn describe(&self) -> String {
        let lengths: Vec<usize> = self.rows.iter().map(|(ids, _)| ids.len()).collect();
        format!(
            "RoBERTa, L {}, H {}, d {}, {:?}, rows {lengths:?}",
            self.backbone.num_hidden_layers,
            self.backbone.num_attention_heads,
            self.backbone.hidden_size,
            self.method.attention
        )
    }

    fn compute<T: Real>(&self, adapter: TensorMap<T>) -> Result<Scores<T>> {
        let model = Roberta::from_tensors(
            self.backbone.clone(),
            &lift_all(&self.weights, |_, _, x| T::from_f64(x)),
        )?;
        let adapter = Adapter::from_tensors(self.method.clone(), &self.backbone, adapter)?;
        let (mut logits, mut sum) = (Vec::new(), T::zero());
        for (ids, class) in &self.rows {
            let scores = model.forward(ids, None, None, Some(&adapter))?.logits;
            let (loss, _) =
                cross_entropy(&scores, &[i64::from(*class)], T::from_f64(self.smoothing))?;
            sum = sum + loss;
            logits.push(scores);
        }
        Ok(Scores {
            logits,
            loss: sum / T::from_usize(self.rows.len()),
        })
    }

    /// The loss with one tensor's numbers made by `number` from value and direction.
    fn along<T: Real>(
        &self,
        name: &str,
        signs: &ArrayD<f64>,
        number: impl Fn(f64, f64) -> T,
    ) -> Result<T> {
        let signs: Vec<f64> = signs.iter().copied().collect();
        let adapter = lift_all(&self.adapter, |own, index, x| {
            if own == name {
                number(x, signs[index])
            } else {
                T::from_f64(x)
            }
        });
        Ok(self.compute(adapter)?.loss)
    }

    /// Numbers that the engine holds.
    fn round(&mut self, candle: &Candle) {
        for x in self.weights.values_mut().chain(self.adapter.values_mut()) {
            x.mapv_inplace(|x| candle.held(x));
        }
    }

    /// The engine's gradients.
    fn backward(&self, candle: &Candle) -> Result<TensorMap<f64>> {
        let engine = self.engine(candle)?;
        let (_, found) = engine.gradients(&self.batch(), self.options())?;
        arrays(&found)
    }

    /// The reference's.
    fn gradients(&self) -> Result<Gradients> {
        let tokens = self.rows.iter().map(|(ids, _)| ids.len()).sum();
        gradients_of(&self.adapter, tokens, |adapter| {
            Ok(self.compute(adapter.clone())?.loss)
        })
    }

    fn lifted<T: Real>(&self) -> TensorMap<T> {
        lift_all(&self.adapter, |_, _, x| T::from_f64(x))
    }

    fn conditioning(&self) -> Result<Scores<Conditioning>> {
        let (computed, trace) = record(|| self.compute::<Traced>(self.lifted()));
        let computed = computed?;
        let of = |x: &Array2<Traced>| -> Result<Array2<Conditioning>> {
            let flat: Vec<Traced> = x.iter().copied().collect();
            Ok(Array2::from_shape_vec(
                x.raw_dim(),
                trace.conditioning(&flat),
            )?)
        };
        Ok(Scores {
            logits: computed.logits.iter().map(of).collect::<Result<_>>()?,
            loss: trace.conditioning(&[computed.loss]).remove(0),
        })
    }

    fn engine(&self, candle: &Candle) -> Result<Model> {
        let config = serde_json::from_value(serde_json::to_value(&self.backbone)?)?;
        let mut backbone = Engined::random(config, 0, master_dtype(candle.dtype), &candle.device)?;
        for p in backbone.parameters_mut() {
            if let Some(values) = self.weights.get(&p.name) {
                p.tensor = candle.tensor(values)?;
            }
        }
        let mut model = Model::new(backbone, candle.dtype, &candle.device);
        let tensors = self
            .adapter
            .iter()
            .map(|(name, x)| Ok((name.clone(), candle.tensor(x)?)))
            .collect::<Result<_>>()?;
        model.install(
            &serde_json::from_value(serde_json::to_value(&self.method)?)?,
            tensors,
        )?;
        Ok(model)
    }

    fn batch(&self) -> Batch {
        let ids: Vec<Vec<u32>> = self.rows.iter().map(|(ids, _)| ids.clone()).collect();
        let mut batch = Batch::pack(&ids, None, None);
        batch.labels = Labels::Classes(self.rows.iter().map(|(_, class)| *class).collect());
        batch
    }

    fn options(&self) -> LossOptions {
        LossOptions {
            smoothing: self.smoothing,
            dropout: None,
        }
    }
}

fn agrees(candle: &Candle, case: &mut Case) -> Result<()> {
    let mut model = Classified::random(&mut case.draw);
    model.round(candle);
    let other = match (case.control, candle.dtype) {
        // its bound is too wide for one term
        (true, DType::BF16) => model.without_attention(),
        (true, _) => model.sabotaged(),
        (false, _) => model.clone(),
    };
    let engine = model.engine(candle)?;
    let batch = model.batch();
    let logits = array(&engine.logits(&batch)?)?;
    let loss = engine.loss(&batch, model.options())?;
    let expected = other.compute::<f64>(other.lifted())?;
    let bounds = model.conditioning()?;
    let (describe, u) = (model.describe(), candle.roundoff());
    let double = candle.on() == On::CpuF64;
    let greatest = expected
        .logits
        .iter()
        .flatten()
        .fold(0.0_f64, |most, x| most.max(x.abs()));
    let relative = Tolerance::stated(1e-10 * greatest, "1e-10 of the greatest logit");
    for (r, expected) in expected.logits.iter().enumerate() {
        for ((_, c), expected) in expected.indexed_iter() {
            let found = logits[[r, c]];
            let bound = Tolerance::rounding(bounds.logits[r][[0, c]], u, f64::EPSILON / 2.0);
            let place = || format!("{describe}: class {c} of row {r}");
            case.close(found, *expected, &bound, place);
            if double {
                case.close(found, *expected, &relative, place);
            }
        }
    }
    let bound = Tolerance::rounding(bounds.loss, u, f64::EPSILON / 2.0);
    case.close(loss, expected.loss, &bound, || format!("{describe}: loss"));
    Ok(())
}

/// A model, and what the reference is given (in the control with one term changed).
fn pair(case: &mut Case) -> (Classified, Classified) {
    let model = Classified::random(&mut case.draw);
    let other = match case.control {
        true => model.sabotaged(),
        false => model.clone(),
    };
    (model, other)
}

/// Every coordinate of every tensor; tensors that the loss does not depend on have none or zeros.
fn gradients(candle: &Candle, case: &mut Case) -> Result<()> {
    let (model, other) = pair(case);
    let found = model.backward(candle)?;
    coordinates(
        case,
        &model.describe(),
        &found,
        &other.gradients()?,
        candle.roundoff(),
    );
    Ok(())
}

/// Directions in sampled tensors: the engine's gradient and the dual numbers' derivative, within
/// the latter's rounding bound and 2 u G for each coordinate of the direction (see
/// `gradients-dual`).
fn directions(candle: &Candle, case: &mut Case) -> Result<()> {
    let (mut model, mut other) = pair(case);
    if case.control && candle.dtype == DType::BF16 {
        // its bound is too wide for one term
        other.adapter.values_mut().for_each(|x| *x *= -3.0);
    }
    model.round(candle);
    other.round(candle);
    let found = model.backward(candle)?;
    let (u, down) = (candle.roundoff(), model.gradients()?.greatest);
    let names: Vec<&String> = found.keys().collect();
    for _ in 0..2 {
        let name = names[case.draw.size(0, names.len() - 1)];
        let signs = case.draw.signs(found[name].shape());
        let expected = other.along(name, &signs, Dual::new)?.eps;
        let (traced, trace) = record(|| {
            model.along(name, &signs, |x, s| {
                Dual::new(Traced::constant(x), Traced::constant(s))
            })
        });
        let conditioning = trace.conditioning(&[traced?.eps])[0];
        let v = f64::EPSILON / 2.0;
        let tolerance = Tolerance::direction(conditioning, down, signs.len(), u, v);
        let slope: f64 = found[name].iter().zip(&signs).map(|(g, s)| g * s).sum();
        let describe = model.describe();
        case.close(slope, expected, &tolerance, || {
            format!("{describe}: along {name}")
        });
    }
    Ok(())
}

/// A row gives the same alone as in its batch. In the control the row before it is part of its
/// text.
fn packed(candle: &Candle, case: &mut Case) -> Result<()> {
    let model = Classified::random(&mut case.draw);
    let together = array(&model.engine(candle)?.logits(&model.batch())?)?;
    let bounds = model.conditioning()?;
    for (r, (ids, class)) in model.rows.iter().enumerate() {
        let text = match r.checked_sub(1) {
            Some(before) if case.control => [model.rows[before].0.clone(), ids.clone()].concat(),
            _ => ids.clone(),
        };
        let alone = Classified {
            rows: vec![(text, *class)],
            ..model.clone()
        };
        let alone = array(&alone.engine(candle)?.logits(&alone.batch())?)?;
        for ((_, c), bound) in bounds.logits[r].indexed_iter() {
            let tolerance = Tolerance::rounding(bound.and(*bound), candle.roundoff(), 0.0);
            case.close(alone[[0, c]], together[[r, c]], &tolerance, || {
                format!("{}: class {c} of row {r}", model.describe())
            });
        }
    }
    Ok(())
}

/// Masked padding behind a row changes no class score. In the control the padding is not masked.
fn padded<T: Real>(case: &mut Case) -> Result<()> {
    let model = Classified::random(&mut case.draw);
    let plain = model.compute::<T>(model.lifted())?;
    let bounds = model.conditioning()?;
    let backbone = Roberta::from_tensors(
        model.backbone.clone(),
        &lift_all(&model.weights, |_, _, x| T::from_f64(x)),
    )?;
    let adapter = Adapter::from_tensors(model.method.clone(), &model.backbone, model.lifted())?;
    for (r, (ids, _)) in model.rows.iter().enumerate() {
        let more = case.draw.size(1, 4);
        let padded = [ids.clone(), vec![model.backbone.pad_token_id; more]].concat();
        let mask: Vec<bool> = (0..padded.len())
            .map(|i| case.control || i < ids.len())
            .collect();
        let found = backbone
            .forward(&padded, None, Some(&mask), Some(&adapter))?
            .logits;
        for (at, found) in found.indexed_iter() {
            let bound = bounds.logits[r][at];
            let tolerance = Tolerance::rounding(bound.and(bound), T::unit_roundoff(), 0.0);
            case.close(
                found.to_f64(),
                plain.logits[r][at].to_f64(),
                &tolerance,
                || format!("{}: row {r}, {more} padding tokens", model.describe()),
            );
        }
    }
    Ok(())
}
