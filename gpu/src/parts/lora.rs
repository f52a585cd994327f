//! LoRA (Eq. 10): `y = x W + b + (α/r) (drop(x) Aᵀ Bᵀ + b_lora)` on linear maps of a layer. With
//! rsLoRA (Kalajdzievski 2023) the factor is α/√r, so that the update keeps its size when r grows.
//! With DoRA (Liu et al. 2024) a map has a magnitude m for each output, and
//!
//! ```text
//! y = m / ‖W + s B A‖ ⊙ (x (W + s B A)) + b,     s = α/r
//! ```
//!
//! whose norm, over each output's inputs, counts as a constant in the gradient (their section 4.3)
//! and is what m begins with, so that training begins at the frozen model.

use super::{
    DropoutSite, FoldTarget, ForwardContext, Part, PartConfig, Target, Wrong, sized,
    some_of_each_once,
};
use crate::config::Spec;
use crate::error::{Error, Result};
use crate::ops::dropout::{Dropout, dropout};
use crate::ops::linear::Linear;
use crate::tape::{Parameter, Value};
use crate::tensors::{Declare, Init};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// LoRA (Eq. 10).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Linear maps.
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
    /// Whether its maps have magnitudes of their own (DoRA).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub use_dora: bool,
    /// Maps with another rank or α, or, at rank 0, without an update.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<LoraException>,
}

/// A map of one layer whose update differs from the others'.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraException {
    /// The layer.
    pub layer: usize,
    /// The map.
    pub target: Target,
    /// r; 0 for no update.
    pub rank: usize,
    /// α.
    pub alpha: f64,
}

impl LoraConfig {
    /// LoRA as in its paper: no dropout, no bias, the same in every layer.
    pub fn new(targets: &[Target], rank: usize, alpha: f64) -> Self {
        Self {
            targets: targets.to_vec(),
            rank,
            alpha,
            dropout: 0.0,
            bias: false,
            use_rslora: false,
            use_dora: false,
            exceptions: Vec::new(),
        }
    }

    /// Rank and α on a map of a layer, where there is an update.
    pub fn at(&self, layer: usize, target: Target) -> Option<(usize, f64)> {
        let own = |e: &&LoraException| (e.layer, e.target) == (layer, target);
        let usual = self
            .targets
            .contains(&target)
            .then_some((self.rank, self.alpha));
        let found = self.exceptions.iter().find(own).map(|e| (e.rank, e.alpha));
        found.or(usual).filter(|(rank, _)| *rank > 0)
    }

    /// What the product of A and B is multiplied by: α/r, or α/√r.
    pub fn scale(&self, rank: usize, alpha: f64) -> f64 {
        let rank = rank as f64;
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Where the tensors of a target stand.
    pub fn name(target: Target, layer: usize, spec: &Spec) -> String {
        let at = match target {
            Target::Up | Target::Down => spec.ffn_name(layer),
            _ => spec.attention_name(layer),
        };
        format!(
            "{at}.lora.{}",
            ["q", "k", "v", "o", "up", "down"][target as usize]
        )
    }
}

impl PartConfig for LoraConfig {
    fn check(&self) -> std::result::Result<(), Wrong> {
        sized("rank", self.rank)?;
        some_of_each_once(
            &self.targets,
            "\"q\", \"k\", \"v\", \"o\", \"up\", \"down\"",
        )?;
        if !(0.0..1.0).contains(&self.dropout) {
            let message = format!("expected a number in [0, 1), found {}", self.dropout);
            return Err(("dropout", message));
        }
        if !self.alpha.is_finite() {
            return Err(("alpha", "expected a finite number".into()));
        }
        if self.use_dora && self.bias {
            return Err(("use_dora", "expected false beside `bias`".into()));
        }
        let mut seen: Vec<(usize, Target)> = Vec::new();
        for e in &self.exceptions {
            if !self.targets.contains(&e.target) || seen.contains(&(e.layer, e.target)) {
                let message = format!(
                    "expected targets of the list, each once a layer; found {:?} of layer {}",
                    e.target, e.layer
                );
                return Err(("exceptions", message));
            }
            if e.rank > 0 {
                sized("exceptions.rank", e.rank)?;
            }
            seen.push((e.layer, e.target));
        }
        Ok(())
    }

