//! The linear map: `y = onto + scale · (x W + b)`.
//!
//! Used for every projection of a backbone and every bottleneck. `onto` makes a sum part of the
//! product: LoRA (Eq. 10) adds its update into the query's columns of the fused projection, the
//! inducer's value path (Eq. 11) adds to the attention's output. A frozen weight has no slot, so
//! its gradient is never computed and its input is not kept.

use crate::error::Result;
use crate::kernels::elem::{Elem, simd};
use crate::kernels::gemm::{Mat, MatMut, Shared, Threads, gemm, product};
use crate::kernels::inplace::{last_dim, place};
use crate::kernels::precision::{cast_like, upcast};
use crate::kernels::threads::for_rows;
use crate::kernels::{cpu, dispatch, few_rows, fused_pair, tensor};
use crate::tape::{Tape, Value};
use candle_core::Tensor;

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
        Self {
            weight,
            layout: Layout::InOut,
            bias: Some(bias),
            scale: 1.0,
            onto: None,
        }
    }

    /// `x Wᵀ + b` with `W` [out, in].
    pub fn torch(weight: &'a Value, bias: Option<&'a Value>) -> Self {
        Self {
            weight,
            layout: Layout::OutIn,
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

    fn widths(&self) -> Result<(usize, usize)> {
        let (a, b) = self.weight.tensor.dims2()?;
        Ok(if self.layout == Layout::InOut {
            (a, b)
        } else {
            (b, a)
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
        let (rows, width) = x.tensor.dims2()?;
        let (input, output) = self.widths()?;
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
        let fused = fused_pair(&x.tensor, &self.weight.tensor);
        let y = match fused {
            true => dispatch!(x.tensor, T => self.forward::<T>(&x.tensor, rows, total, column))?,
            false => self.forward_on_tensors(&x.tensor)?,
        };
        let mut inputs = vec![x, self.weight];
        inputs.extend(self.bias);
        inputs.extend(self.onto.map(|(v, _)| v));
        let (x_slot, w_slot, b_slot) = (
            x.slot(),
            self.weight.slot(),
            self.bias.and_then(Value::slot),
        );
        let onto_slot = self.onto.and_then(|(v, _)| v.slot());
        let (weight, layout, scale) = (self.weight.tensor.clone(), self.layout, self.scale);
        let (kept, kind) = (w_slot.map(|_| x.tensor.clone()), x.tensor.dtype());
        Ok(tape.push(y, &inputs, move |g, slots| {
            if !fused {
                // what the product's own columns are multiplied by
                let own = cast_like(&(g.narrow(1, column, output)? * scale)?, &weight)?;
                if x_slot.is_some() {
                    let back = match layout {
                        Layout::InOut => own.matmul(&weight.t()?)?,
                        Layout::OutIn => own.matmul(&weight)?,
                    };
                    slots.add(x_slot, back.to_dtype(kind)?)?;
                }
                if let Some(x) = kept {
                    let x = cast_like(&x, &weight)?;
                    let dw = match layout {
                        Layout::InOut => x.t()?.matmul(&own)?,
                        Layout::OutIn => own.t()?.matmul(&x)?,
                    };
                    slots.add(w_slot, dw)?;
                }
                if b_slot.is_some() {
                    slots.add(b_slot, cast_like(&upcast(&own)?.sum(0)?, &weight)?)?;
                }
                return slots.pass(onto_slot, g);
            }
            if x_slot.is_some() {
                let dx = dispatch!(g, T => input_gradient::<T>(&g, &weight, layout, scale, column, rows, input, output, total))?;
                slots.add(x_slot, dx)?;
            }
            if let Some(x) = kept {
                let dw = dispatch!(g, T => weight_gradient::<T>(&g, &x, layout, scale, column, rows, input, output, total))?;
                slots.add(w_slot, dw)?;
            }
            if b_slot.is_some() {
                slots.add(b_slot, dispatch!(g, T => column_sums::<T>(&g, scale, column, output, total))?)?;
            }
            slots.pass(onto_slot, g)
        }))
    }

    fn forward_on_tensors(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.map(|b| &b.tensor);
        let onto = self.onto.map(|(v, column)| (&v.tensor, column));
        Ok(map(
            x,
            &self.weight.tensor,
            bias,
            onto,
            self.layout,
            self.scale,
        )?)
    }

    fn forward<T: Elem>(
        &self,
        x: &Tensor,
        rows: usize,
        total: usize,
        column: usize,
    ) -> Result<Tensor> {
        let (input, output) = self.widths()?;
        let (x, w) = (cpu(x)?, cpu(&self.weight.tensor)?);
        let scale = T::of(self.scale);
        let (x, w) = (
            Mat::new(x.slice()?, input),
            weight_matrix(w.slice()?, self.layout, input, output),
        );
        let mut y = match self.onto {
            Some((v, _)) => {
                let mut y = cpu(&v.tensor)?.slice::<T>()?.to_vec();
                let dst = MatMut::strided(Shared::new(&mut y), column, total);
                gemm(rows, output, input, dst, true, x, w, scale, Threads::Pool);
                y
            }
            None if rows <= few_rows::MOST => few_rows::product(rows, output, input, x, w, scale),
            None => product(rows, output, input, x, w, scale, Threads::Pool),
        };
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

    /// The same map in plain candle.
    ///
    /// # Errors
    /// As [`Linear::apply`].
    pub fn composed(&self, tape: &Tape, x: &Value) -> Result<Value> {
        let (has_bias, column) = (self.bias.is_some(), self.onto.map(|(_, c)| c));
        let (layout, scale) = (self.layout, self.scale);
        let mut inputs = vec![x, self.weight];
        inputs.extend(self.bias);
        inputs.extend(self.onto.map(|(v, _)| v));
        let mut out = tape.composed(&inputs, |a| {
            let bias = has_bias.then(|| &a[2]);
            let onto = column.map(|c| (&a[a.len() - 1], c));
            Ok(vec![map(&a[0], &a[1], bias, onto, layout, scale)?])
        })?;
        Ok(out.remove(0))
    }
}

/// The map in plain candle: `onto + scale · (x W + b)`.
fn map(
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

fn weight_matrix<T>(w: &[T], layout: Layout, input: usize, output: usize) -> Mat<'_, T> {
    match layout {
        Layout::InOut => Mat::new(w, output),
        Layout::OutIn => Mat::new(w, input).t(),
    }
}

fn input_gradient<T: Elem>(
    g: &Tensor,
    weight: &Tensor,
    layout: Layout,
    scale: f64,
    column: usize,
    rows: usize,
    input: usize,
    output: usize,
    total: usize,
) -> Result<Tensor> {
    let (g, w) = (cpu(g)?, cpu(weight)?);
    let block = Mat::strided(g.slice()?, column, total);
    let w = weight_matrix(w.slice()?, layout, input, output).t();
    let dx = product(rows, input, output, block, w, T::of(scale), Threads::Pool);
    tensor(dx, (rows, input))
}

fn weight_gradient<T: Elem>(
    g: &Tensor,
    x: &Tensor,
    layout: Layout,
    scale: f64,
    column: usize,
    rows: usize,
    input: usize,
    output: usize,
    total: usize,
) -> Result<Tensor> {
    let (g, x) = (cpu(g)?, cpu(x)?);
    let block = Mat::strided(g.slice()?, column, total);
    let x = Mat::new(x.slice()?, input);
    let scale = T::of(scale);
    match layout {
        Layout::InOut => {
            let dw = product(input, output, rows, x.t(), block, scale, Threads::Pool);
            tensor(dw, (input, output))
        }
        Layout::OutIn => {
            let dw = product(output, input, rows, block.t(), x, scale, Threads::Pool);
            tensor(dw, (output, input))
        }
    }
}

fn column_sums<T: Elem>(
    g: &Tensor,
    scale: f64,
    column: usize,
    output: usize,
    total: usize,
) -> Result<Tensor> {
    let g = cpu(g)?;
    let g = g.slice::<T>()?;
    let mut sums = vec![T::zero(); output];
    simd(
        #[inline(always)]
        || {
            for row in g.chunks_exact(total) {
                for (s, g) in sums.iter_mut().zip(&row[column..column + output]) {
                    *s += *g;
                }
            }
            for s in &mut sums {
                *s *= T::of(scale);
            }
        },
    );
    tensor(sums, output)
}

/// The columns `from .. from + width` of `x` [tokens, total] as a value of their own.
///
/// # Errors
/// Shapes that do not fit.
pub fn columns(tape: &Tape, x: &Value, from: usize, width: usize) -> Result<Value> {
    let total = last_dim(&x.tensor);
    let y = columns_of(&x.tensor, from, width)?;
    let slot = x.slot();
    Ok(tape.push(y, &[x], move |g, slots| {
        slots.add(slot, place(&g, from, total)?)
    }))
}

/// The columns `from .. from + width` of a matrix as a contiguous one of their own.
pub(crate) fn columns_of(x: &Tensor, from: usize, width: usize) -> Result<Tensor> {
    Ok(x.narrow(1, from, width)?.force_contiguous()?)
}
