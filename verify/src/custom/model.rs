//! Random GPT-2s and RoBERTas with your variant in every layer: by its formula, and by its part in
//! the engine.

use super::{Formula, Points, Tensors};
use crate::cases::head::by_head;
use crate::cases::model::{ADDED, ModelCase};
use crate::cases::{BackboneConfig, Draw, Family, method};
use crate::engines::candle::{backward, results};
use crate::engines::specification::{Forward, Specification, lift};
use crate::engines::{Candle, Computed, translate};
use crate::oracle::frame;
use crate::{Engine, Result, Target};
use inducer_gpu::ops::attention::Heads;
use inducer_gpu::parts::{CustomConfig, CustomMethod};
use inducer_gpu::{AdapterConfig, Model, Tensors as _};
use inducer_reference::attention::{output_by_concatenation, split_heads};
use inducer_reference::gpt2::Block;
use inducer_reference::roberta::Layer;
use inducer_reference::sub_layer::Projections;
use inducer_reference::visible::Visible;
use inducer_reference::{Gpt2, Real, Roberta, TensorMap};
use ndarray::{Array2, ArrayD, Axis, Ix2, IxDyn};
use std::marker::PhantomData;

/// What the names of a variant's tensors have in them, on both backbones.
const MODULE: &str = ".custom.";

/// The name of a layer's tensor in the whole model.
fn full(case: &ModelCase, layer: usize, name: &str) -> String {
    match case.backbone.classifies() {
        false => format!("transformer.h.{layer}.attn{MODULE}{name}"),
        true => format!("roberta.encoder.layer.{layer}.attention.self{MODULE}{name}"),
    }
}

/// The size that the variant leaves free: 1 to 4, and one for each backbone, so that a case does
/// not have to carry it.
fn size(case: &ModelCase) -> usize {
    1 + case.backbone.vocabulary() % 4
}

/// Name and shape of each of a layer's tensors by the formula.
fn shapes<F: Formula>(case: &ModelCase) -> Vec<(&'static str, Vec<usize>)> {
    let heads = Heads {
        count: case.backbone.heads(),
        width: case.backbone.head_width(),
    };
    F::shapes(heads, size(case))
}

/// A random model in the corner of this case, every layer with random tensors.
///
/// # Errors
/// A shape that ndarray refuses.
pub fn random<F: Formula>(draw: &mut Draw, family: Family) -> Result<ModelCase> {
    let backbone = family(draw);
    let mut case = ModelCase::of(draw, backbone, method::none())?;
    for layer in 0..case.backbone.layers() {
        for (name, shape) in shapes::<F>(&case) {
            let values = ArrayD::from_shape_simple_fn(IxDyn(&shape), || draw.number(0.7));
            case.adapter.insert(full(&case, layer, name), values);
        }
    }
    Ok(case)
}

/// The model with one of the layer's tensors changed, in every layer.
#[must_use]
pub fn changed<F: Formula>(case: &ModelCase, which: usize) -> ModelCase {
    let mut other = case.clone();
    let shapes = shapes::<F>(case);
    if let Some((name, _)) = shapes.get(which % shapes.len().max(1)) {
        other.change(&format!("{MODULE}{name}"), |x| 0.5 * x + 0.25);
    }
    other
}

/// Whole models by the formula.
pub struct Stated<F>(PhantomData<F>);