    fn declare(&self, layer: usize, spec: &Spec, from: &Declare<'_>) -> Result<Box<dyn Part>> {
        if let Some(e) = self.exceptions.iter().find(|e| e.layer >= spec.layers) {
            let message = format!("expected layers below {}, found {}", spec.layers, e.layer);
            return Err(Error::config(
                "adapter_config.json",
                "lora.exceptions",
                message,
            ));
        }
        let updates = self
            .targets
            .iter()
            .enumerate()
            .filter_map(|(slot, target)| {
                let (rank, alpha) = self.at(layer, *target)?;
                let at = from.within(Self::name(*target, layer, spec));
                let [inputs, outputs] = target.sizes(spec);
                Some((|| {
                    let bias = self.bias.then(|| at.bias("bias", [outputs], Init::ZERO));
                    let start = Init::Constant(1.0);
                    let magnitude = self.use_dora.then(|| at.scale("magnitude", outputs, start));
                    Ok(LowRankUpdate {
                        target: *target,
                        slot,
                        scale: self.scale(rank, alpha),
                        a: at.weight("a", [rank, inputs], Init::kaiming(inputs))?,
                        b: at.weight("b", [outputs, rank], Init::ZERO)?,
                        bias: bias.transpose()?,
                        magnitude: magnitude.transpose()?,
                    })
                })())
            });
        Ok(Box::new(LowRank {
            layer,
            rate: self.dropout,
            targets: updates.collect::<Result<_>>()?,
        }))
    }
}

/// LoRA on some maps of one layer.
pub struct LowRank {
    /// Layer.
    pub layer: usize,
    /// Dropout rate of its input.
    pub rate: f64,
    /// The update of each target.
    pub targets: Vec<LowRankUpdate>,
}

/// LoRA on one map.
pub struct LowRankUpdate {
    /// Which.
    pub target: Target,
    /// Its place in the list of targets, which its dropout mask belongs to.
    pub slot: usize,
    /// α/r, or α/√r.
    pub scale: f64,
    /// A [r, inputs].
    pub a: Parameter,
    /// B [outputs, r].
    pub b: Parameter,
    /// b_lora \[outputs\].
    pub bias: Option<Parameter>,
    /// DoRA's m \[outputs\].
    pub magnitude: Option<Parameter>,
}

crate::tensors!(LowRankUpdate: a, b, bias, magnitude);
crate::tensors!(LowRank: targets);

impl LowRank {
    /// Updates the columns of `y` from `column` on, which are the map of `x`.
    fn update(
        &self,
        ctx: &ForwardContext<'_>,
        update: &LowRankUpdate,
        x: &Value,
        y: &Value,
        column: usize,
    ) -> Result<Value> {
        let tape = ctx.tape;
        let (a, b) = (tape.parameter(&update.a)?, tape.parameter(&update.b)?);
        let drop = Dropout {
            rate: if ctx.training { self.rate } else { 0.0 },
            ..ctx
                .dropout(self.layer, DropoutSite::Lora)
                .at(update.slot as u64)
        };
        let dropped = dropout(tape, x, drop)?;
        let low = Linear::torch(&a, None).apply(tape, &dropped)?;
        let Some(magnitude) = &update.magnitude else {
            let bias = update.bias.as_ref().map(|p| tape.parameter(p));
            let bias = bias.transpose()?;
            let map = Linear::torch(&b, bias.as_ref()).scaled(update.scale);
            return map.onto(y, column).apply(tape, &low);
        };
        let change = Linear::torch(&b, None)
            .scaled(update.scale)
            .apply(tape, &low)?;
        let maps = ctx.maps.ok_or(Error::Unsupported {
            what: "DoRA",
            needs: "a model's weights",
            found: "a part alone",
        })?;
        let ([weight, bias], from) = maps.parameters_of(self.layer, update.target);
        if weight.trainable {
            return Err(Error::Unsupported {
                what: "DoRA",
                needs: "frozen weights",
                found: "one that is trained as well",
            });
        }
        let (w, _) = maps.map(self.layer, update.target)?;
        let inverse = update.norm(&w)?.recip()?;
        // while the input is dropped, the frozen map's share of m acts on the dropped input too
        let frozen = match drop.rate > 0.0 {
            true => {
                let w = Value::constant(w.to_dtype(x.tensor.dtype())?);
                Some(Linear::torch(&w, None).apply(tape, &dropped)?)
            }
            false => None,
        };
        let (m, bias) = (tape.parameter(magnitude)?, tape.parameter(bias)?);
        let mut inputs = vec![y, &change, &m, &bias];
        inputs.extend(&frozen);
        tape.composed(&inputs, |a| {
            let (y, width) = (&a[0], a[2].dim(0)?);
            let like = |t: &Tensor| t.to_dtype(y.dtype());
            let own = y.narrow(1, column, width)?;
            let plain = match a.get(4) {
                Some(frozen) => like(frozen)?,
                None => own.broadcast_sub(&like(&a[3].narrow(0, from, width)?)?)?,
            };
            let gain = (like(&a[2])? * like(&inverse)?)?;
            let less = (&gain - 1.0)?;
            let added = (plain.broadcast_mul(&less)? + like(&a[1])?.broadcast_mul(&gain)?)?;
            let new = (own + added)?;
            let after = column + width;
            let mut parts = vec![y.narrow(1, 0, column)?, new];
            parts.push(y.narrow(1, after, y.dim(1)? - after)?);
            parts.retain(|t| t.elem_count() > 0);
            Tensor::cat(&parts, 1)
        })
    }
}

impl LowRankUpdate {
    /// `s B A` in f64.
    fn change(&self) -> Result<Tensor> {
        let wide = |p: &Parameter| p.tensor.detach().to_dtype(DType::F64);
        Ok((wide(&self.b)?.matmul(&wide(&self.a)?)? * self.scale)?)
    }

