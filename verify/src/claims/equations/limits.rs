//! Inequalities and limits of the estimator and of λ (§4.1; Eq. 7).

use crate::bounds::{Traced, record};
use crate::cases::{Corner, Head};
use crate::engines::candle::array;
use crate::engines::{Candle, Engine as _, Present, Target, candles};
use crate::{Case, Claim, Result, Tolerance};
use inducer_gpu::ops::attention::{Heads, Rows, Visible, attention};
use inducer_gpu::ops::dropout::Dropout;
use inducer_gpu::{Tape, Value};
use inducer_reference::attention::{attend, shifted_kernel};
use inducer_reference::inducer::lambda;
use inducer_reference::kernel::scores;
use inducer_reference::nadaraya_watson::estimate;
use inducer_reference::{DoubleDouble, Real};
use ndarray::{Array1, Array2};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    vec![
        Claim::new("nw-hull")
            .on_one_sided(Target::ReferenceF64, hull::<f64>)
            .on_one_sided(Target::ReferenceF32, hull::<f32>)
            .on_each_one_sided(candles(present), hull_of),
        Claim::new("nw-limits")
            .on_one_sided(Target::DoubleDouble, limits::<DoubleDouble>)
            .on_one_sided(Target::ReferenceF64, limits::<f64>),
        Claim::new("eq07-lambda-range")
            .on_one_sided(Target::DoubleDouble, range::<DoubleDouble>)
            .on_one_sided(Target::ReferenceF64, range::<f64>),
    ]
}

/// The least and the greatest of the visible values.
fn hull_edges(seen: impl Iterator<Item = f64>) -> [f64; 2] {
    seen.fold(
        [f64::INFINITY, f64::NEG_INFINITY],
        |[least, greatest], v| [least.min(v), greatest.max(v)],
    )
}

/// A value of query i, coordinate a, lies between the edges of its hull.
fn inside(
    case: &mut Case,
    value: f64,
    [least, greatest]: [f64; 2],
    tolerance: &Tolerance,
    [i, a]: [usize; 2],
) {
    case.at_least(value, least, tolerance, || {
        format!("query {i}, coordinate {a}, from below")
    });
    case.at_least(greatest, value, tolerance, || {
        format!("query {i}, coordinate {a}, from above")
    });
}

/// f lies between the least and the greatest visible value. In the control it is scaled away from
/// the middle by 1 + 1e-3.
fn hull<T: Real>(case: &mut Case) -> Result<()> {
    let plain = Head::random(&mut case.draw);
    let head = plain.lift::<T>();
    let (f, c) = (
        attend(&head.q, &head.k, &head.v, &head.visible).f,
        head.v.ncols(),
    );
    let (traced, trace) = record(|| {
        let head = plain.lift::<Traced>();
        attend(&head.q, &head.k, &head.v, &head.visible).f
    });
    let bounds = trace.conditioning(&traced.iter().copied().collect::<Vec<_>>());
    let stretch = case.or_control(0.0, 1e-3);
    for i in 0..f.nrows() {
        for a in 0..c {
            let seen = head.visible.of(i).map(|j| head.v[[j, a]].to_f64());
            let [least, greatest] = hull_edges(seen);
            let value = f[[i, a]].to_f64()
                + stretch * (f[[i, a]].to_f64() - (least + greatest) / 2.0)
                + stretch * (greatest - least + 1.0);
            let tolerance = Tolerance::rounding(bounds[i * c + a], T::unit_roundoff(), 0.0);
            inside(case, value, [least, greatest], &tolerance, [i, a]);
        }
    }
    Ok(())
}

/// The same of the engine's attention: one head, every query seeing its own and earlier points.
/// Weights that sum to 1 only up to n + 2 roundings leave the hull by that share of the greatest
/// value.
fn hull_of(engine: &Candle, case: &mut Case) -> Result<()> {
    let (n, p) = (case.draw.size(1, 9), case.draw.size(1, 6));
    let scale = case.draw.pick(&[0.3, 1.0, 8.0]);
    let qkv = Array2::from_shape_simple_fn((n, 3 * p), || case.draw.number(scale));
    let given = engine.tensor(&qkv.into_dyn())?;
    let rows = Rows {
        heads: Heads { count: 1, width: p },
        offsets: &[0, n],
        visible: Visible::Causal,
    };
    let value = Value::constant(given.clone());
    let (f, _) = attention(&Tape::off(), &value, rows, Dropout::OFF)?;
    let (f, given) = (array(&f.tensor)?, array(&given)?);
    let stretch = case.or_control(0.0, 1e-3);
    for i in 0..n {
        for a in 0..p {
            let seen = (0..=i).map(|j| given[[j, 2 * p + a]]);
            let [least, greatest] = hull_edges(seen);
            let value = f[[i, a]] + stretch * (greatest - least + 1.0);
            let bound = (i + 3) as f64 * engine.roundoff() * least.abs().max(greatest.abs());
            let tolerance = Tolerance::stated(
                2.0 * bound,
                "2 (n + 2) u max|v|: weights that sum to 1 up to rounding",
            );
            inside(case, value, [least, greatest], &tolerance, [i, a]);
        }
    }
    Ok(())
}

