//! A third opinion: the whole model under inducers, LoRA, a prefix or an adapter (Eqs. 1–11)
//! written once more, number by number, each term removable by name.
//!
//! ```text
//! q = x W^q + b^q + (α/r) (x Aᵀ Bᵀ + b_lora)                                     (10)
//! P_k = q + MLP_k(q),  P_v^(h) = f^(h) + tanh(q W_1 + b_1) W_2                   (5), (6), (9), (11)
//! output = Σ_h λ P_v^(h) + (1 − λ) f^(h) + b_2 + b^o                             (7), (11), (4)
//! λ = κ(q, P_k)/(κ(q, P_k) + Σ_{j ≤ i} κ(q, k_j)),  κ(q, k) = exp(⟨q, k⟩/√p)     (3), (7)
//! ```
//!
//! Reference and engine use the residual form (8) with λ from the log-sum-exp; here stands the
//! mixture (7) with λ by definition, over the n + 1 points themselves. An engine in which one
//! [`Term`] went wrong leaves this function, and this function with the same term broken leaves a
//! right engine: the negative control of the claims in [`terms`](crate::claims::terms).
//!
//! Where an identity of the ledger has another form of the same function (values inside W^o, the
//! merged weight, one product over the heads, the concatenated prefix), the witness takes that form
//! for the row's [`Term`], and the engine must agree with it.
//!
//! Embedding, layer normalisation and FFN are no part of the method and are the reference's
//! ([`backbone`]).

use crate::backbone;
use crate::engine::reference::{lift_all, stored};
use crate::error::{Error, Result};
use crate::random::{ModelCase, TextRow};
use inducer_reference::adapter::BottleneckAdapter;
use inducer_reference::bottleneck::Bottleneck;
use inducer_reference::lora::Lora;
use inducer_reference::parts::AttentionPart;
use inducer_reference::prefix::Prefix;
use inducer_reference::sub_layer::Projections;
use inducer_reference::variants::Inducer;
use inducer_reference::{Adapter, Gpt2};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

/// A term of (1)–(11), or a form of theirs, that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// √p in every score: dropped.
    Scale,
    /// b_2 once, unweighted: weighted by Σ_h λ^(h) instead.
    SharedBias,
    /// b_lora: forgotten.
    LoraBias,
    /// λ from one softmax over n + 1 points: from a second one over the text's n columns instead.
    Denominator,
    /// r_k units in MLP_k and r_v in MLP_v: exchanged.
    Widths,
    /// No key later than the query: one later key leaks.
    Future,
    /// D, the row sums of M: column sums instead.
    RowSums,
    /// A constant added to every score of a row: to one column's alone instead.
    Shift,
    /// The row blocks of W^o: transposed.
    Blocks,
    /// The weights' sum under f: left out.
    Normaliser,
    /// The support points in another order: the keys alone in it.
    Order,
    /// q in P_k: dropped.
    KeyQuery,
    /// f in P_v: dropped.
    ValueEstimate,
    /// LSE in λ: the maximum instead.
    LogSumExp,
    /// The inducer as a prefix of length 1: of length 2.
    Once,
    /// Values inside W^o: inside the next head's block.
    Extended,
    /// LoRA merged into W^q: with the scale on all of it.
    Merged,
    /// Σ_h λ tanh(·) W_2 as one product of scaled hidden units: with the first head's λ after it.
    OneProduct,
    /// The inducer of a query made from that query: from the one before.
    OwnQuery,
    /// Gating as Inducer − λ f W^o: + instead.
    Gating,
    /// 1 − μ of the text and μ of the prefix: exchanged.
    Mixture,
    /// The residual of an adapter: dropped.
    Residual,
    /// The prefix's keys and values in front of the text's: the values one place further on.
    Past,
}

