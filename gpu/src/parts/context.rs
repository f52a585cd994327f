//! What is fixed during one forward pass.

use super::FoldTarget;
use super::observe::{Added, HeadsSeen, Observation};
use crate::decode::kv_cache::KvCache;
use crate::error::Result;
use crate::ops::attention::{Heads, Visible};
use crate::ops::dropout::Dropout;
use crate::ops::inducer::gate;
use crate::tape::{Tape, Value};
use candle_core::Tensor;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Gates that take the place of λ or μ at every token: layer to one number in [0, 1] for each head.
/// A layer that is not named keeps its own.
pub type FixedGates = BTreeMap<usize, Vec<f64>>;

/// Everything that is fixed during one forward pass.
pub struct ForwardContext<'a> {
    /// The tape.
    pub tape: &'a Tape,
    /// Heads of the backbone.
    pub heads: Heads,
    /// Boundaries of the packed batch's sequences.
    pub offsets: &'a [usize],
    /// What a query sees of its own sequence.
    pub visible: Visible,
    /// Whether dropout is active at all.
    pub training: bool,
    /// Dropout of this step; off in evaluation.
    pub dropout: Dropout,
    /// Keys and values of earlier tokens while decoding.
    pub cache: Option<RefCell<&'a mut KvCache>>,
    /// Prefix keys and values of each layer made by a reparametrisation.
    pub prefix: Vec<(Value, Value)>,
    /// What the parts show of themselves, when asked for.
    pub observed: Option<RefCell<Vec<Observation>>>,
    /// Queries, keys and what parts put beside them, of each layer, when asked for.
    pub seen: Option<RefCell<Vec<HeadsSeen>>>,
    /// Gates that are not computed but given.
    pub fixed_gates: Option<&'a FixedGates>,
    /// The backbone's linear maps, for parts that depend on their weights.
    pub maps: Option<&'a dyn FoldTarget>,
}

/// The sites where dropout acts, each with its own mask.
#[derive(Clone, Copy, Debug)]
pub enum DropoutSite {
    /// Attention weights.
    Attention,
    /// Attention weights of the prefix.
    Prefix,
    /// λ.
    Gate,
    /// The attention's residual branch.
    AttentionBranch,
    /// The FFN's residual branch.
    FfnBranch,
    /// LoRA's input.
    Lora,
}

impl ForwardContext<'_> {
    /// Dropout at a site of a layer.
    pub fn dropout(&self, layer: usize, site: DropoutSite) -> Dropout {
        self.dropout.at((layer * 16 + site as usize) as u64)
    }

    /// The gate σ(`score` − `lse`) [tokens, H] of a layer's part, or the one that is given in its
    /// place; kept with the distances [tokens, H] to the part's keys when somebody looks.
    ///
    /// # Errors
    /// Shapes that do not fit; those of `distance`.
    pub fn gate(
        &self,
        layer: usize,
        score: &Value,
        lse: &Value,
        distance: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Value> {
        let gate = match self.fixed_gates.and_then(|gates| gates.get(&layer)) {
            None => gate(self.tape, score, lse)?,
            Some(heads) => {
                let like = &lse.tensor;
                let heads = Tensor::new(heads.as_slice(), like.device())?;
                let all = heads.to_dtype(like.dtype())?.broadcast_as(like.shape())?;
                Value::constant(all.contiguous()?)
            }
        };
        self.observe(layer, &gate, distance)?;
        Ok(gate)
    }

    /// Keeps the gate [tokens, H] of a layer's part, and the distances [tokens, H] to its keys,
    /// when somebody looks.
    ///
    /// # Errors
    /// Those of `distance`.
    pub fn observe(
        &self,
        layer: usize,
        gate: &Value,
        distance: impl FnOnce() -> Result<Tensor>,
    ) -> Result<()> {
        if let Some(observed) = &self.observed {
            observed.borrow_mut().push(Observation {
                layer,
                gate: gate.tensor.clone(),
                distance: distance()?,
            });
        }
        Ok(())
    }

    /// Keeps queries and keys of a layer's heads, and the log-sum-exp [tokens, H] of their scores,
    /// when somebody looks.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn show_heads(&self, layer: usize, qkv: &Value, lse: &Value) -> Result<()> {
        if let Some(seen) = &self.seen {
            let found = HeadsSeen::of(layer, &qkv.tensor, &lse.tensor, self.heads)?;
            seen.borrow_mut().push(found);
        }
        Ok(())
    }

    /// Keeps the keys that a part of a layer puts beside the text's, when somebody looks.
    ///
    /// # Errors
    /// Those of `added`.
    pub fn show_added(&self, layer: usize, added: impl FnOnce() -> Result<Added>) -> Result<()> {
        if let Some(seen) = &self.seen
            && let Some(heads) = seen.borrow_mut().iter_mut().find(|s| s.layer == layer)
        {
            heads.added = Some(added()?);
        }
        Ok(())
    }
}
