//! The start of training (§5 of the project's statement): near the frozen function, except under
//! Gating.
//!
//! ```text
//! |output − frozen|_c ≤ |b_2|_c + Σ_h λ^(h) Σ_r |tanh(q W_1 + b_1)|_r |W_2|_rc
//!                     ≤ 2σ (1 + Σ_h λ^(h) r_v min(1, 2σ (‖q^(h)‖_1 + 1)))
//! ```
//!
//! with σ = 0.01, every initial value being cut at 2σ. Adaptive has b_2^(h) and W_2^(h) before W^o
//! and all of it weighted by λ:
//!
//! ```text
//! |output − frozen|_c ≤ 2σ Σ_h λ^(h) (1 + r_v min(1, 2σ (‖q^(h)‖_1 + 1))) Σ_a |W^{o(h)}|_ac
//! ```
//!
//! LoRA starts at zero and adds nothing. Under Gating −λ f W^o comes on top.
//!
//! From below as well, since a start at zero is none: the output moves by what b_2 adds alone, less
//! the part of the bound that is the hidden units'.

use crate::cases::head::by_head;
use crate::cases::{BackboneConfig, Corner, ModelCase, method, roberta};
use crate::engines::candle::array;
use crate::engines::{Candle, translate};
use crate::{Case, Claim, Error, Result, Target, Tolerance};
use inducer_gpu::Method;
use inducer_reference::attention::{Linear, attend, row_block, split_heads};
use inducer_reference::parts::LayerParts;
use inducer_reference::sub_layer::Projections;
use inducer_reference::variants::{Heads, gating_minus_inducer};
use inducer_reference::visible::Visible;
use inducer_reference::{Adapter, Gpt2, Roberta, TensorMap};
use ndarray::{Array2, Array3, ArrayD, Axis};

/// Twice σ: no initial value is greater.
const CUT: f64 = 0.02;

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    vec![
        Claim::new("init-near").on_one_sided(Target::CpuF64, near),
        Claim::new("roberta-init-near")
            .about(roberta)
            .on_one_sided(Target::CpuF64, near),
        Claim::new("init-gating-far").on_one_sided(Target::CpuF64, far),
        Claim::new("roberta-init-gating-far")
            .about(roberta)
            .on_one_sided(Target::CpuF64, far),
    ]
}

/// A layer at the engine's own start: what the method moved its output by, the bound, what its
/// biases b_2 move alone less the rest of the bound, and λ f W^o.
struct Start {
    moved: Array2<f64>,
    bound: Array2<f64>,
    least: Array2<f64>,
    faded: Array2<f64>,
}

/// Builds the layer with the engine's initial values times `scale`.
fn start(case: &mut Case, which: Method, scale: f64) -> Result<Start> {
    case.draw.force(Corner::Plain);
    let backbone = (case.family)(&mut case.draw);
    let given = ModelCase::of(&mut case.draw, backbone, method::none())?;
    let mut config = method::random(&mut case.draw, which);
    if given.backbone.classifies() {
        config.task_type.clone_from(&given.method.task_type);
        method::for_understanding(&mut config);
    }
    let engine = Candle::cpu_f64();
    let mut built = engine.backbone(&given)?;
    built.attach(&translate(&config)?, 0, case.draw.bits())?;
    let own: TensorMap<f64> = built
        .stored()?
        .iter()
        .map(|(name, x)| Ok((name.clone(), array(x)?)))
        .collect::<Result<_>>()?;
    let first = |end: &str| {
        let mut tensors = own.iter().filter(|(name, _)| name.ends_with(end));
        let (_, tensor) = tensors.next().ok_or_else(|| Error::Missing(end.into()))?;
        Ok::<_, Error>(tensor.clone())
    };
    let (up_bias, r_v) = (
        first("value.up_bias")?,
        first("value.down_bias")?.shape()[1] as f64,
    );
    let tensors = own.iter().map(|(name, x)| (name.clone(), scale * x));
    let tensors: TensorMap<f64> = tensors.collect();
    let adapter = Adapter::from_tensors(config, &given.backbone, tensors)?;
    let (n, d, h) = (
        case.draw.size(2, 6),
        given.backbone.hidden(),
        given.backbone.heads(),
    );
    let x = case.draw.array((n, d), 1.5);
    let (attention, visible) = match &given.backbone {
        BackboneConfig::Gpt2(config) => {
            let mut model = Gpt2::from_tensors(config.clone(), &given.weights)?;
            (model.blocks.swap_remove(0).attention, Visible::causal(n))
        }
        BackboneConfig::Roberta(config) => {
            let mut model = Roberta::from_tensors(config.clone(), &given.weights)?;
            (model.layers.swap_remove(0).attention, Visible::all(n, n))
        }
    };
    let attention = &attention;
    let plain = attention.forward(&x, &visible, &LayerParts::none());
    let with = attention.forward(&x, &visible, &adapter.layer(0)?);
    let lambda = with.lambda.ok_or_else(|| Error::Missing("λ".into()))?;
    let (bound, rest) = bounds(attention, &x, &lambda, r_v, which);
    let least = biases(attention, &up_bias, &lambda, n) - rest;
    let heads = Heads {
        f: heads_of(attention, &x, &visible),
        lambda,
        mlp_v: Array3::zeros((h, n, d)),
    };
    Ok(Start {
        moved: with.output - plain.output,
        bound,
        least,
        faded: gating_minus_inducer(&heads, &attention.o),
    })
}