impl<F: Formula> Specification for Stated<F> {
    fn model<'a, T: Real>(
        case: &'a ModelCase,
        tensors: &'a TensorMap<T>,
    ) -> Result<Forward<'a, T>> {
        let shapes = shapes::<F>(case);
        let own = move |layer: usize| -> Tensors<T> {
            let of = |(name, _): &(&'static str, Vec<usize>)| {
                (*name, tensors[&full(case, layer, name)].clone())
            };
            shapes.iter().map(of).collect()
        };
        match &case.backbone {
            BackboneConfig::Gpt2(config) => {
                let model = Gpt2::from_tensors(config.clone(), &lift(&case.weights))?;
                let added = match tensors.get(ADDED) {
                    Some(added) => added.clone().into_dimensionality::<Ix2>()?,
                    None => Array2::zeros((0, case.backbone.hidden())),
                };
                Ok(Box::new(move |row, mask| {
                    let n = row.ids.len();
                    let visible = hiding(Visible::causal(n), mask);
                    let inner = |layer: usize, block: &Block<T>, x: &Array2<T>| {
                        Ok(sub_layer::<F, T>(
                            &block.attention,
                            x,
                            &visible,
                            &own(layer),
                        ))
                    };
                    let logits =
                        frame::logits(&model, &added, row, mask, 0, inner, &frame::nothing)?;
                    Ok((logits, Vec::new()))
                }))
            }
            BackboneConfig::Roberta(config) => {
                let mut all: TensorMap<T> = lift(&case.weights);
                let head = tensors.iter().filter(|(name, _)| !name.contains(MODULE));
                all.extend(head.map(|(name, x)| (name.clone(), x.clone())));
                let model = Roberta::from_tensors(config.clone(), &all)?;
                Ok(Box::new(move |row, mask| {
                    let n = row.ids.len();
                    let visible = hiding(Visible::all(n, n), mask);
                    let inner = |index: usize, layer: &Layer<T>, x: &Array2<T>| {
                        Ok(sub_layer::<F, T>(
                            &layer.attention,
                            x,
                            &visible,
                            &own(index),
                        ))
                    };
                    let logits = frame::class_logits(&model, row, 0, inner, &frame::nothing)?;
                    Ok((logits, Vec::new()))
                }))
            }
        }
    }
}

fn hiding(visible: Visible, mask: Option<&[bool]>) -> Visible {
    match mask {
        Some(mask) => visible.hiding(mask),
        None => visible,
    }
}

/// [f̃^(1), …, f̃^(H)] W^o + b^o.
fn sub_layer<F: Formula, T: Real>(
    attention: &Projections<T>,
    x: &Array2<T>,
    visible: &Visible,
    tensors: &Tensors<T>,
) -> Array2<T> {
    let [q, k, v] = [&attention.q, &attention.k, &attention.v]
        .map(|linear| split_heads(&linear.forward(x), attention.heads));
    let heads = by_head(attention.heads, |h| {
        let [q, k, v] = [&q, &k, &v].map(|x| x.index_axis(Axis(0), h).to_owned());
        let points = Points {
            h,
            q,
            k,
            v,
            visible,
        };
        F::head(&points, tensors)
    });
    output_by_concatenation(&heads, &attention.o)
}

/// Whole models with the part in every layer, on the training engine.
pub struct Trained {
    /// The engine.
    pub candle: Candle,
    /// The variant.
    pub method: &'static dyn CustomMethod,
    /// Whether its tensors are trained.
    pub trainable: bool,
}

impl Trained {
    /// The variant on this engine, its tensors trained.
    #[must_use]
    pub fn new(candle: Candle, method: &'static dyn CustomMethod) -> Self {
        Self {
            candle,
            method,
            trainable: true,
        }
    }

    /// The model of a case; every tensor has the name and the shape of the formula's.
    ///
    /// # Errors
    /// A tensor that the part has and the formula has not, or the other way round.
    pub fn model(&self, case: &ModelCase) -> Result<Model> {
        let config = AdapterConfig {
            custom: Some(CustomConfig::new(self.method, size(case))),
            ..translate(&case.method)?
        };
        let tensors = case.adapter.iter();
        let tensors = tensors.map(|(name, x)| Ok((name.clone(), self.candle.tensor(x)?)));
        let mut model = self.candle.backbone(case)?;
        model.install(&config, tensors.collect::<Result<_>>()?)?;
        for parameter in model.parameters_mut() {
            parameter.trainable &= self.trainable || !parameter.name.contains(MODULE);
        }
        Ok(model)
    }
}

impl Engine for Trained {
    fn target(&self) -> Target {
        self.candle.target()
    }

    fn roundoff(&self) -> f64 {
        self.candle.roundoff()
    }

    fn within(&self, run: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.candle.within(run)
    }

    fn representable(&self, x: f64) -> f64 {
        self.candle.representable(x)
    }

    fn compute(&self, case: &ModelCase) -> Result<Computed<f64>> {
        Ok(results(&self.model(case)?, case)?.without_gates())
    }

    fn gradients(&self, case: &ModelCase) -> Result<TensorMap<f64>> {
        let built = self.model(case)?;
        match built.trainable().is_empty() {
            true => Ok(TensorMap::new()),
            false => backward(&built, case),
        }
    }
}
