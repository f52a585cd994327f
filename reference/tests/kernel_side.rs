//! The kernel side: spectra, Nyström, Gaussian processes with inducing variables, gates as
//! functions of distance.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::common::{self, generator, matrix, vector};
use approx::assert_abs_diff_eq;
use inducer_reference::Real;
use inducer_reference::attention::attend;
use inducer_reference::distance::{gate_at_distance, squared_distances};
use inducer_reference::inducer::{lambda, own_scores};
use inducer_reference::kernel::{gaussian, kernel_matrix};
use inducer_reference::nystrom::{
    approximation, best_subset, optimal_trace_error, subsets, trace_error,
};
use inducer_reference::smoothing::Smoothing;
use inducer_reference::sparse_gp::{GaussianProcess, log_normal};
use inducer_reference::spectrum::{
    eigenpairs, eigenvalues, is_positive_semidefinite, rounding_of_spectrum,
};
use inducer_reference::visible::Visible;
use ndarray::{Array2, Axis, array, s};

/// Rounding of one kernel value, in units: p + 4 of a score of at most 9 √p (points within ±3), and
/// exp.
fn entry_units(p: usize) -> f64 {
    (p as f64 + 4.0) * 9.0 * (p as f64).sqrt() + 16.0
}

#[test]
fn spectrum_of_a_known_matrix() {
    // the path graph's Laplacian on 5 points: 2 − 2 cos(π j/5)
    let laplacian = Array2::from_shape_fn((5, 5), |(i, j)| match i.abs_diff(j) {
        0 if i == 0 || i == 4 => 1.0,
        0 => 2.0,
        1 => -1.0,
        _ => 0.0,
    });
    let (values, vectors) = eigenpairs(&laplacian).unwrap();
    for (j, &value) in values.iter().rev().enumerate() {
        let expected = 2.0 - 2.0 * (std::f64::consts::PI * j as f64 / 5.0).cos();
        assert_abs_diff_eq!(value, expected, epsilon = 1e-14);
    }
    let rebuilt = vectors.dot(&Array2::from_diag(&values)).dot(&vectors.t());
    assert!(common::distance(&rebuilt, &laplacian) < 1e-14);
}

#[test]
fn kernel_matrices_are_positive_semidefinite() {
    for seed in 0..32 {
        let mut rng = generator(seed);
        let (n, p) = (3 + seed as usize % 8, 1 + seed as usize % 4);
        let mut points = matrix::<f64>(&mut rng, (n, p), 3.0);
        if seed % 3 == 0 {
            let first = points.row(0).to_owned();
            points.row_mut(n - 1).assign(&first); // a repeated point: a zero eigenvalue
        }
        let units = entry_units(p);
        assert!(
            is_positive_semidefinite(&kernel_matrix(&points, &points), units).unwrap(),
            "{seed}"
        );
        let gauss = |sign: f64| {
            Array2::from_shape_fn((n, n), |(i, j)| {
                gaussian(&points.row(i), &points.row(j)).powf(sign)
            })
        };
        assert!(
            is_positive_semidefinite(&gauss(1.0), units).unwrap(),
            "{seed}"
        );
        // control: exp of +‖q − k‖² has a zero-trace off-diagonal part that dominates
        assert!(
            !is_positive_semidefinite(&gauss(-1.0), units).unwrap(),
            "{seed}"
        );
    }
}

#[test]
fn nystrom_error_is_positive_semidefinite_and_bounded_by_the_spectrum() {
    for seed in 0..8 {
        let mut rng = generator(100 + seed);
        let (n, p) = (7, 2);
        let points = matrix::<f64>(&mut rng, (n, p), 2.0);
        let k = kernel_matrix(&points, &points);
        let spectrum = eigenvalues(&k).unwrap();
        for m in 1..4 {
            let optimum = optimal_trace_error(&spectrum, m);
            let mut rounding = 0.0_f64;
            for subset in subsets(n, m) {
                let error = &k - &approximation(&k, &subset).unwrap();
                // the solve with K_mm loses its condition number
                let own =
                    eigenvalues(&k.select(Axis(0), &subset).select(Axis(1), &subset)).unwrap();
                let condition = own[0] / own[m - 1].max(f64::MIN_POSITIVE);
                let slack = rounding_of_spectrum(&k, entry_units(p)) * (1.0 + condition);
                rounding = rounding.max(slack.min(1.0));
                let symmetric = (&error + &error.t()) / 2.0;
                assert!(
                    eigenvalues(&symmetric).unwrap()[n - 1] >= -slack,
                    "{seed}, {subset:?}"
                );
                assert!(
                    trace_error(&k, &subset).unwrap() >= optimum - slack,
                    "{seed}, {subset:?}"
                );
            }
            let (chosen, best) = best_subset(&k, m).unwrap();
            assert_eq!(chosen.len(), m);
            assert_eq!(trace_error(&k, &chosen).unwrap(), best);
            let all = subsets(n, m).into_iter();
            assert!(
                all.filter_map(|subset| trace_error(&k, &subset).ok())
                    .all(|error| error >= best)
            );
            assert!(
                best <= (m + 1) as f64 * optimum + rounding,
                "{seed}, {m}: {best} against {optimum}"
            );
            // control: another matrix of rank m, the same columns with an unrelated middle, is no
            // approximation from below
            let first: Vec<usize> = (0..m).collect();
            let columns = k.select(Axis(1), &first);
            let other = columns.dot(&columns.t());
            assert!(
                eigenvalues(&(&k - &other)).unwrap()[n - 1] < -rounding,
                "control"
            );
        }
    }
}

