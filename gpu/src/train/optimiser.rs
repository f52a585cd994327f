//! AdamW with moments that can be saved, and clipping by the global norm.

use crate::error::{Error, Result};
use crate::kernels::inplace::{AdamStep, Moment};
use crate::kernels::precision::upcast;
use crate::kernels::{cpu, dispatch, fused};
use crate::tape::{Gradients, Parameter};
use candle_core::{DType, Tensor};
use num_traits::ToPrimitive as _;
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
        for p in parameters {
            let g = gradients.get(&p.name).ok_or_else(|| {
                Error::Batch(format!(
                    "parameter `{}` is trainable but the loss does not depend on it",
                    p.name
                ))
            })?;
            let plain =
                p.tensor.rank() < 2 || p.name.ends_with("bias") || p.name.ends_with("_bias");
            let decay = if plain { 0.0 } else { c.weight_decay };
            let g = match c.coupled && decay > 0.0 {
                // the moments multiply by `scale`, which is for the gradient alone
                true => (g + (&p.tensor * (decay / scale))?)?,
                false => g.contiguous()?,
            };
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

/// √ of the sum of squares of all gradients.
///
/// # Errors
/// A candle error.
pub fn global_norm(gradients: &Gradients) -> Result<f64> {
    let mut total = 0.0;
    let mut elsewhere = Vec::new();
    for g in gradients.values() {
        if fused(g) {
            total += dispatch!(g, T => {
                let g = cpu(g)?;
                let g = g.slice::<T>()?;
                // blocks in the scalar's own precision, their sum in f64
                g.chunks(4096).map(|c| crate::kernels::elem::dot(c, c).to_f64().unwrap_or(f64::NAN)).sum::<f64>()
            });
        } else {
            elsewhere.push(upcast(g)?.sqr()?.sum_all()?);
        }
    }
    if !elsewhere.is_empty() {
        // one transfer for all of them
        let sums = Tensor::stack(&elsewhere, 0)?.to_dtype(DType::F64)?;
        total += sums.to_vec1::<f64>()?.into_iter().sum::<f64>();
    }
    Ok(total.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::without_cpu_kernels;
    use candle_core::Device;

    fn matrix(values: [f64; 4]) -> Tensor {
        Tensor::from_vec(values.to_vec(), (2, 2), &Device::Cpu).unwrap()
    }

    #[test]
    fn the_global_norm_is_that_of_all_tensors_together_on_every_device_and_type() {
        let gradients: Gradients = [
            ("a".to_owned(), matrix([1.0, -2.0, 4.0, 1e-9])),
            ("b".to_owned(), matrix([0.5, 1.0, -1.5, 3.0])),
        ]
        .into();
        let expected = (1.0_f64 + 4.0 + 16.0 + 1e-18 + 0.25 + 1.0 + 2.25 + 9.0).sqrt();
        for found in [
            global_norm(&gradients),
            without_cpu_kernels(|| global_norm(&gradients)),
        ] {
            assert!((found.unwrap() - expected).abs() < 1e-15);
        }
        assert_eq!(global_norm(&Gradients::new()).unwrap(), 0.0);
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
                    let all = Gradients::from([("w".to_string(), g)]);
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
