//! The ladder's restrictions over any field (§6.2): the attention sub-layer of the reference's
//! field functions, with free functions in place of exp, tanh and gelu.
//!
//! A field has no exp and no tanh. What stands here for the kernel and for each activation is a
//! quadratic polynomial with random coefficients, so that what is proved does not rest on the
//! exponential kernel or on tanh. [`models::ladder`](crate::claims::models::ladder) measures the
//! same statements on whole models with the real ones.

use crate::cases::{Draw, Sample};
use crate::identity::{FieldIdentity, Sides};
use inducer_reference::Variant;
use inducer_reference::attention::{Linear, split_heads};
use inducer_reference::bottleneck::Bottleneck;
use inducer_reference::inducer::key;
use inducer_reference::lora::Lora;
use inducer_reference::nadaraya_watson::{estimate, gate, row_sums};
use inducer_reference::variants::{Heads, sub_layer_output};
use ndarray::{Array1, Array2, Array3, ArrayRef1, ArrayRef2, Axis};

/// a (x + b)² + c with a, c > 0: positive over the reals, so a kernel too.
struct Quadratic<F> {
    a: F,
    b: F,
    c: F,
}

impl<F: Sample> Quadratic<F> {
    fn new(draw: &mut Draw) -> Self {
        Self {
            a: F::positive(draw),
            b: F::any(draw),
            c: F::positive(draw),
        }
    }

    fn at(&self, x: F) -> F {
        self.a * (x + self.b) * (x + self.b) + self.c
    }

    fn of(&self, q: &ArrayRef1<F>, k: &ArrayRef1<F>) -> F {
        self.at(q.dot(k))
    }
}

/// A causal attention sub-layer and a feed-forward sub-layer with everything that the ladder puts
/// into them.
struct Layer<F> {
    x: Array2<F>,
    projections: [Linear<F>; 4],
    ffn: [Linear<F>; 2],
    kernel: Quadratic<F>,
    activation: Quadratic<F>,
    heads: usize,
    variant: Variant,
    lora: Option<Lora<F>>,
    mlp_k: Vec<Bottleneck<F>>,
    mlp_v: Vec<Bottleneck<F>>,
    b_2: Array1<F>,
    /// The parallel adapter of the feed-forward sub-layer: down, up and s.
    adapter: Option<(Linear<F>, Linear<F>, F)>,
}

impl<F: Sample> Layer<F> {
    /// A layer with inducers, and LoRA and the adapter if `all`.
    fn new(draw: &mut Draw, all: bool) -> Self {
        let [n, heads, p, r] = draw.sizes([(1, 3), (1, 2), (1, 2), (1, 2)]);
        let d = heads * p;
        let networks = |draw: &mut Draw, c: usize, bias: bool| {
            let network = |_| Bottleneck {
                down: draw.elements((p, r)),
                down_bias: draw.elements(r),
                up: draw.elements((r, c)),
                up_bias: bias.then(|| draw.elements(c)),
            };
            (0..heads).map(network).collect()
        };
        Self {
            x: draw.elements((n, d)),
            projections: std::array::from_fn(|_| draw.linear(d, d)),
            ffn: [draw.linear(d, r), draw.linear(r, d)],
            kernel: Quadratic::new(draw),
            activation: Quadratic::new(draw),
            heads,
            variant: Variant::Inducer,
            lora: all.then(|| {
                let bias = draw.elements(d);
                super::lora::update(draw, d, r, Some(bias))
            }),
            mlp_k: networks(draw, p, true),
            mlp_v: networks(draw, d, false),
            b_2: draw.elements(d),
            adapter: all.then(|| (draw.linear(d, r), draw.linear(r, d), F::positive(draw))),
        }
    }

    fn network(&self, network: &Bottleneck<F>, q: &ArrayRef2<F>) -> Array2<F> {
        let before = q.dot(&network.down) + &network.down_bias;
        network.from_hidden(&before.mapv(|x| self.activation.at(x)))
    }

