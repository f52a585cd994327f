//! Derivatives of whole models by dual numbers: exact, against central differences in
//! double-double, for every tensor of every method; and the closed forms below (8).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::common::{every_method, generator, random_adapter, random_backbone};
use inducer_reference::adapter::relu;
use inducer_reference::attention::logistic;
use inducer_reference::inducer::{lambda, residual_form};
use inducer_reference::{
    Adapter, AdapterConfig, DoubleDouble, Dual, Gpt2, Gpt2Config, Real, TensorMap, cross_entropy,
};
use ndarray::{Array1, ArrayD, array};
use rand::Rng;

fn small() -> Gpt2Config {
    Gpt2Config {
        n_inner: Some(6),
        ..Gpt2Config::new(7, 8, 4, 2, 2)
    }
}

fn loss<T: Real>(model: &Gpt2<T>, config: &AdapterConfig, tensors: TensorMap<T>) -> T {
    let adapter = Adapter::from_tensors(config.clone(), &small(), tensors).unwrap();
    let out = model
        .forward(
            &[3, 7, 4, 8, 5],
            Some(&[7, 7, 8, 8, 7]),
            None,
            Some(&adapter),
        )
        .unwrap();
    cross_entropy(&out.logits, &[-100, 4, 8, 5, 1], T::from_f64(0.1))
        .unwrap()
        .0
}

fn cast<T: Real, U: Real>(tensors: &TensorMap<T>, to: impl Fn(T) -> U) -> TensorMap<U> {
    tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.mapv(&to)))
        .collect()
}

type Dd = DoubleDouble;

/// (f(x + h t) − f(x − h t))/2h in double-double.
fn central(
    model: &Gpt2<Dd>,
    config: &AdapterConfig,
    at: &TensorMap<Dd>,
    name: &str,
    direction: &ArrayD<f64>,
    h: f64,
) -> Dd {
    let side = |sign: f64| {
        let mut tensors = at.clone();
        let step = direction.mapv(|t| Dd::from_f64(t * sign * h));
        let tensor = tensors.get_mut(name).unwrap();
        *tensor = &*tensor + &step;
        loss(model, config, tensors)
    };
    (side(1.0) - side(-1.0)) / Dd::from_f64(2.0 * h)
}

#[test]
fn every_tensor_of_every_method_has_the_derivative_that_differences_show() {
    let model = random_backbone::<f64>(&small(), 31);
    let model_dd =
        Gpt2::<Dd>::from_tensors(small(), &cast(&model.tensors(), Dd::from_f64)).unwrap();
    let model_dual =
        Gpt2::<Dual<f64>>::from_tensors(small(), &cast(&model.tensors(), Dual::constant)).unwrap();
    let mut rng = generator(32);
    for (method, config) in every_method() {
        let mut adapter = random_adapter::<f64>(&config, &small(), 2, 33);
        // ReLU's units alive, so that no tensor's gradient vanishes
        let biases = adapter
            .tensors
            .iter_mut()
            .filter(|(name, _)| name.ends_with("adapter.down.bias"));
        biases.for_each(|(_, bias)| *bias += 1.0);
        let at = cast(&adapter.tensors, Dd::from_f64);
        for (name, tensor) in &adapter.tensors {
            let direction = tensor.mapv(|_| rng.random_range(-1.0..=1.0));
            let mut duals = cast(&adapter.tensors, Dual::constant);
            let variable = duals.get_mut(name).unwrap();
            ndarray::Zip::from(variable)
                .and(&direction)
                .for_each(|x, &t| x.eps = t);
            let exact = loss(&model_dual, &config, duals).eps;
            // The error of a central difference is h² f‴/6; two steps give f‴/6 itself, and so the
            // bound.
            let (coarse, fine) = (1e-5, 1e-7);
            let at_coarse = central(&model_dd, &config, &at, name, &direction, coarse);
            let at_fine = central(&model_dd, &config, &at, name, &direction, fine);
            let third = (at_coarse - at_fine).to_f64().abs() / (coarse * coarse - fine * fine);
            let truncation = 2.0 * third * fine * fine;
            let rounding = 2000.0 * f64::unit_roundoff() * exact.abs().max(1.0);
            let error = (at_fine.to_f64() - exact).abs();
            assert!(
                error <= truncation + rounding,
                "{method}, {name}: {error:e} of {exact:e}"
            );
            // A constant added to every key adds one to each row of scores, which changes nothing
            // (Eq. 3): LoRA's bias on W^k has no gradient in plain attention. Every other tensor
            // must move the loss.
            let idle = name.ends_with("lora.k.bias");
            assert_eq!(
                exact.abs() <= rounding,
                idle,
                "{method}, {name}: gradient {exact:e}"
            );
            // control: λ detached would be another number; here the crudest such change, half the
            // derivative
            assert!(
                (at_fine.to_f64() - exact / 2.0).abs() > truncation + rounding
                    || exact.abs() < 1e-9
            );
        }
    }
}

#[test]
fn eq08_gradient_has_its_closed_form() {
    // ∂f̃/∂MLP_v = λ; through s: λ(1 − λ) MLP_v; through LSE: −λ(1 − λ) MLP_v
    let (f, v, s, lse) = (0.7, -1.3, 0.4, 0.9);
    let at = |s: Dual<f64>, lse: Dual<f64>, v: Dual<f64>| {
        let gate: Array1<_> = lambda(&array![s], &[Some(lse)]);
        residual_form(&array![[Dual::constant(f)]], &gate, &array![[v]])[[0, 0]].eps
    };
    let (c, x) = (Dual::constant, Dual::variable);
    let gate = 1.0 / (1.0 + (lse - s).exp());
    let close = |a: f64, b: f64| (a - b).abs() <= 16.0 * f64::unit_roundoff();
    assert!(close(at(c(s), c(lse), x(v)), gate));
    assert!(close(at(x(s), c(lse), c(v)), gate * (1.0 - gate) * v));
    assert!(close(at(c(s), x(lse), c(v)), -gate * (1.0 - gate) * v));
    assert!(!close(at(c(s), c(lse), x(v)), gate * gate), "control");
}

#[test]
fn eq01_relu_has_no_slope_at_zero() {
    // the convention of every framework, where the derivative does not exist
    let at = |x: f64| relu(Dual::variable(x));
    assert_eq!(at(0.0), Dual::constant(0.0));
    assert_eq!(at(2.0), Dual::variable(2.0));
    assert_eq!(at(-2.0), Dual::constant(0.0));
}

#[test]
fn logistic_and_its_slope_are_finite_however_far_out() {
    let at = |x: f64| logistic(Dual::variable(x));
    assert_eq!(at(1e4), Dual::constant(1.0));
    assert_eq!(at(-1e4), Dual::constant(0.0));
    assert_eq!(at(0.0), Dual::new(0.5, 0.25));
}
