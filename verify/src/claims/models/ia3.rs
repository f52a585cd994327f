//! (IA)³ (Liu et al. 2022, section 3.3) and rsLoRA's factor: methods that are not the paper's, in
//! rows of their own.

use super::agreement::same_as;
use super::gradients::reverse;
use super::ladder::{Pair, Step, without};
use crate::cases::{Draw, Dropping, Family, ModelCase, ModelOption, Sample, method, roberta};
use crate::engines::{Paper, candles, external, training, translate};
use crate::identity::{FieldIdentity, Sides};
use crate::{Case, Claim, Engine, Present, Result, Target};
use inducer_gpu::Gpt2Config as Gpt2;
use inducer_gpu::{Method, counts};
use inducer_reference::ia3::{merge_into_input, merge_into_output, rescale};
use inducer_reference::nadaraya_watson::estimate;
use inducer_reference::{AdapterConfig, Backbone, Gpt2Config, Projection, RobertaConfig};
use ndarray::{Array1, Array2, Dimension};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let agree = |claim: Claim| {
        let claim = claim.one_case_in(4).at_least(26);
        claim
            .on_each(training(present), |engine, case| agrees(engine, case))
            .on_each_one_sided(external(present), |engine, case| agrees(engine, case))
    };
    let gradients = |claim: Claim| {
        let claim = claim.one_case_in(4).at_least(26);
        claim
            .on_each(candles(present), |engine, case| {
                let rate = case.draw.option(ModelOption::Dropout).then_some(0.2);
                in_reverse(engine, case, rate)
            })
            .on_each_one_sided(external(present), |engine, case| {
                in_reverse(engine, case, None)
            })
    };
    let restricted = |claim: Claim, step: Step| claim.on_restricted_models(present, step);
    vec![
        restricted(Claim::new("ia3-merge").exact::<Merge>(), merged),
        restricted(Claim::new("ia3-identity").exact::<Ones>(), ones),
        Claim::new("ia3-before-the-second-map").exact::<BeforeTheSecondMap>(),
        Claim::new("ia3-folded").exact::<Folded>(),
        agree(Claim::new("ia3-agree")),
        agree(Claim::new("roberta-ia3-agree").about(roberta)),
        gradients(Claim::new("ia3-gradients")),
        gradients(Claim::new("roberta-ia3-gradients").about(roberta)),
        Claim::new("counts-ia3")
            .one_case_in(1000)
            .on_one_sided(Target::Integers, parameters),
        restricted(Claim::new("rslora-scale"), rslora),
    ]
}

/// l ⊙ (x W + b) is x (W diag l) + l ⊙ b. In the control b stays as it was.
struct Merge;

impl FieldIdentity for Merge {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (n, d) = (draw.size(1, 4), draw.size(1, 5));
        let (projection, l) = (draw.linear(d, d), draw.elements(d));
        let x: Array2<F> = draw.elements((n, d));
        let mut merged = merge_into_output(&l, &projection);
        if control {
            merged.bias = projection.bias.clone();
        }
        let unmerged = rescale(Some(&l), projection.forward(&x));
        Sides::of("merged = unmerged", merged.forward(&x), unmerged)
    }
}

/// (l ⊙ h) W_2 + b_2 is h (diag l W_2) + b_2. In the control l acts after W_2.
struct BeforeTheSecondMap;

impl FieldIdentity for BeforeTheSecondMap {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (n, d) = (draw.size(1, 4), draw.size(1, 5));
        let (second, l) = (draw.linear(d, d), draw.elements(d));
        let hidden: Array2<F> = draw.elements((n, d));
        let unmerged = match control {
            true => rescale(Some(&l), second.forward(&hidden)),
            false => second.forward(&rescale(Some(&l), hidden.clone())),
        };
        let merged = merge_into_input(&l, &second).forward(&hidden);
        Sides::of("merged = unmerged", merged, unmerged)
    }
}

/// l = 1 changes nothing. In the control one entry is another number.
struct Ones;

impl FieldIdentity for Ones {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (n, d) = (draw.size(1, 4), draw.size(1, 5));
        let mut l = Array1::from_elem(d, F::one());
        if control {
            l[0] = l[0] + F::positive(draw);
        }
        let x: Array2<F> = draw.elements((n, d));
        Sides::of("l = 1", rescale(Some(&l), x.clone()), x)
    }
}

/// What PEFT's layout can hold beside the method adds no function: a scale of the queries is one of
/// the keys, and one of the heads before W^o is one of the values. In the control factors add up.
struct Folded;

impl FieldIdentity for Folded {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (n, m, p) = (draw.size(1, 4), draw.size(1, 4), draw.size(1, 4));
        let [a, b]: [Array1<F>; 2] = [draw.elements(p), draw.elements(p)];
        let both = if control { &a + &b } else { &a * &b };
        let [q, k, v]: [Array2<F>; 3] = [n, m, m].map(|rows| draw.elements((rows, p)));
        let weights = Array2::from_shape_simple_fn((n, m), || F::positive(draw));
        let scaled = |l: &Array1<F>, x: &Array2<F>| rescale(Some(l), x.clone());
        let heads = scaled(&a, &estimate(&weights, &scaled(&b, &v)));
        Sides::of(
            "scores",
            scaled(&a, &q).dot(&scaled(&b, &k).t()),
            q.dot(&scaled(&both, &k).t()),
        )
        .and("heads", heads, estimate(&weights, &scaled(&both, &v)))
    }
}