    /// The norms of the rows of `W + s B A`, in f64.
    fn norm(&self, w: &Tensor) -> Result<Tensor> {
        Ok((w + self.change()?)?.sqr()?.sum(1)?.sqrt()?)
    }
}

impl Part for LowRank {
    fn on_qkv(&self, ctx: &ForwardContext<'_>, x: &Value, mut qkv: Value) -> Result<Value> {
        for update in self.targets.iter().filter(|u| u.target.is_projection()) {
            let column = update.target as usize * ctx.heads.hidden();
            qkv = self.update(ctx, update, x, &qkv, column)?;
        }
        Ok(qkv)
    }

    fn acts_on(&self, target: Target) -> bool {
        self.targets.iter().any(|u| u.target == target)
    }

    fn on_map(
        &self,
        ctx: &ForwardContext<'_>,
        target: Target,
        x: &Value,
        mut y: Value,
    ) -> Result<Value> {
        for update in self.targets.iter().filter(|u| u.target == target) {
            y = self.update(ctx, update, x, &y, 0)?;
        }
        Ok(y)
    }

    /// DoRA's m is the norm that the map has.
    fn begin(&mut self, maps: &dyn FoldTarget) -> Result<()> {
        for update in &mut self.targets {
            if update.magnitude.is_none() {
                continue;
            }
            let (w, _) = maps.map(self.layer, update.target)?;
            let norm = update.norm(&w)?;
            if let Some(m) = &mut update.magnitude {
                m.tensor = norm.to_dtype(m.tensor.dtype())?;
            }
        }
        Ok(())
    }

    /// `W ← W + (α/r) B A`, `b ← b + (α/r) b_lora`; with DoRA `W ← m / ‖W'‖ ⊙ W'` of that.
    fn fold(&self, weights: &mut dyn FoldTarget) -> Result<bool> {
        let wide = |p: &Parameter| p.tensor.to_dtype(DType::F64);
        for update in &self.targets {
            let change = update.change()?;
            let bias = update.bias.as_ref().map(wide).transpose()?;
            let magnitude = update.magnitude.as_ref().map(wide).transpose()?;
            weights.replace(self.layer, update.target, &mut |w, b| {
                let b = match &bias {
                    Some(bias) => (b + (bias * update.scale)?)?,
                    None => b,
                };
                let gain = magnitude
                    .as_ref()
                    .map(|m| -> Result<Tensor> { Ok((m / update.norm(&w)?)?) });
                let w = (w + &change)?;
                match gain.transpose()? {
                    Some(gain) => Ok((w.broadcast_mul(&gain.unsqueeze(1)?)?, b)),
                    None => Ok((w, b)),
                }
            })?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::Gpt2;
    use crate::config::Gpt2Config;
    use crate::{AdapterConfig, LossOptions, Model};
    use approx::assert_abs_diff_eq;
    use candle_core::Device;
    use inducer_datasets::batch::{Batch, Labels};

    /// The losses of a backbone alone, with DoRA as it starts, and with magnitudes that are twice
    /// the norms, while this share of its inputs is dropped.
    fn losses(rate: f64) -> [f64; 3] {
        let config: Gpt2Config = serde_json::from_value(serde_json::json!({
            "vocab_size": 17, "n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 3,
            "initializer_range": 0.6, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0
        }))
        .unwrap();
        let mut batch = Batch::pack(&[vec![5, 1, 9, 16, 2]], None, None);
        batch.labels = Labels::Tokens(vec![5, 1, 9, 16, 2]);
        let options = LossOptions {
            dropout: Some(Dropout::new(0.0, 7)),
            ..LossOptions::PLAIN
        };
        let model = |lora: Option<LoraConfig>, gain: f64| {
            let backbone = Gpt2::random(config.clone(), 3, DType::F64, &Device::Cpu).unwrap();
            let mut model = Model::new(backbone, DType::F64, &Device::Cpu);
            let config = AdapterConfig {
                lora,
                ..AdapterConfig::none()
            };
            model.attach(&config, 0, 4).unwrap();
            for p in model.trainable_mut() {
                if p.name.ends_with("magnitude") {
                    p.tensor = (&p.tensor * gain).unwrap();
                }
            }
            model.loss(&batch, options).unwrap()
        };
        let dora = LoraConfig {
            dropout: rate,
            use_dora: true,
            ..LoraConfig::new(&[Target::Q, Target::Down], 2, 4.0)
        };
        [
            model(None, 1.0),
            model(Some(dora.clone()), 1.0),
            model(Some(dora), 2.0),
        ]
    }

    #[test]
    fn dora_starts_as_the_backbone_and_its_magnitudes_act_on_the_dropped_input() {
        let [alone, start, doubled] = losses(0.0);
        assert_abs_diff_eq!(start, alone, epsilon = 1e-12);
        assert!((doubled - alone).abs() > 1e-3, "{doubled} {alone}");
        // of inputs that are dropped nothing is left to be doubled
        let [alone, start, doubled] = losses(1.0 - 1e-9);
        assert_abs_diff_eq!(start, alone, epsilon = 1e-12);
        assert_abs_diff_eq!(doubled, alone, epsilon = 1e-12);
    }
}
