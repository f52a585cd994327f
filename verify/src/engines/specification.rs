//! What engines are held against: a formula of whole models in any scalar, with the bounds and the
//! gradients that follow from it.

use super::Computed;
use super::derived::derived;
use crate::bounds::traced::{Backward, backward};
use crate::bounds::{Conditioning, Traced, record};
use crate::cases::{ModelCase, TextRow};
use crate::error::{Error, Result};
use inducer_reference::{Real, TensorMap, cross_entropy};
use ndarray::{Array2, ArrayD};
use std::sync::Arc;

/// Logits and every layer's gates of one text.
pub type Answer<T> = (Array2<T>, Vec<Array2<T>>);

/// A model as a function of a text and a mask, `true` for what is visible.
pub type Forward<'a, T> = Box<dyn Fn(&TextRow, Option<&[bool]>) -> Result<Answer<T>> + 'a>;

/// A formula of a whole model: the reference's, or a variant's of your own.
pub trait Specification: 'static {
    /// The model of a case with these trainable tensors.
    ///
    /// # Errors
    /// The formula refuses the model.
    fn model<'a, T: Real>(case: &'a ModelCase, tensors: &'a TensorMap<T>)
    -> Result<Forward<'a, T>>;

    /// The model on every text of the case.
    ///
    /// # Errors
    /// The formula refuses model or batch.
    fn compute<T: Real>(case: &ModelCase, tensors: &TensorMap<T>) -> Result<Computed<T>> {
        let model = Self::model(case, tensors)?;
        over_texts(case, |row, _| model(row, None))
    }

    /// The model of the case in the scalar `T`.
    ///
    /// # Errors
    /// As [`Specification::compute`].
    fn computed_in<T: Real>(case: &ModelCase) -> Result<Computed<T>> {
        Self::compute(case, &lift(&case.adapter))
    }

    /// How rounding reaches every logit, gate and the loss, per unit of round-off.
    ///
    /// # Errors
    /// As [`Specification::compute`].
    fn conditioning(case: &ModelCase) -> Result<Computed<Conditioning>> {
        let numbers = |all: &Computed<Conditioning>| {
            let gates = all.gates.iter().flatten();
            4 * all
                .logits
                .iter()
                .chain(gates)
                .map(Array2::len)
                .sum::<usize>()
        };
        let derive = || conditioning_of::<Self>(case);
        Ok(derived::<Self, _>(case, (), numbers, derive)?
            .as_ref()
            .clone())
    }

    /// The gradient of every trainable tensor, by reverse mode over the formula itself.
    ///
    /// # Errors
    /// As [`Specification::compute`]; the batch has no label.
    fn gradients(case: &ModelCase) -> Result<Arc<Gradients>> {
        let numbers =
            |found: &Gradients| 2 * found.tensors.values().map(ArrayD::len).sum::<usize>();
        derived::<Self, _>(case, (), numbers, || gradients_of::<Self>(case))
    }
}

/// [`Specification::conditioning`], derived anew.
fn conditioning_of<S: Specification + ?Sized>(case: &ModelCase) -> Result<Computed<Conditioning>> {
    let (computed, trace) = record(|| S::computed_in::<Traced>(case));
    let computed = computed?;
    let of = |x: &Array2<Traced>| -> Result<Array2<Conditioning>> {
        let flat: Vec<Traced> = x.iter().copied().collect();
        let all = trace.conditioning(&flat);
        Ok(Array2::from_shape_vec(x.raw_dim(), all)?)
    };
    let of_text = |layers: &Vec<Array2<Traced>>| layers.iter().map(of).collect();
    let loss = computed.loss.map(|loss| trace.conditioning(&[loss]));
    Ok(Computed {
        logits: computed.logits.iter().map(of).collect::<Result<_>>()?,
        gates: computed.gates.iter().map(of_text).collect::<Result<_>>()?,
        loss: loss.and_then(|mut one| one.pop()),
    })
}

