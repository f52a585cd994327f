//! A built-in variant through the same door: Adaptive (§6.2), f + λ MLP_v(q) with P_k = q, by the
//! reference's functions and the engine's own part.

use super::{Formula, Points, Tensors, TrainablePart, matrix, vector};
use inducer_gpu::Parameter;
use inducer_gpu::ops::attention::Heads;
use inducer_gpu::parts::{Inducer, Part};
use inducer_reference::Real;
use inducer_reference::attention::attend;
use inducer_reference::inducer::{lambda, own_scores, residual_form};
use ndarray::Array2;

/// Hidden units of its MLP_v.
const WIDTH: usize = 3;

/// The Adaptive variant.
pub struct Adaptive;

impl Formula for Adaptive {
    fn shapes(heads: Heads) -> Vec<(&'static str, Vec<usize>)> {
        let (h, p) = (heads.count, heads.width);
        vec![
            ("down", vec![h, p, WIDTH]),
            ("down_bias", vec![h, WIDTH]),
            ("up", vec![h, WIDTH, p]),
            ("up_bias", vec![h, p]),
        ]
    }

    fn head<T: Real>(points: &Points<'_, T>, tensors: &Tensors<T>) -> Array2<T> {
        let Points {
            h,
            q,
            k,
            v,
            visible,
        } = points;
        let attended = attend(q, k, v, visible);
        let gate = lambda(&own_scores(q, q), &attended.lse);
        let hidden = q.dot(&matrix(&tensors["down"], *h)) + vector(&tensors["down_bias"], *h);
        let mlp_v = hidden.mapv(T::tanh).dot(&matrix(&tensors["up"], *h));
        residual_form(
            &attended.f,
            &gate,
            &(mlp_v + vector(&tensors["up_bias"], *h)),
        )
    }
}

impl TrainablePart for Adaptive {
    fn part(layer: usize, parameters: Vec<Parameter>) -> Box<dyn Part> {
        let value = parameters
            .try_into()
            .unwrap_or_else(|_| unreachable!("as many parameters as shapes"));
        Box::new(Inducer {
            layer,
            variant: inducer_gpu::Variant::Adaptive,
            key: None,
            value,
        })
    }
}
