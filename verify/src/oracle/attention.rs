//! The attention sub-layer of the [`oracle`](super), each of its terms mutable.

use super::Mutation;
use inducer_reference::adapter::BottleneckAdapter;
use inducer_reference::attention::Linear;
use inducer_reference::bottleneck::Bottleneck;
use inducer_reference::lora::Lora;
use inducer_reference::prefix::Prefix;
use inducer_reference::sub_layer::Projections;
use inducer_reference::variants::{Inducer, Variant};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

/// One attention sub-layer with its method.
pub(super) struct Layer<'a> {
    pub attention: &'a Projections<f64>,
    /// LoRA on W^q, W^k, W^v.
    pub loras: [Option<&'a Lora<f64>>; 3],
    /// Whether a query sees only the keys up to its own.
    pub causal: bool,
    pub mutation: Mutation,
    pub mutated: bool,
}

/// What a query sees of one head: the weight of its own point, and f W^{o(h)}.
struct Estimate {
    lambda: f64,
    f: Array1<f64>,
}

/// Queries, keys and values of one head, [n, p].
struct Points<'a> {
    q: ArrayView2<'a, f64>,
    k: ArrayView2<'a, f64>,
    v: ArrayView2<'a, f64>,
}

/// φ(LN(y) W_1 + b_1) W_2 + b_2 (1), the residual left out.
pub(super) fn branch(adapter: &BottleneckAdapter<f64>, y: &Array2<f64>) -> Array2<f64> {
    let mut out = Array2::zeros(y.raw_dim());
    for (y, mut out) in y.rows().into_iter().zip(out.rows_mut()) {
        let input = match &adapter.layer_norm {
            Some(norm) => norm
                .forward(&y.to_owned().insert_axis(Axis(0)))
                .row(0)
                .to_owned(),
            None => y.to_owned(),
        };
        let units = input.dot(&adapter.down.weight) + &adapter.down.bias;
        out.assign(&(units.mapv(|u| u.max(0.0)).dot(&adapter.up.weight) + &adapter.up.bias));
    }
    out
}

