//! Claims about estimators with the real kernel, on f32, f64 and double-double, each against a
//! derived rounding bound.
//!
//! A claim returns its error and its bound for one random case; `holds` runs it on all three
//! scalars, and runs the same check with one term changed, which must exceed its bound in at least
//! one case (on every scalar).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::common::{distance, generator, magnitude, matrix, vector};
use inducer_reference::attention::{attend, log_sum_exp, logistic_gate, shifted_kernel};
use inducer_reference::inducer::{
    augmented_estimate, key, lambda, lambda_by_second_softmax, own_scores, residual_form, value,
};
use inducer_reference::kernel::{gaussian, inverse_sqrt, kernel, kernel_matrix, scores, weight};
use inducer_reference::nadaraya_watson::{estimate, gate, mixture, row_sums, smoother};
use inducer_reference::prefix::{concatenated, gated, mu_by_definition};
use inducer_reference::visible::Visible;
use inducer_reference::{DoubleDouble, Real};
use ndarray::{Array1, Array2, Axis};
use proptest::prelude::*;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// One random head: queries, keys, values, an own key and value for each query, a visible set.
struct Case<T> {
    q: Array2<T>,
    k: Array2<T>,
    v: Array2<T>,
    mlp_k: Array2<T>,
    mlp_v: Array2<T>,
    p_k: Array2<T>,
    p_v: Array2<T>,
    visible: Visible,
    rng: ChaCha8Rng,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    seed: u64,
    n: usize,
    m: usize,
    p: usize,
    l: usize,
    /// The greatest score: up to 80, where exp overflows f32 after one doubling.
    score: f64,
    repeated: bool,
    hidden: f64,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let sizes = (1..5_usize, 1..7_usize, 1..6_usize, 1..4_usize);
    let score = prop_oneof![Just(1e-3), 0.1..4.0_f64, Just(80.0)];
    (any::<u64>(), sizes, score, any::<bool>(), 0.0..0.6_f64).prop_map(
        |(seed, (n, m, p, l), score, repeated, hidden)| Shape {
            seed,
            n,
            m,
            p,
            l,
            score,
            repeated,
            hidden,
        },
    )
}

impl<T: Real> Case<T> {
    fn new(shape: Shape) -> Self {
        let Shape { n, m, p, l, .. } = shape;
        let mut rng = generator(shape.seed);
        // |⟨q, k⟩|/√p ≤ √p · x², which is the score wanted
        let x = (shape.score / (p as f64).sqrt()).sqrt();
        let mut k = matrix(&mut rng, (m, p), x);
        if shape.repeated {
            let first = k.row(0).to_owned();
            k.row_mut(m - 1).assign(&first);
        }
        let sees = Array2::from_shape_simple_fn((n, m), || !rng.random_bool(shape.hidden));
        Self {
            q: matrix(&mut rng, (n, p), x),
            k,
            v: matrix(&mut rng, (m, p), 2.0),
            mlp_k: matrix(&mut rng, (n, p), x / 4.0),
            mlp_v: matrix(&mut rng, (n, p), 2.0),
            p_k: matrix(&mut rng, (l, p), x),
            p_v: matrix(&mut rng, (l, p), 2.0),
            visible: Visible::from_matrix(sees),
            rng,
        }
    }

    /// Bound on |⟨a, b⟩|/√p for any two of the vectors above (own keys are at most 5/4 as long).
    fn score(&self) -> f64 {
        let p = self.q.ncols() as f64;
        let most = magnitude(&self.k)
            .max(magnitude(&self.p_k))
            .max(magnitude(&self.q) + magnitude(&self.mlp_k));
        p.sqrt() * magnitude(&self.q) * most
    }

    /// The relative error of a kernel row, in units: see [`bound`](Self::bound).
    fn units(&self) -> f64 {
        let (p, points) = (
            self.q.ncols() as f64,
            (self.k.nrows() + self.p_k.nrows() + 1) as f64,
        );
        (p + 4.0) * self.score() + points + 32.0
    }

