//! The gradients of a model's trainable parameters, by name.

use crate::error::Result;
use crate::kernels::inplace::add_block;
use crate::kernels::precision::upcast;
use crate::kernels::{cpu, dispatch, elem, fused, many};
use candle_core::{DType, Tensor};
use num_traits::ToPrimitive as _;
use std::collections::BTreeMap;
use std::ops::Deref;

/// A gradient for each parameter that the loss depends on.
#[derive(Clone, Debug, Default)]
pub struct Gradients(BTreeMap<String, Tensor>);

impl Gradients {
    /// Adds `factor` times the others.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn add_scaled(&mut self, others: Self, factor: f64) -> Result<()> {
        for (name, g) in others.0 {
            let g = if factor == 1.0 { g } else { (g * factor)? };
            let sum = match self.0.remove(&name) {
                Some(before) => add_block(before, &g, 0)?,
                None => g,
            };
            self.0.insert(name, sum);
        }
        Ok(())
    }

    /// Multiplies all of them.
    ///
    /// # Errors
    /// A candle error.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        for g in self.0.values_mut() {
            *g = (&*g * factor)?;
        }
        Ok(())
    }

    /// Multiplies all of them by what brings their norm within `limit`; on a card nothing waits for
    /// it.
    ///
    /// # Errors
    /// A candle error.
    pub fn clip(&mut self, limit: Option<f64>) -> Result<()> {
        if many::runs(self.0.values()) {
            let found = many::Table::new(self.0.values(), Vec::new())?;
            let factor = found.measure(&[], limit)?.factor()?;
            for g in self.0.values_mut() {
                *g = g.broadcast_mul(&factor)?;
            }
            return Ok(());
        }
        match clip_factor(self.norm()?, limit) {
            factor if factor < 1.0 => self.scale(factor),
            _ => Ok(()),
        }
    }

    /// √ of the sum of all squares.
    ///
    /// # Errors
    /// A candle error.
    pub fn norm(&self) -> Result<f64> {
        if many::runs(self.0.values()) {
            let found = many::Table::new(self.0.values(), Vec::new())?.measure(&[], None)?;
            return Ok(found.read()?.0);
        }
        let mut total = 0.0;
        let mut elsewhere = Vec::new();
        for g in self.0.values() {
            if fused(g) {
                total += dispatch!(g, T => {
                    let g = cpu(g)?;
                    let g = g.slice::<T>()?;
                    let dot = |c: &[T]| elem::dot(c, c).to_f64().unwrap_or(f64::NAN);
                    // blocks in the scalar's own precision, their sum in f64
                    g.chunks(4096).map(dot).sum::<f64>()
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
}

/// What gradients of global norm `norm` are multiplied by so that it stays within `limit`.
pub fn clip_factor(norm: f64, limit: Option<f64>) -> f64 {
    match limit {
        Some(limit) if norm > limit => limit / norm,
        _ => 1.0,
    }
}

impl Deref for Gradients {
    type Target = BTreeMap<String, Tensor>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl FromIterator<(String, Tensor)> for Gradients {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::without_cpu_kernels;
    use approx::assert_abs_diff_eq;
    use candle_core::Device;

    fn matrix(values: [f64; 4]) -> Tensor {
        Tensor::from_vec(values.to_vec(), (2, 2), &Device::Cpu).unwrap()
    }

    #[test]
    fn the_global_norm_is_that_of_all_tensors_together_on_every_device_and_type() {
        let gradients = Gradients::from_iter([
            ("a".to_owned(), matrix([1.0, -2.0, 4.0, 1e-9])),
            ("b".to_owned(), matrix([0.5, 1.0, -1.5, 3.0])),
        ]);
        let expected = (1.0_f64 + 4.0 + 16.0 + 1e-18 + 0.25 + 1.0 + 2.25 + 9.0).sqrt();
        for found in [gradients.norm(), without_cpu_kernels(|| gradients.norm())] {
            assert_abs_diff_eq!(found.unwrap(), expected, epsilon = 1e-15);
        }
        assert_eq!(Gradients::default().norm().unwrap(), 0.0);
    }
}
