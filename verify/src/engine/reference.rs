//! The reference as an engine, and its conditioning.

use super::{Computed, Engine, On};
use crate::error::{Error, Result};
use crate::random::model::{ModelCase, REPARAMETRISATION};
use crate::tolerance::Conditioning;
use crate::traced::{Backward, Traced, backward, record};
use inducer_reference::attention::Linear;
use inducer_reference::prefix::Reparametrised;
use inducer_reference::{Adapter, Gpt2, Real, TensorMap, cross_entropy, shift_labels};
use ndarray::{Array1, Array2, ArrayD, Ix1, Ix2};
use std::marker::PhantomData;

/// The reference on one scalar.
pub struct Reference<T>(PhantomData<fn() -> T>);

impl<T: Real> Reference<T> {
    /// The reference computing in `T`.
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Real> Default for Reference<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Every number of the model in the scalar `T`.
pub fn lift_all<T: Real>(
    tensors: &TensorMap<f64>,
    mut number: impl FnMut(&str, usize, f64) -> T,
) -> TensorMap<T> {
    let lift = |(name, tensor): (&String, &ArrayD<f64>)| {
        let mut index = 0;
        let lifted = tensor.mapv(|x| {
            index += 1;
            number(name, index - 1, x)
        });
        (name.clone(), lifted)
    };
    tensors.iter().map(lift).collect()
}

/// The model on every row, with the given adapter tensors in place of the case's own.
///
/// # Errors
/// The reference refuses model or batch.
pub fn compute_with<T: Real>(case: &ModelCase, adapter: &TensorMap<T>) -> Result<Computed<T>> {
    let weights = lift_all(&case.weights, |_, _, x| T::from_f64(x));
    let model = Gpt2::from_tensors(case.backbone.clone(), &weights)?;
    let adapter =
        Adapter::from_tensors(case.method.clone(), &case.backbone, stored(case, adapter)?)?;
    let (mut logits, mut gates) = (Vec::new(), Vec::new());
    let (mut sum, mut count) = (T::zero(), 0);
    for row in &case.rows {
        let forward = model.forward(&row.ids, row.segments.as_deref(), None, Some(&adapter))?;
        let labels = shift_labels(&row.labels);
        if labels.iter().any(|label| *label >= 0) {
            let (loss, labelled) =
                cross_entropy(&forward.logits, &labels, T::from_f64(case.smoothing))?;
            sum = sum + loss * T::from_usize(labelled);
            count += labelled;
        }
        logits.push(forward.logits);
        gates.push(forward.lambda);
    }
    let loss = (count > 0).then(|| sum / T::from_usize(count));
    Ok(Computed {
        logits,
        gates,
        loss,
    })
}

/// The tensors as files hold them: a reparametrised prefix as the prefix itself.
///
/// # Errors
/// A tensor of the network is missing or misshapen.
pub fn stored<T: Real>(case: &ModelCase, adapter: &TensorMap<T>) -> Result<TensorMap<T>> {
    if !adapter.contains_key(REPARAMETRISATION[0]) {
        return Ok(adapter.clone());
    }
    let mut stored = adapter.clone();
    let mut take = |name: &str| {
        stored
            .remove(name)
            .ok_or_else(|| Error::Missing(name.to_owned()))
    };
    let [embedding, w_1, b_1, w_2, b_2] = REPARAMETRISATION;
    let matrix = |x: ArrayD<T>| -> Result<Array2<T>> { Ok(x.into_dimensionality::<Ix2>()?) };
    let vector = |x: ArrayD<T>| -> Result<Array1<T>> { Ok(x.into_dimensionality::<Ix1>()?) };
    let network = Reparametrised {
        embedding: matrix(take(embedding)?)?,
        first: Linear {
            weight: matrix(take(w_1)?)?.reversed_axes(),
            bias: vector(take(b_1)?)?,
        },
        second: Linear {
            weight: matrix(take(w_2)?)?.reversed_axes(),
            bias: vector(take(b_2)?)?,
        },
    };
    for (i, prefix) in network
        .prefixes(case.backbone.n_head)
        .into_iter()
        .enumerate()
    {
        stored.insert(
            format!("transformer.h.{i}.attn.prefix.key"),
            prefix.key.into_dyn(),
        );
        stored.insert(
            format!("transformer.h.{i}.attn.prefix.value"),
            prefix.value.into_dyn(),
        );
    }
    Ok(stored)
}

/// Computes a model in any scalar.
///
/// # Errors
/// The reference refuses model or batch.
pub fn compute<T: Real>(case: &ModelCase) -> Result<Computed<T>> {
    compute_with(case, &lift_all(&case.adapter, |_, _, x| T::from_f64(x)))
}

/// Loss and gradients of every trainable tensor by reverse mode over the reference itself.
///
/// # Errors
/// The reference refuses model or batch; the batch has no label.
pub fn gradients(case: &ModelCase) -> Result<Gradients> {
    let tokens = case.rows.iter().map(|row| row.ids.len()).sum();
    gradients_of(&case.adapter, tokens, |adapter| {
        compute_with(case, adapter)?.loss.ok_or_else(no_label)
    })
}

/// What a backward pass over a formula gives.
pub struct Gradients {
    /// The loss.
    pub loss: f64,
    /// Its gradient with respect to every tensor.
    pub tensors: TensorMap<f64>,
    /// How far rounding moves each coordinate, per unit of round-off
    /// ([`Trace::spreads`](crate::traced::Trace::spreads)).
    pub spread: TensorMap<f64>,
    /// G, the greatest number that the pass brings down
    /// ([`Backward::greatest`](crate::traced::Backward::greatest)).
    pub greatest: f64,
    /// T, the number of tokens.
    pub tokens: usize,
}

impl Gradients {
    /// Of every tensor: name, gradient and spread.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &ArrayD<f64>, &ArrayD<f64>)> {
        let pairs = self.tensors.iter().zip(self.spread.values());
        pairs.map(|((name, gradient), spread)| (name, gradient, spread))
    }
}