/// The bounds of the module's text, Adaptive's for Adaptive, else the first: the whole, and the
/// part of the hidden units.
fn bounds(
    attention: &Projections<f64>,
    x: &Array2<f64>,
    lambda: &Array2<f64>,
    r_v: f64,
    which: Method,
) -> (Array2<f64>, Array2<f64>) {
    let (h, d) = (attention.heads, x.ncols());
    let q = split_heads(&attention.q.forward(x), h);
    let units = |i: usize, k: usize| {
        let query = q.index_axis(Axis(0), k);
        let length: f64 = query.row(i).iter().map(|q| q.abs()).sum();
        (CUT * (length + 1.0)).min(1.0)
    };
    let gain = |k: usize, c: usize| -> f64 {
        let block = row_block(&attention.o.weight, k, d / h);
        block.column(c).iter().map(|w| w.abs()).sum()
    };
    let adaptive = which == Method::Adaptive;
    let sum = |part: &dyn Fn(usize, usize, usize) -> f64| {
        Array2::from_shape_fn(x.raw_dim(), |(i, c)| (0..h).map(|k| part(i, k, c)).sum())
    };
    let through = |k: usize, c: usize| if adaptive { gain(k, c) } else { 1.0 };
    let rest = sum(&|i, k, c| CUT * lambda[[i, k]] * r_v * units(i, k) * through(k, c));
    let bias = match adaptive {
        true => sum(&|i, k, c| CUT * lambda[[i, k]] * gain(k, c)),
        false => Array2::from_elem(x.raw_dim(), CUT),
    };
    (&bias + &rest, rest)
}

/// The magnitude of what the biases b_2 [d], or b_2^(h) [H, p] before W^o, add to the output.
fn biases(
    attention: &Projections<f64>,
    up_bias: &ArrayD<f64>,
    lambda: &Array2<f64>,
    n: usize,
) -> Array2<f64> {
    let (h, d) = (attention.heads, attention.o.weight.ncols());
    Array2::from_shape_fn((n, d), |(i, c)| match up_bias.ndim() {
        1 => up_bias[[c]].abs(),
        _ => {
            let through = |k: usize| -> f64 {
                let block = row_block(&attention.o.weight, k, d / h);
                let terms = block.column(c).into_iter().enumerate();
                terms.map(|(a, w)| up_bias[[k, a]] * w).sum()
            };
            let all: f64 = (0..h).map(|k| lambda[[i, k]] * through(k)).sum();
            all.abs()
        }
    })
}

/// f^(h) of every head.
fn heads_of(attention: &Projections<f64>, x: &Array2<f64>, visible: &Visible) -> Array3<f64> {
    let split = |linear: &Linear<f64>| split_heads(&linear.forward(x), attention.heads);
    let [q, k, v] = [&attention.q, &attention.k, &attention.v].map(split);
    by_head(attention.heads, |h| {
        let [q, k, v] = [&q, &k, &v].map(|x| x.index_axis(Axis(0), h).to_owned());
        attend(&q, &k, &v, visible).f
    })
}

/// Every variant but Gating starts within its bounds. In the control the values have a deviation of
/// 1, or in every other case of 0.
fn near(case: &mut Case) -> Result<()> {
    let which = case.draw.pick(&[
        Method::Adaptive,
        Method::Extension,
        Method::Inducer,
        Method::InducerLora,
    ]);
    let scale = case.or_control(1.0, [100.0, 0.0][case.draw.turn % 2]);
    let start = start(case, which, scale)?;
    for (at, moved) in start.moved.indexed_iter() {
        let tolerance =
            Tolerance::stated(start.bound[at], "what values cut at 2σ can move, σ = 0.01");
        case.error(moved.abs(), &tolerance, || {
            format!("{which:?}, output at {at:?}")
        });
        let strict = Tolerance::stated(1e-12, "the rounding of a layer in f64");
        case.at_least(moved.abs(), start.least[at], &strict, || {
            format!("{which:?}, output at {at:?} from below")
        });
    }
    Ok(())
}

/// Gating starts at least ‖λ f W^o‖ less that bound away. In the control it is Inducer that does.
fn far(case: &mut Case) -> Result<()> {
    let which = case.or_control(Method::Gating, Method::Inducer);
    let start = start(case, which, 1.0)?;
    for (at, moved) in start.moved.indexed_iter() {
        let least = start.faded[at].abs() - start.bound[at];
        let strict = Tolerance::exact("the bound's own margin is far above rounding");
        case.at_least(moved.abs(), least, &strict, || {
            format!("{which:?}, output at {at:?}")
        });
    }
    Ok(())
}
