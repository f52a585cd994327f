//! (IA)³ (Liu et al. 2022, section 3.3): learned factors on keys, values and hidden units of
//! the FFN.
//!
//! ```text
//! attention   softmax(Q (l_k ⊙ K)ᵀ/√p) (l_v ⊙ V)          l_k, l_v [d]
//! FFN         (l_ff ⊙ φ(x W₁ + b₁)) W₂ + b₂               l_ff [d_ff]
//! ```
//!
//! Every vector starts as ones, where the model is the backbone.

use super::{FoldTarget, ForwardContext, Part, PartConfig, Target, Wrong, some_of_each_once};
use crate::config::Spec;
use crate::error::Result;
use crate::ops::rescale::rescale;
use crate::tape::{Parameter, Value};
use crate::tensors::{Declare, Init};
use candle_core::DType;
use serde::{Deserialize, Serialize};

/// What (IA)³ rescales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ia3Target {
    /// Keys.
    K,
    /// Values.
    V,
    /// The FFN's hidden units.
    Ffn,
}

impl Ia3Target {
    /// All of them: the method of the paper.
    pub const ALL: [Self; 3] = [Self::K, Self::V, Self::Ffn];

    /// Name of its vector in a layer.
    pub fn name(self, layer: usize, spec: &Spec) -> String {
        match self {
            Self::K => format!("{}.ia3.k", spec.attention_name(layer)),
            Self::V => format!("{}.ia3.v", spec.attention_name(layer)),
            Self::Ffn => format!("{}.ia3", spec.ffn_name(layer)),
        }
    }

    /// Length of its vector.
    pub fn width(self, spec: &Spec) -> usize {
        if self == Self::Ffn {
            spec.ffn
        } else {
            spec.hidden
        }
    }
}

/// (IA)³ as it stands in `adapter_config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ia3Config {
    /// What it rescales.
    pub targets: Vec<Ia3Target>,
}

impl PartConfig for Ia3Config {
    fn check(&self) -> std::result::Result<(), Wrong> {
        some_of_each_once(&self.targets, "\"k\", \"v\", \"ffn\"")
    }

    fn declare(&self, layer: usize, spec: &Spec, from: &Declare<'_>) -> Result<Box<dyn Part>> {
        let vector = |target: Ia3Target| {
            let (name, width) = (target.name(layer, spec), target.width(spec));
            let given = self.targets.contains(&target);
            given
                .then(|| from.scale(&name, width, Init::Constant(1.0)))
                .transpose()
        };
        Ok(Box::new(Ia3 {
            layer,
            key: vector(Ia3Target::K)?,
            value: vector(Ia3Target::V)?,
            ffn: vector(Ia3Target::Ffn)?,
        }))
    }
}

/// (IA)³ in one layer; a vector that is missing is all ones.
pub struct Ia3 {
    /// Layer.
    pub layer: usize,
    /// l_k.
    pub key: Option<Parameter>,
    /// l_v.
    pub value: Option<Parameter>,
    /// l_ff.
    pub ffn: Option<Parameter>,
}

crate::tensors!(Ia3: key, value, ffn);

impl Ia3 {
    /// The vectors on projections.
    fn projections(&self) -> impl Iterator<Item = (Target, &Parameter)> {
        let both = [(Target::K, &self.key), (Target::V, &self.value)];
        both.into_iter()
            .filter_map(|(target, l)| Some((target, l.as_ref()?)))
    }
}

impl Part for Ia3 {
    fn on_qkv(&self, ctx: &ForwardContext<'_>, _: &Value, mut qkv: Value) -> Result<Value> {
        for (target, l) in self.projections() {
            let column = target as usize * ctx.heads.hidden();
            qkv = rescale(ctx.tape, &qkv, &ctx.tape.parameter(l)?, column)?;
        }
        Ok(qkv)
    }

    fn on_ffn_hidden(&self, ctx: &ForwardContext<'_>, hidden: Value) -> Result<Value> {
        match &self.ffn {
            Some(l) => rescale(ctx.tape, &hidden, &ctx.tape.parameter(l)?, 0),
            None => Ok(hidden),
        }
    }

    /// `W ← W diag(l)`, `b ← l ⊙ b` of keys and values; `W₂ ← diag(l_ff) W₂`.
    fn fold(&self, weights: &mut dyn FoldTarget) -> Result<bool> {
        let wide = |p: &Parameter| p.tensor.to_dtype(DType::F64);
        for (target, l) in self.projections() {
            let l = wide(l)?;
            weights.replace(self.layer, target, &mut |w, b| {
                Ok((w.broadcast_mul(&l.unsqueeze(1)?)?, (b * &l)?))
            })?;
        }
        if let Some(l) = &self.ffn {
            let l = wide(l)?;
            weights.replace(self.layer, Target::Down, &mut |w, b| {
                Ok((w.broadcast_mul(&l)?, b))
            })?;
        }
        Ok(true)
    }
}
