//! The adapter (Eq. 1), sequential after the attention or parallel to the FFN.
//!
//! ```text
//! sequential:  y + φ(LN(y) W₁ + b₁) W₂ + b₂
//! parallel:    FFN(x) + s (φ(LN(x) W₁ + b₁) W₂ + b₂)          φ = ReLU, LN optional
//! ```

use super::{ForwardContext, Part, PartConfig, Wrong, sized};
use crate::config::Spec;
use crate::error::Result;
use crate::ops::activation::Activation;
use crate::ops::layer_norm::norm;
use crate::ops::linear::{Linear, torch};
use crate::tape::{Pair, Value};
use crate::tensors::{Declare, Init};
use serde::{Deserialize, Serialize};

/// An adapter on the attention's output (Eq. 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionAdapterConfig {
    /// r.
    pub bottleneck: usize,
    /// LayerNorm on the adapter's input.
    #[serde(default)]
    pub layer_norm: bool,
}

/// Where an adapter stands at the FFN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// FFN(x) + s · Adapter(x).
    Parallel,
}

/// An adapter beside the FFN (MAM).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FfnAdapterConfig {
    /// Where.
    pub placement: Placement,
    /// r.
    pub bottleneck: usize,
    /// LayerNorm on its input.
    #[serde(default)]
    pub layer_norm: bool,
    /// s.
    #[serde(default = "one")]
    pub scale: f64,
}

fn one() -> f64 {
    1.0
}

/// A bottleneck adapter of one layer.
pub struct Bottleneck {
    /// Whether it stands beside the FFN; otherwise after the attention.
    pub parallel: bool,
    /// s.
    pub scale: f64,
    /// W₁ᵀ [r, d] and b₁.
    pub down: Pair,
    /// W₂ᵀ [d, r] and b₂.
    pub up: Pair,
    /// Its LayerNorm.
    pub norm: Option<Pair>,
    /// ε of its LayerNorm.
    pub epsilon: f64,
}

crate::tensors!(Bottleneck: down, up, norm);

impl PartConfig for AttentionAdapterConfig {
    fn check(&self) -> std::result::Result<(), Wrong> {
        sized("bottleneck", self.bottleneck)
    }

    fn declare(&self, layer: usize, spec: &Spec, from: &Declare<'_>) -> Result<Box<dyn Part>> {
        let at = from.within(spec.attention_name(layer)).within("adapter");
        let adapter = Bottleneck::declare(self.bottleneck, self.layer_norm, spec, &at)?;
        Ok(Box::new(adapter))
    }
}

impl PartConfig for FfnAdapterConfig {
    fn check(&self) -> std::result::Result<(), Wrong> {
        sized("bottleneck", self.bottleneck)
    }

    fn declare(&self, layer: usize, spec: &Spec, from: &Declare<'_>) -> Result<Box<dyn Part>> {
        let at = from.within(spec.ffn_name(layer)).within("adapter");
        Ok(Box::new(Bottleneck {
            parallel: true,
            scale: self.scale,
            ..Bottleneck::declare(self.bottleneck, self.layer_norm, spec, &at)?
        }))
    }
}

impl Bottleneck {
    fn declare(r: usize, layer_norm: bool, spec: &Spec, at: &Declare<'_>) -> Result<Self> {
        let (d, start) = (spec.hidden, [Init::TruncatedNormal(0.01); 2]);
        Ok(Self {
            parallel: false,
            scale: 1.0,
            down: at.linear("down", [r, d], start)?,
            up: at.linear("up", [d, r], start)?,
            norm: layer_norm.then(|| at.norm("layer_norm", d)).transpose()?,
            epsilon: spec.epsilon,
        })
    }

    fn onto(&self, ctx: &ForwardContext<'_>, x: &Value, y: &Value) -> Result<Value> {
        let tape = ctx.tape;
        let [w2, b2] = tape.parameters(&self.up)?;
        let x = match &self.norm {
            Some(pair) => norm(tape, pair, x, self.epsilon)?,
            None => x.clone(),
        };
        let hidden = Activation::Relu.apply(tape, &torch(tape, &self.down, &x)?)?;
        Linear::torch(&w2, Some(&b2))
            .scaled(self.scale)
            .onto(y, 0)
            .apply(tape, &hidden)
    }
}

impl Part for Bottleneck {
    fn on_output(&self, ctx: &ForwardContext<'_>, y: Value) -> Result<Value> {
        if self.parallel {
            Ok(y)
        } else {
            self.onto(ctx, &y, &y)
        }
    }

    fn beside_ffn(&self, ctx: &ForwardContext<'_>, x: &Value, y: Value) -> Result<Value> {
        if self.parallel {
            self.onto(ctx, x, &y)
        } else {
            Ok(y)
        }
    }
}