impl Layer<'_> {
    /// Whether this mutation is in place.
    fn mutates(&self, mutation: Mutation) -> bool {
        self.mutated && self.writes(mutation)
    }

    /// One value, or the other under this mutation.
    fn pick<T>(&self, mutation: Mutation, stated: T, mutated: T) -> T {
        if self.mutates(mutation) {
            mutated
        } else {
            stated
        }
    }

    /// Whether the form of the formula that this mutation names is the one to take.
    fn writes(&self, mutation: Mutation) -> bool {
        self.mutation == mutation
    }

    /// (10), then every query of every head.
    pub fn output(&self, inducer: &Inducer<f64>, x: &Array2<f64>) -> Array2<f64> {
        let Projections { o, heads, .. } = self.attention;
        let [q, k, v] = self.projected(x);
        let p = q.ncols() / heads;
        let mut output = Array2::from_shape_fn(q.raw_dim(), |(_, c)| o.bias[c]);
        for i in 0..x.nrows() {
            let (mut gates, mut units) = (Vec::new(), Vec::new());
            for h in 0..*heads {
                let block = s![.., h * p..(h + 1) * p];
                let points = Points {
                    q: q.slice(block),
                    k: k.slice(block),
                    v: v.slice(block),
                };
                let from = self.pick(Mutation::OwnQuery, i, i.saturating_sub(1));
                let own = points.q.row(from).to_owned();
                let Estimate { lambda, f } = self.estimate(inducer, h, i, &own, &points);
                let mut out = output.row_mut(i);
                if self.writes(Mutation::OneProduct) {
                    out += &f;
                    units.push(self.hidden(inducer, &inducer.mlp_v[h], &own));
                } else {
                    let network = self.network(inducer, &inducer.mlp_v[h], &own);
                    let network = match inducer.variant {
                        Variant::Adaptive => {
                            network.dot(&o.weight.slice(s![h * p..(h + 1) * p, ..]))
                        }
                        _ => network,
                    };
                    let p_v = self.pick(Mutation::ValueEstimate, &f + &network, network);
                    out.scaled_add(1.0, &(p_v * lambda + &f * (1.0 - lambda)));
                }
                if inducer.variant == Variant::Gating {
                    let sign = self.pick(Mutation::Gating, -1.0, 1.0);
                    out.scaled_add(sign * lambda, &f);
                }
                gates.push(lambda);
            }
            let mut out = output.row_mut(i);
            for (h, hidden) in units.iter().enumerate() {
                let lambda = gates[if self.mutated { 0 } else { h }];
                out += &(hidden * lambda).dot(&inducer.mlp_v[h].up);
            }
            let share = self.pick(Mutation::SharedBias, 1.0, gates.iter().sum());
            out.scaled_add(share, &inducer.b_2);
        }
        output
    }

    /// q = x W^q + b^q + (α/r) (x Aᵀ Bᵀ + b_lora); k and v alike where LoRA is on them.
    fn projected(&self, x: &Array2<f64>) -> [Array2<f64>; 3] {
        let Projections { q, k, v, .. } = self.attention;
        let [on_q, on_k, on_v] = self.loras;
        [(q, on_q), (k, on_k), (v, on_v)].map(|(linear, lora)| self.adjusted(linear, lora, x))
    }

    fn adjusted(
        &self,
        linear: &Linear<f64>,
        lora: Option<&Lora<f64>>,
        x: &Array2<f64>,
    ) -> Array2<f64> {
        let Some(lora) = lora else {
            return linear.forward(x);
        };
        let scale = self.pick(Mutation::LoraScale, lora.scale, 1.0);
        let bias = match &lora.bias {
            Some(bias) if !self.mutates(Mutation::LoraBias) => bias * scale,
            _ => Array1::zeros(linear.bias.len()),
        };
        if self.writes(Mutation::Merged) {
            let all = if self.mutated { scale } else { 1.0 };
            let merged = &linear.weight * all + lora.a.t().dot(&lora.b.t()) * scale;
            return x.dot(&merged) + &linear.bias + &bias;
        }
        linear.forward(x) + x.dot(&lora.a.t()).dot(&lora.b.t()) * scale + &bias
    }

    /// How many of n keys query i sees, before any mutation.
    fn seen(&self, i: usize, n: usize) -> usize {
        if self.causal { i + 1 } else { n }
    }

    /// √p.
    fn root(&self, p: usize) -> f64 {
        self.pick(Mutation::Scale, (p as f64).sqrt(), 1.0)
    }

    /// λ_i and f(q_i) W^{o(h)} of head h, with the inducer made from the query `own`.
    fn estimate(
        &self,
        inducer: &Inducer<f64>,
        h: usize,
        i: usize,
        own: &Array1<f64>,
        points: &Points<'_>,
    ) -> Estimate {
        let Points { q, k, v } = points;
        let (query, root) = (q.row(i), self.root(q.ncols()));
        let mut key = match inducer.mlp_k.get(h) {
            Some(mlp_k) => self.network(inducer, mlp_k, own),
            None => Array1::zeros(own.len()),
        };
        if !self.mutates(Mutation::KeyQuery) {
            key += own;
        }
        let leak = usize::from(self.mutates(Mutation::Future));
        let seen = (self.seen(i, k.nrows()) + leak).min(k.nrows());
        let mut text: Vec<f64> = (0..seen).map(|j| query.dot(&k.row(j)) / root).collect();
        let mut score = query.dot(&key) / root;
        if self.writes(Mutation::Shift) {
            let constant = if i.is_multiple_of(2) { 80.0 } else { -80.0 };
            text[0] += constant;
            if !self.mutated {
                text[1..].iter_mut().for_each(|s| *s += constant);
                score += constant;
            }
        }
        // f from the text's own greatest score, λ from the greatest of all: neither is 0/0 where
        // the other's weights vanish
        let greatest = text.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let top = greatest.max(score);
        let weights: Vec<f64> = text.iter().map(|s| (s - greatest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let share = (greatest - top).exp();
        let weight = (score - top).exp() * self.pick(Mutation::Once, 1.0, 2.0);
        let others = match self.mutation {
            Mutation::Denominator if self.mutated => sum * share - weight,
            Mutation::LogSumExp if self.mutated => share,
            _ => sum * share,
        };
        let under = match self.mutation {
            Mutation::Normaliser if self.mutated => (-greatest).exp(),
            Mutation::RowSums if self.mutated => (i..q.nrows())
                .map(|a| (q.row(a).dot(&k.row(i)) / root - greatest).exp())
                .sum(),
            _ => sum,
        };
        Estimate {
            lambda: weight / (weight + others),
            f: self.weighted(h, &weights, v) / under,
        }
    }

    /// Σ_j w_j v_j W^{o(h)}.
    fn weighted(&self, h: usize, weights: &[f64], v: &ArrayView2<'_, f64>) -> Array1<f64> {
        let p = v.ncols();
        let (heads, weight) = (self.attention.heads, &self.attention.o.weight);
        let head = self.pick(Mutation::Extended, h, (h + 1) % heads);
        let mut block = weight.slice(s![head * p..(head + 1) * p, ..]).to_owned();
        if self.mutates(Mutation::Blocks) {
            let turned = block.slice(s![.., ..p]).t().to_owned();
            block.slice_mut(s![.., ..p]).assign(&turned);
        }
        let points = weights.len();
        let order: Vec<usize> = match self.writes(Mutation::Order) {
            true => (0..points).rev().collect(),
            false => (0..points).collect(),
        };
        if self.writes(Mutation::Extended) {
            let mut sum = Array1::zeros(block.ncols());
            for j in order {
                sum.scaled_add(weights[j], &v.row(j).dot(&block));
            }
            return sum;
        }
        let mut sum = Array1::zeros(p);
        for (place, j) in order.into_iter().enumerate() {
            sum.scaled_add(weights[j], &v.row(self.pick(Mutation::Order, j, place)));
        }
        sum.dot(&block)
    }

    /// y + φ(LN(y) W_1 + b_1) W_2 + b_2 (1), y the attention's output.
    pub fn adapted(&self, adapter: &BottleneckAdapter<f64>, x: &Array2<f64>) -> Array2<f64> {
        let y = self.behind(None, x);
        let branch = branch(adapter, &y);
        self.pick(Mutation::Residual, &y + &branch, branch)
    }

    /// Attention over a prefix's points, if there is one, and the text's together.
    pub fn behind(&self, prefix: Option<&Prefix<f64>>, x: &Array2<f64>) -> Array2<f64> {
        let Projections { o, heads, .. } = self.attention;
        let [q, k, v] = self.projected(x);
        let p = q.ncols() / heads;
        let mut output = Array2::from_shape_fn(q.raw_dim(), |(_, c)| o.bias[c]);
        for h in 0..*heads {
            let block = s![.., h * p..(h + 1) * p];
            let (k, v, root) = (k.slice(block), v.slice(block), self.root(p));
            let nothing = Array2::zeros((0, p));
            let [p_k, p_v] = match prefix {
                Some(Prefix { key, value }) => [key, value].map(|x| x.slice(s![h, .., ..])),
                None => [nothing.view(), nothing.view()],
            };
            let l = p_k.nrows();
            for (i, query) in q.slice(block).rows().into_iter().enumerate() {
                let own: Vec<f64> = p_k
                    .rows()
                    .into_iter()
                    .map(|k| query.dot(&k) / root)
                    .collect();
                let seen = 0..self.seen(i, k.nrows());
                let text: Vec<f64> = seen.map(|j| query.dot(&k.row(j)) / root).collect();
                let top = own
                    .iter()
                    .chain(&text)
                    .copied()
                    .fold(f64::NEG_INFINITY, f64::max);
                let weights = |scores: &[f64]| -> Vec<f64> {
                    scores.iter().map(|s| (s - top).exp()).collect()
                };
                let (own, text) = (weights(&own), weights(&text));
                let [own_sum, text_sum] = [&own, &text].map(|w| w.iter().sum::<f64>());
                let mut values = p_v.to_owned();
                if self.mutates(Mutation::Past) {
                    for j in 0..l {
                        values.row_mut(j).assign(&p_v.row((j + 1) % l));
                    }
                }
                let all = own_sum + text_sum;
                let [of_own, of_text] = match self.mutates(Mutation::Mixture) {
                    true => [text_sum / all / own_sum, own_sum / all / text_sum],
                    false => [1.0 / all, 1.0 / all],
                };
                let sum = self.weighted(h, &own, &values.view()) * of_own
                    + self.weighted(h, &text, &v) * of_text;
                output.row_mut(i).scaled_add(1.0, &sum);
            }
        }
        output
    }

    /// tanh(q W_1 + b_1), the units that are in use.
    fn hidden(
        &self,
        inducer: &Inducer<f64>,
        mlp: &Bottleneck<f64>,
        q: &Array1<f64>,
    ) -> Array1<f64> {
        let hidden = (q.dot(&mlp.down) + &mlp.down_bias).mapv(f64::tanh);
        let units = self.units(inducer, hidden.len());
        hidden.slice(s![..units]).to_owned()
    }

    /// tanh(q W_1 + b_1) W_2 (+ b_2 of the head).
    fn network(
        &self,
        inducer: &Inducer<f64>,
        mlp: &Bottleneck<f64>,
        q: &Array1<f64>,
    ) -> Array1<f64> {
        let hidden = self.hidden(inducer, mlp, q);
        let product = hidden.dot(&mlp.up.slice(s![..hidden.len(), ..]));
        match &mlp.up_bias {
            Some(bias) => product + bias,
            None => product,
        }
    }

    /// How many of a network's `own` units are there when r_k and r_v are exchanged: the wider
    /// network lacks the rest.
    fn units(&self, inducer: &Inducer<f64>, own: usize) -> usize {
        if !self.mutates(Mutation::Widths) {
            return own;
        }
        let both = inducer.mlp_k.iter().chain(&inducer.mlp_v);
        both.fold(own, |least, mlp| least.min(mlp.down.ncols()))
    }
}