fn squared_exponential(a: &ndarray::ArrayRef1<f64>, b: &ndarray::ArrayRef1<f64>) -> f64 {
    let difference = a - b;
    1.5 * (-difference.dot(&difference) / 0.5).exp()
}

fn process(seed: u64, n: usize) -> GaussianProcess<'static> {
    let mut rng = generator(seed);
    GaussianProcess {
        covariance: &squared_exponential,
        noise: 0.1,
        inputs: matrix(&mut rng, (n, 2), 2.0),
        targets: vector(&mut rng, n, 1.5),
    }
}

/// Rounding of the processes: solves with K_M and K + σ²I lose their condition numbers; quantities
/// are below 100.
fn gp_bound(gp: &GaussianProcess<'_>, inducing: &Array2<f64>) -> f64 {
    let own = eigenvalues(&gp.matrix(inducing, inducing)).unwrap();
    let condition = own[0] / own[own.len() - 1];
    let n = gp.targets.len() as f64;
    8.0 * n * n * f64::unit_roundoff() * (condition + 1.5 * n / gp.noise) * 100.0
}

#[test]
fn gp_with_inducing_inputs_at_the_training_inputs_is_the_exact_process() {
    for seed in 200..216 {
        let gp = process(seed, 8);
        let bound = gp_bound(&gp, &gp.inputs);
        assert!(
            bound < 1e-4,
            "{seed}: an ill-conditioned draw proves nothing"
        );
        let exact = gp.log_evidence().unwrap();
        assert_abs_diff_eq!(
            gp.log_evidence_sparse(&gp.inputs).unwrap(),
            exact,
            epsilon = bound
        );
        assert_abs_diff_eq!(
            gp.titsias_bound(&gp.inputs).unwrap(),
            exact,
            epsilon = bound
        );
        let fewer = gp.inputs.slice(s![1.., ..]).to_owned();
        let mut moved = 0.0_f64;
        for point in [
            array![0.3, -0.2],
            array![5.0, 5.0],
            gp.inputs.row(0).to_owned(),
        ] {
            let (exact, sparse) = (
                gp.predict(&point).unwrap(),
                gp.predict_sparse(&gp.inputs, &point).unwrap(),
            );
            assert_abs_diff_eq!(exact.mean, sparse.mean, epsilon = bound);
            assert_abs_diff_eq!(exact.variance, sparse.variance, epsilon = bound);
            assert!(exact.variance >= gp.noise - bound);
            let control = gp.predict_sparse(&fewer, &point).unwrap();
            moved = moved.max((control.mean - exact.mean).abs());
        }
        assert!(moved > bound, "control: one input left out");
        // far from all inputs the prior returns
        let far = gp.predict_sparse(&fewer, &array![50.0, 50.0]).unwrap();
        assert_abs_diff_eq!(far.mean, 0.0, epsilon = bound);
        assert_abs_diff_eq!(far.variance, 1.6, epsilon = bound);
    }
}

#[test]
fn gp_bound_never_exceeds_the_evidence_and_rises() {
    let mut without_trace = 0;
    for seed in 300..316 {
        let gp = process(seed, 9);
        let exact = gp.log_evidence().unwrap();
        let mut last = f64::NEG_INFINITY;
        for m in 1..=9 {
            let inducing = gp.inputs.slice(s![..m, ..]).to_owned();
            let (bound, slack) = (
                gp.titsias_bound(&inducing).unwrap(),
                gp_bound(&gp, &inducing),
            );
            assert!(bound <= exact + slack, "{seed}, {m}");
            assert!(
                bound >= last - slack,
                "{seed}, {m}: adding an inducing input lowers the bound"
            );
            last = bound;
            // control: without the trace term it is no bound
            let k_nm = gp.matrix(&gp.inputs, &inducing);
            let q = inducer_reference::nystrom::low_rank(&k_nm, &gp.matrix(&inducing, &inducing))
                .unwrap();
            let trace = 9.0 * 1.5 - q.diag().sum();
            without_trace += usize::from(bound + trace / (2.0 * gp.noise) > exact + slack);
        }
    }
    assert!(without_trace > 0, "control");
}

