//! The inducing points that gave the inducers their name: Nyström's approximation and sparse
//! Gaussian processes.

use super::inducing_field::{self, Process};
use crate::bounds::{Conditioning, Traced, UNIT_ROUNDOFF_F64, record};
use crate::cases::Draw;
use crate::cases::head::lift;
use crate::{Case, Claim, Result, Target, Tolerance};
use inducer_reference::kernel::kernel_matrix;
use inducer_reference::nystrom::{
    approximation, best_subset, optimal_trace_error, subsets, trace_error,
};
use inducer_reference::sparse_gp::GaussianProcess;
use inducer_reference::spectrum::{eigenvalues, rounding_of_spectrum};
use inducer_reference::{DoubleDouble, Real};
use ndarray::{Array2, ArrayRef1, Axis};

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    vec![
        Claim::new("nystrom-error")
            .one_case_in(16)
            .at_least(6)
            .on_one_sided(Target::ReferenceF64, nystrom),
        Claim::new("gp-exact-limit")
            .algebra::<inducing_field::ExactLimit>()
            .on(Target::ReferenceF64, exact_limit),
        Claim::new("gp-pseudo-inputs")
            .algebra::<inducing_field::PredictiveEquations>()
            .on(Target::ReferenceF64, pseudo_inputs),
        Claim::new("gp-bound").on_one_sided(Target::ReferenceF64, bound),
    ]
}

fn least(matrix: &Array2<f64>) -> Result<f64> {
    let symmetric = (matrix + &matrix.t()) / 2.0;
    Ok(eigenvalues(&symmetric)?
        .iter()
        .copied()
        .fold(f64::INFINITY, f64::min))
}

/// Greatest over least eigenvalue.
fn condition(matrix: &Array2<f64>) -> Result<f64> {
    let all = eigenvalues(matrix)?;
    Ok(all[0] / all[all.len() - 1].max(f64::MIN_POSITIVE))
}

/// K − K̂ has no negative eigenvalue; no subset's trace error is below Σ_{j>m} λ_j, and the best
/// one's is at most (m + 1) times that. In the control K̂ is another matrix of rank m.
fn nystrom(case: &mut Case) -> Result<()> {
    let (n, p, m) = (7, 2, case.draw.size(1, 3));
    let points = case.draw.array((n, p), 2.0);
    let k = kernel_matrix(&points, &points);
    let optimum = optimal_trace_error(&eigenvalues(&k)?, m);
    let units = (p as f64 + 4.0) * 4.0 * (p as f64).sqrt() + 16.0;
    let mut slack = 0.0_f64;
    for subset in subsets(n, m) {
        let own = condition(&k.select(Axis(0), &subset).select(Axis(1), &subset))?;
        let tolerance = Tolerance::stated(
            rounding_of_spectrum(&k, units) * (1.0 + own),
            "rounding of the spectrum times the condition of K_mm, with which it is solved",
        );
        let columns = k.select(Axis(1), &subset);
        let approximate = if case.control {
            columns.dot(&columns.t())
        } else {
            approximation(&k, &subset)?
        };
        case.at_least(least(&(&k - &approximate))?, 0.0, &tolerance, || {
            format!("K − K̂ for {subset:?}: least eigenvalue")
        });
        case.at_least(trace_error(&k, &subset)?, optimum, &tolerance, || {
            format!("trace error of {subset:?}")
        });
        slack = slack.max(tolerance.bound);
    }
    let (subset, best) = best_subset(&k, m)?;
    let tolerance = Tolerance::stated(slack, "as above");
    case.at_least((m + 1) as f64 * optimum, best, &tolerance, || {
        format!("the best subset, {subset:?}")
    });
    Ok(())
}

fn squared_exponential(a: &ArrayRef1<f64>, b: &ArrayRef1<f64>) -> f64 {
    let difference = a - b;
    1.5 * (-difference.dot(&difference) / 0.5).exp()
}

fn process(draw: &mut Draw, n: usize) -> GaussianProcess<'static> {
    GaussianProcess {
        covariance: &squared_exponential,
        noise: 0.1,
        inputs: draw.array((n, 2), 2.0),
        targets: draw.array(n, 1.5),
    }
}

/// The matrices of a process with these inducing inputs and a point to predict at, in any scalar.
fn matrices<T: Real>(
    gp: &GaussianProcess<'_>,
    inducing: &Array2<f64>,
    point: &Array2<f64>,
) -> Process<T> {
    let matrix = |a: &Array2<f64>, b: &Array2<f64>| lift::<T, _>(&gp.matrix(a, b));
    Process {
        k: matrix(&gp.inputs, &gp.inputs),
        k_nm: matrix(&gp.inputs, inducing),
        k_m: matrix(inducing, inducing),
        k_star: matrix(&gp.inputs, point),
        k_star_m: matrix(inducing, point),
        prior: matrix(point, point)[[0, 0]],
        noise: T::from_f64(gp.noise),
        y: lift(&gp.targets.clone().insert_axis(Axis(1))),
    }
}

/// log N(y | 0, C) from yᵀ C⁻¹ y and det C.
fn log_normal<T: Real>(square: T, determinant: T, n: usize) -> T {
    let constant = T::from_usize(n) * (T::from_usize(2) * T::pi()).ln();
    -(square + determinant.ln() + constant) / T::from_usize(2)
}

/// Mean, variance and log evidence of the exact process.
fn exactly<T: Real>(of: &Process<T>) -> [T; 3] {
    let [mean, variance, square, determinant] = of.exact();
    [mean, variance, log_normal(square, determinant, of.y.len())]
}

