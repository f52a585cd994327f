//! The bottleneck adapter (Eq. 1).

use crate::cases::Draw;
use crate::cases::head::lift;
use crate::identity::{RealIdentity, Sides};
use crate::oracle::Mutation;
use crate::{Claim, Present};
use inducer_reference::Real;
use inducer_reference::adapter::BottleneckAdapter;
use inducer_reference::attention::Linear;
use inducer_reference::layer_norm::LayerNorm;
use ndarray::Array2;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    vec![
        Claim::new("eq01-adapter")
            .real::<Residual>()
            .on_whole_models(present, Mutation::Residual),
    ]
}

struct Residual;

impl RealIdentity for Residual {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let (n, d, r) = (draw.size(1, 4), draw.size(2, 6), draw.size(1, 7));
        let h: Array2<T> = lift(&draw.array((n, d), 2.0));
        let mut linear = |from, to| Linear {
            weight: lift::<T, _>(&draw.array((from, to), 1.0)),
            bias: lift::<T, _>(&draw.array(to, 1.0)),
        };
        let (down, up) = (linear(d, r), linear(r, d));
        let layer_norm = draw.chance(0.5).then(|| LayerNorm {
            weight: lift(&draw.array(d, 1.5)),
            bias: lift(&draw.array(d, 0.5)),
            epsilon: 1e-5,
        });
        let adapter = BottleneckAdapter {
            layer_norm,
            down,
            up,
        };
        let input = adapter
            .layer_norm
            .as_ref()
            .map_or_else(|| h.clone(), |norm| norm.forward(&h));
        let by_hand = Array2::from_shape_fn((n, d), |(i, c)| {
            let unit = |u: usize| {
                let before = (0..d).fold(adapter.down.bias[u], |sum, a| {
                    sum + input[[i, a]] * adapter.down.weight[[a, u]]
                });
                before.maximum(T::zero())
            };
            let start = if control {
                adapter.up.bias[c]
            } else {
                adapter.up.bias[c] + h[[i, c]]
            };
            (0..r).fold(start, |sum, u| sum + unit(u) * adapter.up.weight[[u, c]])
        });
        Sides::of("h + φ(h W_1 + b_1) W_2 + b_2", adapter.forward(&h), by_hand)
    }
}