    /// Rounding of a gate a/(a + b), by two routes: its derivative by log a and log b is at most
    /// 1/4.
    fn gate_bound(&self) -> f64 {
        2.02 * T::unit_roundoff() * (self.units() / 4.0 + 4.0)
    }

    /// Rounding of a smoother with m + l + 1 points, with values up to 4: each kernel value has a
    /// relative error of at most (p + 4) u · score (its score's, and that of the row's shift) plus
    /// 16 u (exp), each sum a relative u per term, numerator and denominator alike; ln, the
    /// logistic function and the mixture add 16 u.
    fn bound(&self) -> f64 {
        2.02 * T::unit_roundoff() * self.units() * 4.0
    }

    fn f(&self) -> Array2<T> {
        attend(&self.q, &self.k, &self.v, &self.visible).f
    }

    /// The kernel itself, zero outside V(i); only for cases that do not overflow.
    fn weights(&self) -> Array2<T> {
        let mut weights = kernel_matrix(&self.q, &self.k);
        for ((i, j), weight) in weights.indexed_iter_mut() {
            if !self.visible.sees(i, j) {
                *weight = T::zero();
            }
        }
        weights
    }
}

/// An error and what it may be at most.
struct Check {
    error: f64,
    bound: f64,
}

fn check(error: f64, bound: f64) -> Check {
    Check { error, bound }
}

trait Claim {
    fn check<T: Real>(case: Case<T>, broken: bool) -> Check;
}

fn on<C: Claim, T: Real>(name: &str) {
    let config = ProptestConfig {
        cases: 64,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x1d0c_e12f),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut caught = 0;
    let mut tightest = 0.0_f64;
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let counters = std::cell::RefCell::new((&mut caught, &mut tightest));
    runner
        .run(&shapes(), |shape| {
            let Check { error, bound } = C::check(Case::<T>::new(shape), false);
            prop_assert!(error <= bound, "{name}: error {error:e} > bound {bound:e}");
            let control = C::check(Case::<T>::new(shape), true);
            let mut counters = counters.borrow_mut();
            *counters.0 += usize::from(control.error > control.bound);
            if bound > 0.0 {
                *counters.1 = counters.1.max(error / bound);
            }
            Ok(())
        })
        .unwrap();
    assert!(
        caught >= 8,
        "{name}: the control was caught in {caught} of 64 cases only"
    );
    println!(
        "{name} on {}: worst error/bound {tightest:.1e}",
        std::any::type_name::<T>()
    );
    // a bound that no error comes within 1000 of would be vacuous (exactly zero errors are exact
    // identities)
    assert!(
        tightest == 0.0 || tightest > 1e-3,
        "{name}: vacuous bound, {tightest:e}"
    );
}

fn holds<C: Claim>(name: &str) {
    on::<C, f32>(name);
    on::<C, f64>(name);
    on::<C, DoubleDouble>(name);
}

macro_rules! claim {
    ($name:ident, |$case:ident: $t:ident, $broken:ident| $body:expr) => {
        #[test]
        fn $name() {
            struct C;
            impl Claim for C {
                #[allow(unused_mut)]
                fn check<$t: Real>(mut $case: Case<$t>, $broken: bool) -> Check {
                    $body
                }
            }
            holds::<C>(stringify!($name));
        }
    };
}

claim!(
    nw_attention_is_the_nadaraya_watson_estimator_of_its_row,
    |case: T, broken| {
        // Σ κ v / Σ κ, point by point, with κ = exp(⟨q, k⟩/√p) unshifted; the control forgets √p
        let mut f = Array2::zeros(case.q.raw_dim());
        let small = T::from_f64(if case.score() > 40.0 { 0.5 } else { 1.0 });
        let (q, k) = (&case.q * small, &case.k);
        for i in 0..q.nrows() {
            let (mut numerator, mut denominator) = (Array1::zeros(q.ncols()), T::zero());
            for j in case.visible.of(i) {
                let kappa = if broken {
                    q.row(i).dot(&k.row(j)).exp()
                } else {
                    kernel(&q.row(i), &k.row(j))
                };
                numerator = numerator + &case.v.row(j) * kappa;
                denominator = denominator + kappa;
            }
            if !denominator.is_zero() {
                f.row_mut(i).assign(&(numerator / denominator));
            }
        }
        check(
            distance(&attend(&q, k, &case.v, &case.visible).f, &f),
            case.bound(),
        )
    }
);

