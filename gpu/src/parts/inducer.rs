//! Inducer-tuning and its ablations (Eqs. 5–9, 11; section 6.2 of the paper).
//!
//! ```text
//! λ = σ(⟨q, P_k⟩/√p − LSE),   P_k = q + MLP_k(q)  or  q
//! Inducer, Extension:  f W^o + Σ_h λ tanh(q W₁ + b₁) W₂ + b₂          (b₂ once, unweighted)
//! Adaptive:           [f + λ (tanh(q W₁ + b₁) W₂ + b₂)] W^o            (per head, into R^p)
//! Gating:             [(1 − λ) f] W^o + Σ_h λ tanh(q W₁ + b₁) W₂ + b₂
//! ```

use super::{Attended, Part, Pass, Site};
use crate::config::Variant;
use crate::error::Result;
use crate::ops::dropout::dropout;
use crate::ops::inducer::{
    KeyMlp, add_gated_values, gate, gated_hidden, inducer_score, scale_by_complement,
};
use crate::ops::linear::Linear;
use crate::probe::to_own;
use crate::tape::{Parameter, Value};

/// MLP_k: down, down bias, up, up bias.
pub type KeyTensors = [Parameter; 4];

/// The inducer of one layer.
pub struct Inducer {
    /// Layer.
    pub layer: usize,
    /// Variant.
    pub variant: Variant,
    /// MLP_k, for the variants that have one.
    pub key: Option<KeyTensors>,
    /// MLP_v: down [H, p, r_v], down bias [H, r_v], up, up bias.
    pub value: [Parameter; 4],
}

impl Part for Inducer {
    fn parameters(&self) -> Vec<&Parameter> {
        self.key.iter().flatten().chain(&self.value).collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.key
            .iter_mut()
            .flatten()
            .chain(&mut self.value)
            .collect()
    }

    fn on_heads(&self, pass: &Pass<'_>, qkv: &Value, attended: Attended) -> Result<Attended> {
        let tape = pass.tape;
        let key = self.key.as_ref().map(|k| tape.parameters(k)).transpose()?;
        let key = key.as_ref().map(|[down, down_bias, up, up_bias]| KeyMlp {
            down,
            down_bias,
            up,
            up_bias,
        });
        let [down, down_bias, up, up_bias] = tape.parameters(&self.value)?;

        let score = inducer_score(tape, qkv, pass.heads, key)?;
        let lambda = gate(tape, &score, &attended.lse)?;
        pass.observe(self.layer, &lambda, || {
            to_own(&qkv.tensor, self.key.as_ref(), pass.heads)
        })?;
        let dropped = dropout(tape, &lambda, pass.drop(self.layer, Site::Gate))?;
        let hidden = gated_hidden(tape, qkv, &dropped, &down, &down_bias, pass.heads)?;
        if self.variant == Variant::Adaptive {
            let f = add_gated_values(
                tape,
                &attended.f,
                &hidden,
                &dropped,
                &up,
                &up_bias,
                pass.heads,
            )?;
            return Ok(Attended { f, ..attended });
        }
        // [H, r, d] read as [H r, d]: one product for all heads
        let (h, r, d) = up.tensor.dims3()?;
        let flat = up.reshaped(tape, &[h * r, d])?;
        let update = Linear::conv1d(&flat, &up_bias).apply(tape, &hidden)?;
        let f = if self.variant == Variant::Gating {
            scale_by_complement(tape, &attended.f, &lambda, pass.heads)?
        } else {
            attended.f
        };
        Ok(Attended {
            f,
            lse: attended.lse,
            update: Some(update),
        })
    }
}
