//! The scalars' own accuracy: double-double against digits computed in 60-digit decimal arithmetic,
//! duals against calculus.

#![allow(clippy::unwrap_used, clippy::expect_used)]
// the table holds e, ln 2 and √2 as computed elsewhere
#![allow(clippy::approx_constant, clippy::type_complexity)]

use approx::assert_abs_diff_eq;
use inducer_reference::{DoubleDouble, Dual, Real};
use num_traits::Zero;

/// Function, argument (that very `f64`), and the value as a sum of two `f64`: made with Python's
/// `decimal`, precision 60.
const KNOWN: &[(&str, f64, f64, f64)] = &[
    ("exp", 1.0, 2.718281828459045, 1.4456468917292502e-16),
    ("exp", -1.0, 0.36787944117144233, -1.2428753672788363e-17),
    ("exp", 0.1, 1.1051709180756477, -8.149523913327619e-17),
    ("exp", -0.2, 0.8187307530779818, 2.859368976827291e-17),
    ("exp", 1e-05, 1.00001000005, 9.70188425858504e-17),
    ("exp", 50.25, 6.657293676747253e+21, -138475.8210218274),
    ("exp", -80.5, 1.0946977029531417e-35, 2.7079092577948912e-52),
    (
        "exp",
        300.75,
        4.1121167109946366e+130,
        1.1390271245889806e+113,
    ),
    (
        "exp",
        -600.5,
        1.6075467697937942e-261,
        3.537726127764541e-279,
    ),
    ("ln", 2.0, 0.6931471805599453, 2.3190468138462996e-17),
    ("ln", 3.0, 1.0986122886681098, -9.07129723500153e-17),
    ("ln", 0.95, -0.05129329438755058, -2.0440524160392677e-18),
    ("ln", 1.0625, 0.06062462181643484, 2.6424025938726934e-18),
    ("ln", 1e-05, -11.512925464970229, 2.790027459050308e-16),
    (
        "ln",
        10000000000.0,
        23.025850929940457,
        -3.94399383981999e-16,
    ),
    ("ln", 0.001, -6.907755278982137, -2.1613487097372872e-16),
    ("ln", 7.389, 1.9999924078065106, 3.148136059386645e-17),
    ("sqrt", 2.0, 1.4142135623730951, -9.667293313452913e-17),
    ("sqrt", 3.0, 1.7320508075688772, 1.0035084221806903e-16),
    ("sqrt", 1e-05, 0.0031622776601683794, 6.692335247806306e-20),
    ("sqrt", 64.0, 8.0, 0.0),
    ("sqrt", 10000000000.0, 100000.0, 0.0),
    ("sqrt", 0.7, 0.8366600265340756, -4.12265279558505e-17),
    (
        "tanh",
        1e-06,
        9.999999999996666e-07,
        -2.5868588632771325e-23,
    ),
    ("tanh", 0.1, 0.09966799462495582, 3.542433877641546e-18),
    ("tanh", -0.19, -0.18774620586828542, 5.278194833160297e-18),
    ("tanh", 0.21, 0.20696649972945258, -7.359427791275931e-19),
    ("tanh", 0.5, 0.46211715726000974, 2.1916603238260928e-17),
    ("tanh", -1.0, -0.7615941559557649, -3.7090214482164924e-17),
    ("tanh", 3.5, 0.9981778976111987, 2.5870171246124584e-17),
    ("tanh", 20.0, 1.0, -8.496708510583178e-18),
    ("exp", -0.34, 0.7117703227626097, 4.476156673124037e-17),
    ("exp", 0.345, 1.411989919667659, -3.9177507774434116e-17),
    ("exp", 3.9, 49.40244910553017, 2.829950016264447e-15),
    ("exp", -17.3, 3.066941294563555e-08, 3.271162333333188e-25),
    ("exp", 79.3, 2.751391649947527e+34, -6.654002751705172e+17),
    (
        "exp",
        300.25,
        2.4941248615349213e+130,
        -6.154945403062824e+113,
    ),
    ("ln", 0.71, -0.342490308946776, 1.5255407947183487e-17),
    (
        "ln",
        0.99999,
        -1.0000050000287824e-05,
        -6.988117163381056e-22,
    ),
    (
        "ln",
        1.0000001,
        9.999999505838704e-08,
        1.5249709528441489e-24,
    ),
    ("ln", 1.09, 0.08617769624105241, -6.541064564893288e-18),
    ("ln", 1.3, 0.26236426446749106, 2.6633628353477566e-17),
    ("ln", 1.42, 0.35065687161316933, -1.7065275145611344e-17),
    ("ln", 2.9, 1.0647107369924282, 7.091773787274429e-17),
    ("ln", 1e-30, -69.07755278982137, -2.286179106246918e-15),
    ("ln", 6.5e+20, 47.923504036782504, 1.5169210181006468e-15),
    ("tanh", 0.003, 0.0029999910000324, 5.121653792857967e-20),
    ("tanh", 0.199, 0.19641408783879866, -6.75663913397287e-18),
    ("tanh", 2.7, 0.9910074536781176, 4.2502645318925924e-17),
    ("tanh", -9.5, -0.9999999887944072, 2.5291594875064477e-17),
    ("erf", 1e-06, 1.1283791670951364e-06, -7.264861874834301e-24),
    ("erf", 0.1, 0.1124629160182849, 9.255497413884101e-19),
    ("erf", -0.5, -0.5204998778130465, -1.900077467916287e-17),
    ("erf", 1.0, 0.8427007929497149, -2.4801011789118602e-17),
    ("erf", 2.5, 0.999593047982555, 4.6925151097042234e-17),
    ("erf", -4.0, -0.9999999845827421, -1.44826531920025e-17),
    ("erf", 6.0, 1.0, -2.1519736712498913e-17),
];

