//! Two inducers for each query: a variant to copy and to change.
//!
//! ```text
//! P_k,a(q) = q + c_a,   P_v,a(q) = f(q) + MLP_a(q),   MLP_a(q) = tanh(q D_a) U_a,   a = 1, 2
//! f̃(q) = NW(q; [P_k,1; P_k,2; K], [P_v,1; P_v,2; V])
//!      = f(q) + Σ_a λ_a MLP_a(q),   λ_a = κ(q, P_k,a)/(Σ_b κ(q, P_k,b) + Σ_j κ(q, k_j))
//! ```
//!
//! A variant is written twice, and the checks hold one against the other. The [`Formula`] is the
//! paper's side: the estimator over all n + 2 points, as the first line has it, for any scalar; so
//! it gives values, bounds and exact gradients. The [`CustomMethod`] is the engine's side: the
//! second line, from attention's output and log-sum-exp, in plain candle operations, of which
//! `Tape::composed` makes one differentiable operation.

use inducer_verify::custom::prelude::*;

/// Two inducers for each query; both sides.
pub struct TwoInducers;

impl Formula for TwoInducers {
    fn shapes(heads: Heads, size: usize) -> Vec<(&'static str, Vec<usize>)> {
        let (h, p) = (heads.count, heads.width);
        vec![
            ("offset_1", vec![h, p]),
            ("offset_2", vec![h, p]),
            ("down_1", vec![h, p, size]),
            ("down_2", vec![h, p, size]),
            ("up_1", vec![h, size, p]),
            ("up_2", vec![h, size, p]),
        ]
    }

    fn head<T: Real>(points: &Points<'_, T>, tensors: &Tensors<T>) -> Array2<T> {
        let Points {
            h,
            q,
            k,
            v,
            visible,
        } = points;
        let f = attend(q, k, v, visible).f;
        let names = [
            ["offset_1", "down_1", "up_1"],
            ["offset_2", "down_2", "up_2"],
        ];
        let mut output = Array2::zeros(f.raw_dim());
        for i in 0..q.nrows() {
            let query = q.row(i).to_owned();
            // every point of this query: its score and its value
            let mut all: Vec<_> = visible
                .of(i)
                .map(|j| (score(&query, &k.row(j)), v.row(j).to_owned()))
                .collect();
            for [offset, down, up] in names {
                let key = &query + &vector(&tensors[offset], *h);
                let hidden = query.dot(&matrix(&tensors[down], *h)).mapv(T::tanh);
                let value = hidden.dot(&matrix(&tensors[up], *h)) + f.row(i);
                all.push((score(&query, &key), value));
            }
            let top = all.iter().map(|point| point.0).reduce(T::maximum);
            let top = top.unwrap_or_else(T::zero);
            let mut below = T::zero();
            for (score, value) in all {
                let weight = (score - top).exp();
                below = below + weight;
                let mut row = output.row_mut(i);
                row.zip_mut_with(&value, |sum, value| *sum = *sum + weight * *value);
            }
            output.row_mut(i).mapv_inplace(|above| above / below);
        }
        output
    }
}

impl CustomMethod for TwoInducers {
    fn name(&self) -> &'static str {
        "two-inducers"
    }

    fn title(&self) -> &'static str {
        "Two inducers"
    }

    fn source(&self) -> &'static str {
        include_str!("two_inducers.rs")
    }

    fn step(&self) -> Option<(&'static str, &'static str)> {
        Some(("inducer", "a second inducer for each query, values in R^p"))
    }

    fn declare(&self, size: usize, layer: Layer<'_>, at: &Declare<'_>) -> Result<Box<dyn Part>> {
        Ok(Box::new(Two {
            layer: layer.index,
            parameters: declared(size, layer, at)?,
            gate,
        }))
    }
}

/// c_1, c_2, D_1, D_2, U_1 and U_2 of a layer, each with its shape and its initial value.
pub fn declared(size: usize, layer: Layer<'_>, at: &Declare<'_>) -> Result<Vec<Parameter>> {
    let (h, p) = (layer.spec.heads.count, layer.spec.heads.width);
    let start = Init::TruncatedNormal(0.01);
    Ok(vec![
        at.bias("offset_1", [h, p], start)?,
        at.bias("offset_2", [h, p], start)?,
        at.weight("down_1", [h, p, size], start)?,
        at.weight("down_2", [h, p, size], start)?,
        at.weight("up_1", [h, size, p], start)?,
        at.weight("up_2", [h, size, p], start)?,
    ])
}

