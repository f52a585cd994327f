//! Products of matrices: the `gemm` crate's kernel behind a checked call, and the writes of many
//! threads into one buffer at places that do not overlap (a head's columns of each row, which no
//! safe slice can name).
//!
//! ```text
//! a.times(b).write(c)                      c ← a b
//! a.times(b).scaled(s).add_to(c)           c ← c + s · a b
//! a.times(b.t()).in_parallel().to_vec()    a bᵀ as a new matrix, by all threads of the pool
//! ```
#![allow(unsafe_code)]

use super::bf16;
use super::elem::Elem;
use super::matrix::Destination;
pub use super::matrix::Mat;
use super::threads::{for_tasks, parallel};
use std::marker::PhantomData;

impl<'a, T: Elem> Mat<'a, T> {
    /// The product with `right`, which nothing has computed yet.
    ///
    /// Panics when the shapes do not fit.
    pub fn times(self, right: Self) -> Product<'a, T> {
        assert_eq!(self.shape[1], right.shape[0], "gemm: shapes do not fit");
        Product {
            left: self,
            right,
            scale: T::one(),
            parallel: false,
            in_bf16: false,
        }
    }
}

/// A buffer that several threads write at places which do not overlap.
#[derive(Clone, Copy)]
pub struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    buffer: PhantomData<&'a mut [T]>,
}

// SAFETY: what uses the pointer, `part`, `at` and the products that write through a `MatMut`, can
// be called within this crate alone, whose parallel loops give every thread places of its own.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Borrows the buffer for the time of a parallel loop.
    pub(crate) fn new(buffer: &'a mut [T]) -> Self {
        Self {
            start: buffer.as_mut_ptr(),
            len: buffer.len(),
            buffer: PhantomData,
        }
    }

    /// `len` elements from `from` on.
    ///
    /// Panics when they are not inside the buffer. The kernels of this crate give every thread its
    /// own rows or its own head's columns, so that no element is handed out twice at a time.
    #[allow(clippy::mut_from_ref)]
    pub(crate) fn part(&self, from: usize, len: usize) -> &'a mut [T] {
        assert!(
            from.checked_add(len).is_some_and(|end| end <= self.len),
            "part outside the buffer"
        );
        // SAFETY: inside the buffer (checked), exclusively borrowed for 'a, and disjoint by the
        // callers' partition.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

impl<T> Shared<'_, T> {
    /// The address of an element, which must be inside the buffer.
    fn at(&self, i: usize) -> *mut T {
        debug_assert!(i < self.len);
        self.start.wrapping_add(i)
    }
}

/// A strided destination.
#[derive(Clone, Copy)]
pub struct MatMut<'a, T> {
    /// Storage.
    pub(crate) data: Shared<'a, T>,
    /// Index of element (0, 0).
    pub offset: usize,
    /// Distance between rows.
    pub row: usize,
}

impl<'a, T> MatMut<'a, T> {
    /// A contiguous matrix with `columns` columns.
    pub fn new(data: &'a mut [T], columns: usize) -> Self {
        Self::strided(Shared::new(data), 0, columns)
    }

    /// Rows of `stride` elements starting at `offset` of a shared buffer.
    pub(crate) fn strided(data: Shared<'a, T>, offset: usize, stride: usize) -> Self {
        Self {
            data,
            offset,
            row: stride,
        }
    }

    /// `len` elements of row i from column `from` on. Panics when they are not inside the buffer.
    pub(super) fn row(&self, i: usize, from: usize, len: usize) -> &'a mut [T] {
        self.data.part(self.offset + i * self.row + from, len)
    }
}

/// `scale · a b` for `a` [m, k], `b` [k, n], to be written somewhere.
#[derive(Clone, Copy)]
pub struct Product<'a, T> {
    left: Mat<'a, T>,
    right: Mat<'a, T>,
    scale: T,
    parallel: bool,
    in_bf16: bool,
}

