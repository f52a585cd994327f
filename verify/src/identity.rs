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
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T>;
}

/// Adapter: a [`FieldIdentity`] evaluated on real scalars.
struct Measured<I>(std::marker::PhantomData<I>);

trait SidesOn<T> {
    fn sides_on(draw: &mut Draw, control: bool) -> Sides<T>;
}

impl<I: FieldIdentity, T: Sample> SidesOn<T> for Measured<I> {
    fn sides_on(draw: &mut Draw, control: bool) -> Sides<T> {
        I::sides(draw, control)
    }
}

/// Adapter: a [`RealIdentity`] as it is.
struct Plain<I>(std::marker::PhantomData<I>);

impl<I: RealIdentity, T: Real> SidesOn<T> for Plain<I> {
    fn sides_on(draw: &mut Draw, control: bool) -> Sides<T> {
        I::sides(draw, control)
    }
}

/// Evaluates both sides on `T` and holds their difference against the traced bound.
fn measure<I, T: Real>(case: &mut Case) -> Result<()>
where
    I: SidesOn<T> + SidesOn<Traced>,
{
    let control = case.control;
    let found: Sides<T> = I::sides_on(&mut case.draw.clone(), control);
    let (traced, trace) = record(|| <I as SidesOn<Traced>>::sides_on(&mut case.draw, control));
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
    let degrees: Sides<Degree> = I::sides(&mut case.draw.clone(), control);
    let found: Sides<Prime> = I::sides(&mut case.draw, control);
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
        self.proved::<I>()
            .on(Target::DoubleDouble, measure::<Measured<I>, DoubleDouble>)
            .on(Target::ReferenceF64, measure::<Measured<I>, f64>)
            .on(Target::ReferenceF32, measure::<Measured<I>, f32>)
    }

    /// Proved over the prime field and held to its digits in double-double: an identity of
    /// formulas; what else computes with them is measured elsewhere.
    #[must_use]
    pub fn algebra<I: FieldIdentity>(self) -> Self {
        self.proved::<I>()
            .on_one_sided(Target::DoubleDouble, measure::<Measured<I>, DoubleDouble>)
    }

    /// Proved over the prime field.
    #[must_use]
    pub fn proved<I: FieldIdentity>(self) -> Self {
        self.on_one_sided(Target::PrimeField, prove::<I>)
    }

    /// Measured on the reference's scalars.
    #[must_use]
    pub fn real<I: RealIdentity>(self) -> Self {
        self.on(Target::DoubleDouble, measure::<Plain<I>, DoubleDouble>)
            .on(Target::ReferenceF64, measure::<Plain<I>, f64>)
            .on(Target::ReferenceF32, measure::<Plain<I>, f32>)
    }
}
