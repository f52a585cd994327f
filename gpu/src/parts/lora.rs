//! LoRA (Eq. 10): `q = x W^q + b^q + (α/r) (drop(x) Aᵀ Bᵀ + b_lora)`, likewise for k and v. With
//! rsLoRA (Kalajdzievski 2023) the factor is α/√r, so that the update keeps its size when r grows.

use super::{
    DropoutSite, FoldTarget, ForwardContext, Map, Part, PartConfig, Wrong, at_least_one,
    some_of_each_once,
};
use crate::config::Spec;
use crate::error::Result;
use crate::ops::dropout::{Dropout, dropout};
use crate::ops::linear::Linear;
use crate::tape::{Parameter, Value};
use crate::tensors::{Declare, Init};
use candle_core::DType;
use serde::{Deserialize, Serialize};

/// Which projection LoRA acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// W^q.
    Q,
    /// W^k.
    K,
    /// W^v.
    V,
}

impl Target {
    /// All of them, in the order in which a backbone lays them out.
    pub const ALL: [Self; 3] = [Self::Q, Self::K, Self::V];
}

/// LoRA (Eq. 10).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Projections.
    pub targets: Vec<Target>,
    /// r.
    pub rank: usize,
    /// α.
    pub alpha: f64,
    /// Dropout on its input.
    #[serde(default)]
    pub dropout: f64,
    /// Whether it has the trainable bias of the authors' code.
    #[serde(default)]
    pub bias: bool,
    /// Whether its factor is α/√r instead of α/r.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub use_rslora: bool,
}

impl LoraConfig {
    /// What the product of A and B is multiplied by: α/r, or α/√r.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Where the tensors of a target stand below an attention module.
    pub fn name(target: Target) -> String {
        format!("lora.{}", ["q", "k", "v"][target as usize])
    }
}

impl PartConfig for LoraConfig {
    fn check(&self) -> std::result::Result<(), Wrong> {
        at_least_one("rank", self.rank)?;
        some_of_each_once(&self.targets, "\"q\", \"k\", \"v\"")?;
        if !(0.0..1.0).contains(&self.dropout) {
            let message = format!("expected a number in [0, 1), found {}", self.dropout);
            return Err(("dropout", message));
        }
        if !self.alpha.is_finite() {
            return Err(("alpha", "expected a finite number".into()));
        }
        Ok(())
    }

    fn declare(&self, layer: usize, spec: &Spec, from: &Declare<'_>) -> Result<Box<dyn Part>> {
        let (d, r) = (spec.hidden, self.rank);
        let attention = from.within(spec.attention_name(layer));
        let targets = self.targets.iter().map(|target| {
            let at = attention.within(Self::name(*target));
            let bias = self.bias.then(|| at.bias("bias", [d], Init::ZERO));
            Ok(LowRankUpdate {
                target: *target,
                a: at.weight("a", [r, d], Init::kaiming(d))?,
                b: at.weight("b", [d, r], Init::ZERO)?,
                bias: bias.transpose()?,
            })
        });
        Ok(Box::new(LowRank {
            layer,
            scale: self.scale(),
            rate: self.dropout,
            targets: targets.collect::<Result<_>>()?,
        }))
    }
}

/// LoRA on some projections of one layer.
pub struct LowRank {
    /// Layer.
    pub layer: usize,
    /// α/r, or α/√r.
    pub scale: f64,
    /// Dropout rate of its input.
    pub rate: f64,
    /// The update of each target.
    pub targets: Vec<LowRankUpdate>,
}

/// LoRA on one projection.
pub struct LowRankUpdate {
    /// Which.
    pub target: Target,
    /// A [r, d].
    pub a: Parameter,
    /// B [d, r].
    pub b: Parameter,
    /// b_lora \[d\].
    pub bias: Option<Parameter>,
}

crate::tensors!(LowRankUpdate: a, b, bias);
crate::tensors!(LowRank: targets);

impl Part for LowRank {
    fn on_qkv(&self, ctx: &ForwardContext<'_>, x: &Value, mut qkv: Value) -> Result<Value> {
        let tape = ctx.tape;
        for (i, update) in self.targets.iter().enumerate() {
            let (a, b) = (tape.parameter(&update.a)?, tape.parameter(&update.b)?);
            let bias = update
                .bias
                .as_ref()
                .map(|p| tape.parameter(p))
                .transpose()?;
            let drop = Dropout {
                rate: if ctx.training { self.rate } else { 0.0 },
                ..ctx.dropout(self.layer, DropoutSite::Lora).at(i as u64)
            };
            let low = Linear::torch(&a, None).apply(tape, &dropout(tape, x, drop)?)?;
            let column = update.target as usize * ctx.heads.hidden();
            qkv = Linear::torch(&b, bias.as_ref())
                .scaled(self.scale)
                .onto(&qkv, column)
                .apply(tape, &low)?;
        }
        Ok(qkv)
    }

    /// `W ← W + (α/r) B A`, `b ← b + (α/r) b_lora`.
    fn fold(&self, weights: &mut dyn FoldTarget) -> Result<bool> {
        let wide = |p: &Parameter| p.tensor.to_dtype(DType::F64);
        for update in &self.targets {
            let change = (wide(&update.b)?.matmul(&wide(&update.a)?)? * self.scale)?;
            let bias = update.bias.as_ref().map(wide).transpose()?;
            weights.replace(self.layer, Map::Projection(update.target), &mut |w, b| {
                let b = match &bias {
                    Some(bias) => (b + (bias * self.scale)?)?,
                    None => b,
                };
                Ok(((w + &change)?, b))
            })?;
        }
        Ok(true)
    }
}
