//! Values of the reference with the rounding bound of each: what the page's own script is held
//! against.
//!
//! A figure's formulas are evaluated twice by `inducer-reference`: in `f64` for the values, and
//! over [`Traced`] numbers for the bounds, which come from the formula's own derivatives (see
//! [`inducer_verify::bounds::tolerance`]). Reference and script both round to `f64`, so the bound
//! is that of two computations.

use inducer_reference::Real;
use inducer_verify::bounds::{Conditioning, Traced, record};
use ndarray::{Array1, Array2};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// The unit round-off of `f64`, twice: once for the reference, once for the script.
pub const TWO_ROUNDOFFS: f64 = f64::EPSILON;

/// A named result of a figure.
#[derive(Clone, Debug)]
pub struct Quantity<T> {
    /// The name under which the script returns it.
    pub name: &'static str,
    /// Its numbers, row by row.
    pub values: Vec<T>,
}

impl<T: Copy> Quantity<T> {
    /// A quantity from anything that holds numbers.
    pub fn new(name: &'static str, values: impl IntoIterator<Item = T>) -> Self {
        Self {
            name,
            values: values.into_iter().collect(),
        }
    }
}

/// A state of a figure whose formulas can be evaluated over any real scalar.
pub trait Formula {
    /// Every quantity that the figure shows.
    fn quantities<T: Real>(&self) -> Vec<Quantity<T>>;
}

/// The reference's values of a quantity and how far another `f64` computation may be from each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Witness {
    /// The values.
    pub value: Vec<f64>,
    /// The greatest difference that rounding explains, one for each value.
    #[serde(serialize_with = "rounded_up")]
    pub bound: Vec<f64>,
}

/// Witnesses by the names of their quantities.
pub type Witnesses = BTreeMap<&'static str, Witness>;

/// Values and rounding bounds of every quantity of a state.
#[must_use]
pub fn witnesses(state: &impl Formula) -> Witnesses {
    let plain = state.quantities::<f64>();
    let (traced, trace) = record(|| state.quantities::<Traced>());
    let with_bound = plain.into_iter().zip(traced).map(|(plain, traced)| {
        let conditioning = trace.conditioning(&traced.values).into_iter();
        let bound = conditioning.map(|c: Conditioning| c.bound(TWO_ROUNDOFFS));
        let witness = Witness {
            value: plain.values,
            bound: bound.collect(),
        };
        (plain.name, witness)
    });
    with_bound.collect()
}

/// Bounds in three digits, rounded upwards: the page is smaller, and no bound shrinks.
fn rounded_up<S: Serializer>(bounds: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    let short = |bound: &f64| format!("{:.2e}", bound * 1.01).parse().unwrap_or(*bound);
    serializer.collect_seq(bounds.iter().map(short).collect::<Vec<f64>>())
}

/// A number as a scalar.
pub fn real<T: Real>(x: f64) -> T {
    T::from_f64(x)
}

/// Numbers as a vector.
pub fn vector<T: Real>(numbers: &[f64]) -> Array1<T> {
    numbers.iter().map(|x| real(*x)).collect()
}

/// Points as rows.
///
/// # Shapes
/// n points of p coordinates → `[n, p]`.
pub fn rows<T: Real, const P: usize>(points: &[[f64; P]]) -> Array2<T> {
    Array2::from_shape_fn((points.len(), P), |(i, a)| real(points[i][a]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    struct Product(f64, f64);

    impl Formula for Product {
        fn quantities<T: Real>(&self) -> Vec<Quantity<T>> {
            vec![Quantity::new("product", [real::<T>(self.0) * real(self.1)])]
        }
    }

    #[test]
    fn a_product_of_two_numbers_may_differ_by_its_own_rounding() {
        let found = &witnesses(&Product(3.0, 0.1))["product"];
        assert_eq!(found.value, [3.0 * 0.1]);
        // One rounding of a number near 0.3 at twice the round-off, times the slack of 2.
        let expected = 2.0 * TWO_ROUNDOFFS * 0.3;
        assert_abs_diff_eq!(found.bound[0], expected, epsilon = 1e-18);
    }

    #[test]
    fn no_bound_shrinks_when_it_is_written_in_three_digits() {
        let witness = Witness {
            value: vec![1.0],
            bound: vec![1.2345e-16],
        };
        let text = serde_json::to_string(&witness).unwrap();
        assert_eq!(text, r#"{"value":[1.0],"bound":[1.25e-16]}"#);
    }
}
