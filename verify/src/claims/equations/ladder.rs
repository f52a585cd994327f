//! Extended values and the ladder of variants (Eqs. 9 and 11; §6.2), over any field.

use crate::cases::head::by_head;
use crate::cases::{Draw, Sample};
use crate::identity::{FieldIdentity, Sides};
use crate::oracle::Mutation;
use crate::{Claim, Present};
use inducer_reference::Variant;
use inducer_reference::attention::{Linear, output_by_concatenation, row_block};
use inducer_reference::extended::{extended_estimate, update, update_as_one_product};
use inducer_reference::inducer::augmented_estimate;
use inducer_reference::nadaraya_watson::{estimate, gate, row_sums, scale_rows};
use inducer_reference::variants::{Heads, gating_minus_inducer, sub_layer_output};
use ndarray::{Array1, Array2, Array3, Axis};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    vec![
        Claim::new("eq09-extended")
            .exact::<Extended>()
            .on_whole_models(present, Mutation::Extended),
        Claim::new("eq09-extension-contains-adaptive").exact::<ExtensionContainsAdaptive>(),
        Claim::new("eq11-single-product")
            .exact::<SingleProduct>()
            .on_whole_models(present, Mutation::OneProduct),
        Claim::new("eq11-shared-bias")
            .exact::<SharedBias>()
            .on_whole_models(present, Mutation::SharedBias),
        Claim::new("ladder-gating")
            .exact::<GatingMinusInducer>()
            .on_whole_models(present, Mutation::Gating),
        Claim::new("ladder-gating-augmented").exact::<GatingAugmented>(),
    ]
}

struct Extended;

impl FieldIdentity for Extended {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let [h, n, m, p] = draw.sizes([(1, 3), (1, 3), (1, 4), (1, 3)]);
        let d = h * p;
        let (weights, v): (Array3<F>, Array3<F>) =
            (draw.kernels((h, n, m)), draw.elements((h, m, p)));
        let output: Linear<F> = draw.linear(d, d);
        let mut heads = Array3::zeros((h, n, p));
        let mut sum = Array2::from_shape_fn((n, d), |(_, c)| output.bias[c]);
        for k in 0..h {
            let (weights, v) = (weights.index_axis(Axis(0), k), v.index_axis(Axis(0), k));
            heads
                .index_axis_mut(Axis(0), k)
                .assign(&estimate(&weights, &v));
            sum = sum
                + extended_estimate(
                    &weights,
                    &v,
                    &output.weight,
                    if control { (k + 1) % h } else { k },
                );
        }
        Sides::of("(9)", sum, output_by_concatenation(&heads, &output))
    }
}

/// Random heads with hidden units, W^o and the value network's last matrix.
struct Layer<F> {
    f: Array3<F>,
    lambda: Array2<F>,
    hidden: Array3<F>,
    output: Linear<F>,
}

impl<F: Sample> Layer<F> {
    fn new(draw: &mut Draw) -> Self {
        let [h, n, p, r] = draw.sizes([(1, 3), (1, 3), (1, 3), (1, 3)]);
        let d = h * p;
        Self {
            f: draw.elements((h, n, p)),
            lambda: draw.elements((n, h)),
            hidden: draw.elements((h, n, r)),
            output: draw.linear(d, d),
        }
    }

    /// (H, n, p, r, d).
    fn sizes(&self) -> (usize, usize, usize, usize, usize) {
        let (h, n, p) = self.f.dim();
        (h, n, p, self.hidden.len_of(Axis(2)), h * p)
    }

    /// The sub-layer with the value network's output hidden · up.
    fn output(&self, variant: Variant, up: &Array3<F>, b_2: &Array1<F>) -> Array2<F> {
        let product = |k| {
            let hidden = self.hidden.index_axis(Axis(0), k);
            hidden.dot(&up.index_axis(Axis(0), k))
        };
        let mlp_v = by_head(self.f.len_of(Axis(0)), product);
        let heads = Heads {
            f: self.f.clone(),
            lambda: self.lambda.clone(),
            mlp_v,
        };
        sub_layer_output(variant, &heads, &self.output, b_2)
    }
}

struct ExtensionContainsAdaptive;