/// Scores times t: for t → ∞ the value at the greatest score, up to Σ exp(−t gap) |v − v_*|; for t
/// → 0 the mean, up to (e^{2 t S} − 1) max|v − mean|. In the control the limits are another point's
/// value.
fn limits<T: Real>(case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let head = Head::random(&mut case.draw).lift::<T>();
    let plain = scores(&head.q, &head.k);
    let scaled = |t: f64| {
        let scores = plain.mapv(|s| s * T::from_f64(t));
        estimate(&shifted_kernel(&scores, &head.visible).0, &head.v)
    };
    let (far, near) = (scaled(64.0), scaled(1.0 / 4096.0));
    for i in 0..plain.nrows() {
        let seen: Vec<usize> = head.visible.of(i).collect();
        let better = |best, j| match plain[[i, j]] > plain[[i, best]] {
            true => j,
            false => best,
        };
        let best = seen.iter().copied().fold(seen[0], better);
        let sizes = seen.iter().map(|j| plain[[i, *j]].to_f64().abs());
        let most = sizes.fold(0.0_f64, f64::max);
        // scores up to 64 S, each with (p + 4) roundings, over values of at most 2; the tail
        // itself is computed in f64
        let rounding =
            4.0 * T::unit_roundoff() * (64.0 * most * (head.q.ncols() as f64 + 4.0) + 32.0) * 2.0;
        let in_f64 = 1.0 + 1e-12 * (1.0 + 64.0 * most);
        let other = seen[seen.iter().position(|j| *j != best).unwrap_or(0)];
        for a in 0..head.v.ncols() {
            let v = |j: usize| head.v[[j, a]];
            let distance = |j: usize, from: T| (v(j) - from).to_f64().abs();
            let limit = v(case.or_control(best, other));
            let gap = |j: usize| (plain[[i, best]] - plain[[i, j]]).to_f64();
            let tail = seen
                .iter()
                .map(|j| (-64.0 * gap(*j)).exp() * distance(*j, v(best)));
            let tolerance = Tolerance::stated(
                tail.sum::<f64>() * in_f64 + rounding,
                "Σ_j exp(−t (s_* − s_j)) |v_j − v_*|, and rounding",
            );
            case.error((far[[i, a]] - limit).to_f64().abs(), &tolerance, || {
                format!("query {i}, t = 64")
            });
            let sum = seen.iter().fold(T::zero(), |sum, j| sum + v(*j));
            let mean = case.or_control(sum / T::from_usize(seen.len()), v(seen[0]));
            let spread = seen
                .iter()
                .map(|j| distance(*j, mean))
                .fold(0.0_f64, f64::max);
            let bound = (2.0 * most / 4096.0).exp_m1() * spread;
            let tolerance = Tolerance::stated(
                bound * in_f64 + rounding,
                "(exp(2 t S) − 1) max|v − mean|, and rounding",
            );
            case.error((near[[i, a]] - mean).to_f64().abs(), &tolerance, || {
                format!("query {i}, t = 1/4096")
            });
        }
    }
    Ok(())
}

/// 0 < λ < 1, rising in s, falling with each further visible key. In the control the denominator
/// lacks its own term.
fn range<T: Real>(case: &mut Case) -> Result<()> {
    let m = case.draw.size(1, 6);
    let keys = case.draw.array(m, 6.0);
    let scores: Vec<f64> = (0..5)
        .map(|step| -6.0 + 3.0 * f64::from(step) + case.draw.between(0.0, 1.0))
        .collect();
    let control = case.control;
    let gate = |s: f64, visible: usize| -> T {
        let kernel = |x: f64| T::from_f64(x).exp();
        let sum = keys
            .iter()
            .take(visible)
            .fold(T::zero(), |sum, k| sum + kernel(*k));
        match control {
            true => kernel(s) / sum,
            false => lambda(&Array1::from(vec![T::from_f64(s)]), &[Some(sum.ln())])[0],
        }
    };
    let table = Array2::from_shape_fn((scores.len(), m), |(step, count)| {
        gate(scores[step], count + 1)
    });
    for ((step, count), lambda) in table.indexed_iter() {
        case.same(*lambda > T::zero() && *lambda < T::one(), true, || {
            format!("0 < λ < 1: {lambda:?} at s = {}", scores[step])
        });
        if step > 0 {
            case.same(*lambda > table[[step - 1, count]], true, || {
                format!("λ rises with s: {lambda:?}")
            });
        }
        if count > 0 {
            case.same(*lambda < table[[step, count - 1]], true, || {
                format!("λ falls with a further key: {lambda:?}")
            });
        }
    }
    Ok(())
}