    /// f, λ and MLP_v of one head.
    fn head(&self, h: usize, [q, k, v]: [&ArrayRef2<F>; 3]) -> (Array2<F>, Array1<F>, Array2<F>) {
        let n = q.nrows();
        let weights = Array2::from_shape_fn((n, n), |(i, j)| match j <= i {
            true => self.kernel.of(&q.row(i), &k.row(j)),
            false => F::zero(),
        });
        let p_k = match self.mlp_k.get(h) {
            Some(mlp_k) => key(q, &self.network(mlp_k, q)),
            None => q.to_owned(),
        };
        let own: Array1<F> = (0..n)
            .map(|i| self.kernel.of(&q.row(i), &p_k.row(i)))
            .collect();
        (
            estimate(&weights, v),
            gate(&own, &row_sums(&weights)),
            self.network(&self.mlp_v[h], q),
        )
    }

    /// The attention sub-layer's output: `[n, d]`.
    fn attention(&self) -> Array2<F> {
        let [q, k, v, o] = &self.projections;
        let mut q = q.forward(&self.x);
        if let Some(lora) = &self.lora {
            q = q + lora.delta(&self.x);
        }
        let split =
            [&q, &k.forward(&self.x), &v.forward(&self.x)].map(|x| split_heads(x, self.heads));
        let (n, d) = self.x.dim();
        let mut heads = Heads {
            f: Array3::zeros((self.heads, n, d / self.heads)),
            lambda: Array2::zeros((n, self.heads)),
            mlp_v: Array3::zeros((self.heads, n, d)),
        };
        for h in 0..self.heads {
            let [q, k, v] = [0, 1, 2].map(|which: usize| split[which].index_axis(Axis(0), h));
            let (f, lambda, mlp_v) = self.head(h, [&q, &k, &v]);
            heads.f.index_axis_mut(Axis(0), h).assign(&f);
            heads.lambda.column_mut(h).assign(&lambda);
            heads.mlp_v.index_axis_mut(Axis(0), h).assign(&mlp_v);
        }
        sub_layer_output(self.variant, &heads, o, &self.b_2)
    }

    /// The feed-forward sub-layer's output on what comes out of the attention sub-layer: `[n, d]`.
    fn forward(&self) -> Array2<F> {
        let x = &self.x + &self.attention();
        let through = |down: &Linear<F>, up: &Linear<F>| {
            up.forward(&down.forward(&x).mapv(|x| self.activation.at(x)))
        };
        let plain = through(&self.ffn[0], &self.ffn[1]);
        match &self.adapter {
            Some((down, up, scale)) => plain + through(down, up) * *scale,
            None => plain,
        }
    }
}

/// Inducer with C = c = 0 is Extension. In the control c stays.
pub struct Extension;

impl FieldIdentity for Extension {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let mut layer = Layer::<F>::new(draw, false);
        for mlp_k in &mut layer.mlp_k {
            mlp_k.up.fill(F::zero());
            if !control {
                mlp_k.up_bias = None;
            }
        }
        let inducer = layer.attention();
        layer.mlp_k.clear();
        layer.variant = Variant::Extension;
        Sides::of("Inducer with MLP_k = 0", inducer, layer.attention())
    }
}

/// Inducer + LoRA with B = 0 and b = 0 is Inducer. In the control b stays.
pub struct WithoutLora;

impl FieldIdentity for WithoutLora {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let mut layer = Layer::<F>::new(draw, true);
        if let Some(lora) = &mut layer.lora {
            lora.b.fill(F::zero());
            if !control {
                lora.bias = Some(Array1::zeros(layer.b_2.len()));
            }
        }
        let with = layer.attention();
        layer.lora = None;
        Sides::of("Inducer + LoRA with a zero update", with, layer.attention())
    }
}

/// MAM inducer whose adapter's last map is zero is Inducer + LoRA. In the control its bias stays.
pub struct WithoutAdapter;

impl FieldIdentity for WithoutAdapter {
    fn sides<F: Sample>(draw: &mut Draw, control: bool) -> Sides<F> {
        let mut layer = Layer::<F>::new(draw, true);
        if let Some((_, up, _)) = &mut layer.adapter {
            up.weight.fill(F::zero());
            if !control {
                up.bias.fill(F::zero());
            }
        }
        let with = layer.forward();
        layer.adapter = None;
        Sides::of("MAM inducer with a zero adapter", with, layer.forward())
    }
}