/// The logits of one row, [n, ids], in the form that a term has, if one is named, and with it
/// broken or not.
///
/// # Errors
/// The model has no part in its attention or is not GPT-2, or the reference refuses its tensors.
pub fn logits(
    case: &ModelCase,
    row: &TextRow,
    term: Option<Term>,
    broken: bool,
) -> Result<Array2<f64>> {
    let model = Gpt2::from_tensors(case.backbone.clone(), &case.weights)?;
    let own = stored(case, &lift_all(&case.adapter, |_, _, x| x))?;
    let adapter = Adapter::from_tensors(case.method.clone(), &case.backbone, own)?;
    backbone::logits(&model, &adapter.added(), row, None, |i, block, x| {
        let parts = adapter.layer(i)?;
        let layer = Layer {
            attention: &block.attention,
            lora: parts.q.as_ref(),
            term,
            broken,
        };
        match &parts.attention {
            AttentionPart::Inducer(inducer) => Ok(layer.output(inducer, x)),
            AttentionPart::Prefix(prefix) => Ok(layer.behind(Some(prefix), x)),
            AttentionPart::Adapter(adapter) => Ok(layer.adapted(adapter, x)),
            AttentionPart::None => Err(Error::Missing("a part in the attention".into())),
        }
    })
}

/// One attention sub-layer with its method.
struct Layer<'a> {
    attention: &'a Projections<f64>,
    lora: Option<&'a Lora<f64>>,
    term: Option<Term>,
    broken: bool,
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

