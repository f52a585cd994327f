//! AdamW on single tensors, as large as the pieces that its kernels divide them into.

use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::engines::candle::array;
use crate::engines::{Candle, candles};
use crate::{Case, Claim, Engine, Present, Result, Tolerance};
use inducer_gpu::gradients::Gradients;
use inducer_gpu::tape::Parameter;
use inducer_gpu::train::{AdamW, AdamWConfig};
use ndarray::{ArrayD, IxDyn};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    vec![
        Claim::new("adamw-elements")
            .one_case_in(16)
            .at_least(SIZES.len())
            .on_each(candles(present), elements),
    ]
}

/// Numbers of elements around a piece of 4,096, in turn.
const SIZES: [usize; 5] = [4097, 1, 4095, 9001, 4096];

const STEPS: i32 = 3;

/// Every element of a tensor is Adam's after three steps, wherever in the tensor it lies:
/// θ ← (1 − η wd) θ − η (m/(1 − β₁ᵗ)) / (√(v/(1 − β₂ᵗ)) + ε). In the control it is given the
/// gradient of the element before it, with the other sign.
fn elements(engine: &Candle, case: &mut Case) -> Result<()> {
    let n = *case.draw.in_turn(&SIZES);
    let config = AdamWConfig {
        weight_decay: 0.125,
        eps: case.draw.pick(&[1e-8, 1e-4]),
        ..AdamWConfig::default()
    };
    let (rate, scale) = (0.0625, case.draw.pick(&[1.0, 0.5]));
    let start: ArrayD<f64> = case.draw.array(IxDyn(&[n, 1]), 1.0);
    let slopes: Vec<ArrayD<f64>> = (0..STEPS)
        .map(|_| case.draw.array(IxDyn(&[n, 1]), 1.0))
        .collect();
    let mut parameter = Parameter::new("x", engine.tensor(&start)?, true);
    let mut optimiser = AdamW::new(config);
    for slope in &slopes {
        let gradients: Gradients = [("x".to_owned(), engine.tensor(slope)?)]
            .into_iter()
            .collect();
        optimiser.step(vec![&mut parameter], &gradients, rate, scale)?;
    }
    let found = array(&parameter.tensor)?;
    let u = engine.roundoff() + UNIT_ROUNDOFF_F64;
    // a step is some rates at most, and 1 − β₂ᵗ is known to u/(1 − β₂) of itself in f64
    let of_steps = f64::from(STEPS) * rate * (32.0 * u + UNIT_ROUNDOFF_F64 / (1.0 - config.beta2));
    let tolerance = Tolerance::stated(
        of_steps + 16.0 * u,
        "3 η (32 u + u/(1 − β₂)) + 16 u, for |θ| ≤ 1",
    );
    let all = start.iter().zip(&found).enumerate();
    for (i, (start, found)) in all {
        let given = match case.control {
            true => (i + n - 1) % n,
            false => i,
        };
        let (mut theta, mut m, mut v) = (*start, 0.0, 0.0);
        for (t, slope) in (1..).zip(&slopes) {
            let g = scale * slope[[given, 0]] * case.or_control(1.0, -1.0);
            m = config.beta1 * m + (1.0 - config.beta1) * g;
            v = config.beta2 * v + (1.0 - config.beta2) * g * g;
            let (c1, c2) = (1.0 - config.beta1.powi(t), 1.0 - config.beta2.powi(t));
            theta -= rate * config.weight_decay * theta;
            theta -= rate * (m / c1) / ((v / c2).sqrt() + config.eps);
        }
        case.close(*found, theta, &tolerance, || {
            format!("{n} elements, element {i}")
        });
    }
    Ok(())
}
