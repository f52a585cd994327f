//! The inducer (Eqs. 5–8): two forms of one estimator, and its gate from the log-sum-exp.

use super::prefix::shifted_together;
use crate::cases::{Draw, Head, Sample};
use crate::claims::models::ladder::zero_value;
use crate::identity::{FieldIdentity, RealIdentity, Sides};
use crate::oracle::Mutation;
use crate::{Claim, Present};
use inducer_reference::attention::{attend, shifted_kernel};
use inducer_reference::inducer::{
    augmented_estimate, key, lambda, lambda_by_definition, lambda_by_second_softmax, mixture_form,
    own_scores, residual_form, value,
};
use inducer_reference::kernel::scores;
use inducer_reference::nadaraya_watson::{estimate, gate, mixture, row_sums, scale_rows};
use inducer_reference::visible::Visible;
use inducer_reference::{Dual, Real};
use ndarray::{Array1, Array2, Axis};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    vec![
        Claim::new("eq05-key")
            .exact::<Key>()
            .on_whole_models(present, Mutation::KeyQuery),
        Claim::new("eq06-value")
            .exact::<Value>()
            .on_whole_models(present, Mutation::ValueEstimate),
        Claim::new("eq07-eq08")
            .exact::<TwoForms>()
            .on_whole_models(present, Mutation::Denominator),
        Claim::new("eq07-one-query-prefix")
            .exact::<OneQueryPrefix>()
            .on_whole_models(present, Mutation::Once),
        Claim::new("eq08-zero-value")
            .exact::<ZeroValue>()
            .on_restricted_models(present, zero_value),
        Claim::new("eq07-lambda-lse")
            .real::<LambdaFromLse>()
            .on_whole_models(present, Mutation::LogSumExp),
        Claim::new("eq07-real-kernel").real::<RealKernel>(),
        Claim::new("eq08-gradient").real::<Gradient>(),
    ]
}

/// Kernel values at the text and at each query's own point, values, and MLP outputs, all free.
struct Free<F> {
    weights: Array2<F>,
    own: Array1<F>,
    values: Array2<F>,
    mlp_v: Array2<F>,
}

impl<F: Sample> Free<F> {
    fn new(draw: &mut Draw) -> Self {
        let (weights, values) = super::attention::points::<F>(draw);
        let n = weights.nrows();
        Self {
            own: draw.kernels(n),
            mlp_v: draw.elements((n, values.ncols())),
            weights,
            values,
        }
    }

    fn f(&self) -> Array2<F> {
        estimate(&self.weights, &self.values)
    }
}

struct Key;

impl FieldIdentity for Key {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (n, p) = (draw.size(1, 4), draw.size(1, 5));
        let (q, mlp): (Array2<F>, Array2<F>) = (draw.elements((n, p)), draw.elements((n, p)));
        let by_hand =
            Array2::from_shape_fn((n, p), |at| if control { mlp[at] } else { mlp[at] + q[at] });
        Sides::of("P_k = q + MLP_k(q)", key(&q, &mlp), by_hand)
    }
}

struct Value;

impl FieldIdentity for Value {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let free = Free::<F>::new(draw);
        // f + MLP_v, each coordinate as one quotient: (Σ κ v + MLP_v Σ κ)/Σ κ
        let (above, below) = (free.weights.dot(&free.values), row_sums(&free.weights));
        let by_hand = Array2::from_shape_fn(above.raw_dim(), |(i, a)| match control {
            true => free.mlp_v[[i, a]],
            false => (above[[i, a]] + free.mlp_v[[i, a]] * below[i]) / below[i],
        });
        Sides::of(
            "P_v = f(q) + MLP_v(q)",
            value(&free.f(), &free.mlp_v),
            by_hand,
        )
    }
}

struct TwoForms;

impl FieldIdentity for TwoForms {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let free = Free::<F>::new(draw);
        let f = free.f();
        let sums = row_sums(&free.weights);
        // in the control λ's denominator has n points instead of n + 1
        let lambda = if control {
            &free.own / &sums
        } else {
            lambda_by_definition(&free.own, &sums)
        };
        let p_v = value(&f, &free.mlp_v);
        let augmented = augmented_estimate(&free.own, &free.weights, &p_v, &free.values);
        Sides::of(
            "(7) = (8)",
            augmented.clone(),
            residual_form(&f, &lambda, &free.mlp_v),
        )
        .and(
            "(7), both sides",
            augmented,
            mixture_form(&f, &lambda, &p_v),
        )
    }
}

struct OneQueryPrefix;

impl FieldIdentity for OneQueryPrefix {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let (m, c, l) = (
            draw.size(1, 6),
            draw.size(1, 4),
            if control { 2 } else { 1 },
        );
        let (weights, values): (Array2<F>, Array2<F>) =
            (draw.kernels((1, m)), draw.elements((m, c)));
        let (own, p_v): (Array2<F>, Array2<F>) = (draw.kernels((1, l)), draw.elements((l, c)));
        let mu = gate(&row_sums(&own), &row_sums(&weights));
        let prefix = mixture(&estimate(&weights, &values), &mu, &estimate(&own, &p_v));
        let first = p_v.slice(ndarray::s![..1, ..]).to_owned();
        let inducer = augmented_estimate(&own.column(0), &weights, &first, &values);
        Sides::of("one query: inducer = prefix of length 1", inducer, prefix)
    }
}

