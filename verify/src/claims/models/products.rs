//! The CPU's products, in f32 and in mixed precision, at sizes around those of their blocks.

use crate::bounds::{DEVIATIONS, UNIT_ROUNDOFF_F32};
use crate::engines::candle::nearest_bf16;
use crate::{Case, Claim, Result, Target, Tolerance};
use inducer_gpu::kernels::gemm::{Mat, MatMut};
use ndarray::Array2;

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    let few = |id| Claim::new(id).one_case_in(8).at_least(24);
    vec![
        few("plain-products").on(Target::CpuF32, |case| product(case, &PLAIN, false)),
        few("mixed-products").on(Target::CpuBf16, |case| product(case, &MIXED, true)),
    ]
}

/// Rows, columns and terms: few, many, and as many terms as make all columns of a matrix that lies
/// by columns meet one set of a cache, 4,096 bytes and twice that.
const PLAIN: [[usize; 3]; 6] = [
    [1, 1, 1],
    [13, 33, 3],
    [17, 70, 1024],
    [961, 5, 34],
    [2, 31, 512],
    [24, 65, 2048],
];

/// Rows, columns and terms: one, odd numbers, around a tile of 12 × 32 sums and a vector of 16, and
/// beyond blocks of 960 rows, 512 columns and 512 terms.
const MIXED: [[usize; 3]; 12] = [
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

/// `c + s · a b`, of operands that are rounded to bf16 or as they are, each sum as exact as f32 can
/// hold it. In the control nothing is rounded, or the last term of each sum is another one.
fn product(case: &mut Case, sizes: &[[usize; 3]], in_bf16: bool) -> Result<()> {
    let [m, n, k] = *case.draw.in_turn(sizes);
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
    let mut given = a.clone();
    if case.control && !in_bf16 {
        given.column_mut(k - 1).mapv_inplace(|x| x + 1.0);
    }
    let (in_a, in_b) = (flat(&given, a_turned), flat(&b, b_turned));
    let mut found = flat(&c, false);
    let layout = |turned| if turned { Mat::by_columns } else { Mat::new };
    let (left, right) = (
        layout(a_turned)(&in_a, [m, k]),
        layout(b_turned)(&in_b, [k, n]),
    );
    let product = left
        .times(right)
        .scaled(scale)
        .in_bf16(in_bf16 && !case.control);
    match adds {
        true => product.add_to(MatMut::new(&mut found, n)),
        false => product.write(MatMut::new(&mut found, n)),
    }
    let (a, b) = match in_bf16 {
        true => (a.mapv(nearest_bf16), b.mapv(nearest_bf16)),
        false => (a, b),
    };
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
