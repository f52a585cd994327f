//! Products of f32 matrices whose operands are rounded to bf16 while the sums stay in f32: mixed
//! precision on the CPU.
//!
//! A processor with AVX512-BF16 (AMD since Zen 4, Intel since Cooper Lake) has instructions for
//! them, about twice as fast as those for f32: `avx512.rs`. Elsewhere the rounded operands go
//! through the general product, which is slower than the same product in f32.

use super::elem::Elem;
use super::matrix::{Destination, Mat};

#[cfg(target_arch = "x86_64")]
mod avx512;

/// Whether this processor has instructions for products in bf16.
pub fn is_native() -> bool {
    #[cfg(target_arch = "x86_64")]
    let found = avx512::is_present();
    #[cfg(not(target_arch = "x86_64"))]
    let found = false;
    found
}

/// The matrix row by row, every element the nearest number in bf16.
pub(super) fn rounded<T: Elem>(m: Mat<'_, T>) -> Vec<T> {
    let nearest = |x: T| {
        let x = num_traits::ToPrimitive::to_f32(&x).unwrap_or(f32::NAN);
        T::of(half::bf16::from_f32(x).to_f64())
    };
    let [rows, columns] = m.shape;
    let mut out = Vec::with_capacity(rows * columns);
    for i in 0..rows {
        out.extend((0..columns).map(|j| nearest(m.data[m.offset + i * m.row + j * m.column])));
    }
    out
}

/// Whether this processor has instructions for products of this scalar in bf16.
pub(super) fn serves<T: Elem>() -> bool {
    T::singles(&[]).is_some() && is_native()
}

