//! The CPU's products in mixed precision, at sizes around those of their blocks.

use crate::bounds::{DEVIATIONS, UNIT_ROUNDOFF_F32};
use crate::engines::candle::nearest_bf16;
use crate::{Case, Claim, Result, Target, Tolerance};
use inducer_gpu::kernels::gemm::{Mat, MatMut};
use ndarray::Array2;

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    let few = Claim::new("mixed-products").one_case_in(8).at_least(24);
    vec![few.on(Target::CpuBf16, product)]
}

/// Rows, columns and terms: one, odd numbers, around a tile of 12 × 32 sums and a vector of 16, and
/// beyond blocks of 960 rows, 512 columns and 512 terms.
const SIZES: [[usize; 3]; 12] = [
    [1, 1, 1],
    [12, 32, 2],
    [13, 33, 3],
    [5, 16, 31],
    [7, 17, 32],
    [24, 47, 33],
    [11, 64, 511],
    [2, 31, 512],
    [3, 9, 513],
    [2, 513, 6],
    [961, 5, 34],
    [30, 520, 1030],
];

/// `c + s · a b` of operands that are rounded to bf16, each sum as exact as f32 can hold it. In the
/// control nothing is rounded.
fn product(case: &mut Case) -> Result<()> {
    let [m, n, k] = *case.draw.in_turn(&SIZES);
    let [a_turned, b_turned, adds] = [0; 3].map(|_| case.draw.size(0, 1) == 1);
    let scale = case.draw.size(1, 4) as f32 / 2.0;
    let single = |x: f64| f64::from(x as f32);
    let a: Array2<f64> = case.draw.array((m, k), 1.0).mapv(single);
    let b: Array2<f64> = case.draw.array((k, n), 1.0).mapv(single);
    let c: Array2<f64> = case.draw.array((m, n), 1.0).mapv(single);
    let flat = |x: &Array2<f64>, turned: bool| -> Vec<f32> {
        let ordered = if turned { x.t() } else { x.view() };
        ordered.iter().map(|x| *x as f32).collect()
    };
    let (in_a, in_b) = (flat(&a, a_turned), flat(&b, b_turned));
    let mut found = flat(&c, false);
    let layout = |turned| if turned { Mat::by_columns } else { Mat::new };
    let (left, right) = (
        layout(a_turned)(&in_a, [m, k]),
        layout(b_turned)(&in_b, [k, n]),
    );
    let product = left.times(right).scaled(scale).in_bf16(!case.control);
    match adds {
        true => product.add_to(MatMut::new(&mut found, n)),
        false => product.write(MatMut::new(&mut found, n)),
    }
    let (a, b) = (a.mapv(nearest_bf16), b.mapv(nearest_bf16));
    let (sums, sizes) = (a.dot(&b), a.mapv(f64::abs).dot(&b.mapv(f64::abs)));
    for (at, found) in found.into_iter().enumerate() {
        let (i, j) = (at / n, at % n);
        let before = if adds { c[[i, j]] } else { 0.0 };
        let expected = before + f64::from(scale) * sums[[i, j]];
        let terms = before.abs() + f64::from(scale) * sizes[[i, j]];
        let roundings = (k as f64).min(DEVIATIONS * (k as f64).sqrt()) + 2.0;
        let bound = roundings * UNIT_ROUNDOFF_F32 * terms;
        let formula = "(min(k, 8 √k) + 2) u (|c| + s Σ|a b|), u of f32";
        let tolerance = Tolerance::stated(bound, formula);
        case.close(f64::from(found), expected, &tolerance, || {
            let by = |turned| if turned { "columns" } else { "rows" };
            format!(
                "[{m}, {k}] by {}, [{k}, {n}] by {}, element ({i}, {j})",
                by(a_turned),
                by(b_turned)
            )
        });
    }
    Ok(())
}
