//! What is fixed during one forward pass.

use super::FoldTarget;
use super::observe::{Added, HeadsSeen, Observation};
use crate::decode::kv_cache::KvCache;
use crate::error::Result;
use crate::ops::attention::{Heads, Visible};
use crate::ops::dropout::Dropout;
use crate::tape::{Tape, Value};
use candle_core::Tensor;
use std::cell::RefCell;

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
