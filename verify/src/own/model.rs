//! A random GPT-2 with a variant of one's own in every layer, by its formula and by its part.

use super::{Engined, Formula, Points, Tensors};
use crate::backbone;
use crate::engine::candle::{array, options, pack};
use crate::engine::reference::{Gradients, gradients_of, lift_all, no_label};
use crate::engine::{Candle, Computed};
use crate::error::Result;
use crate::random::{Draw, ModelCase, TextRow, method, model};
use crate::tolerance::Conditioning;
use crate::traced::{Traced, record};
use inducer_gpu::ops::attention::Heads;
use inducer_gpu::{Model, Parameter};
use inducer_reference::attention::{output_by_concatenation, split_heads};
use inducer_reference::gpt2::Block;
use inducer_reference::visible::Visible;
use inducer_reference::{Gpt2, Real, TensorMap, cross_entropy, shift_labels};
use ndarray::{Array2, Array3, ArrayD, Axis, Ix2, IxDyn};
use std::marker::PhantomData;

/// A frozen model with its batch, and the variant's tensors.
pub struct Own<R> {
    /// Backbone, special tokens and batch.
    pub model: ModelCase,
    /// Every layer's tensors, by `full` name.
    pub tensors: TensorMap<f64>,
    formula: PhantomData<fn() -> R>,
}

impl<R> Clone for Own<R> {
    fn clone(&self) -> Self {
        self.with(self.model.clone(), self.tensors.clone())
    }
}

/// The name of a layer's tensor in the whole model.
fn full(layer: usize, name: &str) -> String {
    format!("transformer.h.{layer}.attn.own.{name}")
}

impl<R> Own<R> {
    fn with(&self, model: ModelCase, tensors: TensorMap<f64>) -> Self {
        Self {
            model,
            tensors,
            formula: PhantomData,
        }
    }

    /// The same variant on other rows.
    pub fn on(&self, rows: Vec<TextRow>) -> Self {
        self.with(self.model.on(rows), self.tensors.clone())
    }

    fn heads(&self) -> Heads {
        let backbone = &self.model.backbone;
        Heads {
            count: backbone.n_head,
            width: backbone.n_embd / backbone.n_head,
        }
    }
}

impl<R: Formula> Own<R> {
    /// A random model in the corner of this case, every layer with random tensors.
    ///
    /// # Errors
    /// A shape that ndarray refuses.
    pub fn random(draw: &mut Draw) -> Result<Self> {
        let backbone = model::backbone(draw);
        let model = ModelCase::of(draw, backbone, method::none())?;
        let mut own = Self {
            model,
            tensors: TensorMap::new(),
            formula: PhantomData,
        };
        let shapes = R::shapes(own.heads());
        for layer in 0..own.model.backbone.n_layer {
            for (name, shape) in &shapes {
                let values = ArrayD::from_shape_simple_fn(IxDyn(shape), || draw.number(0.7));
                own.tensors.insert(full(layer, name), values);
            }
        }
        Ok(own)
    }

    /// The same with one of the layer's tensors changed, in every layer.
    pub fn changed(&self, which: usize) -> Self {
        let mut other = self.clone();
        let shapes = R::shapes(self.heads());
        if let Some((name, _)) = shapes.get(which % shapes.len().max(1)) {
            for layer in 0..self.model.backbone.n_layer {
                if let Some(tensor) = other.tensors.get_mut(&full(layer, name)) {
                    tensor.mapv_inplace(|x| 0.5 * x + 0.25);
                }
            }
        }
        other
    }

    /// The formula in the scalar `T`, with the given tensors.
    ///
    /// # Errors
    /// The reference refuses model or batch.
    pub fn formula<T: Real>(&self, tensors: &TensorMap<T>) -> Result<Computed<T>> {
        let (mut logits, mut sum, mut count) = (Vec::new(), T::zero(), 0);
        for row in &self.model.rows {
            let one = self.row(tensors, row, None)?;
            let labels = shift_labels(&row.labels);
            if labels.iter().any(|label| *label >= 0) {
                let smoothing = T::from_f64(self.model.smoothing);
                let (loss, labelled) = cross_entropy(&one, &labels, smoothing)?;
                sum = sum + loss * T::from_usize(labelled);
                count += labelled;
            }
            logits.push(one);
        }
        Ok(Computed {
            logits,
            gates: Vec::new(),
            loss: (count > 0).then(|| sum / T::from_usize(count)),
        })
    }

