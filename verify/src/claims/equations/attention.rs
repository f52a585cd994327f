//! Attention as a Nadaraya–Watson estimator (Eqs. 2–4, 12, 13; §4.1).

use crate::cases::head::visible;
use crate::cases::{Draw, Head, Sample};
use crate::identity::{FieldIdentity, RealIdentity, Sides};
use crate::oracle::Mutation;
use crate::{Claim, Present};
use inducer_reference::attention::{
    Linear, attend, output_by_concatenation, output_by_row_blocks, shifted_kernel,
};
use inducer_reference::kernel::{kernel, scores};
use inducer_reference::nadaraya_watson::{estimate, row_sums};
use inducer_reference::visible::Visible;
use inducer_reference::{Field, Real};
use ndarray::{Array1, Array2, Array3, ArrayRef2, Axis, concatenate, s};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    vec![
        Claim::new("eq03-row-normalised")
            .exact::<RowNormalised>()
            .on_whole_models(present, Mutation::RowSums),
        Claim::new("eq03-scale")
            .real::<Scale>()
            .on_whole_models(present, Mutation::Scale),
        Claim::new("eq03-shift")
            .real::<Shift>()
            .on_whole_models(present, Mutation::Shift),
        Claim::new("eq04-row-blocks")
            .exact::<RowBlocks>()
            .on_whole_models(present, Mutation::Blocks),
        Claim::new("nw-attention")
            .proved::<OfItsRow>()
            .real::<NadarayaWatson>()
            .on_whole_models(present, Mutation::Normaliser),
        Claim::new("nw-constant").exact::<Constant>(),
        Claim::new("nw-permutation")
            .exact::<Permutation>()
            .on_whole_models(present, Mutation::Order),
        Claim::new("nw-repeat").exact::<Repeat>(),
        Claim::new("nw-affine").exact::<Affine>(),
    ]
}

/// n queries, m support points, c coordinates: kernel values and coefficients.
pub(crate) fn points<F: Sample>(draw: &mut Draw) -> (Array2<F>, Array2<F>) {
    let (n, m, c) = (draw.size(1, 4), draw.size(1, 6), draw.size(1, 4));
    (draw.kernels((n, m)), draw.elements((m, c)))
}

struct RowNormalised;

impl FieldIdentity for RowNormalised {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (weights, values) = points::<F>(draw);
        let sums: Array1<F> = if control {
            weights.sum_axis(Axis(0))
        } else {
            row_sums(&weights)
        };
        let product = weights.dot(&values);
        let by_hand = Array2::from_shape_fn(product.raw_dim(), |(i, a)| {
            product[[i, a]] / sums[if control { i % sums.len() } else { i }]
        });
        Sides::of("D⁻¹ M V", estimate(&weights, &values), by_hand)
    }
}

struct Scale;

impl RealIdentity for Scale {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let head = Head::random(draw).lift::<T>();
        let (n, m, p) = (head.q.nrows(), head.k.nrows(), head.q.ncols());
        let root = if control {
            T::one()
        } else {
            T::from_usize(p).sqrt()
        };
        let product = |i: usize, j: usize| {
            (0..p).fold(T::zero(), |sum, a| sum + head.q[[i, a]] * head.k[[j, a]])
        };
        let by_hand = Array2::from_shape_fn((n, m), |(i, j)| product(i, j) / root);
        Sides::of("⟨q, k⟩/√p", scores(&head.q, &head.k), by_hand)
    }
}

struct Shift;

impl RealIdentity for Shift {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let head = Head::random(draw).lift::<T>();
        let plain = scores(&head.q, &head.k);
        let mut moved = plain.clone();
        let constants = draw.array(plain.nrows(), 80.0).mapv(T::from_f64);
        for (i, mut row) in moved.rows_mut().into_iter().enumerate() {
            match control {
                true => row[0] = row[0] + constants[0],
                false => row.mapv_inplace(|s| s + constants[i]),
            }
        }
        let of = |scores: &Array2<T>| estimate(&shifted_kernel(scores, &head.visible).0, &head.v);
        Sides::of("softmax of shifted scores", of(&plain), of(&moved))
    }
}

struct RowBlocks;

impl FieldIdentity for RowBlocks {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (h, n, p) = (draw.size(1, 4), draw.size(1, 4), draw.size(1, 4));
        let d = h * p;
        let heads: Array3<F> = draw.elements((h, n, p));
        let output: Linear<F> = draw.linear(d, d);
        let mut blocks = output.clone();
        if control {
            // rows of W^o by (coordinate, head) instead of (head, coordinate)
            blocks.weight = Array2::from_shape_fn((d, d), |(row, column)| {
                output.weight[[(row % p) * h + row / p, column]]
            });
        }
        Sides::of(
            "[head_h]_h W^o + b^o",
            output_by_concatenation(&heads, &output),
            output_by_row_blocks(&heads, &blocks),
        )
    }
}

struct NadarayaWatson;