impl FieldIdentity for ExtensionContainsAdaptive {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let layer = Layer::<F>::new(draw);
        let (h, _, p, r, d) = layer.sizes();
        let u: Array3<F> = draw.elements((h, r, p));
        let w_2 = by_head(h, |k| {
            let block = row_block(&layer.output.weight, k, p);
            match control {
                true => Array2::from_shape_fn((r, d), |(a, c)| block[[a % p, c]]),
                false => u.index_axis(Axis(0), k).dot(&block),
            }
        });
        let zero = Array1::zeros(d);
        Sides::of(
            "W_2 = U W^o(h)",
            layer.output(Variant::Extension, &w_2, &zero),
            layer.output(Variant::Adaptive, &u, &zero),
        )
    }
}

struct SingleProduct;

impl FieldIdentity for SingleProduct {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let layer = Layer::<F>::new(draw);
        let (h, _, _, r, d) = layer.sizes();
        let (up, b_2): (Array3<F>, Array1<F>) = (draw.elements((h, r, d)), draw.elements(d));
        let ones = Array2::from_elem(layer.lambda.raw_dim(), F::one());
        let one_product = match control {
            // one λ after the product
            true => scale_rows(
                &layer.lambda.column(0),
                &update_as_one_product(&layer.hidden, &ones, &up, &b_2),
            ),
            false => update_as_one_product(&layer.hidden, &layer.lambda, &up, &b_2),
        };
        Sides::of(
            "(11) as one product",
            one_product,
            update(&layer.hidden, &layer.lambda, &up, &b_2),
        )
    }
}

struct SharedBias;

impl FieldIdentity for SharedBias {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let layer = Layer::<F>::new(draw);
        let (h, _, _, r, d) = layer.sizes();
        let (up, b_2): (Array3<F>, Array1<F>) = (draw.elements((h, r, d)), draw.elements(d));
        let without = layer.output(Variant::Inducer, &up, &Array1::zeros(d));
        let weights = if control {
            layer.lambda.sum_axis(Axis(1))
        } else {
            Array1::from_elem(layer.lambda.nrows(), F::one())
        };
        let bias = Array2::from_shape_fn(without.raw_dim(), |(i, c)| weights[i] * b_2[c]);
        Sides::of(
            "b_2 once, unweighted",
            layer.output(Variant::Inducer, &up, &b_2),
            without + bias,
        )
    }
}

struct GatingMinusInducer;

impl FieldIdentity for GatingMinusInducer {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let layer = Layer::<F>::new(draw);
        let (h, _, _, r, d) = layer.sizes();
        let (up, b_2): (Array3<F>, Array1<F>) = (draw.elements((h, r, d)), draw.elements(d));
        let difference =
            layer.output(Variant::Gating, &up, &b_2) - layer.output(Variant::Inducer, &up, &b_2);
        let heads = Heads {
            f: layer.f.clone(),
            lambda: layer.lambda.clone(),
            mlp_v: Array3::zeros((h, 1, 1)),
        };
        let expected = gating_minus_inducer(&heads, &layer.output);
        Sides::of(
            "Gating − Inducer = −λ f W^o",
            difference,
            if control {
                expected.mapv(|x| -x)
            } else {
                expected
            },
        )
    }
}

struct GatingAugmented;

impl FieldIdentity for GatingAugmented {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        // one head: Gating is the estimator over n + 1 extended points whose own value is MLP_v(q),
        // without f
        let (weights, v) = super::attention::points::<F>(draw);
        let (n, d) = (weights.nrows(), v.ncols());
        let (own, mlp_v): (Array1<F>, Array2<F>) = (draw.kernels(n), draw.elements((n, d)));
        let output = Linear {
            weight: draw.elements((d, d)),
            bias: Array1::zeros(d),
        };
        let lambda = gate(&own, &row_sums(&weights)).insert_axis(Axis(1));
        let heads = Heads {
            f: estimate(&weights, &v).insert_axis(Axis(0)),
            lambda,
            mlp_v: mlp_v.clone().insert_axis(Axis(0)),
        };
        let variant = if control {
            Variant::Inducer
        } else {
            Variant::Gating
        };
        let found = sub_layer_output(variant, &heads, &output, &Array1::zeros(d));
        Sides::of(
            "Gating = estimator with P_v = MLP_v",
            found,
            augmented_estimate(&own, &weights, &mlp_v, &v.dot(&output.weight)),
        )
    }
}
