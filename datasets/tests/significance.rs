//! Resampling against cases that can be counted, t-tests against their closed forms.
use approx::{assert_abs_diff_eq, assert_relative_eq};
use inducer_datasets::metrics::bleu::Counts;
use inducer_datasets::significance::{
    approximate_randomisation, paired_bootstrap, paired_t, welch,
};

const DRAWS: usize = 4000;

#[test]
fn two_equal_systems_never_differ() {
    let a: Vec<f64> = (0..30).map(f64::from).collect();
    assert_eq!(paired_bootstrap(&a, &a, |s| s, DRAWS, 3).unwrap().p, 1.0);
    assert_eq!(
        approximate_randomisation(&a, &a, |s| s, DRAWS, 3)
            .unwrap()
            .p,
        1.0
    );
}

/// Of 2^6 swaps of six differences of 1, only none and all reach the observed sum: p = 2/64. Of
/// 4000 draws five standard deviations are 5 √(p(1−p)/4000) = 0.0138.
#[test]
fn randomisation_agrees_with_the_count_of_all_swaps() {
    let r = approximate_randomisation(&[1.0; 6], &[0.0; 6], |s| s, DRAWS, 7).unwrap();
    assert_abs_diff_eq!(r.p, 2.0 / 64.0, epsilon = 0.0138);
    assert_eq!((r.difference, r.draws), (6.0, DRAWS));
}

/// Differences (2, −1): of the four equally likely samples of two, only (−1, −1) is not above 0: p
/// = 1/4, five standard deviations are 0.0343.
#[test]
fn the_bootstrap_agrees_with_the_count_of_all_samples() {
    let (ahead, behind) = ([2.0, 0.0], [0.0, 1.0]);
    for (a, b, sign) in [(ahead, behind, 1.0), (behind, ahead, -1.0)] {
        let r = paired_bootstrap(&a, &b, |s| s, DRAWS, 5).unwrap();
        assert!((r.p - 0.25).abs() < 0.0343 && r.difference == sign, "{r:?}");
    }
}

#[test]
fn corpus_bleu_is_recomputed_from_the_sums_and_seeds_repeat() {
    let of = |h: &str| Counts::of(h, &["a b c d e f"], false);
    let good = [
        of("a b c d e f"),
        of("a b c d e"),
        of("a b c d f"),
        of("a b c d"),
    ];
    let bad = [
        of("a b c d x y"),
        of("a b c d x"),
        of("x a b c d"),
        of("a b c d"),
    ];
    let score = |c: Counts| c.score().score;
    let r = paired_bootstrap(&good, &bad, score, 500, 1).unwrap();
    let sum = |all: &[Counts]| {
        let mut total = Counts::default();
        all.iter().for_each(|c| total += *c);
        total.score().score
    };
    assert_eq!(r.difference, sum(&good) - sum(&bad));
    assert_eq!(r, paired_bootstrap(&good, &bad, score, 500, 1).unwrap());
    let mean = |all: &[Counts]| all.iter().map(|c| c.score().score).sum::<f64>() / 4.0;
    assert_ne!(
        r.difference,
        mean(&good) - mean(&bad),
        "no mean of sentence scores"
    );
}

/// With one degree of freedom p = 1 − (2/π) atan t, with two p = 1 − t/√(2 + t²).
#[test]
fn p_of_t_has_its_closed_forms() {
    for x in [0.1f64, 0.5, 1.0, 3.0, 10.0] {
        let one = paired_t(&[x + 1.0, x - 1.0], &[0.0, 0.0]).unwrap();
        assert_relative_eq!(one.t, x, epsilon = 1e-14, max_relative = 1e-14);
        assert_eq!(one.degrees, 1.0);
        let exact = 1.0 - std::f64::consts::FRAC_2_PI * x.atan();
        assert_abs_diff_eq!(one.p, exact, epsilon = 1e-13);
        let two = paired_t(&[x, x + 1.0, x - 1.0], &[0.0; 3]).unwrap();
        let exact = 1.0 - two.t / (2.0 + two.t * two.t).sqrt();
        assert_abs_diff_eq!(two.p, exact, epsilon = 1e-13);
    }
}

/// Student's table: t = 2.776445 at p = 0.05 with four degrees of freedom, which Welch's test has
/// of two samples of three with one variance.
#[test]
fn welch_has_the_pooled_degrees_of_equal_variances() {
    let shift = 2.776_445 * (2.0f64 / 3.0).sqrt();
    let w = welch(&[shift - 1.0, shift, shift + 1.0], &[-1.0, 0.0, 1.0]).unwrap();
    assert_abs_diff_eq!(w.degrees, 4.0, epsilon = 1e-12);
    assert_abs_diff_eq!(w.p, 0.05, epsilon = 1e-6);
    let back = welch(&[-1.0, 0.0, 1.0], &[shift - 1.0, shift, shift + 1.0]).unwrap();
    assert_eq!((back.t, back.p), (-w.t, w.p));
    assert_eq!(welch(&[1.0, 1.0], &[1.0, 1.0]).unwrap().p, 1.0);
    assert_eq!(welch(&[2.0, 2.0], &[1.0, 1.0]).unwrap().p, 0.0);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    assert!(paired_bootstrap(&[1.0], &[], |s| s, 1, 1).is_err());
    assert!(approximate_randomisation::<f64>(&[], &[], |s| s, 1, 1).is_err());
    assert!(paired_t(&[1.0], &[2.0]).is_err());
    assert!(welch(&[1.0, f64::NAN], &[1.0, 2.0]).is_err());
}