    /// The formula on one row, padding masked or not.
    ///
    /// # Errors
    /// As [`Own::formula`].
    pub fn row<T: Real>(
        &self,
        tensors: &TensorMap<T>,
        row: &TextRow,
        mask: Option<&[bool]>,
    ) -> Result<Array2<T>> {
        let weights = lift_all(&self.model.weights, |_, _, x| T::from_f64(x));
        let model = Gpt2::from_tensors(self.model.backbone.clone(), &weights)?;
        let added = match self.model.adapter.get("transformer.wte.added") {
            Some(added) => added.mapv(T::from_f64).into_dimensionality::<Ix2>()?,
            None => Array2::zeros((0, self.model.backbone.n_embd)),
        };
        let causal = Visible::causal(row.ids.len());
        let visible = match mask {
            Some(mask) => causal.hiding(mask),
            None => causal,
        };
        backbone::logits(&model, &added, row, mask, |layer, block, x| {
            let own = R::shapes(self.heads());
            let own: Tensors<T> = own
                .into_iter()
                .map(|(name, _)| (name, tensors[&full(layer, name)].clone()))
                .collect();
            Ok(sub_layer::<R, T>(block, x, &visible, &own))
        })
    }

    /// The case's own tensors in the scalar `T`.
    pub fn lifted<T: Real>(&self) -> TensorMap<T> {
        lift_all(&self.tensors, |_, _, x| T::from_f64(x))
    }

    /// How rounding reaches every logit and the loss, by the formula.
    ///
    /// # Errors
    /// As [`Own::formula`].
    pub fn conditioning(&self) -> Result<Computed<Conditioning>> {
        let (computed, trace) = record(|| self.formula::<Traced>(&self.lifted()));
        let computed = computed?;
        let of = |x: &Array2<Traced>| -> Result<Array2<Conditioning>> {
            let flat: Vec<Traced> = x.iter().copied().collect();
            let all = trace.conditioning(&flat);
            Ok(Array2::from_shape_vec(x.raw_dim(), all)?)
        };
        let loss = computed.loss.map(|loss| trace.conditioning(&[loss]));
        Ok(Computed {
            logits: computed.logits.iter().map(of).collect::<Result<_>>()?,
            gates: Vec::new(),
            loss: loss.and_then(|mut one| one.pop()),
        })
    }

    /// The gradient of every tensor by reverse mode over the formula.
    ///
    /// # Errors
    /// As [`Own::formula`]; no position is labelled.
    pub fn gradients(&self) -> Result<Gradients> {
        let tokens = self.model.rows.iter().map(|row| row.ids.len()).sum();
        gradients_of(&self.tensors, tokens, |tensors| {
            self.formula(tensors)?.loss.ok_or_else(no_label)
        })
    }

    /// The engine's model with the part in every layer.
    ///
    /// # Errors
    /// The engine refuses the model.
    pub fn engine<E: Engined>(&self, candle: &Candle, trainable: bool) -> Result<Model> {
        let mut built = candle.model(&self.model)?;
        let mut layers = Vec::new();
        for layer in 0..self.model.backbone.n_layer {
            let parameters = R::shapes(self.heads())
                .into_iter()
                .map(|(name, _)| {
                    let name = full(layer, name);
                    let tensor = candle.tensor(&self.tensors[&name])?;
                    Ok(Parameter::new(name, tensor, trainable))
                })
                .collect::<Result<Vec<_>>>()?;
            layers.push(parameters);
        }
        built.push_parts(|layer| E::part(layer, std::mem::take(&mut layers[layer])));
        Ok(built)
    }

    /// The engine's results on the whole batch.
    ///
    /// # Errors
    /// The engine refuses model or batch.
    pub fn run<E: Engined>(&self, candle: &Candle) -> Result<Computed<f64>> {
        let built = self.engine::<E>(candle, true)?;
        let batch = pack(&self.model.rows);
        let all = array(&built.logits(&batch)?)?.into_dimensionality::<Ix2>()?;
        let rows = (0..batch.rows()).map(|r| {
            let rows = batch.row(r);
            all.slice(ndarray::s![rows, ..]).to_owned()
        });
        let loss = match built.targets(&batch)?.is_empty() {
            true => None,
            false => Some(built.loss(&batch, options(&self.model))?),
        };
        Ok(Computed {
            logits: rows.collect(),
            gates: Vec::new(),
            loss,
        })
    }
}

/// [f̃^(1), …, f̃^(H)] W^o + b^o.
fn sub_layer<R: Formula, T: Real>(
    block: &Block<T>,
    x: &Array2<T>,
    visible: &Visible,
    tensors: &Tensors<T>,
) -> Array2<T> {
    let attention = &block.attention;
    let split = |x: Array2<T>| split_heads(&x, attention.heads);
    let q = split(attention.q.forward(x));
    let k = split(attention.k.forward(x));
    let v = split(attention.v.forward(x));
    let mut heads = Array3::zeros(q.raw_dim());
    for h in 0..attention.heads {
        let of = |x: &Array3<T>| x.index_axis(Axis(0), h).to_owned();
        let points = Points {
            h,
            q: of(&q),
            k: of(&k),
            v: of(&v),
            visible,
        };
        heads
            .index_axis_mut(Axis(0), h)
            .assign(&R::head(&points, tensors));
    }
    output_by_concatenation(&heads, &attention.o)
}
