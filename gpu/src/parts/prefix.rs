//! Prefix-tuning (§4.2): `f_prefix = (1 − μ) f + μ · attention over the prefix`, μ = σ(LSE_prefix −
//! LSE).
//!
//! While it is trained, the prefix may come from `P = tanh(E W₁ + b₁) W₂ + b₂`, laid out as PEFT
//! does: P [l, 2 L d] read as [l, 2L, H, p], layer i's keys at 2i, its values at 2i + 1.

use super::{Attended, Part, Pass, Site};
use crate::error::Result;
use crate::ops::attention::attention_to;
use crate::ops::inducer::{gate, mixture};

use crate::probe::to_nearest;
use crate::tape::{Parameter, Tape, Value};
use candle_core::{DType, Tensor};

/// The prefix of one layer.
pub struct Prefix {
    /// Layer.
    pub layer: usize,
    /// Keys and values [H, l, p]; absent while a reparametrisation makes them.
    pub tensors: Option<[Parameter; 2]>,
}

impl Part for Prefix {
    fn parameters(&self) -> Vec<&Parameter> {
        self.tensors.iter().flatten().collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.tensors.iter_mut().flatten().collect()
    }

    fn on_heads(&self, pass: &Pass<'_>, qkv: &Value, attended: Attended) -> Result<Attended> {
        let tape = pass.tape;
        let (keys, values) = match &self.tensors {
            Some(pair) => tape.parameters(pair)?.into(),
            None => pass.prefix[self.layer].clone(),
        };
        if keys.tensor.dim(1)? == 0 {
            return self.empty(pass, attended);
        }
        let (g, lse) = attention_to(
            tape,
            qkv,
            &keys,
            &values,
            pass.heads,
            pass.drop(self.layer, Site::Prefix),
        )?;
        let mu = gate(tape, &lse, &attended.lse)?;
        pass.observe(self.layer, &mu, || {
            to_nearest(&qkv.tensor, &keys.tensor, pass.heads)
        })?;
        let f = mixture(tape, &attended.f, &g, &mu, pass.heads)?;
        let lse = joint(tape, &attended.lse, &lse)?;
        Ok(Attended { f, lse, ..attended })
    }
}

impl Prefix {
    /// A prefix of length 0: μ = 0, f_prefix = f, and no key is at any finite distance.
    fn empty(&self, pass: &Pass<'_>, attended: Attended) -> Result<Attended> {
        let lse = &attended.lse.tensor;
        let mu = Value::constant(lse.zeros_like()?);
        let far =
            || Ok(Tensor::full(f64::INFINITY, lse.shape(), lse.device())?.to_dtype(lse.dtype())?);
        pass.observe(self.layer, &mu, far)?;
        Ok(attended)
    }
}

/// log(eᵃ + eᵇ): the log-sum-exp over prefix and text together, for a part that acts after this
/// one.
fn joint(tape: &Tape, a: &Value, b: &Value) -> Result<Value> {
    tape.composed(&[a, b], |x| {
        let top = x[0].maximum(&x[1])?.detach();
        let sum = ((&x[0] - &top)?.exp()? + (&x[1] - &top)?.exp()?)?;
        sum.log()? + top
    })
}

/// The reparametrisation of all layers' prefixes.
pub struct Reparametrised {
    /// E [l, d], W₁ [width, d], b₁, W₂ [2 L d, width], b₂.
    pub tensors: [Parameter; 5],
}

impl Reparametrised {
    /// Keys and values [H, l, p] of every layer.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn apply(&self, tape: &Tape, layers: usize, heads: usize) -> Result<Vec<(Value, Value)>> {
        let bound = tape.parameters(&self.tensors)?;
        let inputs: Vec<&Value> = bound.iter().collect();
        let mut all = tape.composed_many(&inputs, |a| {
            let u = a[0].matmul(&a[1].t()?)?.broadcast_add(&a[2])?.tanh()?;
            let p = u.matmul(&a[3].t()?)?.broadcast_add(&a[4])?;
            let (l, wide) = p.dims2()?;
            let d = wide / (2 * layers);
            (0..2 * layers)
                .map(|i| {
                    p.narrow(1, i * d, d)?
                        .reshape((l, heads, d / heads))?
                        .transpose(0, 1)?
                        .contiguous()
                })
                .collect()
        })?;
        let mut out = Vec::new();
        while all.len() >= 2 {
            let value = all.split_off(all.len() - 1).remove(0);
            let key = all.split_off(all.len() - 1).remove(0);
            out.push((key, value));
        }
        out.reverse();
        Ok(out)
    }

    /// The prefix as it is stored after training: f32 keys and values of every layer.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn stored(&self, layers: usize, heads: usize) -> Result<Vec<(Tensor, Tensor)>> {
        self.apply(&Tape::off(), layers, heads)?
            .into_iter()
            .map(|(k, v)| {
                Ok((
                    k.tensor.to_dtype(DType::F32)?,
                    v.tensor.to_dtype(DType::F32)?,
                ))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_part_after_the_prefix_sees_the_log_sum_exp_of_prefix_and_text() {
        let value = |x: [f64; 3]| Value::constant(Tensor::new(&x, &Device::Cpu).unwrap());
        let (a, b) = ([0.5, -3.0, 900.0], [1.5, 2.0, -900.0]);
        let found = joint(&Tape::off(), &value(a), &value(b)).unwrap();
        let found: Vec<f64> = found.tensor.to_vec1().unwrap();
        for (i, found) in found.into_iter().enumerate() {
            // ln(e^a + e^b) = max + ln(1 + e^{−|a − b|})
            let expected = a[i].max(b[i]) + (-(a[i] - b[i]).abs()).exp().ln_1p();
            assert!(
                (found - expected).abs() <= 4.0 * f64::EPSILON * expected.abs(),
                "{found} {expected}"
            );
        }
    }
}
