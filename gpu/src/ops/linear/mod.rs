//! The linear map: `y = onto + scale · (x W + b)`.
//!
//! Used for every projection of a backbone and every bottleneck. `onto` makes a sum part of the
//! product: LoRA (Eq. 10) adds its update into the query's columns of the fused projection, the
//! inducer's value path (Eq. 11) adds to the attention's output. A frozen weight has no slot, so
//! its gradient is never computed and its input is not saved.

use crate::error::Result;
use crate::kernels::elem::{Elem, simd};
use crate::kernels::gemm::{Mat, MatMut, Product, Shared};
use crate::kernels::inplace::{pad_columns, take_columns};
use crate::kernels::last_dim;
use crate::kernels::precision::{cast_like, upcast};
use crate::kernels::threads::for_rows;
use crate::kernels::{cpu, cuda, dispatch, few_rows, fused_pair, tensor, with_slices};
use crate::tape::{Pair, Tape, Value};
use candle_core::Tensor;

mod activated;
mod card;

pub use activated::Activated;

/// How a weight lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[in, out]`, as GPT-2's Conv1D.
    InOut,
    /// `[out, in]`, as PyTorch's Linear.
    OutIn,
}

/// A linear map's operands besides its input.
#[derive(Clone, Copy)]
pub struct Linear<'a> {
    /// The weight.
    pub weight: &'a Value,
    /// Its layout.
    pub layout: Layout,
    /// The bias, `[out]`.
    pub bias: Option<&'a Value>,
    /// Factor on `x W + b`.
    pub scale: f64,
    /// What the result is added to, from which column on.
    pub onto: Option<(&'a Value, usize)>,
}

impl<'a> Linear<'a> {
    /// `x W + b` with `W` [in, out].
    pub fn conv1d(weight: &'a Value, bias: &'a Value) -> Self {
        Self::new(Layout::InOut, weight, Some(bias))
    }

    /// `x Wᵀ + b` with `W` [out, in].
    pub fn torch(weight: &'a Value, bias: Option<&'a Value>) -> Self {
        Self::new(Layout::OutIn, weight, bias)
    }

    /// The map of a weight in either layout.
    pub fn new(layout: Layout, weight: &'a Value, bias: Option<&'a Value>) -> Self {
        Self {
            weight,
            layout,
            bias,
            scale: 1.0,
            onto: None,
        }
    }

