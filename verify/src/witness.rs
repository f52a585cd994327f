//! A third opinion: the whole inducer + LoRA model (Eqs. 3–11) written once more, number by number, each term removable by name.
//!
//! ```text
//! q = x W^q + b^q + (α/r) (x Aᵀ Bᵀ + b_lora)                                     (10)
//! P_k = q + MLP_k(q),  P_v^(h) = f^(h) + tanh(q W_1 + b_1) W_2                   (5), (6), (9), (11)
//! output = Σ_h λ P_v^(h) + (1 − λ) f^(h) + b_2 + b^o                             (7), (11), (4)
//! λ = κ(q, P_k)/(κ(q, P_k) + Σ_{j ≤ i} κ(q, k_j)),  κ(q, k) = exp(⟨q, k⟩/√p)     (3), (7)
//! ```
//!
//! Reference and engine use the residual form (8) with λ from the log-sum-exp; here stands the mixture (7) with λ by definition, over
//! the n + 1 points themselves. An engine in which one [`Term`] went wrong leaves this function, and this function with the same term
//! broken leaves a right engine: the negative control of the claims in [`terms`](crate::claims::terms).
//!
//! Embedding, layer normalisation and FFN are no part of the method and are the reference's ([`backbone`]).

use crate::backbone;
use crate::engine::reference::{lift_all, stored};
use crate::error::{Error, Result};
use crate::random::{ModelCase, TextRow};
use inducer_reference::bottleneck::Bottleneck;
use inducer_reference::lora::Lora;
use inducer_reference::parts::AttentionPart;
use inducer_reference::sub_layer::Projections;
use inducer_reference::variants::Inducer;
use inducer_reference::{Adapter, Gpt2};
use ndarray::{Array1, Array2, s};

/// A term of (5)–(11) that can be broken.
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
}

/// The logits of one row, [n, ids], with no term or one term broken.
///
/// # Errors
/// The model is not inducer + LoRA on GPT-2, or the reference refuses its tensors.
pub fn logits(case: &ModelCase, row: &TextRow, broken: Option<Term>) -> Result<Array2<f64>> {
    let model = Gpt2::from_tensors(case.backbone.clone(), &case.weights)?;
    let own = stored(case, &lift_all(&case.adapter, |_, _, x| x))?;
    let adapter = Adapter::from_tensors(case.method.clone(), &case.backbone, own)?;
    backbone::logits(&model, &adapter.added(), row, None, |i, block, x| {
        let parts = adapter.layer(i)?;
        let (AttentionPart::Inducer(inducer), Some(lora)) = (&parts.attention, &parts.q) else {
            return Err(Error::Missing("an inducer with LoRA on W^q".into()));
        };
        let layer = Layer {
            attention: &block.attention,
            inducer,
            lora,
            broken,
        };
        Ok(layer.output(x))
    })
}

/// One attention sub-layer with its method.
struct Layer<'a> {
    attention: &'a Projections<f64>,
    inducer: &'a Inducer<f64>,
    lora: &'a Lora<f64>,
    broken: Option<Term>,
}

/// What a query sees of one head: weights of its own point and of the text, and the text's values.
struct Estimate {
    lambda: f64,
    f: Array1<f64>,
}

impl Layer<'_> {
    fn breaks(&self, term: Term) -> bool {
        self.broken == Some(term)
    }

    /// (10), then every query of every head.
    fn output(&self, x: &Array2<f64>) -> Array2<f64> {
        let Projections { q, k, v, o, heads } = self.attention;
        let (q, k, v) = (q.forward(x) + self.low_rank(x), k.forward(x), v.forward(x));
        let p = q.ncols() / heads;
        let mut output = Array2::from_shape_fn(q.raw_dim(), |(_, c)| o.bias[c]);
        for i in 0..x.nrows() {
            let mut gates = 0.0;
            for h in 0..*heads {
                let block = s![.., h * p..(h + 1) * p];
                let q = q.slice(block).row(i).to_owned();
                let Estimate { lambda, f } =
                    self.estimate(h, i, &q, &k.slice(block), &v.slice(block));
                let f = f.dot(&o.weight.slice(s![h * p..(h + 1) * p, ..]));
                let p_v = &f + &self.network(&self.inducer.mlp_v[h], &q);
                output
                    .row_mut(i)
                    .scaled_add(1.0, &(p_v * lambda + f * (1.0 - lambda)));
                gates += lambda;
            }
            let share = if self.breaks(Term::SharedBias) {
                gates
            } else {
                1.0
            };
            output.row_mut(i).scaled_add(share, &self.inducer.b_2);
        }
        output
    }

    /// (α/r) (x Aᵀ Bᵀ + b_lora).
    fn low_rank(&self, x: &Array2<f64>) -> Array2<f64> {
        let mut update = x.dot(&self.lora.a.t()).dot(&self.lora.b.t());
        if let (Some(bias), false) = (&self.lora.bias, self.breaks(Term::LoraBias)) {
            update += bias;
        }
        update * self.lora.scale
    }

    /// λ_i and f(q_i) of head h.
    fn estimate(
        &self,
        h: usize,
        i: usize,
        q: &Array1<f64>,
        k: &ndarray::ArrayView2<'_, f64>,
        v: &ndarray::ArrayView2<'_, f64>,
    ) -> Estimate {
        let root = match self.breaks(Term::Scale) {
            true => 1.0,
            false => (q.len() as f64).sqrt(),
        };
        let seen = (i + 1 + usize::from(self.breaks(Term::Future))).min(k.nrows());
        let text: Vec<f64> = (0..seen).map(|j| q.dot(&k.row(j)) / root).collect();
        let own = q.dot(&(q + &self.network(&self.inducer.mlp_k[h], q))) / root;
        let top = text.iter().copied().fold(own, f64::max);
        let own = (own - top).exp();
        let (mut sum, mut above) = (0.0, Array1::zeros(v.ncols()));
        for (j, score) in text.iter().enumerate() {
            let weight = (score - top).exp();
            sum += weight;
            above.scaled_add(weight, &v.row(j));
        }
        let columns = match self.breaks(Term::Denominator) {
            true => sum,
            false => own + sum,
        };
        Estimate {
            lambda: own / columns,
            f: above / sum,
        }
    }

    /// tanh(q W_1 + b_1) W_2 (+ b_2 of the head), with the units that are in use.
    fn network(&self, mlp: &Bottleneck<f64>, q: &Array1<f64>) -> Array1<f64> {
        let hidden = (q.dot(&mlp.down) + &mlp.down_bias).mapv(f64::tanh);
        let units = self.units(hidden.len());
        let product = hidden
            .slice(s![..units])
            .dot(&mlp.up.slice(s![..units, ..]));
        match &mlp.up_bias {
            Some(bias) => product + bias,
            None => product,
        }
    }

    /// How many of a network's `own` units are there when r_k and r_v are exchanged: the wider network lacks the rest.
    fn units(&self, own: usize) -> usize {
        let widths = [&self.inducer.mlp_k, &self.inducer.mlp_v].map(|heads| heads[0].down.ncols());
        match self.breaks(Term::Widths) {
            true => own.min(widths[0]).min(widths[1]),
            false => own,
        }
    }
}