impl<T: Elem> Product<'_, T> {
    /// The same product, scaled.
    pub fn scaled(self, scale: T) -> Self {
        Self { scale, ..self }
    }

    /// The same product by all threads of the current pool instead of the calling one.
    pub fn in_parallel(self) -> Self {
        Self {
            parallel: true,
            ..self
        }
    }

    /// The same product with both operands rounded to bf16, or not. Sums stay as they are.
    pub fn in_bf16(self, in_bf16: bool) -> Self {
        Self { in_bf16, ..self }
    }

    /// `dst ← scale · a b`.
    ///
    /// Panics when an operand or the destination is too short.
    pub fn write(self, dst: MatMut<'_, T>) {
        self.run(dst, false);
    }

    /// `dst ← dst + scale · a b`.
    ///
    /// Panics when an operand or the destination is too short.
    pub fn add_to(self, dst: MatMut<'_, T>) {
        self.run(dst, true);
    }

    /// As a new matrix [m, n]: no pass over its memory before the product writes it.
    ///
    /// Panics when an operand is too short.
    pub fn to_vec(self) -> Vec<T> {
        let [m, n, k] = self.sizes();
        if m * n == 0 || k == 0 {
            return vec![T::zero(); m * n];
        }
        let mut out: Vec<T> = Vec::with_capacity(m * n);
        // SAFETY: the buffer holds m · n elements, rows of n do not overlap, and a product that
        // does not add writes every element without reading it; only then are they counted as
        // there.
        unsafe {
            self.multiply(out.as_mut_ptr(), n, false);
            out.set_len(m * n);
        }
        out
    }

    /// The product [m, n] of operands that are rounded to bf16 beforehand.
    pub(super) fn by_rounding(&self) -> Vec<T> {
        let [m, n, k] = self.sizes();
        let [mut a, b] = [self.left, self.right].map(bf16::rounded);
        if m == 1 {
            // the kernel sums a row that is alone in another order than one among others
            a.extend_from_within(..);
        }
        let product = Mat::new(&a, [a.len() / k, k]).times(Mat::new(&b, [k, n]));
        let mut product = product.scaled(self.scale);
        product.parallel = self.parallel;
        let mut product = product.to_vec();
        product.truncate(m * n);
        product
    }

    fn sizes(&self) -> [usize; 3] {
        [self.left.shape[0], self.right.shape[1], self.left.shape[1]]
    }

    fn run(self, dst: MatMut<'_, T>, add: bool) {
        let [m, n, k] = self.sizes();
        if m == 0 || n == 0 {
            return;
        }
        let end = dst.offset + (m - 1) * dst.row + n - 1;
        assert!(
            end < dst.data.len && (m == 1 || dst.row >= n),
            "gemm: destination outside its buffer"
        );
        if k == 0 {
            if !add {
                for i in 0..m {
                    dst.row(i, 0, n).fill(T::zero());
                }
            }
            return;
        }
        // SAFETY: the last element of the destination is inside its buffer (checked above), so all
        // are, strides being non-negative; it does not overlap itself (row ≥ n) nor the operands
        // (borrow rules).
        unsafe {
            self.multiply(dst.data.start.add(dst.offset), dst.row, add);
        }
    }

    /// Divides the product among threads. Panics when an operand is too short.
    ///
    /// # Safety
    /// `dst` may be written at i · row + j for all i < m, j < n; m, n, k are not 0; rows do not
    /// overlap each other nor the operands; with `add` they are initialised.
    unsafe fn multiply(&self, dst: *mut T, row: usize, add: bool) {
        assert!(
            self.left.fits() && self.right.fits(),
            "gemm: operand outside its buffer"
        );
        if self.in_bf16 && !bf16::serves::<T>() {
            let product = self.by_rounding();
            for (i, line) in product.chunks_exact(self.right.shape[1]).enumerate() {
                for (j, x) in line.iter().enumerate() {
                    // SAFETY: the caller's promise.
                    unsafe {
                        let y = dst.add(i * row + j);
                        *y = if add { *y + *x } else { *x };
                    }
                }
            }
            return;
        }
        let [m, n, k] = self.sizes();
        let (rows, columns) = if self.parallel && parallel() && m * n * k > 32_768 {
            grid(m, n, rayon::current_num_threads())
        } else {
            (m, n)
        };
        let across = n.div_ceil(columns);
        let dst = Shared {
            start: dst,
            len: (m - 1) * row + n,
            buffer: PhantomData,
        };
        let piece = |task: usize| {
            let (i, j) = (task / across * rows, task % across * columns);
            let (rows, columns) = (rows.min(m - i), columns.min(n - j));
            let a = self.left.block([i, 0], [rows, k]);
            let b = self.right.block([0, j], [k, columns]);
            let at = dst.at(i * row + j);
            // SAFETY: the last element of each operand is inside its buffer (checked), so all are;
            // the destination by the caller's promise, and the pieces of the grid do not overlap.
            unsafe {
                match self.in_bf16 {
                    true => bf16::multiply([a, b], Destination { at, row, add }, self.scale),
                    false => apart([a, b], Destination { at, row, add }, self.scale),
                }
            }
        };
        match across * m.div_ceil(rows) {
            1 => piece(0),
            count => for_tasks(count, || (), |(), task| piece(task)),
        }
    }
}

