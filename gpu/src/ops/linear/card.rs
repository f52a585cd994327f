//! The linear map on a card: products with what is around them (`kernels::product`).

use super::activated::Before;
use super::{Layout, Linear, Sizes};
use crate::error::Result;
use crate::kernels::cuda::product::Matrix;
use crate::kernels::cuda::{self, Arg, Grid, rows};
use crate::kernels::precision::cast_like;
use crate::kernels::product::{Product, times_slope};
use crate::ops::activation::Activation;
use crate::tape::{Slots, Tape, Value};
use candle_core::{DType, Tensor};

impl Linear<'_> {
    /// The map of `x`, which may be an activation of what was `before` it: then the gradient goes
    /// there at once.
    pub(super) fn on_card(
        &self,
        tape: &Tape,
        x: &Value,
        before: Option<&Before>,
        sizes: Sizes,
    ) -> Result<Value> {
        let input = cast_like(&x.tensor, &self.weight.tensor)?.contiguous()?;
        let y = self.with_product(&input, sizes, |product| product.run())?;
        let back = Backward::new(self, x, input, before, sizes);
        let onto_slot = self.onto.and_then(|(v, _)| v.slot());
        Ok(tape.push(y, &self.inputs(x), move |g, slots| {
            back.run(&g, slots)?;
            slots.pass(onto_slot, g)
        }))
    }

    /// An activation of the map of `x`, and what it was applied to if that has a gradient.
    pub(super) fn activated_on_card(
        &self,
        tape: &Tape,
        x: &Value,
        activation: Activation,
        sizes: Sizes,
    ) -> Result<(Value, Option<Before>)> {
        let input = cast_like(&x.tensor, &self.weight.tensor)?.contiguous()?;
        let inputs = self.inputs(x);
        let kernel = activation.kernel();
        let keep = tape.records(&inputs);
        let (y, before) =
            self.with_product(&input, sizes, |product| product.activated(kernel, keep))?;
        let Some(before) = before else {
            return Ok((Value::constant(y), None));
        };
        let back = Backward::new(self, x, input, None, sizes);
        let before = tape.push(before, &inputs, move |g, slots| back.run(&g, slots));
        let (slot, saved) = (before.slot(), before.tensor.clone());
        let y = tape.push(y, &[&before], move |g, slots| {
            slots.add_with(slot, || times_slope(kernel, &saved, &g.contiguous()?))
        });
        Ok((
            y,
            Some(Before {
                value: before,
                activation,
            }),
        ))
    }

    /// `of` the product with an input in the weight's type.
    fn with_product<R>(
        &self,
        x: &Tensor,
        sizes: Sizes,
        of: impl FnOnce(Product<'_>) -> Result<R>,
    ) -> Result<R> {
        let weight = self.weight.tensor.contiguous()?;
        let bias = self
            .bias
            .map(|b| cast_like(&b.tensor, &weight)?.contiguous());
        let bias = bias.transpose()?;
        let onto = self.onto.map(|(v, _)| v.tensor.contiguous()).transpose()?;
        of(Product {
            scale: sizes.scale,
            bias: bias.as_ref(),
            onto: onto.as_ref().map(|t| (t, sizes.column)),
            ..Product::new(Matrix::new(x), sizes.weight_matrix(&weight))
        })
    }
}

/// What the backward pass of a map needs.
struct Backward {
    sizes: Sizes,
    weight: Tensor,
    /// The input, if the weight's gradient is wanted.
    saved: Option<Tensor>,
    before: Option<Before>,
    /// Slots of input, weight and bias, and the types of the first and the last.
    slots: [Option<usize>; 3],
    types: [DType; 2],
}

impl Backward {
    fn new(
        map: &Linear<'_>,
        x: &Value,
        input: Tensor,
        before: Option<&Before>,
        sizes: Sizes,
    ) -> Self {
        let weight = map.weight.tensor.clone();
        let of_bias = map.bias.map_or(weight.dtype(), |b| b.tensor.dtype());
        Self {
            sizes,
            saved: map.weight.slot().map(|_| input),
            before: before.cloned(),
            slots: [x.slot(), map.weight.slot(), map.bias.and_then(Value::slot)],
            types: [x.tensor.dtype(), of_bias],
            weight,
        }
    }

    fn run(self, g: &Tensor, slots: &mut Slots) -> Result<()> {
        if self.slots.iter().all(Option::is_none) {
            return Ok(());
        }
        let g = g.contiguous()?;
        // the columns that the product was written to, and the factor that they still lack
        let (block, scale) = match g.dtype() == self.weight.dtype() {
            true => (None, self.sizes.scale),
            false => (
                Some(self.sizes.block_on_card(&g, self.weight.dtype())?),
                1.0,
            ),
        };
        let block = match &block {
            Some(block) => Matrix::new(block),
            None => Matrix::columns(&g, self.sizes.column, self.sizes.output),
        };
        self.input_gradient(block, scale, slots)?;
        let [_, of_weight, of_bias] = self.slots;
        if let Some(x) = &self.saved {
            let x = Matrix::new(x);
            let product = match self.sizes.layout {
                Layout::InOut => Product::new(x.t(), block),
                Layout::OutIn => Product::new(block.t(), x),
            };
            slots.add(of_weight, product.scaled(scale).run()?)?;
        }
        if of_bias.is_some() {
            let columns = block.column..block.column + block.width;
            let sums = rows::sum_rows(block.tensor, None, columns)?;
            let sums = if scale == 1.0 { sums } else { (sums * scale)? };
            slots.add(of_bias, slots.typed(of_bias, sums, self.types[1])?)?;
        }
        Ok(())
    }

    fn input_gradient(&self, block: Matrix<'_>, scale: f64, slots: &mut Slots) -> Result<()> {
        let slot = self.slots[0];
        if slot.is_none() {
            return Ok(());
        }
        let weight = self.weight.contiguous()?;
        let weight = self.sizes.weight_matrix(&weight);
        let product = Product::new(block, weight.t()).scaled(scale);
        let kind = self.types[0];
        match &self.before {
            Some(Before { value, activation }) => slots.add(
                value.slot(),
                product.times_slope(activation.kernel(), &value.tensor)?,
            ),
            // a gradient that waits is added in the same pass
            None if kind == self.weight.dtype() => {
                let waiting = slots.take_whole(slot, kind);
                slots.add(slot, product.onto(waiting.as_ref()).run()?)
            }
            None => slots.add(slot, product.run()?.to_dtype(kind)?),
        }
    }
}

impl Sizes {
    /// The weight as [in, out].
    fn weight_matrix<'a>(&self, weight: &'a Tensor) -> Matrix<'a> {
        match self.layout {
            Layout::InOut => Matrix::new(weight),
            Layout::OutIn => Matrix::new(weight).t(),
        }
    }

    /// The columns of a gradient that the product was written to, scaled, in the type of products.
    fn block_on_card(&self, g: &Tensor, dtype: DType) -> Result<Tensor> {
        let block = cuda::empty((self.rows, self.output), dtype, g.device())?;
        let (grid, lanes) = Grid::lanes_a_row(self.rows, self.output, 16 / dtype.size_in_bytes());
        let args = [
            Arg::In(g),
            Arg::Out(&block),
            Arg::U32(self.rows),
            Arg::U32(self.output),
            Arg::U32(self.column),
            Arg::U32(self.total),
            Arg::F32(self.scale),
            Arg::U32(lanes),
        ];
        cuda::launch_pair([g, &block], "linear_block", grid, &args)?;
        Ok(block)
    }
}
