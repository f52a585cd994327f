//! AdamW with moments that can be saved, and clipping by the global norm.

use crate::error::{Error, Result};
use crate::ops::inplace::{AdamStep, Moment};
use crate::ops::{cpu, dispatch, fused};
use crate::tape::{Gradients, Parameter};
use candle_core::{DType, Tensor};
use num_traits::ToPrimitive as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// AdamW's constants (section 6).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWConfig {
    /// β₁.
    pub beta1: f64,
    /// β₂.
    pub beta2: f64,
    /// ε.
    pub eps: f64,
    /// Decoupled weight decay, on matrices only (not on biases and LayerNorms).
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

/// The optimiser's state.
pub struct AdamW {
    /// Constants.
    pub config: AdamWConfig,
    /// Steps taken.
    pub step: usize,
    /// First and second moment of each parameter.
    pub moments: BTreeMap<String, [Tensor; 2]>,
}

impl AdamW {
    /// No steps taken.
    pub fn new(config: AdamWConfig) -> Self {
        Self {
            config,
            step: 0,
            moments: BTreeMap::new(),
        }
    }

    /// One step with learning rate `lr`; gradients are multiplied by `scale` (clipping) first.
    ///
    /// # Errors
    /// A trainable parameter has no gradient.
    pub fn step(
        &mut self,
        parameters: Vec<&mut Parameter>,
        gradients: &Gradients,
        lr: f64,
        scale: f64,
    ) -> Result<()> {
        self.step += 1;
        let c = self.config;
        let corrections = (
            1.0 - c.beta1.powi(self.step as i32),
            1.0 - c.beta2.powi(self.step as i32),
        );
        for p in parameters {
            let g = gradients.get(&p.name).ok_or_else(|| {
                Error::Batch(format!(
                    "parameter `{}` is trainable but the loss does not depend on it",
                    p.name
                ))
            })?;
            let g = g.contiguous()?;
            let [m, v] = match self.moments.remove(&p.name) {
                Some(pair) => pair,
                None => [g.zeros_like()?, g.zeros_like()?],
            };
            let m = Moment {
                beta: c.beta1,
                scale,
                squared: false,
            }
            .apply(m, &g)?;
            let v = Moment {
                beta: c.beta2,
                scale,
                squared: true,
            }
            .apply(v, &g)?;
            let plain =
                p.tensor.rank() < 2 || p.name.ends_with("bias") || p.name.ends_with("_bias");
            let decay = if plain { 0.0 } else { c.weight_decay };
            p.tensor = AdamStep {
                lr,
                decay,
                eps: c.eps,
                c1: corrections.0,
                c2: corrections.1,
            }
            .apply(p.tensor.clone(), &m, &v)?;
            self.moments.insert(p.name.clone(), [m, v]);
        }
        Ok(())
    }
}

/// What gradients of global norm `norm` are multiplied by so that it stays within `limit`.
pub fn clip_factor(norm: f64, limit: Option<f64>) -> f64 {
    match limit {
        Some(limit) if norm > limit => limit / norm,
        _ => 1.0,
    }
}

/// √ of the sum of squares of all gradients.
///
/// # Errors
/// A candle error.
pub fn global_norm(gradients: &Gradients) -> Result<f64> {
    let mut total = 0.0;
    for g in gradients.values() {
        total += if fused(g) {
            dispatch!(g, T => {
                let g = cpu(g)?;
                let g = g.slice::<T>()?;
                // blocks in the scalar's own precision, their sum in f64
                g.chunks(4096).map(|c| crate::ops::elem::dot(c, c).to_f64().unwrap_or(f64::NAN)).sum::<f64>()
            })
        } else {
            g.to_dtype(DType::F32)?
                .sqr()?
                .sum_all()?
                .to_scalar::<f32>()? as f64
        };
    }
    Ok(total.sqrt())
}
