//! Gradients under construction during a backward pass.

use crate::error::Result;
use crate::kernels::inplace::{add_block, pad_columns};
use crate::kernels::last_dim;
use crate::kernels::precision::cast_like;
use candle_core::{DType, Tensor};
use std::collections::HashSet;

/// A gradient under construction.
enum Partial {
    /// Uniquely owned, so it may be added to in place.
    Unique(Tensor),
    /// Seen by others as well.
    Shared(Tensor),
    /// Some columns, uniquely owned; the others are zero. A whole gradient that comes later takes
    /// them in, so that nothing is padded.
    Columns(Columns),
}

/// A block [rows, width] in the columns from `column` on of a gradient of width `total`.
struct Columns {
    block: Tensor,
    column: usize,
    total: usize,
}

impl Columns {
    fn padded(&self) -> Result<Tensor> {
        pad_columns(&self.block, self.column, self.total)
    }

    /// The sum with a block of the same gradient.
    fn and(self, other: Self) -> Result<Partial> {
        let place = |c: &Self| (c.column, last_dim(&c.block));
        if place(&self) != place(&other) {
            return Ok(Partial::Unique(add_block(
                self.padded()?,
                &other.block,
                other.column,
            )?));
        }
        let block = add_block(self.block, &other.block, 0)?;
        Ok(Partial::Columns(Self { block, ..self }))
    }
}

/// Gradients by slot during the backward pass.
pub struct Slots {
    gradients: Vec<Option<Partial>>,
    /// Slots that take a gradient in any type.
    any_type: HashSet<usize>,
}

impl Slots {
    /// So many slots without a gradient.
    pub(crate) fn empty(count: usize) -> Self {
        Self {
            gradients: (0..count).map(|_| None).collect(),
            any_type: HashSet::new(),
        }
    }

    /// The same, some of which take a gradient in any type: those of parameters that were handed
    /// out in another type than their own.
    pub(crate) fn of_any_type(self, slots: impl IntoIterator<Item = usize>) -> Self {
        Self {
            any_type: slots.into_iter().collect(),
            ..self
        }
    }

    /// A gradient in the type of its value, unless its slot takes any.
    ///
    /// # Errors
    /// The device cannot convert.
    pub(crate) fn typed(
        &self,
        slot: Option<usize>,
        gradient: Tensor,
        dtype: DType,
    ) -> Result<Tensor> {
        match slot.is_some_and(|slot| self.any_type.contains(&slot)) {
            true => Ok(gradient),
            false => Ok(gradient.to_dtype(dtype)?),
        }
    }

    /// Adds what `compute` makes to the slot, if there is one; else nothing is computed.
    ///
    /// # Errors
    /// What `compute` returns; shapes that do not fit.
    pub fn add_with(
        &mut self,
        slot: Option<usize>,
        compute: impl FnOnce() -> Result<Tensor>,
    ) -> Result<()> {
        match slot {
            Some(_) => self.add(slot, compute()?),
            None => Ok(()),
        }
    }

