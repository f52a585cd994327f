//! Pointwise activations.

use super::driver::{self, Gradient, Op};
use crate::error::Result;
use crate::kernels::elem::Elem;
use crate::kernels::precision::{cast_like, upcast};
use crate::kernels::product::{GELU_TANH, activate, times_slope};
use crate::kernels::threads::for_rows;
use crate::tape::{Tape, Value};
use candle_core::Tensor;

/// A pointwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// GPT-2's gelu (`gelu_new`): `x/2 · (1 + tanh(√(2/π)(x + 0.044715 x³)))`.
    GeluTanh,
    /// RoBERTa's gelu: `x/2 · (1 + erf(x/√2))`.
    GeluErf,
    /// Hyperbolic tangent: the inducer's MLPs (Eq. 11), the prefix's reparametrisation.
    Tanh,
    /// max(x, 0): the adapter's (Eq. 1).
    Relu,
}

const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
const CUBIC: f64 = 0.044_715;

impl Activation {
    #[inline(always)]
    fn value<T: Elem>(self, x: T) -> T {
        match self {
            Self::GeluTanh => {
                let u = T::of(SQRT_2_OVER_PI) * x * (T::one() + T::of(CUBIC) * x * x);
                // x/2 (1 + tanh u) = x σ(2u)
                x / (T::one() + (-(u + u)).fexp())
            }
            Self::GeluErf => {
                T::of(0.5) * x * (T::one() + (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).ferf())
            }
            Self::Tanh => x.ftanh(),
            Self::Relu => {
                if x > T::zero() {
                    x
                } else {
                    T::zero()
                }
            }
        }
    }

    #[inline(always)]
    fn slope<T: Elem>(self, x: T) -> T {
        match self {
            Self::GeluTanh => {
                let u = T::of(SQRT_2_OVER_PI) * x * (T::one() + T::of(CUBIC) * x * x);
                let s = T::one() / (T::one() + (-(u + u)).fexp());
                let du = T::of(SQRT_2_OVER_PI) * (T::one() + T::of(3.0 * CUBIC) * x * x);
                s + x * s * (T::one() - s) * (du + du)
            }
            Self::GeluErf => {
                let phi =
                    T::of(0.5) * (T::one() + (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).ferf());
                let density = (T::of(-0.5) * x * x).fexp() * T::of(0.398_942_280_401_432_7);
                phi + x * density
            }
            Self::Tanh => {
                let t = x.ftanh();
                T::one() - t * t
            }
            Self::Relu => {
                if x > T::zero() {
                    T::one()
                } else {
                    T::zero()
                }
            }
        }
    }

    /// The name of its kernel for a card.
    pub(super) fn kernel(self) -> &'static str {
        match self {
            Self::GeluTanh => GELU_TANH,
            Self::GeluErf => "gelu_erf",
            Self::Tanh => "tanh_of",
            Self::Relu => "relu",
        }
    }

    /// Applies the function to every element.
    ///
    /// # Errors
    /// A candle error.
    pub fn apply(self, tape: &Tape, x: &Value) -> Result<Value> {
        driver::run(tape, self, [x], x.tensor.shape())
    }
}

impl Op<1> for Activation {
    fn forward<T: Elem>(&self, [x]: [&[T]; 1]) -> Vec<T> {
        let mut y = vec![T::zero(); x.len()];
        for_rows(
            &mut y,
            WIDTH,
            #[inline(always)]
            |i, row| {
                let x = &x[i * WIDTH..i * WIDTH + row.len()];
                match self {
                    Self::GeluTanh => each(row, x, |x| Self::GeluTanh.value(x)),
                    Self::GeluErf => each(row, x, |x| Self::GeluErf.value(x)),
                    Self::Tanh => each(row, x, |x| Self::Tanh.value(x)),
                    Self::Relu => each(row, x, |x| Self::Relu.value(x)),
                }
            },
        );
        y
    }

    fn backward<T: Elem>(&self, [x]: [&[T]; 1], g: &[T], _: [bool; 1]) -> [Gradient<Vec<T>>; 1] {
        let mut dx = g.to_vec();
        for_rows(
            &mut dx,
            WIDTH,
            #[inline(always)]
            |i, row| {
                let x = &x[i * WIDTH..i * WIDTH + row.len()];
                match self {
                    Self::GeluTanh => scale(row, x, |x| Self::GeluTanh.slope(x)),
                    Self::GeluErf => scale(row, x, |x| Self::GeluErf.slope(x)),
                    Self::Tanh => scale(row, x, |x| Self::Tanh.slope(x)),
                    Self::Relu => scale(row, x, |x| Self::Relu.slope(x)),
                }
            },
        );
        [Gradient::Of(dx)]
    }

    fn forward_on_card(&self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        activate(self.kernel(), x)
    }

    fn backward_on_card(
        &self,
        [x]: [Option<&Tensor>; 1],
        g: &Tensor,
        _: [bool; 1],
    ) -> Result<[Gradient<Tensor>; 1]> {
        let Some(x) = x else {
            unreachable!("the driver saves it")
        };
        Ok([Gradient::Of(times_slope(self.kernel(), x, g)?)])
    }

    fn composed(&self, a: &[Tensor]) -> candle_core::Result<Tensor> {
        let x = upcast(&a[0])?;
        let y = match self {
            // written out: the slope of candle's own gelu has constants of seven digits
            Self::GeluTanh => {
                let u = ((&x + (x.powf(3.0)? * CUBIC)?)? * SQRT_2_OVER_PI)?;
                ((&x * 0.5)? * (u.tanh()? + 1.0)?)?
            }
            Self::GeluErf => {
                let u = (&x * std::f64::consts::FRAC_1_SQRT_2)?;
                ((&x * 0.5)? * (u.erf()? + 1.0)?)?
            }
            Self::Tanh => x.tanh()?,
            Self::Relu => x.relu()?,
        };
        cast_like(&y, &a[0])
    }
}

/// Elements a thread takes at a time; only a partition, the function is pointwise.
const WIDTH: usize = 1024;

#[inline(always)]
fn each<T: Elem>(y: &mut [T], x: &[T], f: impl Fn(T) -> T) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = f(*x);
    }
}

#[inline(always)]
fn scale<T: Elem>(g: &mut [T], x: &[T], f: impl Fn(T) -> T) {
    for (g, x) in g.iter_mut().zip(x) {
        *g *= f(*x);
    }
}