struct ZeroValue;

impl FieldIdentity for ZeroValue {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let free = Free::<F>::new(draw);
        let zero = Array2::from_elem(
            free.mlp_v.raw_dim(),
            if control { F::one() } else { F::zero() },
        );
        let lambda = lambda_by_definition(&free.own, &row_sums(&free.weights));
        let p_v = value(&free.f(), &zero);
        Sides::of(
            "MLP_v = 0, (8)",
            residual_form(&free.f(), &lambda, &zero),
            free.f(),
        )
        .and(
            "MLP_v = 0, (7)",
            augmented_estimate(&free.own, &free.weights, &p_v, &free.values),
            free.f(),
        )
    }
}

/// Kernel values of each query's own point and of the text.
fn shifted<T: Real>(
    own: &Array1<T>,
    text: &Array2<T>,
    visible: &Visible,
) -> (Array1<T>, Array2<T>) {
    let own = own.view().insert_axis(Axis(1));
    let (own, text) = shifted_together(&own.to_owned(), text, visible);
    (own.column(0).to_owned(), text)
}

struct LambdaFromLse;

impl RealIdentity for LambdaFromLse {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let head = Head::random(draw).lift::<T>();
        let s = own_scores(&head.q, &key(&head.q, &head.mlp_k.forward(&head.q)));
        let text = scores(&head.q, &head.k);
        let of = |visible: &Visible| match control {
            // the running maximum in place of the log-sum-exp
            true => lambda(&s, &shifted_kernel(&text, visible).1),
            false => lambda(&s, &attend(&head.q, &head.k, &head.v, visible).lse),
        };
        let everything = Visible::all(text.nrows(), text.ncols());
        let (own, rest) = shifted(&s, &text, &head.visible);
        Sides::of(
            "λ = σ(s − LSE)",
            of(&head.visible),
            lambda_by_definition(&own, &row_sums(&rest)),
        )
        .and(
            "λ = the authors' second softmax",
            of(&everything),
            lambda_by_second_softmax(&s, &text),
        )
    }
}

struct RealKernel;

impl RealIdentity for RealKernel {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let head = Head::random(draw).lift::<T>();
        let s = own_scores(&head.q, &key(&head.q, &head.mlp_k.forward(&head.q)));
        let attended = attend(&head.q, &head.k, &head.v, &head.visible);
        let mlp_v = head.mlp_v.forward(&head.q);
        let single_pass = residual_form(&attended.f, &lambda(&s, &attended.lse), &mlp_v);
        let (own, rest) = shifted(&s, &scores(&head.q, &head.k), &head.visible);
        let p_v = if control {
            mlp_v.clone()
        } else {
            value(&attended.f, &mlp_v)
        };
        Sides::of(
            "single-pass form = estimator over n + 1 points",
            single_pass,
            augmented_estimate(&own, &rest, &p_v, &head.v),
        )
    }
}

struct Gradient;

impl RealIdentity for Gradient {
    fn sides<T: Real>(draw: &mut Draw, control: bool) -> Sides<T> {
        let head = Head::random(draw).lift::<T>();
        let attended = attend(&head.q, &head.k, &head.v, &head.visible);
        let s = own_scores(&head.q, &key(&head.q, &head.mlp_k.forward(&head.q)));
        let mlp_v = head.mlp_v.forward(&head.q);
        let lse: Vec<T> = attended.lse.iter().copied().flatten().collect();
        // f̃ with one input varied: 0 MLP_v, 1 s, 2 LSE
        let vary = |which: usize| -> Array2<T> {
            let dual = |x: T, own: usize| {
                if own == which {
                    Dual::variable(x)
                } else {
                    Dual::constant(x)
                }
            };
            let gate = lambda(
                &s.mapv(|s| dual(s, 1)),
                &lse.iter()
                    .map(|lse| Some(dual(*lse, 2)))
                    .collect::<Vec<_>>(),
            );
            residual_form(
                &attended.f.mapv(Dual::constant),
                &gate,
                &mlp_v.mapv(|x| dual(x, 0)),
            )
            .mapv(|x| x.eps)
        };
        let gate = lambda(&s, &attended.lse);
        let slope = gate.mapv(|g| if control { g * g } else { g * (T::one() - g) });
        let by_value = if control { gate.mapv(|g| g * g) } else { gate };
        let ones = Array2::from_elem(mlp_v.raw_dim(), T::one());
        let through = scale_rows(&slope, &mlp_v);
        Sides::of("∂f̃/∂MLP_v = λ", vary(0), scale_rows(&by_value, &ones))
            .and("∂f̃/∂s = λ(1 − λ) MLP_v", vary(1), through.clone())
            .and("∂f̃/∂LSE = −λ(1 − λ) MLP_v", vary(2), through.mapv(|x| -x))
    }
}
