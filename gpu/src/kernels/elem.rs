//! The scalar of the CPU kernels: f32 for training, f64 for verification.
//!
//! `exp` and `tanh` of f32 are polynomial forms that the compiler turns into vector code (the C
//! library's are scalar calls); f64 takes the C library's, since there only accuracy counts.
//!
//! # Numerics
//! f32 `exp`: range reduction `x = n ln 2 + r`, |r| ≤ ln 2 / 2, degree-6 polynomial; relative error
//! ≤ 2 ulp over the whole range, 0 below −87.3. `tanh(x)` = 1 − 2/(exp(2|x|) + 1) with the sign of
//! x, and an odd polynomial for |x| < 0.25: absolute error ≤ 2⁻²³.

use super::prefetch::prefetch;
use candle_core::WithDType;
use std::ops::Range;

/// Scalar of a CPU kernel.
pub trait Elem: WithDType + num_traits::Float + std::iter::Sum + Send + Sync {
    /// Exponential. In f32 it is 0 below −87.3 and stays at e^88.7 above 88.7.
    fn fexp(self) -> Self;
    /// Hyperbolic tangent.
    fn ftanh(self) -> Self;
    /// Error function.
    fn ferf(self) -> Self;
    /// From f64, rounded.
    fn of(x: f64) -> Self;
    /// The elements, if they are of f32.
    fn singles(_: &[Self]) -> Option<&[f32]> {
        None
    }
    /// `y += x W`: `y` is [rows, len], row i of x is `x[i]`, and line j of W is
    /// `w[j * stride..][..len]`, one for each element of a row of x.
    #[inline(always)]
    fn add_lines(y: &mut [Self], len: usize, x: &[&[Self]], w: &[Self], stride: usize) {
        for (x, y) in x.iter().zip(y.chunks_exact_mut(len)) {
            for (j, x) in x.iter().enumerate() {
                for (y, w) in y.iter_mut().zip(&w[j * stride..][..len]) {
                    *y = w.mul_add(*x, *y);
                }
            }
        }
    }
    /// `out[i, o] = ⟨rows_i, lines_o⟩` for vectors of one length; `out` is [rows, lines].
    fn dots(rows: &[&[Self]], lines: &[&[Self]], out: &mut [Self]) {
        simd(
            #[inline(always)]
            || {
                for (x, out) in rows.iter().zip(out.chunks_exact_mut(lines.len().max(1))) {
                    for (w, y) in lines.iter().zip(out) {
                        *y = dot(x, w);
                    }
                }
            },
        );
    }
}

/// Lines of W that a tile of sums goes through before the next tile does: so few that the processor
/// follows each of them as it is read.
const LINES: usize = 8;

/// [`Elem::add_lines`] of f32 in the processor's own vectors: the sums of up to eight rows in two
/// vectors of columns stay in registers while [`LINES`] lines of W go by, each loaded once for all
/// rows.
struct AddLines<'a> {
    y: &'a mut [f32],
    len: usize,
    x: &'a [&'a [f32]],
    w: &'a [f32],
    stride: usize,
}

impl AddLines<'_> {
    /// Columns from `at` on, `C` vectors of them, and the lines of a range.
    #[inline(always)]
    fn columns<S: pulp::Simd, const C: usize>(&mut self, simd: S, at: usize, lines: &Range<usize>) {
        let mut i = 0;
        while i + 8 <= self.x.len() {
            self.tile::<S, 8, C>(simd, i, at, lines);
            i += 8;
        }
        while i + 4 <= self.x.len() {
            self.tile::<S, 4, C>(simd, i, at, lines);
            i += 4;
        }
        while i < self.x.len() {
            self.tile::<S, 1, C>(simd, i, at, lines);
            i += 1;
        }
    }

    /// The sums of rows `i .. i + R`.
    #[inline(always)]
    fn tile<S: pulp::Simd, const R: usize, const C: usize>(
        &mut self,
        simd: S,
        i: usize,
        at: usize,
        lines: &Range<usize>,
    ) {
        let (width, len) = (C * S::F32_LANES, self.len);
        let x: [&[f32]; R] = std::array::from_fn(|r| &self.x[i + r][lines.clone()]);
        let mut sums: [[S::f32s; C]; R] = std::array::from_fn(|r| {
            let row = S::as_simd_f32s(&self.y[(i + r) * len + at..][..width]).0;
            std::array::from_fn(|c| row[c])
        });
        for j in 0..lines.len() {
            let from = (lines.start + j) * self.stride + at;
            // the same columns of the lines that come next: without it the processor waits for
            // memory a fifth of the time
            for c in 0..C {
                prefetch(self.w, from + LINES * self.stride + c * S::F32_LANES);
            }
            let line = S::as_simd_f32s(&self.w[from..][..width]).0;
            let line: [S::f32s; C] = std::array::from_fn(|c| line[c]);
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = simd.splat_f32s(x[j]);
                for (sum, w) in sums.iter_mut().zip(line) {
                    *sum = simd.mul_add_f32s(w, x, *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let row = S::as_mut_simd_f32s(&mut self.y[(i + r) * len + at..][..width]).0;
            row.copy_from_slice(&sums);
        }
    }
}

impl pulp::WithSimd for AddLines<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(mut self, simd: S) {
        let count = self.x.first().map_or(0, |x| x.len());
        for from in (0..count).step_by(LINES) {
            let lines = from..count.min(from + LINES);
            let mut at = 0;
            while at + 2 * S::F32_LANES <= self.len {
                self.columns::<S, 2>(simd, at, &lines);
                at += 2 * S::F32_LANES;
            }
            while at + S::F32_LANES <= self.len {
                self.columns::<S, 1>(simd, at, &lines);
                at += S::F32_LANES;
            }
            for (x, y) in self.x.iter().zip(self.y.chunks_exact_mut(self.len)) {
                for j in lines.clone() {
                    let line = &self.w[j * self.stride..][at..self.len];
                    for (y, w) in y[at..].iter_mut().zip(line) {
                        *y = w.mul_add(x[j], *y);
                    }
                }
            }
        }
    }
}