fn apply<T: Real>(function: &str, x: T) -> T {
    match function {
        "exp" => x.exp(),
        "ln" => x.ln(),
        "sqrt" => x.sqrt(),
        "tanh" => x.tanh(),
        _ => x.erf(),
    }
}

/// |value − (hi + lo)| relative to hi.
fn relative_error<T: Real>(value: T, hi: f64, lo: f64) -> f64 {
    ((value - T::from_f64(hi) - T::from_f64(lo)) / T::from_f64(hi))
        .to_f64()
        .abs()
}

#[test]
fn double_double_functions_match_28_known_digits() {
    let mut worst = ("", 0.0, 0.0);
    for &(function, x, hi, lo) in KNOWN {
        let error = relative_error(apply(function, DoubleDouble::from_f64(x)), hi, lo);
        assert!(error < 1e-28, "{function}({x}): relative error {error:e}");
        if error > worst.2 {
            worst = (function, x, error);
        }
    }
    println!("worst relative error: {worst:?}");
}

#[test]
fn double_double_functions_are_good_to_a_few_roundings() {
    // what the bounds of the claims count for each: c and the two roundings that an engine may take
    // for one
    let units = |function: &str| match function {
        "exp" | "ln" => 8.0,
        "tanh" => 16.0,
        _ => 2.0,
    };
    // erf's series has the condition x², and no claim counts on it here
    for &(function, x, hi, lo) in KNOWN.iter().filter(|known| known.0 != "erf") {
        let value = apply(function, DoubleDouble::from_f64(x));
        let u = DoubleDouble::unit_roundoff();
        let of = |value: DoubleDouble| relative_error(value, hi, lo) / u / units(function);
        assert!(
            of(value) < 1.0,
            "{function}({x}): {:.1} of its roundings",
            of(value)
        );
        // control: thirty roundings more
        let moved = value + value * DoubleDouble::from_f64(30.0 * u);
        assert!(of(moved) > 1.0, "{function}({x}): control");
    }
}

#[test]
fn double_double_control_the_functions_of_f64_lack_those_digits() {
    let short = |&&(function, x, hi, lo): &&(&str, f64, f64, f64)| {
        relative_error(DoubleDouble::from_f64(apply(function, x)), hi, lo) > 1e-28
    };
    let exact = KNOWN.len() - KNOWN.iter().filter(short).count();
    assert_eq!(exact, 2, "only √64 and √10¹⁰ are f64 numbers");
}

#[test]
fn f64_and_f32_erf_are_within_a_few_units() {
    for &(_, x, hi, lo) in KNOWN.iter().filter(|known| known.0 == "erf") {
        // exp(−x²) has condition x² (twice: once for the square's rounding), the series a unit for
        // each of its ≈ 2x² + 8 dominant terms at most.
        let units = 4.0 * x * x + 16.0;
        assert!(
            relative_error(Real::erf(x), hi, lo) < units * f64::unit_roundoff(),
            "{x}"
        );
        let (single, exact) = (x as f32, x);
        // the argument's own rounding moves erf by at most its relative change, since x
        // erf′(x)/erf(x) ≤ 1
        assert!(
            relative_error(Real::erf(single), Real::erf(exact) as f32 as f64, 0.0)
                < (units + 2.0) * f32::unit_roundoff(),
            "{x}"
        );
    }
}