/// Ones in place of the vectors of values and FFN. A key's alone would not do: it changes nothing
/// where a text has one token.
fn drop_vectors(model: &mut ModelCase) {
    for ending in ["ia3.v", "mlp.ia3", "ffn.ia3"] {
        model.change(ending, |_| 1.0);
    }
}

fn agrees(engine: &dyn Engine, case: &mut Case) -> Result<()> {
    let mut model = ModelCase::with(&mut case.draw, case.family, Method::Ia3)?;
    model.round(|x| engine.representable(x));
    let mut other = model.clone();
    if case.control {
        drop_vectors(&mut other);
        if engine.target().is_mixed() {
            other.round(|x| 0.5 - 3.0 * x); // its bound is too wide for one term
        }
    }
    same_as::<Paper>(engine, case, &model, &other)
}

fn in_reverse(engine: &dyn Engine, case: &mut Case, dropout: Option<f64>) -> Result<()> {
    let (mut model, mut other) = pair(case)?;
    let key = case.draw.bits();
    let dropping = dropout.map(|rate| Dropping {
        rate,
        key,
        without: None,
    });
    (model.dropping, other.dropping) = (dropping, dropping);
    reverse::<Paper>(engine, case, &model, &other)
}

fn pair(case: &mut Case) -> Result<(ModelCase, ModelCase)> {
    let model = ModelCase::with(&mut case.draw, case.family, Method::Ia3)?;
    let mut other = model.clone();
    if case.control {
        drop_vectors(&mut other);
    }
    Ok((model, other))
}

/// Vectors of ones are the backbone. In the control those of values and FFN are what they were.
fn ones(draw: &mut Draw, family: Family, control: bool) -> Pair {
    let mut with = ModelCase::with(draw, family, Method::Ia3)?;
    with.change("ia3.k", |_| 1.0);
    if !control {
        drop_vectors(&mut with);
    }
    let backbone = without(&with, method::none(), ".ia3");
    Ok((with, backbone))
}

/// A multiple of 1/8, so that products of two are exact in f32.
fn coarse(x: f64) -> f64 {
    (x * 8.0).round().clamp(-16.0, 16.0) / 8.0
}

/// A GPT-2 with the vectors in its weights. In the control the values' bias is not scaled.
fn merged(draw: &mut Draw, family: Family, control: bool) -> Pair {
    let mut with = ModelCase::with(draw, family, Method::Ia3)?;
    for ending in ["ia3.k", "ia3.v", "mlp.ia3"] {
        with.change(ending, coarse);
    }
    for (name, tensor) in &mut with.weights {
        if name.contains(".c_attn.") || name.contains(".mlp.c_proj.") {
            tensor.mapv_inplace(coarse);
        }
    }
    let mut merged = without(&with, method::none(), ".ia3");
    let d = with.backbone.hidden();
    for (name, l) in with
        .adapter
        .iter()
        .filter(|(name, _)| name.contains(".ia3"))
    {
        let (module, ending) = name.rsplit_once(".ia3").unwrap_or_default();
        let from = match ending {
            ".k" => d,
            ".v" => 2 * d,
            _ => 0,
        };
        let second = ending.is_empty();
        let map = if second { "c_proj" } else { "c_attn" };
        for part in ["weight", "bias"] {
            if part == "bias" && (second || (control && ending == ".v")) {
                continue;
            }
            let tensor = merged.weights.get_mut(&format!("{module}.{map}.{part}"));
            for (at, x) in tensor
                .into_iter()
                .flat_map(|tensor| tensor.indexed_iter_mut())
            {
                let axis = if second { 0 } else { at.ndim() - 1 };
                if let Some(l) = at[axis].checked_sub(from).and_then(|i| l.get(i)) {
                    *x *= l;
                }
            }
        }
    }
    Ok((with, merged))
}

/// L (2 d + d_ff), in both crates. In the control no FFN vector is counted.
fn parameters(case: &mut Case) -> Result<()> {
    let small = Gpt2::small();
    let engine = counts::stored(&Method::Ia3.on(&(&small).into()), &small);
    let config: AdapterConfig = translate(&Method::Ia3.paper())?;
    let (layers, d, inner) = (12, 768, 3072);
    let expected = layers * (2 * d + inner);
    let less = case.or_control(0, layers * inner);
    let gpt2 = Gpt2Config::small().layout().adapter_size(&config);
    let roberta = RobertaConfig::base(3).layout();
    let roberta = roberta.adapter_size(&config) - roberta.adapter_size(&method::none());
    for (what, count) in [("GPT-2", gpt2), ("RoBERTa", roberta), ("engine", engine)] {
        case.same(count - less, expected, || what.into());
    }
    Ok(())
}

/// rsLoRA with α is LoRA with α √r. In the control LoRA has α.
fn rslora(draw: &mut Draw, family: Family, control: bool) -> Pair {
    let backbone = family(draw);
    let mut lora = method::lora(draw, &[Projection::Q, Projection::V], true);
    let root = draw.pick(&[2, 3]);
    (lora.rank, lora.use_rslora) = (root * root, true);
    let config = AdapterConfig {
        lora: Some(lora.clone()),
        ..method::none()
    };
    let with = ModelCase::of(draw, backbone, config)?;
    let mut plain = with.clone();
    lora.use_rslora = false;
    lora.alpha *= if control { 1.0 } else { root as f64 };
    plain.method.lora = Some(lora);
    Ok((with, plain))
}