/// λ_a [tokens, H] from LSE, the scores of both inducers, and a.
pub type Gate = fn(&Tensor, &[Tensor], usize) -> candle_core::Result<Tensor>;

/// The part of one layer.
pub struct Two {
    /// Its layer.
    pub layer: usize,
    /// As [`declared`] has them.
    pub parameters: Vec<Parameter>,
    /// λ.
    pub gate: Gate,
}

tensors!(Two: parameters);

impl Part for Two {
    /// The heads' output f̃ in place of f, as one operation of the tape.
    fn on_heads(
        &self,
        ctx: &ForwardContext<'_>,
        qkv: &Value,
        attended: Attended,
    ) -> Result<Attended> {
        let own = self.parameters.iter().map(|p| ctx.tape.parameter(p));
        let own: Vec<Value> = own.collect::<Result<_>>()?;
        let mut inputs = vec![qkv, &attended.f, &attended.lse];
        inputs.extend(&own);
        let mut all = ctx.tape.composed_many(&inputs, |x| {
            let (f, weight) = forward(ctx.heads, x, self.gate)?;
            Ok(vec![f, weight])
        })?;
        let (weight, f) = (all.remove(1), all.remove(0));
        // a report shows how much weight the inducers get, and how far they are from their queries
        ctx.observe(self.layer, &weight, || {
            distance(ctx.heads, &qkv.tensor, &own[..2])
        })?;
        Ok(Attended { f, ..attended })
    }
}

/// λ_a = exp(s_a − log(exp LSE + Σ_b exp s_b)).
fn gate(lse: &Tensor, scores: &[Tensor], a: usize) -> candle_core::Result<Tensor> {
    let all = Tensor::stack(&[lse, &scores[0], &scores[1]], 2)?;
    (&scores[a] - log_sum_exp(&all)?)?.exp()
}

/// log Σ exp over the last dimension.
pub fn log_sum_exp(x: &Tensor) -> candle_core::Result<Tensor> {
    let top = x.max_keepdim(D::Minus1)?.detach();
    (x.broadcast_sub(&top)?
        .exp()?
        .sum_keepdim(D::Minus1)?
        .log()?
        + top)?
        .squeeze(D::Minus1)
}

/// f̃ [tokens, d] and Σ_a λ_a [tokens, H] from qkv [tokens, 3 d], f [tokens, d], LSE [tokens, H]
/// and the six tensors; in mixed precision all in the type of LSE.
fn forward(heads: Heads, x: &[Tensor], gate: Gate) -> candle_core::Result<(Tensor, Tensor)> {
    let (n, d) = x[1].dims2()?;
    let (inner, outer) = (x[2].dtype(), x[1].dtype());
    let x = x.iter().map(|x| x.to_dtype(inner));
    let x: Vec<Tensor> = x.collect::<candle_core::Result<_>>()?;
    let q = x[0]
        .narrow(1, 0, d)?
        .reshape((n, heads.count, heads.width))?;
    let by_head = q.transpose(0, 1)?.contiguous()?;
    let (mut scores, mut values) = (Vec::new(), Vec::new());
    for a in 0..2 {
        let key = q.broadcast_add(&x[3 + a].unsqueeze(0)?)?;
        scores.push(((&q * key)?.sum(2)? * heads.scale())?);
        let value = by_head.matmul(&x[5 + a])?.tanh()?.matmul(&x[7 + a])?;
        values.push(value.transpose(0, 1)?);
    }
    let mut output = x[1].reshape((n, heads.count, heads.width))?;
    let mut weight = x[2].zeros_like()?;
    for a in 0..2 {
        let lambda = gate(&x[2], &scores, a)?;
        output = (output + values[a].broadcast_mul(&lambda.unsqueeze(2)?)?)?;
        weight = (weight + lambda)?;
    }
    Ok((output.reshape((n, d))?.to_dtype(outer)?, weight))
}

/// ‖c_a‖ / p^{1/4} of the nearer inducer [tokens, H]: it is the same for all queries.
fn distance(heads: Heads, qkv: &Tensor, offsets: &[Value]) -> Result<Tensor> {
    let norm = |c: &Value| -> candle_core::Result<Tensor> { c.tensor.sqr()?.sum(1)?.sqrt() };
    let nearer = norm(&offsets[0])?.minimum(&norm(&offsets[1])?)?;
    let unit = (heads.width as f64).powf(0.25);
    let tokens = qkv.dim(0)?;
    Ok((nearer / unit)?.unsqueeze(0)?.repeat((tokens, 1))?)
}