#[test]
fn erf_is_the_integral_of_its_density() {
    // Simpson's rule on [0, x] with 2N steps: error ≤ x⁵ max|g⁗| / (180 (2N)⁴), max|g⁗| = 12 · 2/√π
    // < 14.
    for x in [0.3_f64, 1.1, 2.0] {
        let steps = 400;
        let width = x / f64::from(steps);
        let density =
            |i: i32| (-(width * f64::from(i)).powi(2)).exp() * 2.0 / std::f64::consts::PI.sqrt();
        let inner: f64 = (1..steps)
            .map(|i| density(i) * if i % 2 == 1 { 4.0 } else { 2.0 })
            .sum();
        let integral = (density(0) + inner + density(steps)) * width / 3.0;
        let bound =
            x.powi(5) * 14.0 / (180.0 * f64::from(steps).powi(4)) + 500.0 * f64::unit_roundoff();
        assert!((Real::erf(x) - integral).abs() < bound, "{x}");
        assert!(
            (x.tanh() - integral).abs() > bound,
            "control: another sigmoid, {x}"
        );
    }
}

#[test]
fn double_double_functions_invert_each_other() {
    for i in 1..200 {
        let x = DoubleDouble::from_f64(f64::from(i) * 0.37) / DoubleDouble::from_f64(7.0);
        let error = |a: DoubleDouble, b: DoubleDouble| ((a - b) / b).to_f64().abs();
        assert!(error(x.sqrt() * x.sqrt(), x) < 1e-30);
        assert!(error(x.ln().exp(), x) < 1e-28);
        let (p, m) = (x.exp(), (-x).exp());
        assert!(error((p - m) / (p + m), x.tanh()) < 1e-28);
        assert!(error(p * m, DoubleDouble::from_f64(1.0)) < 1e-28);
        // control: the same with the trailing part thrown away
        assert!(error(DoubleDouble::from_f64(x.to_f64()), x) > 1e-28 || x.parts().1 == 0.0);
    }
}

#[test]
fn dual_numbers_differentiate_every_function() {
    let functions: [(fn(Dual<f64>) -> Dual<f64>, fn(f64) -> f64); 5] = [
        (Real::exp, f64::exp),
        (Real::ln, |x| 1.0 / x),
        (Real::sqrt, |x| 0.5 / x.sqrt()),
        (Real::tanh, |x| 1.0 / x.cosh().powi(2)),
        (Real::erf, |x| {
            2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp()
        }),
    ];
    for x in [0.25, 0.5, 1.0, 1.75] {
        for (i, (dual, derivative)) in functions.iter().enumerate() {
            let error = (dual(Dual::variable(x)).eps - derivative(x)).abs();
            assert!(
                error < 16.0 * f64::unit_roundoff() * derivative(x).abs(),
                "function {i} at {x}: {error:e}"
            );
            assert_eq!(dual(Dual::constant(x)).eps, 0.0);
        }
        let (a, b) = (Dual::new(x, 2.0), Dual::new(3.0, -0.5));
        assert_eq!((a * b).eps, 2.0 * 3.0 - 0.5 * x);
        assert_eq!((a - b).eps, 2.5);
        let quotient = (2.0 * 3.0 + 0.5 * x) / 9.0;
        assert_abs_diff_eq!(
            (a / b).eps,
            quotient,
            epsilon = 4.0 * f64::unit_roundoff() * quotient
        );
    }
}

#[test]
fn dual_numbers_over_double_doubles_differentiate_to_28_digits() {
    let x = DoubleDouble::from_f64(0.75);
    let error = Dual::variable(x).exp().eps - x.exp();
    assert_abs_diff_eq!(error.to_f64(), 0.0, epsilon = 1e-28);
}

#[test]
fn infinite_and_missing_numbers_are_known_as_such_in_every_scalar() {
    fn holds<T: Real>() {
        assert!(T::from_f64(-3.5).is_finite() && T::zero().is_finite());
        for x in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert!(!T::from_f64(x).is_finite(), "{x}");
        }
    }
    holds::<f32>();
    holds::<f64>();
    holds::<DoubleDouble>();
    holds::<Dual<f64>>();
    assert!(!Dual::new(1.0, f64::INFINITY).is_finite());
    assert!(!Dual::new(f64::NAN, 1.0).is_finite());
    assert!(Dual::new(1.0, 2.0).is_finite());
}

#[test]
fn the_maximum_of_tied_values_is_the_first_with_its_slope() {
    let (a, b) = (Dual::new(1.0, 5.0), Dual::new(1.0, 7.0));
    assert_eq!((a.maximum(b).eps, b.maximum(a).eps), (5.0, 7.0));
    assert_eq!(a.maximum(Dual::new(2.0, 3.0)).eps, 3.0);
    assert_eq!(a.maximum(Dual::new(0.5, 3.0)).eps, 5.0);
}

