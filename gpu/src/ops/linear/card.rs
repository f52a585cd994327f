//! The linear map on a card: products by candle, what is around them in one pass (`linear.cu`).

use super::{Linear, Sizes};
use crate::error::Result;
use crate::kernels::cuda::{self, Arg, Grid, rows};
use crate::kernels::precision::cast_like;
use crate::tape::{Tape, Value};
use candle_core::{DType, Tensor};

impl Linear<'_> {
    pub(super) fn on_card(&self, tape: &Tape, x: &Value, sizes: Sizes) -> Result<Value> {
        let weight = self.weight.tensor.clone();
        let input = cast_like(&x.tensor, &weight)?.contiguous()?;
        let y = self.product_on_card(&input, sizes)?;
        let (x_slot, w_slot) = (x.slot(), self.weight.slot());
        let b_slot = self.bias.and_then(Value::slot);
        let onto_slot = self.onto.and_then(|(v, _)| v.slot());
        let (kind, of_bias) = (x.tensor.dtype(), self.bias.map(|b| b.tensor.dtype()));
        let saved = w_slot.map(|_| input);
        Ok(tape.push(y, &self.inputs(x), move |g, slots| {
            if x_slot.or(w_slot).or(b_slot).is_some() {
                let block = sizes.block_on_card(&g.contiguous()?, weight.dtype())?;
                slots.add_with(x_slot, || {
                    Ok(sizes
                        .input_gradient_tensors(&block, &weight)?
                        .to_dtype(kind)?)
                })?;
                if let Some(x) = saved {
                    slots.add(w_slot, sizes.weight_gradient_tensors(&block, &x)?)?;
                }
                let dtype = of_bias.unwrap_or(block.dtype());
                slots.add_with(b_slot, || {
                    Ok(rows::sum_rows(&block, None, 0..sizes.output)?.to_dtype(dtype)?)
                })?;
            }
            slots.pass(onto_slot, g)
        }))
    }

    /// `onto + scale · (x W + b)` of an input in the weight's type.
    fn product_on_card(&self, x: &Tensor, sizes: Sizes) -> Result<Tensor> {
        let weight = &self.weight.tensor;
        let product = sizes.product_tensors(x, weight)?;
        if self.bias.is_none() && self.onto.is_none() && sizes.scale == 1.0 {
            return Ok(product);
        }
        let bias = self
            .bias
            .map(|b| cast_like(&b.tensor, weight)?.contiguous());
        let bias = bias.transpose()?;
        let onto = self.onto.map(|(v, _)| v.tensor.contiguous()).transpose()?;
        let shape = (sizes.rows, sizes.total);
        let y = match &onto {
            Some(onto) => cuda::empty(shape, onto.dtype(), onto.device())?,
            None => product.clone(),
        };
        let (grid, lanes) =
            Grid::lanes_a_row(sizes.rows, sizes.total, 16 / y.dtype().size_in_bytes());
        let args = [
            Arg::In(&product),
            Arg::Maybe(bias.as_ref()),
            Arg::Maybe(onto.as_ref()),
            Arg::Out(&y),
            Arg::U32(sizes.rows),
            Arg::U32(sizes.output),
            Arg::U32(sizes.column),
            Arg::U32(sizes.total),
            Arg::F32(sizes.scale),
            Arg::U32(lanes),
        ];
        cuda::launch_pair([&product, &y], "linear_finish", grid, &args)?;
        Ok(y)
    }
}

impl Sizes {
    /// The columns of a gradient that the product was written to, scaled, in the type of products.
    fn block_on_card(&self, g: &Tensor, dtype: DType) -> Result<Tensor> {
        if self.output == self.total && self.scale == 1.0 && g.dtype() == dtype {
            return Ok(g.clone());
        }
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