#[test]
fn distance_form_of_the_gate_is_the_gate() {
    for seed in 0..32 {
        let mut rng = generator(400 + seed);
        let (n, p) = (4, 3);
        let (q, point) = (
            matrix::<f64>(&mut rng, (n, p), 2.0),
            matrix::<f64>(&mut rng, (n, p), 2.0),
        );
        let k = matrix::<f64>(&mut rng, (5, p), 2.0);
        let lse = attend(&q, &k, &k, &Visible::all(n, 5)).lse;
        let gates = lambda(&own_scores(&q, &point), &lse);
        let distances = squared_distances(&q, &point);
        for i in 0..n {
            let (square, lse) = (|x: ndarray::ArrayView1<f64>| x.dot(&x), lse[i].unwrap());
            let at = |distance: f64| {
                gate_at_distance(square(q.row(i)), square(point.row(i)), distance, p, lse)
            };
            // scores below 3 · 4 √3, squared norms below 12 each: p + 8 roundings of at most 48, a
            // gate's slope is 1/4
            let bound = f64::unit_roundoff() * ((p as f64 + 8.0) * 48.0 + 16.0) / 4.0;
            assert_abs_diff_eq!(at(distances[i]), gates[i], epsilon = bound);
            assert!((at(distances[i] / 2.0) - gates[i]).abs() > bound, "control");
            let falls = (1..40).all(|step| at(f64::from(step)) < at(f64::from(step) - 1.0));
            assert!(falls, "the gate falls strictly with the distance");
        }
    }
}

#[test]
fn smoothing_kernels_have_the_values_of_their_formulas() {
    let at = |kernel: Smoothing, u: f64| {
        assert_eq!(kernel.at(u), kernel.at(-u), "{kernel:?} is even");
        kernel.at(u)
    };
    assert_eq!(at(Smoothing::Gaussian, 3.0), (-4.5_f64).exp());
    assert_eq!(at(Smoothing::Laplace, 3.0), (-3.0_f64).exp());
    assert_eq!(at(Smoothing::Epanechnikov, 0.5), 0.75);
    assert_eq!(at(Smoothing::Epanechnikov, 1.5), 0.0);
    assert_eq!(at(Smoothing::Uniform, 1.0), 1.0);
    assert_eq!(at(Smoothing::Uniform, 1.5), 0.0);
    // (5 − 2)/4 and (5 − 9)/4
    let row = Smoothing::Epanechnikov.row(5.0, &array![2.0, 5.0, 9.0], 4.0);
    assert_eq!(row, array![0.4375, 1.0, 0.0]);
}

#[test]
fn the_log_density_of_a_normal_is_its_formula() {
    // y² / C = 1, ln C = ln 4; then two independent ones
    let one = log_normal(&array![2.0], &array![[4.0]]).unwrap();
    let of_constant = (2.0 * std::f64::consts::PI).ln();
    let expected = -0.5 * (1.0 + 4.0_f64.ln() + of_constant);
    assert_abs_diff_eq!(one, expected, epsilon = 8.0 * f64::EPSILON);
    let two = log_normal(&array![2.0, 3.0], &array![[4.0, 0.0], [0.0, 0.5]]).unwrap();
    let expected = -0.5 * (1.0 + 18.0 + 2.0_f64.ln() + 2.0 * of_constant);
    assert_abs_diff_eq!(
        two,
        expected,
        epsilon = 32.0 * f64::EPSILON * expected.abs()
    );
}

#[test]
fn the_sparse_evidence_is_that_of_its_own_covariance() {
    for seed in 500..508 {
        let gp = process(seed, 7);
        let inducing = gp.inputs.slice(s![..3, ..]).to_owned();
        let k_nm = gp.matrix(&gp.inputs, &inducing);
        let k_m = gp.matrix(&inducing, &inducing);
        let mut covariance = inducer_reference::nystrom::low_rank(&k_nm, &k_m).unwrap();
        // Λ puts the prior's own variance back on the diagonal
        covariance.diag_mut().fill(1.5 + gp.noise);
        let expected = log_normal(&gp.targets, &covariance).unwrap();
        let found = gp.log_evidence_sparse(&inducing).unwrap();
        assert!(
            (found - expected).abs() < gp_bound(&gp, &inducing),
            "{seed}"
        );
        covariance.diag_mut().mapv_inplace(|c| c - 0.1);
        let control = log_normal(&gp.targets, &covariance).unwrap();
        assert!(
            (found - control).abs() > gp_bound(&gp, &inducing),
            "{seed}: control"
        );
    }
}

#[test]
fn the_rounding_of_a_spectrum_is_its_formula() {
    // n u (8 n + units) max|K| = 2 · u · (16 + 5) · 3, u = ε/2
    let k = array![[2.0, -3.0], [-3.0, 1.0]];
    assert_eq!(rounding_of_spectrum(&k, 5.0), 63.0 * f64::EPSILON);
}
