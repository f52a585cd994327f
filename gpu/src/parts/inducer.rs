//! Inducer-tuning and its ablations (Eqs. 5–9, 11; section 6.2 of the paper).
//!
//! ```text
//! λ = σ(⟨q, P_k⟩/√p − LSE),   P_k = q + MLP_k(q)  or  q
//! Inducer, Extension:  f W^o + Σ_h λ tanh(q W₁ + b₁) W₂ + b₂          (b₂ once, unweighted)
//! Adaptive:           [f + λ (tanh(q W₁ + b₁) W₂ + b₂)] W^o            (per head, into R^p)
//! Gating:             [(1 − λ) f] W^o + Σ_h λ tanh(q W₁ + b₁) W₂ + b₂
//! ```

use super::observe::{Added, distance_to_inducer, inducers};
use super::{Attended, DropoutSite, ForwardContext, Part, PartConfig, Wrong, sized};
use crate::config::Spec;
use crate::error::Result;
use crate::ops::dropout::dropout;
use crate::ops::inducer::{add_gated_values, gated_hidden, inducer_score, scale_by_complement};
use crate::ops::linear::Linear;
use crate::tape::{Parameter, Value};
use crate::tensors::{Declare, Init};
use serde::{Deserialize, Serialize};

/// The ablation's variants (section 6.2 of the paper).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// P_k = q, values in R^p.
    Adaptive,
    /// P_k = q, values in R^d (Eqs. 9, 11).
    Extension,
    /// Extension with MLP_k, and P_v = MLP_v(q) without f.
    Gating,
    /// The paper's method.
    Inducer,
}

impl Variant {
    /// Whether P_k = q + MLP_k(q).
    pub fn has_key_mlp(self) -> bool {
        matches!(self, Self::Gating | Self::Inducer)
    }

    /// Whether MLP_v returns R^d.
    pub fn extended(self) -> bool {
        self != Self::Adaptive
    }
}

/// Inducers (Eqs. 5–11).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InducerConfig {
    /// Which variant.
    pub variant: Variant,
    /// r_k; absent for the variants without MLP_k.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub key_bottleneck: usize,
    /// r_v.
    pub value_bottleneck: usize,
}

fn is_zero(x: &usize) -> bool {
    *x == 0
}

/// A MLP for each head: down [H, p, r], down bias [H, r], up, up bias.
pub type HeadMlp = [Parameter; 4];

/// The inducer of one layer.
pub struct Inducer {
    /// Layer.
    pub layer: usize,
    /// Variant.
    pub variant: Variant,
    /// MLP_k, for the variants that have one.
    pub key: Option<HeadMlp>,
    /// MLP_v.
    pub value: HeadMlp,
}

crate::tensors!(Inducer: key, value);

impl PartConfig for InducerConfig {
    fn check(&self) -> std::result::Result<(), Wrong> {
        sized("value_bottleneck", self.value_bottleneck)?;
        let message = match (self.variant.has_key_mlp(), self.key_bottleneck) {
            (true, 0) => "expected at least 1 for this variant, found 0".into(),
            (false, 1..) => format!(
                "expected none: this variant has no MLP_k; found {}",
                self.key_bottleneck
            ),
            (false, 0) => return Ok(()),
            (true, _) => return sized("key_bottleneck", self.key_bottleneck),
        };
        Err(("key_bottleneck", message))
    }

    fn declare(&self, layer: usize, spec: &Spec, from: &Declare<'_>) -> Result<Box<dyn Part>> {
        let (h, p, d) = (spec.heads.count, spec.heads.width, spec.hidden);
        let start = Init::TruncatedNormal(0.01);
        let at = from.within(spec.attention_name(layer)).within("inducer");
        let declare = |name: &str, r: usize, extended: bool| -> Result<HeadMlp> {
            let at = at.within(name);
            let outputs = if extended { d } else { p };
            Ok([
                at.weight("down", [h, p, r], start)?,
                at.bias("down_bias", [h, r], start)?,
                at.weight("up", [h, r, outputs], start)?,
                at.bias(
                    "up_bias",
                    if extended { vec![d] } else { vec![h, p] },
                    start,
                )?,
            ])
        };
        let variant = self.variant;
        let key = variant.has_key_mlp().then_some(self.key_bottleneck);
        Ok(Box::new(Inducer {
            layer,
            variant,
            key: key.map(|r| declare("key", r, false)).transpose()?,
            value: declare("value", self.value_bottleneck, variant.extended())?,
        }))
    }
}

impl Part for Inducer {
    fn on_heads(
        &self,
        ctx: &ForwardContext<'_>,
        qkv: &Value,
        attended: Attended,
    ) -> Result<Attended> {
        let tape = ctx.tape;
        let key = self.key.as_ref().map(|k| tape.parameters(k)).transpose()?;
        let [down, down_bias, up, up_bias] = tape.parameters(&self.value)?;

        let score = inducer_score(tape, qkv, ctx.heads, key.as_ref())?;
        let lambda = ctx.gate(self.layer, &score, &attended.lse, || {
            distance_to_inducer(&qkv.tensor, self.key.as_ref(), ctx.heads)
        })?;
        ctx.show_added(self.layer, || {
            let keys = inducers(&qkv.tensor, self.key.as_ref(), ctx.heads)?;
            Ok(Added::Inducer(keys))
        })?;
        let dropped = dropout(tape, &lambda, ctx.dropout(self.layer, DropoutSite::Gate))?;
        let hidden = gated_hidden(tape, qkv, &dropped, &down, &down_bias, ctx.heads)?;
        if self.variant == Variant::Adaptive {
            let f = add_gated_values(
                tape,
                &attended.f,
                &hidden,
                &dropped,
                &up,
                &up_bias,
                ctx.heads,
            )?;
            return Ok(Attended { f, ..attended });
        }
        // [H, r, d] read as [H r, d]: one product for all heads
        let (h, r, d) = up.tensor.dims3()?;
        let flat = up.reshaped(tape, &[h * r, d])?;
        let update = Linear::conv1d(&flat, &up_bias).apply(tape, &hidden)?;
        let f = if self.variant == Variant::Gating {
            scale_by_complement(tape, &attended.f, &lambda, ctx.heads)?
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
