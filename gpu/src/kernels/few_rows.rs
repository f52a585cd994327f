//! A product with few rows on the left: decoding.
//!
//! A general product first copies the weight into blocks. With a handful of rows that copy costs
//! more than the product, whose floor is reading the weight once; so here the weight is read where
//! it lies. Two forms, after the weight's layout:
//!
//! ```text
//! W [k, n] row by row:     y_i += x_ij W_j     for a block of columns that stays in the
//!                                              first-level cache
//! W [n, k] transposed:     y_io = ⟨x_i, W_o⟩
//! ```

use super::elem::{Elem, simd};
use super::gemm::{Mat, MatMut};
use super::threads::{for_tasks, map_tasks};

/// Most rows for which this form is used; from there on the general product is as fast.
const MOST: usize = 16;

/// Whether a product of so many rows takes this form: few, and none whose operands are rounded to
/// bf16, since this form rounds nothing.
pub const fn serves(rows: usize, in_bf16: bool) -> bool {
    rows <= MOST && !in_bf16
}

/// Elements of the block of results that a thread works on: 16 KiB of f32, so that it stays in the
/// first-level cache beside the lines of the weight that are read (with four times as many, `mini`
/// takes a tenth longer to decode).
const BLOCK: usize = 4096;

/// Rows of the weight in one partial sum. Fixed, so that results do not depend on the number of
/// threads.
const PIECE: usize = 256;

/// Rows of a transposed weight that a thread takes at a time.
const OUTPUTS: usize = 64;

/// `scale · x w` as a new matrix [rows, n], for `x` [rows, k] and `w` [k, n].
pub fn product<T: Elem>(x: Mat<'_, T>, w: Mat<'_, T>, scale: T) -> Vec<T> {
    let n = w.shape[1];
    let mut y = vec![T::zero(); x.shape[0] * n];
    product_into(MatMut::new(&mut y, n), x, w, scale);
    y
}

/// `dst ← scale · x w`. `x` has contiguous rows; `w` is a contiguous matrix or the transpose of
/// one.
///
/// Panics when an operand is too short or lies otherwise.
pub fn product_into<T: Elem>(dst: MatMut<'_, T>, x: Mat<'_, T>, w: Mat<'_, T>, scale: T) {
    let k = w.rows();
    let row = |i: usize| &x.data[x.offset + i * x.row..][..k];
    let inputs: Vec<&[T]> = (0..x.shape[0]).map(row).collect();
    if w.column == 1 {
        by_columns(&inputs, dst, w, scale);
    } else {
        assert!(w.row == 1, "few_rows: a weight of another layout");
        by_outputs(&inputs, dst, w, scale);
    }
}

fn by_columns<T: Elem>(x: &[&[T]], dst: MatMut<'_, T>, w: Mat<'_, T>, scale: T) {
    let [k, n] = w.shape;
    let width = (BLOCK / x.len().max(1)).min(n).max(1);
    let (blocks, pieces, w_row) = (n.div_ceil(width), k.div_ceil(PIECE).max(1), w.row);
    let partial: Vec<Vec<T>> = map_tasks(blocks * pieces, |task| {
        let (from, first) = (task / pieces * width, task % pieces * PIECE);
        let (len, last) = (width.min(n - from), k.min(first + PIECE));
        let x: Vec<&[T]> = x.iter().map(|x| &x[first..last]).collect();
        let w = &w.data[w.offset + first * w.row + from..];
        let mut sums = vec![T::zero(); x.len() * len];
        simd(
            #[inline(always)]
            || T::add_lines(&mut sums, len, &x, w, w_row),
        );
        sums
    });
    for (b, partial) in partial.chunks(pieces).enumerate() {
        let len = width.min(n - b * width);
        for i in 0..x.len() {
            let y = dst.row(i, b * width, len);
            y.fill(T::zero());
            for sums in partial {
                for (y, s) in y.iter_mut().zip(&sums[i * len..(i + 1) * len]) {
                    *y += *s;
                }
            }
            for y in y {
                *y *= scale;
            }
        }
    }
}

fn by_outputs<T: Elem>(x: &[&[T]], dst: MatMut<'_, T>, w: Mat<'_, T>, scale: T) {
    let [k, n] = w.shape;
    for_tasks(
        n.div_ceil(OUTPUTS),
        || (),
        |(), b| {
            let from = b * OUTPUTS;
            let lines: Vec<&[T]> = (from..n.min(from + OUTPUTS))
                .map(|o| &w.data[w.offset + o * w.column..][..k])
                .collect();
            let mut y = vec![T::zero(); x.len() * lines.len()];
            T::dots(x, &lines, &mut y);
            for (i, y) in y.chunks_exact(lines.len()).enumerate() {
                for (out, y) in dst.row(i, from, lines.len()).iter_mut().zip(y) {
                    *out = scale * *y;
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_layouts_equal_the_general_product_in<T: Elem + std::fmt::Debug>() {
        for (rows, n, k) in [
            (1, 1, 1),
            (3, 700, 37),
            (8, 129, 64),
            (16, 65, 6),
            (5, 40, 600),
            (16, 700, 300), // several blocks of columns, several pieces of the sum
        ] {
            let value = |i: usize| T::of(((i * 7919 + 13) % 31) as f64 / 8.0 - 1.5);
            let x: Vec<T> = (0..rows * k).map(value).collect();
            let w: Vec<T> = (0..k * n).map(|i| value(i + 5)).collect();
            let mut turned = vec![T::zero(); k * n];
            for j in 0..k {
                for o in 0..n {
                    turned[o * k + j] = w[j * n + o];
                }
            }
            let mut expected = vec![T::zero(); rows * n];
            let (x, half) = (Mat::new(&x, [rows, k]), T::of(0.5));
            let (w, turned) = (Mat::new(&w, [k, n]), Mat::new(&turned, [n, k]).t());
            x.times(w).scaled(half).write(MatMut::new(&mut expected, n));
            // multiples of 1/128 below 2¹²: exact in f32 too, in any order
            assert_eq!(product(x, w, half), expected);
            assert_eq!(product(x, turned, half), expected);
        }
    }

    #[test]
    fn both_layouts_equal_the_general_product() {
        both_layouts_equal_the_general_product_in::<f64>();
        both_layouts_equal_the_general_product_in::<f32>();
    }
}
