//! The kernel: its Gaussian form, positive semi-definiteness, and gates as functions of distance
//! (§4.1, §4.2).

use crate::cases::Draw;
use crate::cases::head::lift;
use crate::identity::{RealIdentity, Sides};
use crate::{Case, Claim, Result, Target, Tolerance};
use inducer_reference::attention::attend;
use inducer_reference::distance::{gate_at_distance, squared_distances};
use inducer_reference::inducer::{lambda, own_scores};
use inducer_reference::kernel::{gaussian, kernel, kernel_matrix, weight};
use inducer_reference::nadaraya_watson::estimate;
use inducer_reference::spectrum::{eigenvalues, rounding_of_spectrum};
use inducer_reference::visible::Visible;
use inducer_reference::{DoubleDouble, Real};
use ndarray::{Array1, Array2};

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    vec![
        Claim::new("gauss-factor").real::<Factor>(),
        Claim::new("gauss-equal-norms").real::<EqualNorms>(),
        Claim::new("gate-distance-form").real::<DistanceForm>(),
        Claim::new("prefix-distance")
            .on_one_sided(Target::DoubleDouble, distance::<DoubleDouble>)
            .on_one_sided(Target::ReferenceF64, distance::<f64>),
        Claim::new("kernel-psd").on_one_sided(Target::ReferenceF64, positive_semidefinite),
    ]
}

/// Queries and keys of moderate length, so that the weights exp(‖k‖²/2√p) stay in range.
fn points<T: Real>(draw: &mut Draw) -> (Array2<T>, Array2<T>, Array2<T>) {
    let [n, m, p, c] = draw.sizes([(1, 4), (1, 6), (1, 6), (1, 3)]);
    (
        lift(&draw.array((n, p), 2.0)),
        lift(&draw.array((m, p), 2.0)),
        lift(&draw.array((m, c), 2.0)),
    )
}

struct Factor;

impl RealIdentity for Factor {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let (q, k, _) = points::<T>(draw);
        let of_key = |j: usize| if control { T::one() } else { weight(&k.row(j)) };
        let pairs = (q.nrows(), k.nrows());
        let product = Array2::from_shape_fn(pairs, |(i, j)| {
            weight(&q.row(i)) * gaussian(&q.row(i), &k.row(j)) * of_key(j)
        });
        Sides::of(
            "κ = weight × Gaussian × weight",
            Array2::from_shape_fn(pairs, |(i, j)| kernel(&q.row(i), &k.row(j))),
            product,
        )
    }
}

struct EqualNorms;

impl RealIdentity for EqualNorms {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let (q, mut k, v) = points::<T>(draw);
        let length = T::from_f64(draw.between(0.5, 2.0));
        for (j, mut row) in k.rows_mut().into_iter().enumerate() {
            let norm = row.dot(&row).sqrt();
            let own = if control && j == 0 {
                length + length
            } else {
                length
            };
            row.mapv_inplace(|x| x / norm * own);
        }
        let attended = attend(&q, &k, &v, &Visible::all(q.nrows(), k.nrows()));
        let smoother = Array2::from_shape_fn((q.nrows(), k.nrows()), |(i, j)| {
            gaussian(&q.row(i), &k.row(j))
        });
        Sides::of(
            "attention = Gaussian smoother",
            attended.f,
            estimate(&smoother, &v),
        )
    }
}

struct DistanceForm;

impl RealIdentity for DistanceForm {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let (q, k, v) = points::<T>(draw);
        let p_k: Array2<T> = lift(&draw.array(q.dim(), 2.0));
        let attended = attend(&q, &k, &v, &Visible::all(q.nrows(), k.nrows()));
        let distances = squared_distances(&q, &p_k);
        let norm = |x: &Array2<T>, i: usize| x.row(i).dot(&x.row(i));
        let gate = |i: usize| {
            let point = if control { T::zero() } else { norm(&p_k, i) };
            gate_at_distance(
                norm(&q, i),
                point,
                distances[i],
                q.ncols(),
                attended.lse[i].unwrap_or(T::zero()),
            )
        };
        let by_distance: Array1<T> = (0..q.nrows()).map(gate).collect();
        Sides::of(
            "gate from norms and distance",
            by_distance,
            lambda(&own_scores(&q, &p_k), &attended.lse),
        )
    }
}

/// With ‖P‖ fixed μ falls strictly as P moves away from q. In the control it rises.
fn distance<T: Real>(case: &mut Case) -> Result<()> {
    let p = case.draw.size(2, 6);
    let (query, point) = (case.draw.between(0.3, 4.0), case.draw.between(0.3, 4.0));
    let lse = case.draw.number(3.0);
    // from the nearest point of that length, (‖q‖ − ‖P‖)², to the farthest, (‖q‖ + ‖P‖)²
    let (near, far) = (
        (query.sqrt() - point.sqrt()).powi(2),
        (query.sqrt() + point.sqrt()).powi(2),
    );
    let gates: Vec<T> = (0..=8)
        .map(|step| {
            let distance = near + (far - near) * f64::from(step) / 8.0;
            gate_at_distance(
                T::from_f64(query),
                T::from_f64(point),
                T::from_f64(distance),
                p,
                T::from_f64(lse),
            )
        })
        .collect();
    for (step, pair) in gates.windows(2).enumerate() {
        let falls = if case.control {
            pair[1] > pair[0]
        } else {
            pair[1] < pair[0]
        };
        case.same(falls, true, || {
            format!(
                "μ at step {step} and the next, farther one: {:?}, {:?}",
                pair[0], pair[1]
            )
        });
    }
    Ok(())
}

/// Every kernel matrix has no negative eigenvalue beyond rounding. In the control the kernel is
/// exp(+‖x − y‖²/2√p).
fn positive_semidefinite(case: &mut Case) -> Result<()> {
    let (n, p) = (case.draw.size(2, 9), case.draw.size(1, 4));
    let mut points = case.draw.array((n, p), 3.0);
    if case.draw.chance(0.3) {
        let first = points.row(0).to_owned();
        points.row_mut(n - 1).assign(&first);
    }
    let sign = case.or_control(1.0, -1.0);
    let gauss = Array2::from_shape_fn((n, n), |(i, j)| {
        gaussian(&points.row(i), &points.row(j)).powf(sign)
    });
    // scores of points within ±3 are at most 9 √p, each with p + 4 roundings, and exp
    let units = (p as f64 + 4.0) * 9.0 * (p as f64).sqrt() + 16.0;
    for (what, matrix) in [
        ("exp(⟨x, y⟩/√p)", kernel_matrix(&points, &points)),
        ("Gaussian", gauss),
    ] {
        let least = eigenvalues(&matrix)?
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        let tolerance = Tolerance::stated(
            rounding_of_spectrum(&matrix, units),
            "n u (8 n + units of an entry) max|K|: backward error of eigh and rounding of the \
             entries",
        );
        case.at_least(least, 0.0, &tolerance, || {
            format!("{what}, {n} points in {p} dimensions: least eigenvalue")
        });
    }
    Ok(())
}
