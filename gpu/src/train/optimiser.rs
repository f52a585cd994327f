//! AdamW with moments that can be saved, and clipping by the global norm.

use crate::error::{Error, Result};
use crate::gradients::Gradients;
use crate::kernels::inplace::{AdamStep, Moment};
use crate::tape::{Parameter, Role};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Adam's constants (section 6).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWConfig {
    /// β₁.
    pub beta1: f64,
    /// β₂.
    pub beta2: f64,
    /// ε.
    pub eps: f64,
    /// Weight decay, on matrices only (not on biases and LayerNorms).
    pub weight_decay: f64,
    /// Whether the decay is part of the gradient, `g + wd·θ`, as in Adam; else it is decoupled from
    /// it, as in AdamW.
    #[serde(default)]
    pub coupled: bool,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            coupled: false,
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
        let moment = |beta, squared| Moment {
            beta,
            scale,
            squared,
        };
        for p in parameters {
            let g = gradients.get(&p.name);
            let g = g.ok_or_else(|| Error::NoGradient(p.name.clone()))?;
            let decay = match p.role {
                Role::Weight => c.weight_decay,
                Role::Bias | Role::Scale => 0.0,
            };
            let g = match c.coupled && decay > 0.0 {
                // the moments multiply by `scale`, which is for the gradient alone
                true => (g + (&p.tensor * (decay / scale))?)?,
                false => g.contiguous()?,
            };
            let [m, v] = match self.moments.remove(&p.name) {
                Some(pair) => pair,
                None => [g.zeros_like()?, g.zeros_like()?],
            };
            let m = moment(c.beta1, false).apply(m, &g)?;
            let v = moment(c.beta2, true).apply(v, &g)?;
            p.tensor = AdamStep {
                lr,
                decay: if c.coupled { 0.0 } else { decay },
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn matrix(values: [f64; 4]) -> Tensor {
        Tensor::from_vec(values.to_vec(), (2, 2), &Device::Cpu).unwrap()
    }

    /// Three steps of `torch.optim.Adam` and `AdamW` (torch 2.15.0, f64): lr 0.01, betas (0.9,
    /// 0.98), eps 1e-6, weight_decay 0.1.
    #[test]
    fn three_steps_are_those_of_torch_with_either_decay() {
        let gradients = [
            [0.1, -0.3, 0.7, 0.02],
            [-0.2, 0.5, 0.1, -0.4],
            [0.05, 0.25, -0.6, 0.3],
        ];
        let expected = [
            (
                true,
                [
                    0.488_249_461_298_297_6,
                    -1.241_242_463_875_372_7,
                    1.977_538_005_672_377_7,
                    0.121_967_288_702_057_13,
                ],
            ),
            (
                false,
                [
                    0.493_537_289_874_517_3,
                    -1.243_807_030_059_428_2,
                    1.975_918_570_390_046_4,
                    0.122_260_217_713_451_08,
                ],
            ),
        ];
        for (coupled, expected) in expected {
            // clipping by a half of doubled gradients is no clipping, and must leave the decay
            // alone
            for (factor, scale) in [(1.0, 1.0), (2.0, 0.5)] {
                let mut p = Parameter::new("w", matrix([0.5, -1.25, 2.0, 0.125]), true);
                let mut adam = AdamW::new(AdamWConfig {
                    beta1: 0.9,
                    beta2: 0.98,
                    eps: 1e-6,
                    weight_decay: 0.1,
                    coupled,
                });
                for g in gradients {
                    let g = matrix(g.map(|x| x * factor));
                    let all = Gradients::from_iter([("w".to_string(), g)]);
                    adam.step(vec![&mut p], &all, 0.01, scale).unwrap();
                }
                let found: Vec<f64> = p.tensor.flatten_all().unwrap().to_vec1().unwrap();
                for (f, e) in found.iter().zip(expected) {
                    assert!((f - e).abs() < 1e-14, "coupled {coupled}: {f} {e}");
                }
            }
        }
    }
}
