//! LoRA (Eq. 10): `q = x W^q + b^q + (α/r) (drop(x) Aᵀ Bᵀ + b_lora)`, likewise for k and v.

use super::{Part, Pass, Site};
use crate::config::Target;
use crate::error::Result;
use crate::ops::dropout::{Dropout, dropout};
use crate::ops::linear::Linear;
use crate::tape::{Parameter, Value};

/// LoRA on some projections of one layer.
pub struct LowRank {
    /// Layer.
    pub layer: usize,
    /// α/r.
    pub scale: f64,
    /// Dropout rate of its input.
    pub rate: f64,
    /// A `[r, d]`, B `[d, r]` and the bias `[d]` of each target.
    pub targets: Vec<(Target, [Parameter; 2], Option<Parameter>)>,
}

impl Part for LowRank {
    fn parameters(&self) -> Vec<&Parameter> {
        self.targets
            .iter()
            .flat_map(|(_, ab, bias)| ab.iter().chain(bias))
            .collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.targets
            .iter_mut()
            .flat_map(|(_, ab, bias)| ab.iter_mut().chain(bias))
            .collect()
    }

    fn on_qkv(&self, pass: &Pass<'_>, x: &Value, mut qkv: Value) -> Result<Value> {
        for (i, (target, ab, bias)) in self.targets.iter().enumerate() {
            let tape = pass.tape;
            let [a, b] = tape.parameters(ab)?;
            let bias = bias.as_ref().map(|p| tape.parameter(p)).transpose()?;
            let site = pass.drop(self.layer, Site::Lora).at(i as u64);
            let site = if pass.training {
                Dropout {
                    rate: self.rate,
                    ..site
                }
            } else {
                Dropout::OFF
            };
            let low = Linear::torch(&a, None).apply(tape, &dropout(tape, x, site)?)?;
            let column = *target as usize * pass.heads.hidden();
            qkv = Linear::torch(&b, bias.as_ref())
                .scaled(self.scale)
                .onto(&qkv, column)
                .apply(tape, &low)?;
        }
        Ok(qkv)
    }
}