/// `dst ← [dst +] scale · a b` in this processor's own instructions.
///
/// Panics where it has none for this scalar ([`serves`]).
///
/// # Safety
/// Every element of the destination may be written, and with `add` is there to be read; none is
/// shared with another thread or with an operand.
#[allow(unsafe_code)]
pub(super) unsafe fn multiply<T: Elem>(operands: [Mat<'_, T>; 2], dst: Destination<T>, scale: T) {
    assert!(serves::<T>(), "bf16: not on this processor");
    #[cfg(target_arch = "x86_64")]
    if let [Some(a), Some(b)] = operands.map(Mat::singles) {
        let dst = Destination {
            at: dst.at.cast::<f32>(),
            row: dst.row,
            add: dst.add,
        };
        let scale = num_traits::ToPrimitive::to_f32(&scale).unwrap_or(f32::NAN);
        // SAFETY: the instructions are there, T is f32, and the rest is the caller's promise.
        unsafe { avx512::multiply([a, b], dst, scale) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (operands, dst, scale);
}

#[cfg(test)]
mod tests {
    use super::super::gemm::{MatMut, Product, Shared};
    use super::*;

    /// Sizes around those of a tile (12 × 32), of a pair, of a vector (16) and of the blocks (960,
    /// 512, 512).
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
        [1, 513, 6],
        [961, 5, 34],
        [30, 520, 1030],
    ];

    type Layout = fn(&[f32], [usize; 2]) -> Mat<'_, f32>;

    /// How an operand lies in memory: by rows or by columns.
    const LAYOUTS: [Layout; 2] = [
        |x, shape| Mat::new(x, shape),
        |x, shape| Mat::by_columns(x, shape),
    ];

    /// `f` of the product of a size and layout, of these numbers.
    fn each(value: impl Fn(usize) -> f32, f: impl Fn([Mat<'_, f32>; 2], [usize; 3])) {
        for [m, n, k] in SIZES {
            let a: Vec<f32> = (0..m * k).map(&value).collect();
            let b: Vec<f32> = (0..n * k).map(|i| value(i + 7)).collect();
            for left in LAYOUTS {
                for right in LAYOUTS {
                    f([left(&a, [m, k]), right(&b, [k, n])], [m, n, k]);
                }
            }
        }
    }

    #[test]
    fn whole_numbers_are_multiplied_exactly_in_every_size_and_layout() {
        let value = |i: usize| ((i * 7919 + 13) % 31) as f32 - 15.0;
        each(value, |[a, b], [m, n, k]| {
            for add in [false, true] {
                // rows of the destination are further apart than they are long
                let mut found = vec![3.0_f32; m * (n + 3)];
                let product = a.times(b).scaled(0.5);
                let dst = MatMut::strided(Shared::new(&mut found), 0, n + 3);
                let product = product.in_bf16(true);
                match add {
                    true => product.add_to(dst),
                    false => product.write(dst),
                }
                let mut expected = vec![3.0_f32; m * (n + 3)];
                for i in 0..m {
                    for j in 0..n {
                        let at = |m: &Mat<'_, f32>, i, j| m.data[i * m.row + j * m.column];
                        let sum: f32 = (0..k).map(|q| at(&a, i, q) * at(&b, q, j)).sum();
                        let before = if add { 3.0 } else { 0.0 };
                        expected[i * (n + 3) + j] = before + 0.5 * sum;
                    }
                }
                // halves below 2²³: exact in any order, nothing beside the product touched
                assert!(found == expected, "[{m}, {n}, {k}], added: {add}");
            }
        });
    }

    #[test]
    fn operands_are_rounded_to_the_nearest_number_of_bf16_and_sums_are_not() {
        let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0;
        each(value, |[a, b], [m, n, k]| {
            let (ra, rb) = (rounded(a), rounded(b));
            let in_f64 = |x: &[f32]| -> Vec<f64> { x.iter().map(|x| f64::from(*x)).collect() };
            let exact = |a: &[f32], b: &[f32]| {
                let (a, b) = (in_f64(a), in_f64(b));
                Mat::new(&a, [m, k]).times(Mat::new(&b, [k, n])).to_vec()
            };
            let sizes = |x: &[f32]| -> Vec<f32> { x.iter().map(|x| x.abs()).collect() };
            let (expected, bound) = (exact(&ra, &rb), exact(&sizes(&ra), &sizes(&rb)));
            let product = a.times(b);
            let found = [product.in_bf16(true).to_vec(), product.by_rounding()];
            let unit = f64::from(f32::EPSILON) / 2.0 * (k as f64 + 2.0);
            let apart = |found: &[f32]| {
                let each = found.iter().zip(&expected).zip(&bound);
                each.map(|((f, e), b)| (f64::from(*f) - e).abs() / (b * unit))
                    .fold(0.0, f64::max)
            };
            for found in found.map(|found| apart(&found)) {
                assert!(found <= 1.0, "[{m}, {n}, {k}]: {found}");
            }
            let control = apart(&product.to_vec());
            assert!(
                k > 600 || control > 2.0,
                "[{m}, {n}, {k}]: control {control}"
            );
        });
    }

    #[test]
    fn halfway_goes_to_the_even_neighbour_and_what_is_no_number_stays() {
        let product = |x: f32| {
            let (x, one) = ([x], [1.0]);
            let product = Mat::new(&x, [1, 1]).times(Mat::new(&one, [1, 1]));
            product.in_bf16(true).to_vec()[0]
        };
        let step = 2.0_f32.powi(-7);
        assert_eq!(product(1.0 + step / 2.0), 1.0);
        assert_eq!(product(1.0 + 1.5 * step), 1.0 + 2.0 * step);
        assert_eq!(product(1.0 + 0.51 * step), 1.0 + step);
        assert_eq!(product(f32::INFINITY), f32::INFINITY);
        assert!(product(f32::NAN).is_nan());
    }

    #[test]
    fn the_general_product_of_rounded_numbers_is_what_other_processors_compute() {
        // f64 has no instructions of that kind anywhere
        let (a, b) = ([1.0_f64 + 2.0_f64.powi(-12), 2.0], [3.0_f64, 5.0]);
        let product = Mat::new(&a, [1, 2]).times(Mat::new(&b, [2, 1]));
        assert_eq!(product.in_bf16(true).to_vec(), [13.0]);
        assert_ne!(product.in_bf16(false).to_vec(), [13.0]);
    }

    #[test]
    fn a_row_is_the_same_alone_and_among_others() {
        let value = |i: usize| ((i * 7919 % 1013) as f32 - 500.0) / 97.0;
        for [m, n, k] in SIZES.map(|[m, n, k]| [m.min(40), n, k]) {
            let a: Vec<f32> = (0..m * k).map(value).collect();
            let b: Vec<f32> = (0..n * k).map(|i| value(i + 7)).collect();
            for layout in LAYOUTS {
                let b = layout(&b, [k, n]);
                let forms = [
                    |p: Product<'_, f32>| p.in_bf16(true).to_vec(),
                    |p: Product<'_, f32>| p.by_rounding(),
                ];
                for form in forms {
                    let whole = form(Mat::new(&a, [m, k]).times(b));
                    for (row, found) in a.chunks_exact(k).zip(whole.chunks_exact(n)) {
                        let alone = form(Mat::new(row, [1, k]).times(b));
                        assert!(alone == found, "[{m}, {n}, {k}]");
                    }
                }
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let value = |i: usize| ((i * 7919 % 1013) as f32 - 500.0) / 97.0;
        each(value, |[a, b], [m, n, k]| {
            let product = a.times(b).in_bf16(true);
            let once = product.to_vec();
            for threads in [2, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let found = pool.unwrap().install(|| product.in_parallel().to_vec());
                assert!(found == once, "[{m}, {n}, {k}], {threads} threads");
            }
        });
    }
}
