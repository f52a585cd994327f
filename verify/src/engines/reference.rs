//! The reference as an engine, and as what engines are held against.

use super::specification::{Answer, Forward, Specification, lift, over_texts};
use super::{Computed, Engine, Target};
use crate::cases::BackboneConfig;
use crate::cases::model::{ModelCase, REPARAMETRISATION, TextRow};
use crate::error::{Error, Result};
use inducer_reference::Backbone as _;
use inducer_reference::attention::Linear;
use inducer_reference::dropout::Masks;
use inducer_reference::prefix::Reparametrised;
use inducer_reference::{Adapter, Gpt2, Real, Roberta, TensorMap};
use ndarray::{Array1, Array2, ArrayD, Ix1, Ix2};
use std::marker::PhantomData;

/// A specification, the reference's if none is named, as an engine that computes in one scalar.
pub struct Reference<T, S = Paper>(PhantomData<fn() -> (T, S)>);

impl<T, S> Default for Reference<T, S> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// The paper's methods as the reference states them.
pub struct Paper;

impl Specification for Paper {
    fn model<'a, T: Real>(
        case: &'a ModelCase,
        tensors: &'a TensorMap<T>,
    ) -> Result<Forward<'a, T>> {
        let model = tuned(case, tensors)?;
        Ok(Box::new(move |row, mask| model.forward(row, mask)))
    }

    fn compute<T: Real>(case: &ModelCase, tensors: &TensorMap<T>) -> Result<Computed<T>> {
        let model = tuned(case, tensors)?;
        over_texts(case, |row, first| match &case.dropping {
            None => model.forward(row, None),
            Some(dropping) => model.forward_dropped(row, &dropping.masks(case, row, first)),
        })
    }
}

fn tuned<T: Real>(case: &ModelCase, tensors: &TensorMap<T>) -> Result<Tuned<T>> {
    let tensors = stored(case, tensors)?;
    let adapter = Adapter::from_tensors(case.method.clone(), &case.backbone, tensors)?;
    Tuned::new(case, adapter)
}

enum Backbone<T> {
    Gpt2(Box<Gpt2<T>>),
    Roberta(Box<Roberta<T>>),
}

/// The reference's model of a case: its backbone, with an adapter.
pub struct Tuned<T> {
    backbone: Backbone<T>,
    adapter: Adapter<T>,
}

impl<T: Real> Tuned<T> {
    /// The case's backbone with this adapter.
    ///
    /// # Errors
    /// The reference refuses the backbone's tensors.
    pub fn new(case: &ModelCase, adapter: Adapter<T>) -> Result<Self> {
        let weights = lift(&case.weights);
        let backbone = match &case.backbone {
            BackboneConfig::Gpt2(c) => {
                Backbone::Gpt2(Box::new(Gpt2::from_tensors(c.clone(), &weights)?))
            }
            BackboneConfig::Roberta(c) => {
                Backbone::Roberta(Box::new(Roberta::from_tensors(c.clone(), &weights)?))
            }
        };
        Ok(Self { backbone, adapter })
    }

    /// Logits and gates of one text.
    ///
    /// # Errors
    /// The reference refuses the text.
    pub fn forward(&self, row: &TextRow, mask: Option<&[bool]>) -> Result<Answer<T>> {
        let (ids, segments, adapter) = (&row.ids, row.segments.as_deref(), Some(&self.adapter));
        let forward = match &self.backbone {
            Backbone::Gpt2(model) => model.forward(ids, segments, mask, adapter)?,
            Backbone::Roberta(model) => model.forward(ids, segments, mask, adapter)?,
        };
        Ok((forward.logits, forward.lambda))
    }
}

impl<T: Real> Tuned<T> {
    /// The same with dropout's factors in each layer.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_dropped(&self, row: &TextRow, masks: &[Masks<T>]) -> Result<Answer<T>> {
        let (ids, segments, adapter) = (&row.ids, row.segments.as_deref(), Some(&self.adapter));
        let forward = match &self.backbone {
            Backbone::Gpt2(model) => model.forward_dropped(ids, segments, adapter, masks)?,
            Backbone::Roberta(model) => model.forward_dropped(ids, segments, adapter, masks)?,
        };
        Ok((forward.logits, forward.lambda))
    }
}

/// The tensors as files hold them: a reparametrised prefix as the prefix itself.
///
/// # Errors
/// A tensor of the network is missing or misshapen.
pub fn stored<T: Real>(case: &ModelCase, adapter: &TensorMap<T>) -> Result<TensorMap<T>> {
    let mut stored = adapter.clone();
    if !adapter.contains_key(REPARAMETRISATION[0]) {
        return Ok(stored);
    }
    let mut take = |name: &str| {
        stored
            .remove(name)
            .ok_or_else(|| Error::Missing(name.to_owned()))
    };
    let [embedding, w_1, b_1, w_2, b_2] = REPARAMETRISATION;
    let matrix = |x: ArrayD<T>| -> Result<Array2<T>> { Ok(x.into_dimensionality::<Ix2>()?) };
    let vector = |x: ArrayD<T>| -> Result<Array1<T>> { Ok(x.into_dimensionality::<Ix1>()?) };
    let mut linear = |weight: &str, bias: &str| -> Result<Linear<T>> {
        Ok(Linear {
            weight: matrix(take(weight)?)?.reversed_axes(),
            bias: vector(take(bias)?)?,
        })
    };
    let (first, second) = (linear(w_1, b_1)?, linear(w_2, b_2)?);
    let embedding = matrix(take(embedding)?)?;
    let network = Reparametrised {
        embedding,
        first,
        second,
    };
    let prefixes = network.prefixes(case.backbone.heads());
    let layout = case.backbone.layout();
    for (i, prefix) in prefixes.into_iter().enumerate() {
        let name = format!("{}.prefix", layout.attention_name(i));
        stored.insert(format!("{name}.key"), prefix.key.into_dyn());
        stored.insert(format!("{name}.value"), prefix.value.into_dyn());
    }
    Ok(stored)
}

impl<T: Real, S: Specification> Engine for Reference<T, S> {
    fn target(&self) -> Target {
        if T::unit_roundoff() > 1e-10 {
            Target::ReferenceF32
        } else {
            Target::ReferenceF64
        }
    }

    fn roundoff(&self) -> f64 {
        T::unit_roundoff()
    }

    fn compute(&self, case: &ModelCase) -> Result<Computed<f64>> {
        Ok(S::computed_in::<T>(case)?.map(|x| x.to_f64()))
    }

    fn gradients(&self, case: &ModelCase) -> Result<TensorMap<f64>> {
        Ok(S::gradients(case)?.tensors.clone())
    }
}