    /// The same map, scaled.
    pub fn scaled(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    /// The same map, added to `value` from column `column` on.
    pub fn onto(self, value: &'a Value, column: usize) -> Self {
        Self {
            onto: Some((value, column)),
            ..self
        }
    }

    pub(super) fn inputs(&self, x: &'a Value) -> Vec<&'a Value> {
        let mut inputs = vec![x, self.weight];
        inputs.extend(self.bias);
        inputs.extend(self.onto.map(|(v, _)| v));
        inputs
    }

    /// The sizes of the map of `x`, if the operands fit.
    fn sizes(&self, tape: &Tape, x: &Tensor) -> Result<Sizes> {
        let (rows, width) = x.dims2()?;
        let [input, output] = match (self.layout, self.weight.tensor.dims2()?) {
            (Layout::InOut, (input, output)) | (Layout::OutIn, (output, input)) => [input, output],
        };
        let (total, column) = self
            .onto
            .map_or((output, 0), |(v, c)| (last_dim(&v.tensor), c));
        if width != input || column + output > total {
            let message = format!(
                "linear: x [{rows}, {width}], weight {input} → {output}, onto column {column} of \
                 {total}"
            );
            return Err(candle_core::Error::Msg(message).into());
        }
        Ok(Sizes {
            layout: self.layout,
            scale: self.scale,
            rows,
            input,
            output,
            column,
            total,
            in_bf16: tape.rounds(x),
        })
    }

    /// Applies the map to `x` [tokens, in].
    ///
    /// # Shapes
    /// `x` [tokens, in] → [tokens, out], or the shape of `onto` [tokens, total].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn apply(&self, tape: &Tape, x: &Value) -> Result<Value> {
        let sizes = self.sizes(tape, &x.tensor)?;
        if self.runs_on_card(x) {
            return self.on_card(tape, x, None, sizes);
        }
        let fused = fused_pair(&x.tensor, &self.weight.tensor);
        let y = match fused {
            true => dispatch!(x.tensor, T => self.fused::<T>(&x.tensor, sizes))?,
            false => self.tensors(&x.tensor)?,
        };
        let (x_slot, w_slot) = (x.slot(), self.weight.slot());
        let b_slot = self.bias.and_then(Value::slot);
        let onto_slot = self.onto.and_then(|(v, _)| v.slot());
        let (weight, kind) = (self.weight.tensor.clone(), x.tensor.dtype());
        let saved = w_slot.map(|_| x.tensor.clone());
        Ok(tape.push(y, &self.inputs(x), move |g, slots| {
            if fused {
                slots.add_with(
                    x_slot,
                    || dispatch!(g, T => sizes.input_gradient::<T>(&g, &weight)),
                )?;
                if let Some(x) = saved {
                    let dw = dispatch!(g, T => sizes.weight_gradient::<T>(&g, &x))?;
                    slots.add(w_slot, dw)?;
                }
                slots.add_with(b_slot, || dispatch!(g, T => sizes.bias_gradient::<T>(&g)))?;
            } else {
                // of the columns that the product was written to
                let block = g.narrow(1, sizes.column, sizes.output)?;
                let block = cast_like(&(block * sizes.scale)?, &weight)?;
                slots.add_with(x_slot, || {
                    Ok(sizes
                        .input_gradient_tensors(&block, &weight)?
                        .to_dtype(kind)?)
                })?;
                if let Some(x) = saved {
                    let x = cast_like(&x, &weight)?;
                    slots.add(w_slot, sizes.weight_gradient_tensors(&block, &x)?)?;
                }
                slots.add_with(b_slot, || Ok(cast_like(&upcast(&block)?.sum(0)?, &weight)?))?;
            }
            slots.pass(onto_slot, g)
        }))
    }

    fn runs_on_card(&self, x: &Value) -> bool {
        self.inputs(x).iter().all(|v| cuda::runs(&v.tensor))
    }

    fn tensors(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.map(|b| &b.tensor);
        let onto = self.onto.map(|(v, column)| (&v.tensor, column));
        let (layout, scale) = (self.layout, self.scale);
        Ok(map(x, &self.weight.tensor, bias, onto, layout, scale)?)
    }

    fn fused<T: Elem>(&self, x: &Tensor, sizes: Sizes) -> Result<Tensor> {
        let (rows, output) = (sizes.rows, sizes.output);
        let (column, total) = (sizes.column, sizes.total);
        let scale = T::of(self.scale);
        let mut y = match self.onto {
            Some((v, _)) => cpu(&v.tensor)?.slice::<T>()?.to_vec(),
            None => Vec::new(),
        };
        with_slices([x, &self.weight.tensor], |[x, w]| {
            let (x, w) = (Mat::new(x, [rows, sizes.input]), sizes.weight(w));
            let product = sizes.product(x, w);
            match self.onto {
                Some(_) => product.add_to(MatMut::strided(Shared::new(&mut y), column, total)),
                None if few_rows::serves(rows, sizes.in_bf16) => {
                    y = few_rows::product(x, w, scale);
                }
                None => y = product.to_vec(),
            }
        })?;
        if let Some(b) = self.bias {
            let b = cpu(&b.tensor)?;
            let b = b.slice::<T>()?;
            for_rows(
                &mut y,
                total,
                #[inline(always)]
                |_, row| {
                    for (y, b) in row[column..column + output].iter_mut().zip(b) {
                        *y += scale * *b;
                    }
                },
            );
        }
        tensor(y, (rows, total))
    }
}

/// The map of a model's own weight [out, in] and bias.
///
/// # Errors
/// As [`Linear::apply`].
pub fn torch(tape: &Tape, pair: &Pair, x: &Value) -> Result<Value> {
    let [weight, bias] = tape.parameters(pair)?;
    Linear::torch(&weight, Some(&bias)).apply(tape, x)
}

/// The map in plain candle: `onto + scale · (x W + b)`.
pub(super) fn map(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    onto: Option<(&Tensor, usize)>,
    layout: Layout,
    scale: f64,
) -> candle_core::Result<Tensor> {
    let x = cast_like(x, weight)?;
    let mut y = match layout {
        Layout::InOut => x.matmul(weight)?,
        Layout::OutIn => x.matmul(&weight.t()?)?,
    };
    if let Some(b) = bias {
        y = y.broadcast_add(b)?;
    }
    y = (y * scale)?;
    let Some((onto, column)) = onto else {
        return Ok(y);
    };
    let (total, width) = (onto.dim(1)?, y.dim(1)?);
    let placed = y.pad_with_zeros(1, column, total - column - width)?;
    onto + cast_like(&placed, onto)?
}

/// The sizes of a map, and its gradients: `_tensors` in candle's operations, the others fused.
#[derive(Clone, Copy)]
struct Sizes {
    layout: Layout,
    scale: f64,
    rows: usize,
    input: usize,
    output: usize,
    /// Columns of `onto` that the map is added to begin here.
    column: usize,
    /// Columns of the result.
    total: usize,
    /// Whether the products' operands are rounded to bf16, in the fused form.
    in_bf16: bool,
}

impl Sizes {
    /// The weight as [in, out].
    fn weight<'a, T>(&self, w: &'a [T]) -> Mat<'a, T> {
        match self.layout {
            Layout::InOut => Mat::new(w, [self.input, self.output]),
            Layout::OutIn => Mat::by_columns(w, [self.input, self.output]),
        }
    }

    /// The columns of a gradient that the product was written to.
    fn block<'a, T>(&self, g: &'a [T]) -> Mat<'a, T> {
        Mat::strided(g, [self.rows, self.output], self.column, self.total)
    }

    /// `scale · a b`.
    fn product<'a, T: Elem>(&self, a: Mat<'a, T>, b: Mat<'a, T>) -> Product<'a, T> {
        let product = a.times(b).scaled(T::of(self.scale)).in_parallel();
        product.in_bf16(self.in_bf16)
    }

    fn input_gradient<T: Elem>(&self, g: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let dx = with_slices::<T, _, 2>([g, weight], |[g, w]| {
            self.product(self.block(g), self.weight(w).t()).to_vec()
        })?;
        tensor(dx, (self.rows, self.input))
    }

    fn weight_gradient<T: Elem>(&self, g: &Tensor, x: &Tensor) -> Result<Tensor> {
        let (input, output) = (self.input, self.output);
        with_slices::<T, _, 2>([g, x], |[g, x]| {
            let (block, x) = (self.block(g), Mat::new(x, [self.rows, input]));
            match self.layout {
                Layout::InOut => tensor(self.product(x.t(), block).to_vec(), (input, output)),
                Layout::OutIn => tensor(self.product(block.t(), x).to_vec(), (output, input)),
            }
        })?
    }

    fn bias_gradient<T: Elem>(&self, g: &Tensor) -> Result<Tensor> {
        let (column, output) = (self.column, self.output);
        let mut sums = vec![T::zero(); output];
        with_slices([g], |[g]| {
            simd(
                #[inline(always)]
                || {
                    for row in g.chunks_exact(self.total) {
                        for (s, g) in sums.iter_mut().zip(&row[column..column + output]) {
                            *s += *g;
                        }
                    }
                    for s in &mut sums {
                        *s *= T::of(self.scale);
                    }
                },
            );
        })?;
        tensor(sums, output)
    }

    fn input_gradient_tensors(&self, block: &Tensor, w: &Tensor) -> candle_core::Result<Tensor> {
        match self.layout {
            Layout::InOut => block.matmul(&w.t()?),
            Layout::OutIn => block.matmul(w),
        }
    }

    fn weight_gradient_tensors(&self, block: &Tensor, x: &Tensor) -> candle_core::Result<Tensor> {
        match self.layout {
            Layout::InOut => x.t()?.matmul(block),
            Layout::OutIn => block.t()?.matmul(x),
        }
    }
}

/// The columns `from .. from + width` of `x` [tokens, total] as a value of their own.
///
/// # Errors
/// Shapes that do not fit.
pub fn columns(tape: &Tape, x: &Value, from: usize, width: usize) -> Result<Value> {
    let total = last_dim(&x.tensor);
    let y = take_columns(&x.tensor, from, width)?;
    let slot = x.slot();
    Ok(tape.push(y, &[x], move |g, slots| {
        slots.add(slot, pad_columns(&g, from, total)?)
    }))
}