/// [`Elem::dots`] of f32, in the processor's own vectors: four rows at a time share each load of a
/// line and run as independent chains of additions.
struct Dots<'a> {
    rows: &'a [&'a [f32]],
    lines: &'a [&'a [f32]],
    out: &'a mut [f32],
}

impl pulp::WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        let count = self.lines.len();
        for (o, line) in self.lines.iter().enumerate() {
            let (w, w_tail) = S::as_simd_f32s(line);
            let tail = |x: &[f32]| -> f32 {
                let x = &x[line.len() - w_tail.len()..];
                x.iter().zip(w_tail).map(|(x, w)| x * w).sum()
            };
            let mut i = 0;
            while i + 4 <= self.rows.len() {
                let x: [&[f32]; 4] = std::array::from_fn(|r| &self.rows[i + r][..line.len()]);
                let [x0, x1, x2, x3] = x.map(|x| S::as_simd_f32s(x).0);
                let zero = simd.splat_f32s(0.0);
                let (mut a, mut b, mut c, mut d) = (zero, zero, zero, zero);
                for ((((w, x0), x1), x2), x3) in w.iter().zip(x0).zip(x1).zip(x2).zip(x3) {
                    a = simd.mul_add_f32s(*x0, *w, a);
                    b = simd.mul_add_f32s(*x1, *w, b);
                    c = simd.mul_add_f32s(*x2, *w, c);
                    d = simd.mul_add_f32s(*x3, *w, d);
                }
                for (r, sum) in [a, b, c, d].into_iter().enumerate() {
                    self.out[(i + r) * count + o] = simd.reduce_sum_f32s(sum) + tail(x[r]);
                }
                i += 4;
            }
            while i < self.rows.len() {
                self.out[i * count + o] = dot(self.rows[i], line);
                i += 1;
            }
        }
    }
}

impl Elem for f32 {
    #[inline(always)]
    fn fexp(self) -> Self {
        const LOG2E: f32 = std::f32::consts::LOG2_E;
        const LN2_HI: f32 = 0.693_359_4;
        const LN2_LO: f32 = -2.121_944_4e-4;
        // adding and taking away 1.5 · 2²³ rounds to the nearest integer and leaves it in the low
        // bits
        const ROUND: f32 = 12_582_912.0;
        let x = if self > 88.7 { 88.7 } else { self };
        let shifted = x * LOG2E + ROUND;
        let n = shifted - ROUND;
        let r = (x - n * LN2_HI) - n * LN2_LO;
        let p = 1.987_569_1e-4_f32;
        let p = p * r + 1.398_199_9e-3;
        let p = p * r + 8.333_452e-3;
        let p = p * r + 4.166_579_6e-2;
        let p = p * r + 1.666_666_5e-1;
        let p = p * r + 0.5;
        let value = p * r * r + r + 1.0;
        let power = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
        // 2^n in two factors, since n reaches 128
        let half = power >> 1;
        let first = f32::from_bits(((half + 127) << 23) as u32);
        let second = f32::from_bits(((power - half + 127) << 23) as u32);
        let result = value * first * second;
        if x < -87.3 {
            0.0
        } else if self.is_nan() {
            self
        } else {
            result
        }
    }

    #[inline(always)]
    fn ftanh(self) -> Self {
        let a = self.abs();
        let big = 1.0 - 2.0 / ((a + a).fexp() + 1.0);
        let s = self * self;
        let p = -0.053_968_254_f32; // −17/315
        let p = p * s + 0.133_333_33;
        let p = p * s - 0.333_333_34;
        let small = self + self * s * p;
        if a < 0.2 { small } else { big.copysign(self) }
    }