claim!(
    eq03_adding_a_constant_to_a_row_of_scores_changes_nothing,
    |case: T, broken| {
        let scores = scores(&case.q, &case.k);
        let mut shifted = scores.clone();
        if broken {
            shifted
                .column_mut(0)
                .mapv_inplace(|s| s + T::from_f64(80.0));
        } else {
            shifted.mapv_inplace(|s| s + T::from_f64(80.0));
        }
        let f = |s: &Array2<T>| estimate(&shifted_kernel(s, &case.visible).0, &case.v);
        // each shifted score was rounded once at magnitude ≤ 80 + score
        let bound = case.bound() + 2.02 * T::unit_roundoff() * (80.0 + case.score()) * 4.0;
        check(distance(&f(&scores), &f(&shifted)), bound)
    }
);

claim!(
    nw_output_lies_in_the_hull_of_the_visible_values,
    |case: T, broken| {
        let f = case.f() * T::from_f64(if broken { 1.001 } else { 1.0 });
        // normalised weights sum to one up to (m + 3) u, the products and their sum round m + 1
        // times more
        let bound = 2.02 * T::unit_roundoff() * (case.k.nrows() + 4) as f64 * 2.0;
        let mut outside = 0.0_f64;
        for ((i, a), &f) in f.indexed_iter() {
            let seen: Vec<f64> = case
                .visible
                .of(i)
                .map(|j| case.v[[j, a]].to_f64())
                .collect();
            let greatest = seen.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let least = seen.iter().copied().fold(f64::INFINITY, f64::min);
            if !seen.is_empty() {
                let over = (f - T::from_f64(greatest))
                    .to_f64()
                    .max((T::from_f64(least) - f).to_f64());
                outside = outside.max(over);
            }
        }
        check(outside, bound)
    }
);

claim!(
    nw_scores_times_t_tend_to_the_nearest_point_and_to_the_mean,
    |case: T, broken| {
        let all = Visible::all(case.q.nrows(), case.k.nrows());
        let scores = scores(&case.q, &case.k);
        let at = |t: f64| {
            estimate(
                &shifted_kernel(&(&scores * T::from_f64(t)), &all).0,
                &case.v,
            )
        };
        // t → 0: weights 1 + O(t · spread), so f = mean + 2 t · spread · |v|
        let mean = case.v.sum_axis(Axis(0)) / T::from_usize(case.v.nrows());
        let (t, spread) = (1e-6, 2.0 * case.score());
        let near_mean = (at(t)
            - if broken {
                case.v.row(0).to_owned()
            } else {
                mean
            })
        .mapv(|x| x.to_f64().abs());
        let error = near_mean.iter().copied().fold(0.0, f64::max);
        let small = 2.0 * t * spread * (t * spread).exp() * 2.0 + case.bound();
        // t → ∞: every other point's weight is at most exp(−t · gap)
        let greatest = (0..case.q.nrows()).all(|i| {
            let row = scores.row(i);
            let order = |a: &usize, b: &usize| row[*a].partial_cmp(&row[*b]).unwrap();
            let best = (0..row.len()).max_by(order).unwrap();
            let gap = (0..row.len())
                .filter(|&j| j != best)
                .map(|j| (row[best] - row[j]).to_f64())
                .fold(f64::INFINITY, f64::min);
            let t = 200.0 / gap;
            gap <= 0.0
                || !t.is_finite()
                || distance(&at(t).row(i).to_owned(), &case.v.row(best).to_owned()) <= case.bound()
        });
        check(if greatest { error } else { f64::INFINITY }, small)
    }
);

