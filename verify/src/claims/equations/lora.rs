//! LoRA (Eq. 10).

use crate::cases::{Draw, Sample};
use crate::claims::models::ladder::zero_update;
use crate::identity::{FieldIdentity, Sides};
use crate::oracle::Mutation;
use crate::{Case, Claim, Present, Result, Target, Tolerance};
use inducer_reference::attention::Linear;
use inducer_reference::lora::Lora;
use inducer_reference::spectrum::{eigenvalues, rounding_of_spectrum};
use ndarray::{Array1, Array2};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    vec![
        Claim::new("eq10-merge")
            .exact::<Merge>()
            .on_whole_models(present, Mutation::Merged),
        Claim::new("eq10-identity")
            .exact::<Identity>()
            .on_restricted_models(present, zero_update),
        Claim::new("eq10-rank").on_one_sided(Target::ReferenceF64, rank),
    ]
}

/// An update of rank r with this bias.
pub(crate) fn update<F: Sample>(
    draw: &mut Draw,
    d: usize,
    r: usize,
    bias: Option<Array1<F>>,
) -> Lora<F> {
    Lora {
        a: draw.elements((r, d)),
        b: draw.elements((d, r)),
        bias,
        scale: F::positive(draw),
    }
}

fn random<F: Sample>(draw: &mut Draw) -> (Linear<F>, Lora<F>, Array2<F>) {
    let (n, d, r) = (draw.size(1, 4), draw.size(1, 5), draw.size(1, 3));
    let projection = draw.linear(d, d);
    let bias = draw.chance(0.7).then(|| draw.elements(d));
    let lora = update(draw, d, r, bias);
    (projection, lora, draw.elements((n, d)))
}

struct Merge;

impl FieldIdentity for Merge {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (projection, lora, x) = random::<F>(draw);
        let mut merged = lora.merge(&projection);
        if control {
            // the scale on W + BA instead of BA alone
            merged.weight = (&projection.weight + &lora.a.t().dot(&lora.b.t())) * lora.scale;
        }
        Sides::of(
            "merged = unmerged",
            merged.forward(&x),
            projection.forward(&x) + lora.delta(&x),
        )
    }
}

struct Identity;

impl FieldIdentity for Identity {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (projection, mut lora, x) = random::<F>(draw);
        let d = x.ncols();
        lora.b.fill(F::zero());
        lora.bias = lora.bias.map(|_| Array1::zeros(d));
        if control {
            lora.bias = Some(draw.elements(d));
        }
        // x W + b with both as one product over [x, 1]
        let stacked = Array2::from_shape_fn((d + 1, d), |(a, c)| {
            if a < d {
                projection.weight[[a, c]]
            } else {
                projection.bias[c]
            }
        });
        let with_one =
            Array2::from_shape_fn(
                (x.nrows(), d + 1),
                |(i, a)| if a < d { x[[i, a]] } else { F::one() },
            );
        Sides::of(
            "zero update",
            projection.forward(&x) + lora.delta(&x),
            with_one.dot(&stacked),
        )
    }
}

/// The update has at most r singular values that are not zero: the eigenvalues of Δ Δᵀ beyond the
/// r-th vanish. In the control Δ is a random matrix.
fn rank(case: &mut Case) -> Result<()> {
    let (d, r) = (case.draw.size(3, 9), case.draw.size(1, 2));
    let scale = case.draw.between(0.2, 4.0);
    let lora = Lora {
        a: case.draw.array((r, d), 1.0),
        b: case.draw.array((d, r), 1.0),
        bias: None,
        scale,
    };
    let update = if case.control {
        case.draw.array((d, d), 1.0)
    } else {
        lora.weight_update()
    };
    let gram = update.dot(&update.t());
    // an entry of Δ is r products, scaled; one of Δ Δᵀ is d products of two such
    let units = 2.0 * (r as f64 + 2.0) + d as f64;
    let tolerance = Tolerance::stated(
        rounding_of_spectrum(&gram, units),
        "n u (8 n + units of an entry) max|ΔΔᵀ|",
    );
    for (j, value) in eigenvalues(&gram)?.iter().enumerate().skip(r) {
        case.error(value.abs(), &tolerance, || {
            format!("eigenvalue {j} of ΔΔᵀ, d {d}, r {r}")
        });
    }
    Ok(())
}
