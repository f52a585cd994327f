//! Attention (Eqs. 2–4) over packed rows, with the log-sum-exp of each row of scores as a second
//! result.
//!
//! ```text
//! o_i = Σ_{j ∈ V(i)} P_ij v_j,   P_ij = exp(⟨q_i,k_j⟩/√p − LSE_i)
//! LSE_i = log Σ_{j ∈ V(i)} exp(⟨q_i,k_j⟩/√p)
//! ```
//!
//! The n × n matrix is never kept: a block of queries at a time is scored, and the backward pass
//! computes P again from the log-sum-exp. The inducer's λ and the prefix's μ need nothing but LSE,
//! so there is no second softmax anywhere. Gradients: with D_i = ⟨dO_i, o_i⟩,
//! `dS = P ∘ (mask ∘ dO Vᵀ − D + dLSE)`.

mod cached;
mod card;
mod fused;
mod tensors;

pub use cached::{attention_cached, attention_cached_tensors};
pub(crate) use card::Cache as CardCache;

use super::dropout::Dropout;
use crate::error::Result;
use crate::kernels::{cuda, dispatch, fused};
use crate::tape::{Tape, Value};
use candle_core::{DType, Device, Tensor};

/// Which keys of its own row a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visible {
    /// Keys up to its own position.
    Causal,
    /// All keys of the row.
    All,
}

/// Number of heads and their width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// H.
    pub count: usize,
    /// p.
    pub width: usize,
}

impl Heads {
    /// So many heads of a hidden size.
    pub fn of(hidden: usize, count: usize) -> Self {
        let width = hidden / count;
        Self { count, width }
    }

    /// d = H p.
    pub fn hidden(&self) -> usize {
        self.count * self.width
    }

    /// 1/√p.
    pub fn scale(&self) -> f64 {
        1.0 / (self.width as f64).sqrt()
    }

    /// The columns of `x` [n, …] from `from` on, head by head: [H, n, p].
    pub(crate) fn split(&self, x: &Tensor, from: usize) -> candle_core::Result<Tensor> {
        x.narrow(1, from, self.hidden())?
            .reshape((x.dim(0)?, self.count, self.width))?
            .transpose(0, 1)?
            .contiguous()
    }
}

/// Packed rows in which queries attend to keys.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// H and p.
    pub heads: Heads,
    /// The rows' boundaries among the tokens.
    pub offsets: &'a [usize],
    /// Which keys a query sees.
    pub visible: Visible,
}

/// Self-attention within each packed row.
///
/// # Shapes
/// `qkv` [tokens, 3d] (queries, keys, values) → output [tokens, d], log-sum-exp [tokens, H].
///
/// # Errors
/// Shapes that do not fit.
pub fn attention(
    tape: &Tape,
    qkv: &Value,
    rows: Rows<'_>,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let drop = drop.rows_each(rows.heads.count);
    match form(&qkv.tensor, rows.heads) {
        Form::Fused => fused::within_rows(tape, qkv, rows, drop),
        Form::Card => card::within_rows(tape, qkv, rows, drop),
        Form::Tensors => tensors::within_rows(tape, qkv, rows, drop),
    }
}

/// Attention of all queries to the same `l` keys: the prefix (§4.2).
///
/// # Shapes
/// `qkv` [tokens, 3d] (only the queries are read), `keys`, `values` [H, l, p] → output [tokens, d],
/// log-sum-exp [tokens, H].
///
/// # Errors
/// Shapes that do not fit.
pub fn attention_to(
    tape: &Tape,
    qkv: &Value,
    keys: &Value,
    values: &Value,
    heads: Heads,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let (inputs, drop) = ([qkv, keys, values], drop.rows_each(heads.count));
    match form(&qkv.tensor, heads) {
        Form::Fused => fused::to_prefix(tape, inputs, heads, drop),
        Form::Card => card::to_prefix(tape, inputs, heads, drop),
        Form::Tensors => tensors::to_prefix(tape, inputs, heads, drop),
    }
}

/// Which form of attention runs.
enum Form {
    Fused,
    Card,
    Tensors,
}

fn form(qkv: &Tensor, heads: Heads) -> Form {
    match (fused(qkv), on_card(qkv.dtype(), qkv.device(), heads)) {
        (true, _) => Form::Fused,
        (_, true) => Form::Card,
        _ => Form::Tensors,
    }
}

/// Whether a card's kernels attend in this type on this device.
pub(crate) fn on_card(dtype: DType, device: &Device, heads: Heads) -> bool {
    cuda::runs_in(dtype, device) && card::fits(heads)
}

/// Output and log-sum-exp of an operation with these two results.
pub(super) fn both(mut results: Vec<Value>) -> (Value, Value) {
    let lse = results.remove(1);
    (results.remove(0), lse)
}

/// Dropout's factors [rows, H, n, m] for scores like `like`, of rows of at most n queries that
/// begin at these tokens; none where nothing is dropped.
pub(super) fn keep_mask(
    drop: Dropout,
    offsets: &[usize],
    [n, m]: [usize; 2],
    heads: usize,
    like: &Tensor,
) -> candle_core::Result<Option<Tensor>> {
    if drop.is_off() {
        return Ok(None);
    }
    let shape = (offsets.len(), heads, n, m);
    let row = |at: usize| {
        let (b, h, i) = (at / (heads * n), at / n % heads, at % n);
        ((offsets[b] + i) * heads + h) as u64
    };
    let mask = dispatch!(like, T => {
        let mask = drop.mask::<T>(offsets.len() * heads * n, m, row);
        Tensor::from_vec(mask, shape, like.device())?
    });
    Ok(Some(mask))
}