claim!(
    gauss_kernel_is_a_gaussian_times_a_weight_of_each_point,
    |case: T, broken| {
        let (q, k) = (case.q.row(0), case.k.row(0));
        let weight_of_k = if broken { T::one() } else { weight(&k) };
        let product = weight(&q) * gaussian(&q, &k) * weight_of_k;
        let relative = ((product - kernel(&q, &k)) / kernel(&q, &k)).to_f64().abs();
        // exponents up to 4 · score (‖q − k‖² ≤ 4 max), each rounded at most p + 4 times, three
        // factors and the kernel's own
        let p = q.len() as f64;
        let size = p.sqrt() * magnitude(&case.q).max(magnitude(&case.k)).powi(2);
        let bound = 1.01 * T::unit_roundoff() * ((p + 4.0) * 4.0 * size + 4.0 * 16.0 + 4.0);
        // (the bound is first-order: it holds where it is small, which double precision and scores
        // ≤ 80 ensure)
        check(relative, bound * (1.0 + bound))
    }
);

claim!(
    gauss_with_equal_key_norms_attention_is_the_gaussian_smoother,
    |case: T, broken| {
        let mut k = case.k.clone();
        let unit = T::from_f64((case.score().max(1e-12)).sqrt().min(4.0));
        for mut row in k.rows_mut() {
            let norm = row.dot(&row).sqrt();
            row.mapv_inplace(|x| x / norm * unit);
        }
        if broken {
            k.row_mut(0).mapv_inplace(|x| x / T::from_f64(4.0));
        }
        let all = Visible::all(case.q.nrows(), k.nrows());
        let small = &case.q * T::from_f64(0.25);
        let weights = Array2::from_shape_fn((small.nrows(), k.nrows()), |(i, j)| {
            gaussian(&small.row(i), &k.row(j))
        });
        // with a ≥ ‖q‖ and b = ‖k‖: exponents (a + b)²/2√p and ab/√p, each to p + 4 roundings;
        // equal norms to p + 4 of b²/√p
        let p = small.ncols() as f64;
        let (a, b) = (p.sqrt() * magnitude(&small), unit.to_f64());
        let exponents = ((a + b) * (a + b) / 2.0 + a * b + b * b) / p.sqrt();
        let units = (p + 4.0) * exponents + k.nrows() as f64 + 32.0;
        let bound = 2.02 * T::unit_roundoff() * units * 2.0;
        check(
            distance(
                &attend(&small, &k, &case.v, &all).f,
                &estimate(&weights, &case.v),
            ),
            bound,
        )
    }
);

claim!(prefix_attention_is_the_gated_mixture, |case: T, broken| {
    let attended = attend(&case.q, &case.k, &case.v, &case.visible);
    let (mut mixed, mu) = gated(&case.q, &attended, &case.p_k, &case.p_v);
    if broken {
        let g = attend(
            &case.q,
            &case.p_k,
            &case.p_v,
            &Visible::all(case.q.nrows(), case.p_k.nrows()),
        )
        .f;
        mixed = mixture(&g, &mu, &attended.f);
    }
    let stacked = concatenated(
        &case.q,
        (&case.k, &case.v),
        (&case.p_k, &case.p_v),
        &case.visible,
    );
    check(distance(&mixed, &stacked), case.bound())
});

claim!(
    prefix_mu_is_the_logistic_of_two_logsumexps,
    |case: T, broken| {
        let q = &case.q * T::from_f64(if case.score() > 40.0 { 0.5 } else { 1.0 });
        let attended = attend(&q, &case.k, &case.v, &case.visible);
        let over =
            |k: &Array2<T>| shifted_kernel(&scores(&q, k), &Visible::all(q.nrows(), k.nrows()));
        let (_, mu) = gated(&q, &attended, &case.p_k, &case.p_v);
        let (weights, maxima) = over(&case.p_k);
        let lse = if broken {
            maxima
        } else {
            log_sum_exp(&maxima, &weights)
        };
        let s: Array1<T> = lse.into_iter().map(Option::unwrap).collect();
        let by_definition = mu_by_definition(&q, &case.p_k, &case.k, &case.visible);
        let error = distance(&mu, &by_definition)
            .max(distance(&logistic_gate(&s, &attended.lse), &by_definition));
        check(error, case.gate_bound())
    }
);

