//! AdamW with moments that can be saved, and clipping by the global norm.

use crate::error::{Error, Result};
use crate::gradients::Gradients;
pub use crate::gradients::clip_factor;
use crate::kernels::inplace::{AdamStep, Moment};
use crate::kernels::many::{self, Found, Rates, Table, Trained};
use crate::model::Loss;
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

/// What was measured in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The loss.
    pub loss: f64,
    /// The global norm of the gradients.
    pub norm: f64,
}

impl Measured {
    /// Whether both are finite: whether the step was taken.
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.norm.is_finite()
    }
}

/// What was measured in a step, which a device may still be computing.
pub struct Pending(State);

enum State {
    Read(Measured),
    OnDevice(Found, Loss),
}

impl Pending {
    /// Its values; waits for the device.
    ///
    /// # Errors
    /// The device fails.
    pub fn read(self) -> Result<Measured> {
        match self.0 {
            State::Read(measured) => Ok(measured),
            State::OnDevice(found, loss) => {
                let (norm, losses) = found.read()?;
                let loss = loss.of(&losses);
                Ok(Measured { loss, norm })
            }
        }
    }

    /// Whether a device may still be computing it.
    pub fn on_device(&self) -> bool {
        matches!(self.0, State::OnDevice(..))
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
        if many::runs(parameters.iter().map(|p| &p.tensor)) {
            let moments = self
                .step_on_card(&parameters, gradients, lr, |t| t.given(scale))?
                .1;
            self.take(moments);
            return Ok(());
        }
        self.step += 1;
        let c = self.config;
        let corrections = self.corrections(self.step);
        let moment = |beta, squared| Moment {
            beta,
            scale,
            squared,
        };
        for p in parameters {
            let g = gradients.get(&p.name);
            let g = g.ok_or_else(|| Error::NoGradient(p.name.clone()))?;
            let decay = self.decay(p);
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
                c1: corrections[0],
                c2: corrections[1],
            }
            .apply(p.tensor.clone(), &m, &v)?;
            self.moments.insert(p.name.clone(), [m, v]);
        }
        Ok(())
    }

    /// One step with learning rate `lr` of gradients that are clipped to a global norm of `limit`.
    /// Where the loss or the norm is not finite, no tensor is changed. On a card the host does not
    /// wait: whoever reads what was measured does.
    ///
    /// # Errors
    /// A trainable parameter has no gradient.
    pub fn clipped_step(
        &mut self,
        parameters: Vec<&mut Parameter>,
        gradients: &Gradients,
        loss: Loss,
        lr: f64,
        limit: Option<f64>,
    ) -> Result<Pending> {
        if !many::runs(parameters.iter().map(|p| &p.tensor)) {
            let (loss, norm) = (loss.read()?, gradients.norm()?);
            let measured = Measured { loss, norm };
            if measured.is_finite() {
                self.step(parameters, gradients, lr, clip_factor(norm, limit))?;
            }
            return Ok(Pending(State::Read(measured)));
        }
        let losses: Vec<_> = loss.on_device().collect();
        let (found, moments) =
            self.step_on_card(&parameters, gradients, lr, |t| t.measure(&losses, limit))?;
        self.take(moments);
        Ok(Pending(State::OnDevice(found, loss)))
    }

    /// Launches the next step; `find` launches what it depends on. Returns the moments, which are
    /// still those of the step before where no step may be taken.
    fn step_on_card(
        &self,
        parameters: &[&mut Parameter],
        gradients: &Gradients,
        lr: f64,
        find: impl FnOnce(&Table) -> Result<Found>,
    ) -> Result<(Found, Moments)> {
        let c = self.config;
        let [c1, c2] = self.corrections(self.step + 1);
        let (mut ordered, mut trained, mut moments) = (Vec::new(), Vec::new(), Vec::new());
        for p in parameters {
            let g = gradients.get(&p.name);
            ordered.push(g.ok_or_else(|| Error::NoGradient(p.name.clone()))?);
            let pair = match self.moments.get(&p.name) {
                Some(pair) => pair.clone(),
                None => [p.tensor.zeros_like()?, p.tensor.zeros_like()?],
            };
            let decay = self.decay(p);
            trained.push(Trained {
                weight: p.tensor.clone(),
                moments: pair.clone(),
                shrink: if c.coupled { 1.0 } else { 1.0 - lr * decay },
                decay: if c.coupled { decay } else { 0.0 },
            });
            moments.push((p.name.clone(), pair));
        }
        // the norm is that of all gradients
        let here = |name: &String| parameters.iter().any(|p| p.name == *name);
        if gradients.len() > parameters.len() {
            ordered.extend(gradients.iter().filter(|(n, _)| !here(n)).map(|(_, g)| g));
        }
        let table = Table::new(ordered, trained)?;
        let found = find(&table)?;
        let rates = Rates {
            betas: [c.beta1, c.beta2],
            rate: lr / c1,
            c2,
            eps: c.eps,
        };
        table.step(&rates, &found)?;
        Ok((found, moments))
    }

    /// A step was taken; these are its moments.
    fn take(&mut self, moments: Moments) {
        self.step += 1;
        self.moments.extend(moments);
    }

    /// 1 − βᵗ of both moments after t steps.
    fn corrections(&self, t: usize) -> [f64; 2] {
        [self.config.beta1, self.config.beta2].map(|beta| 1.0 - beta.powi(t as i32))
    }

    fn decay(&self, p: &Parameter) -> f64 {
        match p.role {
            Role::Weight => self.config.weight_decay,
            Role::Bias | Role::Scale => 0.0,
        }
    }
}

/// Moments by name.
type Moments = Vec<(String, [Tensor; 2])>;

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
