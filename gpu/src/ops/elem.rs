//! The scalar of the CPU kernels: f32 for training, f64 for verification.
//!
//! `exp` and `tanh` of f32 are polynomial forms that the compiler turns into vector code (the C library's are scalar
//! calls); f64 takes the C library's, since there only accuracy counts.
//!
//! # Numerics
//! f32 `exp`: range reduction `x = n ln 2 + r`, |r| ≤ ln 2 / 2, degree-6 polynomial; relative error ≤ 2 ulp over the whole range, 0 below
//! −87.3. `tanh(x)` = 1 − 2/(exp(2|x|) + 1) with the sign of x, and an odd polynomial for |x| < 0.25: absolute error ≤ 2⁻²³.

use candle_core::WithDType;

/// Scalar of a CPU kernel.
pub trait Elem: WithDType + num_traits::Float + std::iter::Sum + Send + Sync {
    /// Exponential.
    fn fexp(self) -> Self;
    /// Hyperbolic tangent.
    fn ftanh(self) -> Self;
    /// Error function.
    fn ferf(self) -> Self;
    /// From f64, rounded.
    fn of(x: f64) -> Self;
    /// `y ← y + Σ_r factors_r lines_r` for vectors of one length.
    #[inline(always)]
    fn add_lines(y: &mut [Self], lines: [&[Self]; 4], factors: [Self; 4]) {
        for (w, f) in lines.iter().zip(factors) {
            for (y, w) in y.iter_mut().zip(*w) {
                *y += f * *w;
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

/// [`Elem::add_lines`] of f32 in the processor's own vectors.
struct AddLines<'a> {
    y: &'a mut [f32],
    lines: [&'a [f32]; 4],
    factors: [f32; 4],
}

impl pulp::WithSimd for AddLines<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) {
        let len = self.y.len();
        let [w0, w1, w2, w3] = self.lines.map(|w| S::as_simd_f32s(&w[..len]));
        let [a, b, c, d] = self.factors.map(|f| simd.splat_f32s(f));
        let (y, y_tail) = S::as_mut_simd_f32s(self.y);
        for ((((y, w0), w1), w2), w3) in y.iter_mut().zip(w0.0).zip(w1.0).zip(w2.0).zip(w3.0) {
            let sum = simd.mul_add_f32s(*w0, a, *y);
            let sum = simd.mul_add_f32s(*w1, b, sum);
            let sum = simd.mul_add_f32s(*w2, c, sum);
            *y = simd.mul_add_f32s(*w3, d, sum);
        }
        for (t, y) in y_tail.iter_mut().enumerate() {
            for (w, f) in [w0.1, w1.1, w2.1, w3.1].iter().zip(self.factors) {
                *y += w[t] * f;
            }
        }
    }
}

/// [`Elem::dots`] of f32, in the processor's own vectors: four rows at a time share each load of a line and run as
/// independent chains of additions.
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
        // adding and taking away 1.5 · 2²³ rounds to the nearest integer and leaves it in the low bits
        const ROUND: f32 = 12_582_912.0;
        let x = if self > 88.7 { 88.7 } else { self };
        let clamped = if x < -87.3 { -87.3 } else { x };
        let shifted = clamped * LOG2E + ROUND;
        let n = shifted - ROUND;
        let r = (clamped - n * LN2_HI) - n * LN2_LO;
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
        libm_erf(f64::from(self)) as f32
    }

    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }

    #[inline(always)]
    fn add_lines(y: &mut [Self], lines: [&[Self]; 4], factors: [Self; 4]) {
        pulp::Arch::new().dispatch(AddLines { y, lines, factors });
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
        libm_erf(self)
    }

    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }
}

fn libm_erf(x: f64) -> f64 {
    libm::erf(x)
}

/// Runs a loop with the widest vector instructions of the processor it finds itself on.
#[inline(always)]
pub fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Sum in 16 lanes, so that it vectorises; the order is fixed, so the result is reproducible.
#[inline(always)]
pub fn sum<T: Elem>(x: &[T]) -> T {
    let mut lanes = [T::zero(); 16];
    let chunks = x.chunks_exact(16);
    let tail: T = chunks.remainder().iter().copied().sum();
    for c in chunks {
        for i in 0..16 {
            lanes[i] += c[i];
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
    fn f32_exp_has_its_limits() {
        assert_eq!(f32::NEG_INFINITY.fexp(), 0.0);
        assert_eq!((-100.0_f32).fexp(), 0.0);
        assert_eq!(0.0_f32.fexp(), 1.0);
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