claim!(eq03_rows_of_softmax_sum_to_one, |case: T, broken| {
    let (weights, _) = shifted_kernel(
        &scores(&case.q, &case.k),
        &Visible::all(case.q.nrows(), case.k.nrows()),
    );
    let rows = if broken {
        row_sums(&weights)
    } else {
        row_sums(&smoother(&weights))
    };
    let m = case.k.nrows() as f64;
    check(
        distance(&rows, &Array1::ones(rows.len())),
        1.01 * T::unit_roundoff() * (2.0 * m + 2.0),
    )
});

claim!(
    eq08_residual_form_equals_the_augmented_estimator,
    |case: T, broken| {
        let attended = attend(&case.q, &case.k, &case.v, &case.visible);
        let s = own_scores(&case.q, &key(&case.q, &case.mlp_k));
        // one common shift for a row's n + 1 points, so that no exponential overflows
        let (weights, shifts) = shifted_kernel(&scores(&case.q, &case.k), &case.visible);
        let top = |i: usize| shifts[i].map_or(s[i], |c| c.maximum(s[i]));
        let own: Array1<T> = (0..s.len()).map(|i| (s[i] - top(i)).exp()).collect();
        let weights = Array2::from_shape_fn(weights.raw_dim(), |(i, j)| {
            shifts[i].map_or(T::zero(), |c| weights[[i, j]] * (c - top(i)).exp())
        });
        let gates = if broken {
            // λ from n points: the inducer is missing from its own denominator
            (0..s.len())
                .map(|i| attended.lse[i].map_or(T::one(), |lse| (s[i] - lse).exp()))
                .collect()
        } else {
            lambda(&s, &attended.lse)
        };
        let left = augmented_estimate(&own, &weights, &value(&attended.f, &case.mlp_v), &case.v);
        check(
            distance(&left, &residual_form(&attended.f, &gates, &case.mlp_v)),
            2.0 * case.bound(),
        )
    }
);

claim!(
    eq07_lambda_is_the_logistic_of_score_minus_logsumexp,
    |case: T, broken| {
        let q = &case.q * T::from_f64(if case.score() > 40.0 { 0.5 } else { 1.0 });
        let attended = attend(&q, &case.k, &case.v, &case.visible);
        let s = own_scores(&q, &key(&q, &case.mlp_k));
        let lse = if broken {
            shifted_kernel(&scores(&q, &case.k), &case.visible).1 // the running maximum
        } else {
            attended.lse
        };
        let small = Case { q, ..case };
        let by_definition = gate(&s.mapv(T::exp), &row_sums(&small.weights()));
        let mut error = distance(&lambda(&s, &lse), &by_definition);
        let all_visible = small.visible == Visible::all(small.q.nrows(), small.k.nrows());
        if all_visible {
            let second = lambda_by_second_softmax(&s, &scores(&small.q, &small.k));
            error = error.max(distance(&second, &by_definition));
        }
        check(error, small.gate_bound())
    }
);