/// Mean and variance by the predictive equations, log evidence by its own covariance: the formulas
/// that the reference computes.
fn with_pseudo_inputs<T: Real>(of: &Process<T>) -> [T; 3] {
    let [mean, variance, ..] = of.predictive_equations();
    let [_, _, square, determinant] = of.pseudo_inputs();
    [mean, variance, log_normal(square, determinant, of.y.len())]
}

/// Titsias' bound.
fn titsias<T: Real>(of: &Process<T>) -> T {
    let [square, determinant, trace] = of.titsias();
    log_normal(square, determinant, of.y.len()) - trace / (of.noise + of.noise)
}

/// How rounding in solves by elimination reaches these results. (Cholesky's factors are those of
/// elimination, row by row scaled.)
fn conditioning<const N: usize>(
    of: impl FnOnce() -> Process<Traced>,
    results: impl FnOnce(&Process<Traced>) -> [Traced; N],
) -> Vec<Conditioning> {
    let (found, trace) = record(|| results(&of()));
    trace.conditioning(&found)
}

fn rounded(conditioning: Conditioning) -> Tolerance {
    Tolerance::rounding(conditioning, UNIT_ROUNDOFF_F64, 0.0)
}

const NAMES: [&str; 3] = ["predictive mean", "predictive variance", "log evidence"];

fn all_close(
    case: &mut Case,
    what: &str,
    found: [f64; 3],
    expected: [DoubleDouble; 3],
    bounds: &[Conditioning],
) {
    for (i, name) in NAMES.into_iter().enumerate() {
        let tolerance = rounded(bounds[i]);
        case.close(found[i], expected[i].to_f64(), &tolerance, || {
            format!("{name} {what}")
        });
    }
}

/// With the training inputs as inducing inputs both sparse processes are the exact one, which
/// double-double computes by its definition. In the control one input is left out.
fn exact_limit(case: &mut Case) -> Result<()> {
    let n = case.draw.size(3, 8);
    let gp = process(&mut case.draw, n);
    let kept: Vec<usize> = (case.or_control(0, 1)..n).collect();
    let inducing = gp.inputs.select(Axis(0), &kept);
    let point = case.draw.array((1, 2), 2.0);
    let of = || matrices::<Traced>(&gp, &inducing, &point);
    let expected = exactly(&matrices(&gp, &inducing, &point));
    let at = point.row(0);
    let (exact, sparse) = (gp.predict(&at)?, gp.predict_sparse(&inducing, &at)?);
    let exact = [exact.mean, exact.variance, gp.log_evidence()?];
    all_close(case, "", exact, expected, &conditioning(of, exactly));
    let evidence = gp.log_evidence_sparse(&inducing)?;
    let sparse = [sparse.mean, sparse.variance, evidence];
    let bounds = conditioning(of, with_pseudo_inputs);
    all_close(case, "with pseudo-inputs", sparse, expected, &bounds);
    let tolerance = rounded(conditioning(of, |process| [titsias(process)])[0]);
    let found = gp.titsias_bound(&inducing)?;
    case.close(found, expected[2].to_f64(), &tolerance, || {
        "Titsias' bound".into()
    });
    Ok(())
}

/// The reference's predictions and evidence with fewer inducing inputs than inputs are those of the
/// process of covariance Q + Λ + σ²I, by its definition in double-double. In the control Λ is left
/// out of it.
fn pseudo_inputs(case: &mut Case) -> Result<()> {
    let n = case.draw.size(3, 8);
    let gp = process(&mut case.draw, n);
    let m = case.draw.size(1, n - 1);
    let inducing = gp.inputs.select(Axis(0), &(0..m).collect::<Vec<_>>());
    let point = case.draw.array((1, 2), 2.0);
    let mut defined = matrices::<DoubleDouble>(&gp, &inducing, &point);
    if case.control {
        defined.k = defined.q();
    }
    let [mean, variance, square, determinant] = defined.pseudo_inputs();
    let expected = [mean, variance, log_normal(square, determinant, n)];
    let sparse = gp.predict_sparse(&inducing, &point.row(0))?;
    let evidence = gp.log_evidence_sparse(&inducing)?;
    let found = [sparse.mean, sparse.variance, evidence];
    let bounds = conditioning(|| matrices(&gp, &inducing, &point), with_pseudo_inputs);
    let what = format!("with {m} of {n} inputs");
    all_close(case, &what, found, expected, &bounds);
    Ok(())
}

/// Titsias' bound is at most the exact log evidence and rises as inducing inputs are added. In the
/// control the trace term is dropped.
fn bound(case: &mut Case) -> Result<()> {
    let n = case.draw.size(3, 8);
    let gp = process(&mut case.draw, n);
    let first = |m: usize| gp.inputs.select(Axis(0), &(0..m).collect::<Vec<_>>());
    let point = first(1); // where nothing is predicted
    let evidence = gp.log_evidence()?;
    let of_evidence = conditioning(|| matrices(&gp, &point, &point), exactly)[2];
    let mut before = (f64::NEG_INFINITY, Conditioning::default());
    for m in 1..=n {
        let inducing = first(m);
        let of = || matrices(&gp, &inducing, &point);
        let rounding = conditioning(of, |process| [titsias(process)])[0];
        let mut bound = gp.titsias_bound(&inducing)?;
        if case.control {
            let k = gp.matrix(&gp.inputs, &gp.inputs);
            bound += trace_error(&k, &(0..m).collect::<Vec<_>>())? / (2.0 * gp.noise);
        }
        case.at_least(evidence, bound, &rounded(rounding.and(of_evidence)), || {
            format!("{m} of {n} inducing inputs")
        });
        case.at_least(bound, before.0, &rounded(rounding.and(before.1)), || {
            format!("{m} of {n} inducing inputs, against one fewer")
        });
        before = (bound, rounding);
    }
    Ok(())
}
