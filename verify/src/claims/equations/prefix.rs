//! Prefix-tuning as a gated mixture (§4.2).

use super::attention::{by_definition, points, stack};
use crate::cases::{Draw, Head, Sample};
use crate::claims::models::ladder::no_prefix;
use crate::identity::{FieldIdentity, RealIdentity, Sides};
use crate::oracle::Mutation;
use crate::{Claim, Present};
use inducer_reference::Real;
use inducer_reference::attention::{attend, logistic_gate, shifted_kernel};
use inducer_reference::kernel::scores;
use inducer_reference::nadaraya_watson::{estimate, gate, mixture, row_sums};
use inducer_reference::prefix::{concatenated, gated};
use inducer_reference::visible::Visible;
use ndarray::{Array1, Array2, Axis};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    vec![
        Claim::new("prefix-mixture")
            .exact::<Mixture>()
            .on_whole_models(present, Mutation::Mixture),
        Claim::new("prefix-past")
            .real::<Past>()
            .on_whole_models(present, Mutation::Past),
        Claim::new("prefix-mu-lse").real::<MuFromLse>(),
        Claim::new("prefix-empty")
            .proved::<EmptyMixture>()
            .real::<Empty>()
            .on_restricted_models(present, no_prefix),
    ]
}

struct Mixture;

impl FieldIdentity for Mixture {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (weights, values) = points::<F>(draw);
        let l = draw.size(1, 4);
        let (own, own_values): (Array2<F>, Array2<F>) = (
            draw.kernels((weights.nrows(), l)),
            draw.elements((l, values.ncols())),
        );
        let all = estimate(&stack(1, &own, &weights), &stack(0, &own_values, &values));
        let mu = gate(&row_sums(&own), &row_sums(&weights));
        let (f, g) = (estimate(&weights, &values), estimate(&own, &own_values));
        let mixed = if control {
            mixture(&g, &mu, &f)
        } else {
            mixture(&f, &mu, &g)
        };
        Sides::of("estimator over prefix and text", all, mixed)
    }
}

struct Past;

impl RealIdentity for Past {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let head = Head::random(draw).lift::<T>();
        let attended = attend(&head.q, &head.k, &head.v, &head.visible);
        let (mixed, _) = gated(&head.q, &attended, &head.p_k, &head.p_v);
        // in the control the prefix's values stand one place further on
        let order: Vec<usize> = (0..head.p_v.nrows())
            .map(|a| (a + usize::from(control)) % head.p_v.nrows())
            .collect();
        let p_v = head.p_v.select(Axis(0), &order);
        let past = concatenated(
            &head.q,
            (&head.k, &head.v),
            (&head.p_k, &p_v),
            &head.visible,
        );
        Sides::of("past keys and values", past, mixed)
    }
}

/// Kernel values divided by one constant a row, over added points and text together, so that
/// nothing overflows.
pub(super) fn shifted_together<T: Real>(
    own: &Array2<T>,
    text: &Array2<T>,
    visible: &Visible,
) -> (Array2<T>, Array2<T>) {
    let (n, l) = own.dim();
    let m = text.ncols();
    let all = Array2::from_shape_fn((n, l + m), |(i, a)| {
        if a < l { own[[i, a]] } else { text[[i, a - l]] }
    });
    let sees = Array2::from_shape_fn((n, l + m), |(i, a)| a < l || visible.sees(i, a - l));
    let kernel = shifted_kernel(&all, &Visible::from_matrix(sees)).0;
    (
        kernel.slice(ndarray::s![.., ..l]).to_owned(),
        kernel.slice(ndarray::s![.., l..]).to_owned(),
    )
}

struct MuFromLse;

impl RealIdentity for MuFromLse {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let head = Head::random(draw).lift::<T>();
        let (own, text) = (scores(&head.q, &head.p_k), scores(&head.q, &head.k));
        let everything = Visible::all(own.nrows(), own.ncols());
        let lse = |scores: &Array2<T>, visible: &Visible| -> Vec<Option<T>> {
            let (kernel, shifts) = shifted_kernel(scores, visible);
            if control {
                shifts
            } else {
                inducer_reference::attention::log_sum_exp(&shifts, &kernel)
            }
        };
        let of_prefix: Array1<T> = lse(&own, &everything).into_iter().flatten().collect();
        let mu = logistic_gate(&of_prefix, &lse(&text, &head.visible));
        let (own, text) = shifted_together(&own, &text, &head.visible);
        Sides::of(
            "μ = σ(LSE_prefix − LSE)",
            mu,
            gate(&row_sums(&own), &row_sums(&text)),
        )
    }
}

struct Empty;

impl RealIdentity for Empty {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let head = Head::random(draw).lift::<T>();
        let attended = attend(&head.q, &head.k, &head.v, &head.visible);
        let l = usize::from(control);
        let (p_k, p_v) = (
            Array2::zeros((l, head.q.ncols())),
            Array2::zeros((l, head.v.ncols())),
        );
        let (f, _) = gated(&head.q, &attended, &p_k, &p_v);
        Sides::of("prefix of length 0", f, by_definition(&head, true))
    }
}

/// The estimator over no prefix and the text is the one over the text, and μ = 0. In the control a
/// prefix of one point whose value is zero.
struct EmptyMixture;

impl FieldIdentity for EmptyMixture {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (weights, values) = points::<F>(draw);
        let l = usize::from(control);
        let own: Array2<F> = draw.kernels((weights.nrows(), l));
        let nothing = estimate(&own, &Array2::zeros((l, values.ncols())));
        let mu = gate(&row_sums(&own), &row_sums(&weights));
        let f = estimate(&weights, &values);
        Sides::of("prefix of length 0", mixture(&f, &mu, &nothing), f).and(
            "μ",
            mu.clone(),
            Array1::zeros(mu.len()),
        )
    }
}