claim!(
    eq07_lambda_lies_between_zero_and_one_rises_with_s_and_falls_with_each_key,
    |case: T, broken| {
        let s = own_scores(&case.q, &key(&case.q, &case.mlp_k));
        let bounded = |x: T| T::zero() <= x && x <= T::one();
        let all = Visible::all(case.q.nrows(), case.k.nrows());
        let few = attend(&case.q, &case.k, &case.v, &case.visible).lse;
        let more = attend(&case.q, &case.k, &case.v, &all).lse;
        let of = |s: &Array1<T>, lse: &[Option<T>]| {
            if broken {
                // κ(q, P_k) over the visible sum alone
                let ratio =
                    |(&s, lse): (&T, &Option<T>)| lse.map_or(T::one(), |lse| (s - lse).exp());
                s.iter().zip(lse).map(ratio).collect()
            } else {
                lambda(s, lse)
            }
        };
        let (lambda, fewer) = (of(&s, &more), of(&s, &few));
        let risen = of(&s.mapv(|s| s + T::from_f64(0.5)), &more);
        let slack = T::from_f64(case.bound());
        let rising = lambda.iter().zip(&risen).all(|(&a, &b)| a <= b);
        let falling = lambda.iter().zip(&fewer).all(|(&a, &b)| a <= b + slack);
        let inside = lambda
            .iter()
            .chain(&fewer)
            .chain(&risen)
            .all(|&x| bounded(x));
        let failures = [rising, falling, inside]
            .iter()
            .filter(|&&holds| !holds)
            .count();
        check(failures as f64, 0.0)
    }
);

claim!(
    prefix_mu_falls_with_the_distance_of_an_equally_long_prefix_key,
    |case: T, broken| {
        // P_k turned away from q: same norm, growing angle; one prefix token, unit bandwidth-free
        // comparison
        let p = 2;
        let radius = T::from_f64(1.5);
        let q = ndarray::array![[radius, T::zero()]];
        let turn = |step: i32| {
            let angle = f64::from(step) * 0.3;
            ndarray::array![[
                radius * T::from_f64(angle.cos()),
                radius * T::from_f64(angle.sin())
            ]]
        };
        let k = matrix::<T>(&mut case.rng, (3, p), 1.0);
        let visible = Visible::all(1, 3);
        let mu: Vec<T> = (0..10)
            .map(|step| mu_by_definition(&q, &turn(step), &k, &visible)[0])
            .collect();
        let falls = mu.windows(2).all(|pair| {
            if broken {
                pair[0] < pair[1]
            } else {
                pair[0] > pair[1]
            }
        });
        check(f64::from(u8::from(!falls)), 0.0)
    }
);

claim!(
    eq03_scores_are_divided_by_the_square_root_of_p,
    |case: T, broken| {
        let p = case.q.ncols();
        let root = if broken {
            T::one()
        } else {
            inverse_sqrt::<T>(p)
        };
        let expected = Array2::from_shape_fn((case.q.nrows(), case.k.nrows()), |(i, j)| {
            (0..p).fold(T::zero(), |sum, a| sum + case.q[[i, a]] * case.k[[j, a]]) * root
        });
        let squares = inverse_sqrt::<T>(p) * inverse_sqrt::<T>(p) * T::from_usize(p);
        // the inducer's own score is divided like any other (mlp_k stands for any second row of
        // vectors)
        let own: Array1<T> = (0..case.q.nrows())
            .map(|i| {
                let products = (0..p).map(|a| case.q[[i, a]] * case.mlp_k[[i, a]]);
                products.fold(T::zero(), |sum, product| sum + product) * root
            })
            .collect();
        let error = distance(&expected, &scores(&case.q, &case.k))
            .max(distance(&own, &own_scores(&case.q, &case.mlp_k)))
            .max((squares - T::one()).to_f64().abs());
        check(
            error,
            1.01 * T::unit_roundoff() * (2.0 * (p as f64 + 2.0) * case.score()).max(8.0),
        )
    }
);

#[test]
fn a_row_that_sees_nothing_is_zero_and_its_gate_one() {
    let (q, v) = (
        vector::<f64>(&mut generator(1), 2, 1.0).insert_axis(Axis(0)),
        Array2::ones((1, 2)),
    );
    let nothing = Visible::all(1, 1).hiding(&[false]);
    let attended = attend(&q, &q, &v, &nothing);
    assert_eq!(attended.f, Array2::<f64>::zeros((1, 2)));
    assert_eq!(attended.lse, vec![None]);
    assert_eq!(
        lambda(&ndarray::array![-3.0], &attended.lse),
        ndarray::array![1.0]
    );
    let (f, mu) = gated(&q, &attended, &q, &v);
    assert_eq!((f, mu), (v, ndarray::array![1.0]));
}
