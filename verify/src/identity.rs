//! Identities written once and checked on every scalar.
//!
//! A [`FieldIdentity`] needs `+ − × ÷` only: it is *proved*, up to a stated chance of error, over
//! the prime field, and then measured in double-double, `f64` and `f32`. A [`RealIdentity`] needs
//! exp, tanh or √ too. The bound of the measured ones comes from the identity itself, run on traced
//! numbers.

use crate::bounds::Tolerance;
use crate::bounds::{Traced, record};
use crate::cases::sample::Degree;
use crate::cases::{Draw, Sample};
use crate::claim::{Case, Claim};
use crate::engines::Target;
use crate::error::Result;
use inducer_reference::{DoubleDouble, Prime, Real};
use ndarray::{Array, ArrayD, Dimension};

/// The two sides of an identity.
pub struct Sides<F> {
    /// Left-hand side, right-hand side and what they are.
    pub pairs: Vec<(&'static str, ArrayD<F>, ArrayD<F>)>,
}

impl<F> Sides<F> {
    /// One equation.
    pub fn of<D: Dimension>(what: &'static str, left: Array<F, D>, right: Array<F, D>) -> Self {
        Self {
            pairs: vec![(what, left.into_dyn(), right.into_dyn())],
        }
    }

    /// And another.
    #[must_use]
    pub fn and<D: Dimension>(
        mut self,
        what: &'static str,
        left: Array<F, D>,
        right: Array<F, D>,
    ) -> Self {
        self.pairs.push((what, left.into_dyn(), right.into_dyn()));
        self
    }
}

/// An identity over any field.
pub trait FieldIdentity: 'static {
    /// Both sides at a random point; in the control with one term changed.
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F>;
}

/// An identity over the real numbers.
pub trait RealIdentity: 'static {
    /// Both sides at a random point; in the control with one term changed.
    fn sides<T: Real + Sample>(draw: &mut Draw, control: bool) -> Sides<T>;
}

/// An identity over any field is one over the real numbers.
impl<I: FieldIdentity> RealIdentity for I {
    fn sides<T: Real + Sample>(draw: &mut Draw, control: bool) -> Sides<T> {
        <I as FieldIdentity>::sides(draw, control)
    }
}

/// Evaluates both sides on `T` and holds their difference against the traced bound.
fn measure<I: RealIdentity, T: Real + Sample>(case: &mut Case) -> Result<()> {
    let control = case.control;
    let found: Sides<T> = I::sides(&mut case.draw.clone(), control);
    let (traced, trace) = record(|| I::sides::<Traced>(&mut case.draw, control));
    for ((what, left, right), (_, l, r)) in found.pairs.iter().zip(&traced.pairs) {
        case.same(left.shape(), right.shape(), || format!("{what}: shapes"));
        let (l, r): (Vec<Traced>, Vec<Traced>) =
            (l.iter().copied().collect(), r.iter().copied().collect());
        let conditioning: Vec<_> = trace
            .conditioning(&l)
            .into_iter()
            .zip(trace.conditioning(&r))
            .map(|(l, r)| l.and(r))
            .collect();
        for (index, (left, right)) in left.iter().zip(right).enumerate() {
            let tolerance = Tolerance::rounding(conditioning[index], T::unit_roundoff(), 0.0);
            let error = (*left - *right).to_f64().abs();
            case.error(error, &tolerance, || {
                format!("{what}, element {index}: {left:?} = {right:?}")
            });
        }
    }
    Ok(())
}

fn prove<I: FieldIdentity>(case: &mut Case) -> Result<()> {
    let control = case.control;
    let degrees = <I as FieldIdentity>::sides::<Degree>(&mut case.draw.clone(), control);
    let found = <I as FieldIdentity>::sides::<Prime>(&mut case.draw, control);
    for (_, left, right) in &degrees.pairs {
        left.iter()
            .zip(right)
            .for_each(|(left, right)| case.degree(left.of_difference(*right)));
    }
    for (what, left, right) in &found.pairs {
        case.same(left.shape(), right.shape(), || format!("{what}: shapes"));
        for (index, (left, right)) in left.iter().zip(right).enumerate() {
            case.same(*left, *right, || format!("{what}, element {index}"));
        }
    }
    Ok(())
}

impl Claim {
    /// Proved over the prime field and measured on the reference's other scalars.
    #[must_use]
    pub fn exact<I: FieldIdentity>(self) -> Self {
        self.proved::<I>().real::<I>()
    }

    /// Proved over the prime field and held to its digits in double-double: an identity of
    /// formulas; what else computes with them is measured elsewhere.
    #[must_use]
    pub fn algebra<I: FieldIdentity>(self) -> Self {
        self.proved::<I>()
            .on_one_sided(Target::DoubleDouble, measure::<I, DoubleDouble>)
    }

    /// Proved over the prime field.
    #[must_use]
    pub fn proved<I: FieldIdentity>(self) -> Self {
        self.on_one_sided(Target::PrimeField, prove::<I>)
    }

    /// Measured on the reference's scalars.
    #[must_use]
    pub fn real<I: RealIdentity>(self) -> Self {
        self.on(Target::DoubleDouble, measure::<I, DoubleDouble>)
            .on(Target::ReferenceF64, measure::<I, f64>)
            .on(Target::ReferenceF32, measure::<I, f32>)
    }
}
