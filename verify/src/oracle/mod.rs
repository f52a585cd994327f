//! A third opinion: the whole model, GPT-2 or RoBERTa, under inducers, LoRA, a prefix or an adapter
//! (Eqs. 1–11) written once more, number by number, each term of it mutable by name.
//!
//! ```text
//! q = x W^q + b^q + (α/r) (x Aᵀ Bᵀ + b_lora)                                (10)
//! P_k = q + MLP_k(q),  P_v^(h) = f^(h) + tanh(q W_1 + b_1) W_2              (5), (6), (9), (11)
//! output = Σ_h λ P_v^(h) + (1 − λ) f^(h) + b_2 + b^o                        (7), (11), (4)
//! λ = κ(q, P_k)/(κ(q, P_k) + Σ_{j ≤ i} κ(q, k_j)),  κ(q, k) = exp(⟨q, k⟩/√p)   (3), (7)
//! ```
//!
//! Reference and engine use the residual form (8) with λ from the log-sum-exp; here stands the
//! mixture (7) with λ by definition, over the n + 1 points themselves. An engine in which one term
//! went wrong leaves this function, and this function with the [`Mutation`] of the same term leaves
//! a right engine: the negative control of
//! [`on_whole_models`](crate::Claim::on_whole_models).
//!
//! Where an identity of the ledger has another form of the same function (values inside W^o, the
//! merged weight, one product over the heads, the concatenated prefix), the oracle takes that form
//! for the row's [`Mutation`], and the engine must agree with it.
//!
//! The key of an Adaptive's or an Extension's inducer is q itself; an Adaptive's value is in R^p
//! and passes W^o; a RoBERTa's queries see every key of their row.
//!
//! Embedding, layer normalisation and FFN are no part of the method and are the reference's
//! ([`frame`]).

mod attention;
pub mod frame;
pub mod student;

use crate::cases::{BackboneConfig, ModelCase, TextRow};
use crate::engines::reference::stored;
use crate::error::Result;
use attention::Layer;
use inducer_reference::parts::AttentionPart;
use inducer_reference::sub_layer::Projections;
use inducer_reference::{Adapter, Gpt2, Roberta};
use ndarray::Array2;

/// A term of (1)–(11), or a form of theirs, with the mutation of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
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
    /// The text's positions behind a prefix that offsets them: from 0 instead.
    Offset,
    /// α/r of LoRA: left out.
    LoraScale,
}

/// The logits of one text, [n, ids] or [1, classes], in the form of the formula that a mutation
/// names, `mutated` or not.
///
/// # Errors
/// The reference refuses the model's tensors.
pub fn logits(
    case: &ModelCase,
    row: &TextRow,
    mutation: Mutation,
    mutated: bool,
) -> Result<Array2<f64>> {
    let tensors = stored(case, &case.adapter)?;
    let adapter = Adapter::from_tensors(case.method.clone(), &case.backbone, tensors)?;
    let offset = match (mutation, mutated) {
        (Mutation::Offset, true) => 0,
        _ => adapter.position_offset(),
    };
    let sub_layer = |i: usize, attention: &Projections<f64>, causal: bool, x: &Array2<f64>| {
        let parts = adapter.layer(i)?;
        let layer = Layer {
            attention,
            loras: [parts.q.as_ref(), parts.k.as_ref(), parts.v.as_ref()],
            causal,
            mutation,
            mutated,
        };
        Ok(match &parts.attention {
            AttentionPart::Inducer(inducer) => layer.output(inducer, x),
            AttentionPart::Prefix(prefix) => layer.behind(Some(prefix), x),
            AttentionPart::Adapter(adapter) => layer.adapted(adapter, x),
            AttentionPart::None => layer.behind(None, x),
        })
    };
    let beside = |i: usize, x: &Array2<f64>| -> Result<Option<Array2<f64>>> {
        let ffn = adapter.layer(i)?.ffn;
        Ok(ffn.map(|part| attention::branch(&part.adapter, x) * part.scale))
    };
    let mut weights = case.weights.clone();
    weights.extend(adapter.replacements());
    match &case.backbone {
        BackboneConfig::Gpt2(config) => frame::logits(
            &Gpt2::from_tensors(config.clone(), &weights)?,
            &adapter.added(),
            row,
            None,
            offset,
            |i, block, x| sub_layer(i, &block.attention, true, x),
            &beside,
        ),
        BackboneConfig::Roberta(config) => frame::class_logits(
            &Roberta::from_tensors(config.clone(), &weights)?,
            row,
            offset,
            |i, layer, x| sub_layer(i, &layer.attention, false, x),
            &beside,
        ),
    }
}