/// Bytes after which an address falls into the same set of a first-level cache again.
const SAME_SET: usize = 4096;

/// How much of the depth is moved apart at a time: what the kernel itself sums at a time.
const DEPTH: usize = 512;

/// Elements between two columns that were moved apart, beside the column: a line of a cache.
const GAP: usize = 16;

/// The product of [`general`]. Where the right operand's columns lie a multiple of [`SAME_SET`]
/// bytes apart (a weight of 3,072 inputs, by columns), the 64 of them that the kernel reads side by
/// side would meet one set of the cache: they are copied a little further apart, part by part.
/// Without it such a product took 1.2 to 1.3 times as long.
///
/// # Safety
/// As [`general`].
unsafe fn apart<T: Elem>([a, b]: [Mat<'_, T>; 2], dst: Destination<T>, scale: T) {
    let [m, k] = a.shape;
    let n = b.shape[1];
    if b.row != 1 || !(b.column * size_of::<T>()).is_multiple_of(SAME_SET) {
        // SAFETY: the caller's promise.
        return unsafe { general([a, b], dst, scale) };
    }
    let mut moved = Vec::with_capacity(n * (DEPTH.min(k) + GAP));
    for from in (0..k).step_by(DEPTH) {
        let depth = DEPTH.min(k - from);
        moved.clear();
        for j in 0..n {
            let start = b.offset + j * b.column + from;
            moved.extend_from_slice(&b.data[start..start + depth]);
            moved.resize(moved.len() + GAP, T::zero());
        }
        let part = Mat::strided(&moved, [n, depth], 0, depth + GAP).t();
        let add = dst.add || from > 0;
        // SAFETY: the caller's promise; from the second part on the first has written every
        // element.
        unsafe {
            general(
                [a.block([0, from], [m, depth]), part],
                Destination { add, ..dst },
                scale,
            )
        };
    }
}

/// `dst ← [dst +] scale · a b` by the `gemm` crate.
///
/// # Safety
/// All elements of the operands are inside their buffers; every element of the destination may be
/// written, and with `add` is there to be read; none is shared with another thread or an operand.
unsafe fn general<T: Elem>([a, b]: [Mat<'_, T>; 2], dst: Destination<T>, scale: T) {
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            a.shape[0],
            b.shape[1],
            a.shape[1],
            dst.at,
            1,
            dst.row as isize,
            dst.add,
            a.data.as_ptr().add(a.offset),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr().add(b.offset),
            b.column as isize,
            b.row as isize,
            T::one(),
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Rows and columns of a thread's piece of a product [m, n]: columns are divided first, since then
/// no thread prepares a part of the right operand (the weight) that another needs as well, and rows
/// where a piece would have fewer than 128 columns. No piece is so narrow that the kernel would sum
/// in another order, so results do not depend on the number of threads.
///
/// The kernel's own division packs the right operand by both threads together: on two cores, for
/// 454 rows, this one is 1.0 to 1.5 times as fast, most for a transposed weight with few columns.
fn grid(m: usize, n: usize, threads: usize) -> (usize, usize) {
    let across = threads.min((n / 128).max(1));
    let down = (threads / across).min((m / 64).max(1));
    let even = n.div_ceil(across);
    // whole blocks of the kernel, which is 64 wide, unless that leaves too little for the last
    // piece
    let blocks = even.next_multiple_of(64);
    let columns = match n.checked_sub((across - 1) * blocks) {
        Some(last) if last >= 64 => blocks,
        _ => even,
    };
    (m.div_ceil(down), columns.min(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gemm_multiplies_adds_scales_and_transposes() {
        let a = [1.0_f64, 2.0, 3.0, 4.0, 5.0, 6.0]; // [2, 3]
        let b = [1.0_f64, 0.0, 0.0, 1.0, 1.0, 1.0]; // [3, 2]
        let (a, b) = (Mat::new(&a, [2, 3]), Mat::new(&b, [3, 2]));
        let mut c = [10.0_f64; 4];
        a.times(b).scaled(2.0).add_to(MatMut::new(&mut c, 2));
        assert_eq!(c, [18.0, 20.0, 30.0, 32.0]);
        let mut d = [7.0_f64; 9];
        a.t().times(a).write(MatMut::new(&mut d, 3));
        assert_eq!(d, [17.0, 22.0, 27.0, 22.0, 29.0, 36.0, 27.0, 36.0, 45.0]);
        assert_eq!(a.times(b).scaled(0.5).to_vec(), [2.0, 2.5, 5.0, 5.5]);
        let nothing = Mat::strided(a.data, [2, 0], 0, 3).times(Mat::strided(b.data, [0, 1], 0, 2));
        assert_eq!(nothing.to_vec(), [0.0; 2]);
    }

    /// Columns that lie in one set of the cache, deeper than is moved apart at a time: whole
    /// numbers, so that the sums are exact in any order.
    #[test]
    fn columns_that_are_moved_apart_give_the_same_product() {
        let whole = |i: usize| (i * 7919 % 17) as f32 - 8.0;
        let (m, n, k, stride) = (3, 70, 2 * DEPTH + 5, 2048);
        assert!((stride * size_of::<f32>()).is_multiple_of(SAME_SET));
        let a: Vec<f32> = (0..m * k).map(whole).collect();
        let b: Vec<f32> = (0..n * stride).map(|i| whole(i + 3)).collect();
        let b = Mat::strided(&b, [n, k], 9, stride).t();
        for (scale, add) in [(1.0, false), (0.5, true)] {
            let mut c = vec![2.0; m * n];
            let product = Mat::new(&a, [m, k]).times(b).scaled(scale);
            match add {
                true => product.add_to(MatMut::new(&mut c, n)),
                false => product.write(MatMut::new(&mut c, n)),
            }
            for (place, found) in c.iter().enumerate() {
                let (i, j) = (place / n, place % n);
                let one = |l: usize| a[i * k + l] * b.data[9 + j * stride + l];
                let sum: f32 = (0..k).map(one).sum();
                let before = if add { 2.0 } else { 0.0 };
                assert_eq!(*found, before + scale * sum, "({i}, {j})");
            }
        }
    }

    #[test]
    fn products_of_nothing_leave_zeros_or_what_was_there() {
        let x = [1.0_f64; 6];
        let of = |m, n, k| Mat::strided(&x, [m, k], 0, 3).times(Mat::strided(&x, [k, n], 0, 2));
        let run = |m, n, k, add| {
            let mut c = [7.0_f64; 8];
            let dst = MatMut::strided(Shared::new(&mut c), 1, 4);
            match add {
                true => of(m, n, k).add_to(dst),
                false => of(m, n, k).write(dst),
            }
            c
        };
        assert_eq!(run(0, 2, 3, false), [7.0; 8]);
        assert_eq!(run(2, 0, 3, false), [7.0; 8]);
        assert_eq!(run(2, 2, 0, true), [7.0; 8]);
        let zeros = [7.0, 0.0, 0.0, 7.0, 7.0, 0.0, 0.0, 7.0];
        assert_eq!(run(2, 2, 0, false), zeros);
        for (m, n) in [(0, 2), (2, 0)] {
            assert!(of(m, n, 3).to_vec().is_empty());
        }
    }

    #[test]
    #[should_panic(expected = "gemm: shapes do not fit")]
    fn operands_of_shapes_that_do_not_fit_are_refused() {
        let x = [1.0_f64; 6];
        let _ = Mat::new(&x, [2, 3]).times(Mat::new(&x, [2, 3]));
    }

    #[test]
    #[should_panic(expected = "gemm: destination outside its buffer")]
    fn a_destination_that_is_too_short_is_refused() {
        let (x, mut c) = ([1.0_f64; 6], [0.0_f64; 5]);
        let dst = MatMut::strided(Shared::new(&mut c), 0, 4); // the second row ends at 6
        Mat::new(&x, [2, 3]).times(Mat::new(&x, [3, 2])).write(dst);
    }

    #[test]
    #[should_panic(expected = "gemm: operand outside its buffer")]
    fn an_operand_that_is_too_short_is_refused() {
        let x = [1.0_f64; 5];
        let _ = Mat::new(&x, [3, 2])
            .t()
            .times(Mat::new(&[1.0; 6], [3, 2]))
            .to_vec();
    }

    /// The pieces that threads compute are together the product, and the bits are those of one
    /// thread.
    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let value = |i: usize| ((i * 7919 % 1013) as f32 - 500.0) / 97.0;
        for (m, n, k) in [
            (37, 300, 50),
            (200, 17, 40),
            (3, 1000, 33),
            (129, 129, 300),
            (70, 385, 90),
        ] {
            let a: Vec<f32> = (0..m * k).map(value).collect();
            let b: Vec<f32> = (0..n * k).map(|i| value(i + 5)).collect();
            for right in [Mat::new(&b, [k, n]), Mat::new(&b, [n, k]).t()] {
                let product = Mat::new(&a, [m, k]).times(right).scaled(0.7);
                let once = product.to_vec();
                for threads in [2, 3, 16] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                    let found = pool
                        .build()
                        .unwrap()
                        .install(|| product.in_parallel().to_vec());
                    assert!(found == once, "[{m}, {n}, {k}], {threads} threads");
                }
            }
        }
    }

    #[test]
    #[ignore = "a control of verify/checks/valgrind.sh: memcheck has to see the read"]
    fn an_element_beyond_the_end_is_read() {
        let buffer: Box<[u64]> = Box::new([1; 8]);
        let end = std::hint::black_box(buffer.as_ptr());
        // SAFETY: none, on purpose.
        let beyond = unsafe { end.add(buffer.len()).read_volatile() };
        assert_ne!(beyond.wrapping_add(1), beyond);
    }

    #[test]
    #[ignore = "a control of verify/checks/races.sh: ThreadSanitizer has to see the two writers"]
    fn two_threads_write_one_number() {
        let mut numbers = vec![0_u64; 8];
        let shared = Shared::new(&mut numbers);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                // SAFETY: none, on purpose.
                scope.spawn(move || unsafe { shared.at(3).write_volatile(thread) });
            }
        });
        assert!(numbers[3] < 2);
    }

    #[test]
    fn pieces_cover_a_product_and_are_no_more_than_the_threads() {
        for m in [1, 15, 16, 454, 3000] {
            for n in [1, 64, 127, 129, 768, 50257] {
                for threads in 1..20 {
                    let (rows, columns) = grid(m, n, threads);
                    assert!((1..=m).contains(&rows) && (1..=n).contains(&columns));
                    assert!(m.div_ceil(rows) * n.div_ceil(columns) <= threads);
                }
            }
        }
        assert_eq!(grid(454, 768, 2), (454, 384));
        assert_eq!(grid(454, 64, 2), (227, 64));
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn gemm_refuses_an_operand_that_is_too_short() {
        let mut c = [0.0_f64; 4];
        let (a, b) = ([0.0; 5], [0.0; 6]);
        let product = Mat::new(&a, [2, 3]).times(Mat::new(&b, [3, 2]));
        product.write(MatMut::new(&mut c, 2));
    }
}