    #[inline(always)]
    fn ferf(self) -> Self {
        libm::erf(f64::from(self)) as f32
    }

    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }

    fn singles(x: &[Self]) -> Option<&[f32]> {
        Some(x)
    }

    #[inline(always)]
    fn add_lines(y: &mut [Self], len: usize, x: &[&[Self]], w: &[Self], stride: usize) {
        pulp::Arch::new().dispatch(AddLines {
            y,
            len,
            x,
            w,
            stride,
        });
    }

    fn dots(rows: &[&[Self]], lines: &[&[Self]], out: &mut [Self]) {
        pulp::Arch::new().dispatch(Dots { rows, lines, out });
    }
}

impl Elem for f64 {
    #[inline(always)]
    fn fexp(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn ftanh(self) -> Self {
        self.tanh()
    }

    #[inline(always)]
    fn ferf(self) -> Self {
        libm::erf(self)
    }

    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }
}

/// Runs a loop with the widest vector instructions of the processor it finds itself on.
#[inline(always)]
pub fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Sum in 16 lanes, so that it vectorises; the order is fixed, so the result is reproducible.
#[inline(always)]
pub fn sum<T: Elem>(x: &[T]) -> T {
    sum_of(
        x,
        #[inline(always)]
        |v| v,
    )
}

/// [`sum`] of a function of each element; give it an `#[inline(always)]` closure.
#[inline(always)]
pub fn sum_of<T: Elem>(x: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::zero(); 16];
    let chunks = x.chunks_exact(16);
    let mut tail = T::zero();
    for v in chunks.remainder() {
        tail += f(*v);
    }
    for c in chunks {
        for i in 0..16 {
            lanes[i] += f(c[i]);
        }
    }
    lanes.iter().copied().sum::<T>() + tail
}

/// Inner product in 16 lanes.
#[inline(always)]
pub fn dot<T: Elem>(x: &[T], y: &[T]) -> T {
    let mut lanes = [T::zero(); 16];
    let (cx, cy) = (x.chunks_exact(16), y.chunks_exact(16));
    let tail: T = cx
        .remainder()
        .iter()
        .zip(cy.remainder())
        .map(|(a, b)| *a * *b)
        .sum();
    for (a, b) in cx.zip(cy) {
        for i in 0..16 {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().copied().sum::<T>() + tail
}

/// Largest element, −∞ for none.
#[inline(always)]
pub fn max<T: Elem>(x: &[T]) -> T {
    let mut lanes = [T::neg_infinity(); 16];
    let chunks = x.chunks_exact(16);
    let mut best = T::neg_infinity();
    for v in chunks.remainder() {
        best = if *v > best { *v } else { best };
    }
    for c in chunks {
        for i in 0..16 {
            lanes[i] = if c[i] > lanes[i] { c[i] } else { lanes[i] };
        }
    }
    for v in lanes {
        best = if v > best { v } else { best };
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_exp_is_within_two_ulp_and_tanh_within_two_to_minus_23() {
        let (mut worst_exp, mut worst_tanh) = (0.0_f64, 0.0_f64);
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            worst_exp = worst_exp
                .max((f64::from(x.fexp()) - exact).abs() / exact / f64::from(f32::EPSILON));
            worst_tanh = worst_tanh.max((f64::from(x.ftanh()) - f64::from(x).tanh()).abs());
        }
        assert!(worst_exp <= 2.0, "exp: {worst_exp} ulp");
        assert!(
            worst_tanh <= f64::from(f32::EPSILON),
            "tanh: {worst_tanh:e}"
        );
    }

    #[test]
    fn f32_tanh_keeps_its_digits_near_zero() {
        for i in 1..4_000 {
            let x = i as f32 * 5e-5; // to 0.2, where the series ends
            let exact = f64::from(x).tanh();
            let error = (f64::from(x.ftanh()) - exact).abs() / exact;
            assert!(error <= 4.0 * f64::from(f32::EPSILON), "{x}: {error:e}");
            assert_eq!((-x).ftanh(), -x.ftanh());
        }
    }

    #[test]
    fn f32_exp_has_its_limits() {
        assert_eq!(f32::NEG_INFINITY.fexp(), 0.0);
        assert_eq!((-100.0_f32).fexp(), 0.0);
        assert_eq!((-1e30_f32).fexp(), 0.0);
        assert_eq!(0.0_f32.fexp(), 1.0);
        assert_eq!(1e4_f32.fexp(), 88.7_f32.fexp());
        assert!(f32::NAN.fexp().is_nan());
        assert_eq!(50.0_f32.ftanh(), 1.0);
        assert_eq!((-50.0_f32).ftanh(), -1.0);
    }

    #[test]
    fn lane_reductions_equal_plain_ones() {
        let x: Vec<f64> = (0..37).map(|i| f64::from(i) * 0.5 - 3.0).collect();
        assert_eq!(sum(&x), x.iter().sum::<f64>());
        assert_eq!(max(&x), 15.0);
        assert_eq!(dot(&x, &x), x.iter().map(|v| v * v).sum::<f64>());
    }
}