/// [`Specification::gradients`], derived anew.
fn gradients_of<S: Specification + ?Sized>(case: &ModelCase) -> Result<Gradients> {
    let mut variables = Vec::new();
    let mut mean = Traced::constant(0.0);
    let (passed, trace) = record(|| {
        let lifted = lift_each(&case.adapter, |_, _, x| {
            let variable = Traced::variable(x);
            variables.push(variable);
            variable
        });
        let loss = S::compute(case, &lifted)?.loss.ok_or_else(no_label)?;
        mean = loss;
        Ok::<_, Error>(backward(loss, &variables))
    });
    let Backward { gradient, greatest } = passed?;
    let values = gradient.iter().map(|g| g.value()).collect();
    let mut spreads = trace.spreads(&[&gradient[..], &[mean]].concat());
    let of_loss = spreads.pop().unwrap_or(f64::NAN);
    Ok(Gradients {
        tensors: shaped(&case.adapter, values)?,
        spread: shaped(&case.adapter, spreads)?,
        loss: (mean.value(), of_loss),
        greatest,
        tokens: case.rows.iter().map(|row| row.ids.len()).sum(),
    })
}

/// What a backward pass over a formula gives.
pub struct Gradients {
    /// The loss's gradient with respect to every tensor.
    pub tensors: TensorMap<f64>,
    /// How far rounding moves each coordinate, per unit of round-off
    /// ([`Trace::spreads`](crate::bounds::Trace::spreads)).
    pub spread: TensorMap<f64>,
    /// The loss, and how far rounding moves it.
    pub loss: (f64, f64),
    /// G, the greatest number that the pass brings down ([`Backward::greatest`]).
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

/// Logits, gates and mean loss of a case's texts, `answer` given each text and its first token's
/// place in the batch.
///
/// # Errors
/// Those of `answer`; labels that do not fit.
pub fn over_texts<T: Real>(
    case: &ModelCase,
    answer: impl Fn(&TextRow, usize) -> Result<Answer<T>>,
) -> Result<Computed<T>> {
    let (mut logits, mut gates) = (Vec::new(), Vec::new());
    let (mut sum, mut count, mut first) = (T::zero(), 0, 0);
    for row in &case.rows {
        let (scores, lambda) = answer(row, first)?;
        first += row.ids.len();
        let labels = case.targets(row);
        if labels.iter().any(|label| *label >= 0) {
            let smoothing = T::from_f64(case.smoothing);
            let (loss, labelled) = cross_entropy(&scores, &labels, smoothing)?;
            // one class a text: its mean loss is its sum
            sum = sum
                + match case.backbone.classifies() {
                    true => loss,
                    false => loss * T::from_usize(labelled),
                };
            count += labelled;
        }
        logits.push(scores);
        gates.push(lambda);
    }
    Ok(Computed {
        logits,
        gates,
        loss: (count > 0).then(|| sum / T::from_usize(count)),
    })
}

/// Every number of the tensors in the scalar `T`.
#[must_use]
pub fn lift<T: Real>(tensors: &TensorMap<f64>) -> TensorMap<T> {
    lift_each(tensors, |_, _, x| T::from_f64(x))
}

/// Every number made by `number` from its tensor's name, its index there and its value.
pub fn lift_each<T: Real>(
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

/// Numbers in the order of the tensors, as tensors.
fn shaped(like: &TensorMap<f64>, numbers: Vec<f64>) -> Result<TensorMap<f64>> {
    let mut rest = numbers.into_iter();
    let one = |(name, tensor): (&String, &ArrayD<f64>)| {
        let own = rest.by_ref().take(tensor.len()).collect();
        Ok((name.clone(), ArrayD::from_shape_vec(tensor.raw_dim(), own)?))
    };
    like.iter().map(one).collect()
}

/// A batch that no loss can be taken of.
pub(crate) fn no_label() -> Error {
    Error::Missing("a labelled position".into())
}