impl Layer<'_> {
    fn breaks(&self, term: Term) -> bool {
        self.broken && self.writes(term)
    }

    /// Whether the form of this term is the one to take.
    fn writes(&self, term: Term) -> bool {
        self.term == Some(term)
    }

    /// (10), then every query of every head.
    fn output(&self, inducer: &Inducer<f64>, x: &Array2<f64>) -> Array2<f64> {
        let Projections { k, v, o, heads, .. } = self.attention;
        let (q, k, v) = (self.queries(x), k.forward(x), v.forward(x));
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
                let from = if self.breaks(Term::OwnQuery) {
                    i.saturating_sub(1)
                } else {
                    i
                };
                let own = points.q.row(from).to_owned();
                let Estimate { lambda, f } = self.estimate(inducer, h, i, &own, &points);
                let mut out = output.row_mut(i);
                if self.writes(Term::OneProduct) {
                    out += &f;
                    units.push(self.hidden(inducer, &inducer.mlp_v[h], &own));
                } else {
                    let network = self.network(inducer, &inducer.mlp_v[h], &own);
                    let p_v = match self.breaks(Term::ValueEstimate) {
                        true => network,
                        false => &f + &network,
                    };
                    out.scaled_add(1.0, &(p_v * lambda + &f * (1.0 - lambda)));
                }
                if self.writes(Term::Gating) {
                    let sign = if self.broken { 1.0 } else { -1.0 };
                    out.scaled_add(sign * lambda, &f);
                }
                gates.push(lambda);
            }
            let mut out = output.row_mut(i);
            for (h, hidden) in units.iter().enumerate() {
                let lambda = gates[if self.broken { 0 } else { h }];
                out += &(hidden * lambda).dot(&inducer.mlp_v[h].up);
            }
            let share = match self.breaks(Term::SharedBias) {
                true => gates.iter().sum(),
                false => 1.0,
            };
            out.scaled_add(share, &inducer.b_2);
        }
        output
    }

    /// q = x W^q + b^q + (α/r) (x Aᵀ Bᵀ + b_lora).
    fn queries(&self, x: &Array2<f64>) -> Array2<f64> {
        let q = &self.attention.q;
        let Some(lora) = self.lora else {
            return q.forward(x);
        };
        let bias = match &lora.bias {
            Some(bias) if !self.breaks(Term::LoraBias) => bias * lora.scale,
            _ => Array1::zeros(q.bias.len()),
        };
        if self.writes(Term::Merged) {
            let all = if self.broken { lora.scale } else { 1.0 };
            let merged = &q.weight * all + lora.a.t().dot(&lora.b.t()) * lora.scale;
            return x.dot(&merged) + &q.bias + &bias;
        }
        q.forward(x) + x.dot(&lora.a.t()).dot(&lora.b.t()) * lora.scale + &bias
    }

    /// √p.
    fn root(&self, p: usize) -> f64 {
        match self.breaks(Term::Scale) {
            true => 1.0,
            false => (p as f64).sqrt(),
        }
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
        if !self.breaks(Term::KeyQuery) {
            key += own;
        }
        let seen = (i + 1 + usize::from(self.breaks(Term::Future))).min(k.nrows());
        let mut text: Vec<f64> = (0..seen).map(|j| query.dot(&k.row(j)) / root).collect();
        let mut score = query.dot(&key) / root;
        if self.writes(Term::Shift) {
            let constant = if i.is_multiple_of(2) { 80.0 } else { -80.0 };
            text[0] += constant;
            if !self.broken {
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
        let mut weight = (score - top).exp();
        if self.breaks(Term::Once) {
            weight *= 2.0;
        }
        let others = match self.term {
            Some(Term::Denominator) if self.broken => sum * share - weight,
            Some(Term::LogSumExp) if self.broken => share,
            _ => sum * share,
        };
        let under = match self.term {
            Some(Term::Normaliser) if self.broken => (-greatest).exp(),
            Some(Term::RowSums) if self.broken => (i..q.nrows())
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
        let head = if self.breaks(Term::Extended) {
            (h + 1) % heads
        } else {
            h
        };
        let mut block = weight.slice(s![head * p..(head + 1) * p, ..]).to_owned();
        if self.breaks(Term::Blocks) {
            let turned = block.slice(s![.., ..p]).t().to_owned();
            block.slice_mut(s![.., ..p]).assign(&turned);
        }
        let points = weights.len();
        let order: Vec<usize> = match self.writes(Term::Order) {
            true => (0..points).rev().collect(),
            false => (0..points).collect(),
        };
        if self.writes(Term::Extended) {
            let mut sum = Array1::zeros(block.ncols());
            for j in order {
                sum.scaled_add(weights[j], &v.row(j).dot(&block));
            }
            return sum;
        }
        let mut sum = Array1::zeros(p);
        for (place, j) in order.into_iter().enumerate() {
            let value = if self.breaks(Term::Order) { place } else { j };
            sum.scaled_add(weights[j], &v.row(value));
        }
        sum.dot(&block)
    }

    /// y + φ(LN(y) W_1 + b_1) W_2 + b_2 (1), y the attention's output.
    fn adapted(&self, adapter: &BottleneckAdapter<f64>, x: &Array2<f64>) -> Array2<f64> {
        let mut y = self.behind(None, x);
        for mut y in y.rows_mut() {
            let input = match &adapter.layer_norm {
                Some(norm) => norm
                    .forward(&y.to_owned().insert_axis(Axis(0)))
                    .row(0)
                    .to_owned(),
                None => y.to_owned(),
            };
            let units = input.dot(&adapter.down.weight) + &adapter.down.bias;
            let branch = units.mapv(|u| u.max(0.0)).dot(&adapter.up.weight) + &adapter.up.bias;
            if self.breaks(Term::Residual) {
                y.fill(0.0);
            }
            y += &branch;
        }
        y
    }

    /// Attention over a prefix's points, if there is one, and the text's together.
    fn behind(&self, prefix: Option<&Prefix<f64>>, x: &Array2<f64>) -> Array2<f64> {
        let Projections { k, v, o, heads, .. } = self.attention;
        let (q, k, v) = (self.queries(x), k.forward(x), v.forward(x));
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
                let text: Vec<f64> = (0..=i).map(|j| query.dot(&k.row(j)) / root).collect();
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
                if self.breaks(Term::Past) {
                    for j in 0..l {
                        values.row_mut(j).assign(&p_v.row((j + 1) % l));
                    }
                }
                let all = own_sum + text_sum;
                let [of_own, of_text] = match self.breaks(Term::Mixture) {
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
        if !self.breaks(Term::Widths) {
            return own;
        }
        let both = inducer.mlp_k.iter().chain(&inducer.mlp_v);
        both.fold(own, |least, mlp| least.min(mlp.down.ncols()))
    }
}