#[test]
fn double_double_sums_keep_their_low_parts() {
    let tiny = |k: i32| 2.0_f64.powi(k);
    let sum = DoubleDouble::new(1.0, tiny(-60)) + DoubleDouble::new(0.125, tiny(-62));
    assert_eq!(sum.parts(), (1.125, tiny(-60) + tiny(-62)));
    let sum = DoubleDouble::from_f64(1.0) + DoubleDouble::from_f64(tiny(-60));
    assert_eq!(sum.parts(), (1.0, tiny(-60)));
    // what the low parts lose in their own sum counts where the rest cancels: 1 + 3·2⁻⁵⁴ + 2⁻⁵⁴ +
    // 2⁻¹⁰⁸
    let sum = DoubleDouble::new(1.0, tiny(-54)) + DoubleDouble::new(3.0 * tiny(-54), tiny(-108));
    assert_eq!(sum.parts(), (1.0 + tiny(-52), tiny(-108)));
    let difference = DoubleDouble::new(1.0, tiny(-60)) - DoubleDouble::from_f64(1.0);
    assert_eq!(difference.parts(), (tiny(-60), 0.0));
}

#[test]
fn double_double_exp_reaches_the_ends_of_the_range() {
    // 2^1024 itself is no f64, the result is, and it keeps its low part
    let at = |x: f64| DoubleDouble::from_f64(x).exp().parts();
    for x in [709.7_f64, -708.0] {
        assert!((at(x).0 / x.exp() - 1.0).abs() < 1e-13, "{x}");
    }
    assert!(at(709.7).1 != 0.0);
    assert_eq!(at(720.0), (f64::INFINITY, 0.0));
    assert_eq!(at(f64::INFINITY), (f64::INFINITY, 0.0));
    assert_eq!(at(f64::NEG_INFINITY), (0.0, 0.0));
    assert!(at(-745.0).0 > 0.0 && at(f64::NAN).0.is_nan());
}

#[test]
fn double_double_functions_have_the_limits_of_f64() {
    let of = DoubleDouble::from_f64;
    let (zero, one, infinity) = (of(0.0), of(1.0), of(f64::INFINITY));
    assert_eq!(zero.ln().to_f64(), f64::NEG_INFINITY);
    assert_eq!(infinity.ln().to_f64(), f64::INFINITY);
    assert_eq!(zero.sqrt().to_f64(), 0.0);
    assert_eq!(infinity.sqrt().to_f64(), f64::INFINITY);
    assert!(of(-1.0).ln().to_f64().is_nan() && of(-1.0).sqrt().to_f64().is_nan());
    assert_eq!((one / zero).to_f64(), f64::INFINITY);
    assert_eq!((one / infinity).to_f64(), 0.0);
}

/// ln(1 + x) = x − x²/2 + x³/3 − x⁴/4 …: near 1 the logarithm keeps its digits although it is
/// small.
#[test]
fn double_double_logarithm_near_one_keeps_28_digits() {
    let of = DoubleDouble::from_f64;
    for argument in [1.0 + 1e-12, 1.0 - 7e-11] {
        let x = of(argument - 1.0); // exact
        let (square, cube) = (x * x, x * x * x);
        let expected = x - square / of(2.0) + cube / of(3.0) - square * square / of(4.0);
        let error = ((of(argument).ln() - expected) / expected).to_f64().abs();
        assert!(error < 1e-28, "{argument}: {error:e}");
    }
}

#[test]
fn double_double_tanh_is_one_far_out() {
    for (x, expected) in [(400.0, 1.0), (-400.0, -1.0), (41.0, 1.0)] {
        assert_eq!(DoubleDouble::from_f64(x).tanh().parts(), (expected, 0.0));
    }
}

#[test]
fn erf_is_one_far_out_on_both_sides() {
    for x in [9.0, 30.0, f64::INFINITY] {
        assert_eq!(Real::erf(x), 1.0);
        assert_eq!(Real::erf(-x), -1.0);
        assert_eq!(DoubleDouble::from_f64(x).erf(), DoubleDouble::from_f64(1.0));
        assert_eq!(
            DoubleDouble::from_f64(-x).erf(),
            DoubleDouble::from_f64(-1.0)
        );
    }
}

#[test]
fn a_dual_number_is_zero_only_with_its_slope_and_rounds_as_its_value_does() {
    assert!(Dual::<f64>::zero().is_zero());
    assert!(!Dual::variable(0.0).is_zero());
    assert!(!Dual::constant(1e-300).is_zero());
    assert_eq!(Dual::new(2.5, 7.0).to_f64(), 2.5);
    assert_eq!(Dual::<f64>::unit_roundoff(), f64::unit_roundoff());
    assert_eq!(Dual::<f32>::unit_roundoff(), f32::unit_roundoff());
}