/// The smoothed values of (NW) by its definition: kernel values, products, two sums, a quotient.
pub(crate) fn by_definition<T: Real>(head: &Head<T>, normalised: bool) -> Array2<T> {
    let pairs = (head.q.nrows(), head.k.nrows());
    let kernel = Array2::from_shape_fn(pairs, |(i, j)| kernel(&head.q.row(i), &head.k.row(j)));
    smoothed(&head.visible, &kernel, &head.v, normalised)
}

/// The same for any kernel, by its values.
fn smoothed<F: Field>(
    visible: &Visible,
    kernel: &Array2<F>,
    values: &Array2<F>,
    normalised: bool,
) -> Array2<F> {
    Array2::from_shape_fn((kernel.nrows(), values.ncols()), |(i, a)| {
        let (mut above, mut below) = (F::zero(), F::zero());
        for j in visible.of(i) {
            above = above + kernel[[i, j]] * values[[j, a]];
            below = below + kernel[[i, j]];
        }
        if normalised { above / below } else { above }
    })
}

impl RealIdentity for NadarayaWatson {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let head = Head::random(draw).lift::<T>();
        let attended = attend(&head.q, &head.k, &head.v, &head.visible);
        Sides::of(
            "attention = Σ κ v / Σ κ",
            attended.f,
            by_definition(&head, !control),
        )
    }
}

/// The same with the kernel's values as free variables: what a query does not see has no part, and
/// the rest is a weighted mean.
struct OfItsRow;

impl FieldIdentity for OfItsRow {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (kernel, values) = points::<F>(draw);
        let visible = visible(draw, kernel.nrows(), kernel.ncols(), 0.4);
        let weights = Array2::from_shape_fn(kernel.raw_dim(), |(i, j)| match visible.sees(i, j) {
            true => kernel[[i, j]],
            false => F::zero(),
        });
        let by_definition = smoothed(&visible, &kernel, &values, !control);
        Sides::of("Σ κ v / Σ κ", estimate(&weights, &values), by_definition)
    }
}

struct Constant;

impl FieldIdentity for Constant {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (weights, values) = points::<F>(draw);
        let constant = values.row(0).to_owned();
        let same = Array2::from_shape_fn(values.raw_dim(), |(_, a)| constant[a]);
        let mut found = estimate(&weights, &same);
        if control {
            // one weight left out of the denominator
            let factor = |i: usize| {
                row_sums(&weights)[i] / (row_sums(&weights)[i] - weights[[i, 0]] + F::one())
            };
            found = Array2::from_shape_fn(found.raw_dim(), |(i, a)| found[[i, a]] * factor(i));
        }
        let expected = Array2::from_shape_fn(found.raw_dim(), |(_, a)| constant[a]);
        Sides::of("the estimate of a constant", found, expected)
    }
}

/// A permutation that moves something, if anything can move.
fn rotation(m: usize, draw: &mut Draw) -> Vec<usize> {
    let by = if m > 1 { draw.size(1, m - 1) } else { 0 };
    (0..m).map(|j| (j + by) % m).collect()
}

struct Permutation;

impl FieldIdentity for Permutation {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (weights, values) = points::<F>(draw);
        let order = rotation(values.nrows(), draw);
        let moved = if control {
            values.clone()
        } else {
            values.select(Axis(0), &order)
        };
        Sides::of(
            "the estimate over permuted points",
            estimate(&weights.select(Axis(1), &order), &moved),
            estimate(&weights, &values),
        )
    }
}

struct Repeat;

/// Two matrices one after the other along an axis.
pub(crate) fn stack<F: Field>(axis: usize, a: &ArrayRef2<F>, b: &ArrayRef2<F>) -> Array2<F> {
    concatenate(Axis(axis), &[a.view(), b.view()]).unwrap_or_else(|_| a.to_owned())
}

impl FieldIdentity for Repeat {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (weights, values) = points::<F>(draw);
        let f = estimate(&weights, &values);
        let twice = estimate(&stack(1, &weights, &weights), &stack(0, &values, &values));
        let one_more = estimate(
            &stack(1, &weights, &weights.slice(s![.., ..1])),
            &stack(0, &values, &values.slice(s![..1, ..])),
        );
        let mut heavier = weights.clone();
        if !control {
            heavier.column_mut(0).mapv_inplace(|w| w + w);
        }
        Sides::of("every point twice", twice, f).and(
            "one point twice",
            one_more,
            estimate(&heavier, &values),
        )
    }
}

struct Affine;

impl FieldIdentity for Affine {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (weights, values) = points::<F>(draw);
        let out = draw.size(1, 3);
        let map: Linear<F> = draw.linear(values.ncols(), out);
        let mapped = if control {
            weights.mapv(|w| w * map.weight[[0, 0]] + map.bias[0])
        } else {
            weights.clone()
        };
        Sides::of(
            "the estimate of mapped values",
            estimate(&mapped, &map.forward(&values)),
            map.forward(&estimate(&weights, &values)),
        )
    }
}
