//! Random GPT-2s with your variant in every layer: by its formula, and by its part in the engine.

use super::{Formula, Points, Tensors, TrainablePart};
use crate::cases::head::by_head;
use crate::cases::model::{ADDED, ModelCase};
use crate::cases::{Draw, gpt2, method};
use crate::engines::candle::{backward, results};
use crate::engines::external::CUSTOM as MODULE;
use crate::engines::specification::{Forward, Specification, lift};
use crate::engines::{Candle, Computed};
use crate::oracle::frame;
use crate::{Engine, Result, Target};
use inducer_gpu::ops::attention::Heads;
use inducer_gpu::{Model, Parameter};
use inducer_reference::attention::{output_by_concatenation, split_heads};
use inducer_reference::gpt2::Block;
use inducer_reference::visible::Visible;
use inducer_reference::{Gpt2, Real, TensorMap};
use ndarray::{Array2, ArrayD, Axis, Ix2, IxDyn};
use std::marker::PhantomData;

/// The name of a layer's tensor in the whole model.
fn full(layer: usize, name: &str) -> String {
    format!("transformer.h.{layer}.{MODULE}{name}")
}

fn heads(case: &ModelCase) -> Heads {
    Heads {
        count: case.backbone.heads(),
        width: case.backbone.head_width(),
    }
}

/// A random model in the corner of this case, every layer with random tensors.
///
/// # Errors
/// A shape that ndarray refuses.
pub fn random<F: Formula>(draw: &mut Draw) -> Result<ModelCase> {
    let backbone = gpt2(draw);
    let mut case = ModelCase::of(draw, backbone, method::none())?;
    for layer in 0..case.backbone.layers() {
        for (name, shape) in F::shapes(heads(&case)) {
            let values = ArrayD::from_shape_simple_fn(IxDyn(&shape), || draw.number(0.7));
            case.adapter.insert(full(layer, name), values);
        }
    }
    Ok(case)
}

/// The model with one of the layer's tensors changed, in every layer.
#[must_use]
pub fn changed<F: Formula>(case: &ModelCase, which: usize) -> ModelCase {
    let mut other = case.clone();
    let shapes = F::shapes(heads(case));
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
        let model = Gpt2::from_tensors(case.backbone.gpt2()?.clone(), &lift(&case.weights))?;
        let added = match tensors.get(ADDED) {
            Some(added) => added.clone().into_dimensionality::<Ix2>()?,
            None => Array2::zeros((0, case.backbone.hidden())),
        };
        let shapes = F::shapes(heads(case));
        Ok(Box::new(move |row, mask| {
            let causal = Visible::causal(row.ids.len());
            let visible = match mask {
                Some(mask) => causal.hiding(mask),
                None => causal,
            };
            let logits = frame::logits(&model, &added, row, mask, 0, |layer, block, x| {
                let of = |(name, _): &(&'static str, Vec<usize>)| {
                    (*name, tensors[&full(layer, name)].clone())
                };
                let own: Tensors<T> = shapes.iter().map(of).collect();
                Ok(sub_layer::<F, T>(block, x, &visible, &own))
            })?;
            Ok((logits, Vec::new()))
        }))
    }
}

/// [f̃^(1), …, f̃^(H)] W^o + b^o.
fn sub_layer<F: Formula, T: Real>(
    block: &Block<T>,
    x: &Array2<T>,
    visible: &Visible,
    tensors: &Tensors<T>,
) -> Array2<T> {
    let attention = &block.attention;
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
pub struct Trained<F, P> {
    candle: Candle,
    trainable: bool,
    variant: PhantomData<fn() -> (F, P)>,
}

impl<F: Formula, P: TrainablePart> Trained<F, P> {
    /// The part on this engine, its tensors trained or frozen.
    #[must_use]
    pub fn new(candle: Candle, trainable: bool) -> Self {
        Self {
            candle,
            trainable,
            variant: PhantomData,
        }
    }

    fn model(&self, case: &ModelCase) -> Result<Model> {
        let mut frozen = case.clone();
        frozen.adapter.retain(|name, _| !name.contains(MODULE));
        let mut built = self.candle.model(&frozen)?;
        let mut layers = Vec::new();
        for layer in 0..case.backbone.layers() {
            let parameter = |(name, _)| {
                let name = full(layer, name);
                let tensor = self.candle.tensor(&case.adapter[&name])?;
                Ok(Parameter::new(name, tensor, self.trainable))
            };
            let shapes = F::shapes(heads(case)).into_iter();
            layers.push(shapes.map(parameter).collect::<Result<Vec<_>>>()?);
        }
        built.push_parts(|layer| P::part(layer, std::mem::take(&mut layers[layer])));
        Ok(built)
    }
}

impl<F: Formula, P: TrainablePart> Engine for Trained<F, P> {
    fn target(&self) -> Target {
        self.candle.target()
    }

    fn roundoff(&self) -> f64 {
        self.candle.roundoff()
    }

    fn within(&self, run: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.candle.within(run)
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