/// ‖g‖_∞.
#[must_use]
pub fn greatest(gradient: &ArrayD<f64>) -> f64 {
    gradient.iter().fold(0.0, |most, g| most.max(g.abs()))
}

/// The gradients with respect to `tensors` of any formula that gives a loss.
///
/// # Errors
/// The formula's own.
pub fn gradients_of(
    tensors: &TensorMap<f64>,
    tokens: usize,
    formula: impl FnOnce(&TensorMap<Traced>) -> Result<Traced>,
) -> Result<Gradients> {
    let mut variables = Vec::new();
    let (passed, trace) = record(|| {
        let lifted = lift_all(tensors, |_, _, x| {
            let variable = Traced::variable(x);
            variables.push(variable);
            variable
        });
        let loss = formula(&lifted)?;
        Ok::<_, Error>((loss, backward(loss, &variables)))
    });
    let (loss, Backward { gradient, greatest }) = passed?;
    let values = gradient.iter().map(|g| g.value()).collect();
    Ok(Gradients {
        loss: loss.value(),
        tensors: shaped(tensors, values)?,
        spread: shaped(tensors, trace.spreads(&gradient))?,
        greatest,
        tokens,
    })
}

/// Numbers in the order of the tensors, as tensors.
fn shaped(like: &TensorMap<f64>, numbers: Vec<f64>) -> Result<TensorMap<f64>> {
    let mut rest = numbers.into_iter();
    let one = |(name, tensor): (&String, &ArrayD<f64>)| {
        let own = rest.by_ref().take(tensor.len()).collect();
        Ok((name.clone(), ArrayD::from_shape_vec(tensor.raw_dim(), own)?))
    };
    like.iter().map(one).collect()
}

pub(crate) fn no_label() -> Error {
    Error::Missing("a labelled position".into())
}

/// How rounding reaches every logit, gate and the loss of this model, per unit of round-off.
///
/// # Errors
/// The reference refuses model or batch.
pub fn conditioning(case: &ModelCase) -> Result<Computed<Conditioning>> {
    let (computed, trace) = record(|| compute::<Traced>(case));
    let computed = computed?;
    let of = |x: &Array2<Traced>| -> Result<Array2<Conditioning>> {
        let flat: Vec<Traced> = x.iter().copied().collect();
        Ok(Array2::from_shape_vec(
            x.raw_dim(),
            trace.conditioning(&flat),
        )?)
    };
    let of_row = |row: &Vec<Array2<Traced>>| row.iter().map(of).collect::<Result<Vec<_>>>();
    Ok(Computed {
        logits: computed.logits.iter().map(of).collect::<Result<_>>()?,
        gates: computed.gates.iter().map(of_row).collect::<Result<_>>()?,
        loss: computed
            .loss
            .and_then(|loss| trace.conditioning(&[loss]).pop()),
    })
}

impl<T: Real> Engine for Reference<T> {
    fn on(&self) -> On {
        if T::unit_roundoff() > 1e-10 {
            On::ReferenceF32
        } else {
            On::ReferenceF64
        }
    }

    fn roundoff(&self) -> f64 {
        T::unit_roundoff()
    }

    fn compute(&self, case: &ModelCase) -> Result<Computed<f64>> {
        let computed = compute::<T>(case)?;
        let plain = |x: &Array2<T>| x.mapv(T::to_f64);
        Ok(Computed {
            logits: computed.logits.iter().map(plain).collect(),
            gates: computed
                .gates
                .iter()
                .map(|row| row.iter().map(plain).collect())
                .collect(),
            loss: computed.loss.map(T::to_f64),
        })
    }

    fn gradients(&self, case: &ModelCase) -> Result<(f64, TensorMap<f64>)> {
        let found = gradients(case)?;
        Ok((found.loss, found.tensors))
    }
}