    /// Adds a freshly made `gradient` to the slot, if there is one. The tensor must not be used
    /// elsewhere.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn add(&mut self, slot: Option<usize>, gradient: Tensor) -> Result<()> {
        self.merge(slot, Partial::Unique(gradient))
    }

    /// Passes the gradient of a result on unchanged; the tensor may be passed to several slots.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn pass(&mut self, slot: Option<usize>, gradient: Tensor) -> Result<()> {
        self.merge(slot, Partial::Shared(gradient))
    }

    /// Adds a freshly made block to the columns from `column` on of a gradient of width `total`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn add_columns(
        &mut self,
        slot: Option<usize>,
        block: &Tensor,
        column: usize,
        total: usize,
    ) -> Result<()> {
        if last_dim(block) == total {
            return self.pass(slot, block.clone()); // still the caller's
        }
        let block = block.clone();
        self.merge(
            slot,
            Partial::Columns(Columns {
                block,
                column,
                total,
            }),
        )
    }

    fn merge(&mut self, slot: Option<usize>, new: Partial) -> Result<()> {
        let Some(slot) = slot else { return Ok(()) };
        use Partial::{Columns, Shared, Unique};
        let sum = match (self.gradients[slot].take(), new) {
            (None, new) => new,
            (Some(Unique(into)), Unique(other) | Shared(other))
            | (Some(Shared(other)), Unique(into)) => Unique(add_block(into, &other, 0)?),
            (Some(Shared(old)), Shared(new)) => Unique((&old + cast_like(&new, &old)?)?),
            (Some(Unique(into)), Columns(c)) | (Some(Columns(c)), Unique(into)) => {
                Unique(add_block(into, &c.block, c.column)?)
            }
            (Some(Shared(other)), Columns(c)) | (Some(Columns(c)), Shared(other)) => {
                Unique(add_block(c.padded()?, &other, 0)?)
            }
            (Some(Columns(old)), Columns(new)) => old.and(new)?,
        };
        self.gradients[slot] = Some(sum);
        Ok(())
    }

    /// Takes a whole gradient of this type out of the slot, if one waits there: for an operation
    /// that adds to it what it computes, and puts the sum back.
    pub(crate) fn take_whole(&mut self, slot: Option<usize>, dtype: DType) -> Option<Tensor> {
        let waiting = self.gradients[slot?].take_if(|waiting| match waiting {
            Partial::Unique(t) | Partial::Shared(t) => t.dtype() == dtype && t.is_contiguous(),
            Partial::Columns(_) => false,
        });
        match waiting {
            Some(Partial::Unique(t) | Partial::Shared(t)) => Some(t),
            _ => None,
        }
    }

    /// Takes a gradient out of its slot, if there is one.
    pub(crate) fn take(&mut self, slot: usize) -> Result<Option<Tensor>> {
        use Partial::{Columns, Shared, Unique};
        Ok(match self.gradients[slot].take() {
            None => None,
            Some(Unique(tensor) | Shared(tensor)) => Some(tensor),
            Some(Columns(c)) => Some(c.padded()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::without_cpu_kernels;
    use candle_core::Device;

    /// What a slot holds after a column at this place, or a whole gradient that others see or not.
    fn sum_of(given: &[Given]) -> Vec<Vec<f64>> {
        let mut slots = Slots::empty(1);
        for given in given {
            let whole = Tensor::new(&[[1.0_f64, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::Cpu).unwrap();
            let block = Tensor::new(&[[10.0_f64], [20.0]], &Device::Cpu).unwrap();
            match given {
                Given::Column(at) => slots.add_columns(Some(0), &block, *at, 3),
                Given::Unique => slots.add(Some(0), whole),
                Given::Shared => slots.pass(Some(0), whole),
            }
            .unwrap();
        }
        slots.take(0).unwrap().unwrap().to_vec2().unwrap()
    }

    #[derive(Clone, Copy, Debug)]
    enum Given {
        Column(usize),
        Unique,
        Shared,
    }

    #[test]
    fn columns_and_whole_gradients_add_up_in_any_order() {
        use Given::{Column, Shared, Unique};
        let kinds = [Column(0), Column(2), Unique, Shared];
        let expected = |all: &[Given]| {
            let mut sum = vec![vec![0.0; 3]; 2];
            for (i, row) in sum.iter_mut().enumerate() {
                for (j, x) in row.iter_mut().enumerate() {
                    let of = |given: &Given| match given {
                        Column(at) => 10.0 * (i + 1) as f64 * f64::from(u8::from(*at == j)),
                        _ => (3 * i + j + 1) as f64,
                    };
                    *x = all.iter().map(of).sum();
                }
            }
            sum
        };
        for a in kinds {
            assert_eq!(sum_of(&[a]), expected(&[a]));
            for b in kinds {
                for c in kinds {
                    let all = [a, b, c];
                    assert_eq!(sum_of(&all), expected(&all), "{all:?}");
                    let there = without_cpu_kernels(|| sum_of(&all));
                    assert_eq!(there, expected(&all), "{all:?} on tensors");
                }
            }
        }
    }

    #[test]
    fn a_whole_gradient_of_the_type_is_taken_out_and_nothing_else() {
        let whole = || Tensor::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
        let mut slots = Slots::empty(4);
        slots.add(Some(0), whole()).unwrap();
        slots.pass(Some(1), whole()).unwrap();
        let block = whole().narrow(1, 0, 1).unwrap();
        slots.add_columns(Some(2), &block, 1, 3).unwrap();
        assert!(slots.take_whole(None, DType::F32).is_none());
        assert!(slots.take_whole(Some(0), DType::BF16).is_none());
        assert!(slots.take_whole(Some(2), DType::F32).is_none());
        assert!(slots.take_whole(Some(3), DType::F32).is_none());
        assert!(slots.take_whole(Some(0), DType::F32).is_some());
        assert!(slots.take_whole(Some(1), DType::F32).is_some());
        let left = [0, 1, 2, 3].map(|slot| slots.take(slot).unwrap().is_some());
        assert_eq!(left, [false, false, true, false]);
    }
}
