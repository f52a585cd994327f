//! Reverse-mode differentiation over candle tensors, with nothing computed that nobody asked for.
//!
//! A [`Value`] is a tensor and, when something trainable lies upstream of it, a slot for its
//! gradient. Operations compute their result at once and, only if an input has a slot, leave a
//! closure on the [`Tape`] that turns the result's gradient into those of the inputs that have one.
//! So frozen weights cost no gradient, nothing below the lowest trainable tensor is walked, and a
//! closure keeps just what its backward pass needs; it is dropped as soon as it has run.
//!
//! Why not candle's own `backward`: it computes the gradient of both operands of every product,
//! frozen or not, allocates zeros and adds for each gradient, keeps the whole graph until the end,
//! and silently stops at fused operations. It is still here where it serves: [`Tape::composed`]
//! takes any differentiable candle expression as one operation. New variants can be written that
//! way, in plain candle, and every fused operation has such a form as its witness.

use crate::error::{Error, Result};
pub use crate::gradients::Gradients;
use crate::kernels::inplace::{add_block, last_dim, pad_columns};
use crate::kernels::precision::upcast;
use candle_core::{DType, Tensor, Var};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A tensor with a name that files know and that training may change.
#[derive(Debug)]
pub struct Parameter {
    /// Name in files.
    pub name: String,
    /// Current value.
    pub tensor: Tensor,
    /// Whether gradients are wanted.
    pub trainable: bool,
    /// What it is in its map.
    pub role: Role,
    id: usize,
}

/// What a parameter is in the map that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A weight, an embedding or a prefix; weight decay acts on it.
    Weight,
    /// A bias, also that of a LayerNorm.
    Bias,
    /// A vector of factors.
    Scale,
}

/// A weight and its bias.
pub type Pair = [Parameter; 2];

static NEXT: AtomicUsize = AtomicUsize::new(0);

impl Parameter {
    /// A parameter with a fresh identity: a bias where it is a vector, else a weight.
    pub fn new(name: impl Into<String>, tensor: Tensor, trainable: bool) -> Self {
        Self {
            role: if tensor.rank() < 2 {
                Role::Bias
            } else {
                Role::Weight
            },
            name: name.into(),
            tensor,
            trainable,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// A tensor in a computation, with a gradient slot when something trainable is upstream.
#[derive(Clone, Debug)]
pub struct Value {
    /// The tensor.
    pub tensor: Tensor,
    slot: Option<usize>,
}

impl Value {
    /// A value that needs no gradient.
    pub fn constant(tensor: Tensor) -> Self {
        Self { tensor, slot: None }
    }

    /// Whether a gradient is wanted for this value.
    pub fn tracked(&self) -> bool {
        self.slot.is_some()
    }

    /// The same elements with another shape.
    ///
    /// # Errors
    /// Another number of elements.
    pub fn reshaped(&self, tape: &Tape, shape: &[usize]) -> Result<Self> {
        let (slot, before) = (self.slot, self.tensor.shape().clone());
        let y = self.tensor.reshape(shape)?;
        Ok(tape.push(y, &[self], move |g, slots| {
            slots.pass(slot, g.reshape(before)?)
        }))
    }

    /// The gradient slot.
    pub fn slot(&self) -> Option<usize> {
        self.slot
    }
}

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
pub struct Slots(Vec<Option<Partial>>);

impl Slots {
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
        let sum = match (self.0[slot].take(), new) {
            (None, new) => new,
            (Some(Unique(into)), Unique(other) | Shared(other))
            | (Some(Shared(other)), Unique(into)) => Unique(add_block(into, &other, 0)?),
            (Some(Shared(old)), Shared(new)) => Unique((old + new)?),
            (Some(Unique(into)), Columns(c)) | (Some(Columns(c)), Unique(into)) => {
                Unique(add_block(into, &c.block, c.column)?)
            }
            (Some(Shared(other)), Columns(c)) | (Some(Columns(c)), Shared(other)) => {
                Unique(add_block(c.padded()?, &other, 0)?)
            }
            (Some(Columns(old)), Columns(new)) => old.and(new)?,
        };
        self.0[slot] = Some(sum);
        Ok(())
    }

    fn take(&mut self, slot: usize) -> Result<Option<Tensor>> {
        use Partial::{Columns, Shared, Unique};
        Ok(match self.0[slot].take() {
            None => None,
            Some(Unique(tensor) | Shared(tensor)) => Some(tensor),
            Some(Columns(c)) => Some(c.padded()?),
        })
    }
}

type Backward = Box<dyn FnOnce(&mut [Option<Tensor>], &mut Slots) -> Result<()>>;

struct Node {
    outputs: Vec<usize>,
    backward: Backward,
}

#[derive(Default)]
struct Inner {
    nodes: Vec<Node>,
    slots: usize,
    leaves: HashMap<usize, usize>,
}

/// The record of one forward pass.
pub struct Tape {
    inner: RefCell<Inner>,
    recording: bool,
    compute: Option<DType>,
}

impl Tape {
    /// A tape that records.
    pub fn new() -> Self {
        Self {
            recording: true,
            ..Self::off()
        }
    }

    /// A tape that records nothing: inference.
    pub fn off() -> Self {
        Self {
            inner: RefCell::default(),
            recording: false,
            compute: None,
        }
    }

    /// The same tape with parameters handed out in `dtype`, whatever they are stored in: mixed
    /// precision. A parameter's gradient comes back in the type that it is stored in.
    pub fn computing_in(self, dtype: DType) -> Self {
        Self {
            compute: Some(dtype),
            ..self
        }
    }

    /// The parameter as a value; one slot a parameter, however often it is used.
    ///
    /// # Errors
    /// Mixed precision, and the device cannot convert.
    pub fn parameter(&self, parameter: &Parameter) -> Result<Value> {
        let saved = self.leaf(parameter);
        let (from, slot) = (saved.tensor.dtype(), saved.slot);
        match self.compute {
            Some(to) if to != from => {
                let cast = saved.tensor.to_dtype(to)?;
                let back = move |g: Tensor, slots: &mut Slots| slots.add(slot, g.to_dtype(from)?);
                Ok(self.push(cast, &[&saved], back))
            }
            _ => Ok(saved),
        }
    }

    /// Several parameters as values.
    ///
    /// # Errors
    /// As [`Tape::parameter`].
    pub fn parameters<const N: usize>(&self, parameters: &[Parameter; N]) -> Result<[Value; N]> {
        let values: Vec<Value> = parameters
            .iter()
            .map(|p| self.parameter(p))
            .collect::<Result<_>>()?;
        Ok(values
            .try_into()
            .unwrap_or_else(|_| unreachable!("as many values as parameters")))
    }

    fn leaf(&self, parameter: &Parameter) -> Value {
        if !self.recording || !parameter.trainable {
            return Value::constant(parameter.tensor.clone());
        }
        let mut inner = self.inner.borrow_mut();
        let next = inner.slots;
        let slot = *inner.leaves.entry(parameter.id).or_insert(next);
        if slot == next {
            inner.slots += 1;
        }
        Value {
            tensor: parameter.tensor.clone(),
            slot: Some(slot),
        }
    }

    /// Records an operation with one result. `backward` gets the result's gradient.
    pub fn push(
        &self,
        tensor: Tensor,
        inputs: &[&Value],
        backward: impl FnOnce(Tensor, &mut Slots) -> Result<()> + 'static,
    ) -> Value {
        let mut values = self.push_many(vec![tensor], inputs, move |grads, slots| {
            match grads[0].take() {
                Some(g) => backward(g, slots),
                None => Ok(()),
            }
        });
        values.remove(0)
    }

    /// Records an operation with several results; a gradient is `None` where nothing depends on
    /// that result.
    pub fn push_many(
        &self,
        tensors: Vec<Tensor>,
        inputs: &[&Value],
        backward: impl FnOnce(&mut [Option<Tensor>], &mut Slots) -> Result<()> + 'static,
    ) -> Vec<Value> {
        if !self.recording || !inputs.iter().any(|v| v.tracked()) {
            return tensors.into_iter().map(Value::constant).collect();
        }
        let mut inner = self.inner.borrow_mut();
        let first = inner.slots;
        inner.slots += tensors.len();
        inner.nodes.push(Node {
            outputs: (first..first + tensors.len()).collect(),
            backward: Box::new(backward),
        });
        tensors
            .into_iter()
            .enumerate()
            .map(|(i, tensor)| Value {
                tensor,
                slot: Some(first + i),
            })
            .collect()
    }

    /// Any differentiable candle expression as one operation; its gradient is candle's own.
    ///
    /// # Errors
    /// What `expression` returns; an input that the expression does not use gets no gradient.
    pub fn composed(
        &self,
        inputs: &[&Value],
        expression: impl FnOnce(&[Tensor]) -> candle_core::Result<Tensor>,
    ) -> Result<Value> {
        let mut values = self.composed_many(inputs, |a| Ok(vec![expression(a)?]))?;
        Ok(values.remove(0))
    }

    /// [`Tape::composed`] with several results.
    ///
    /// # Errors
    /// As [`Tape::composed`].
    pub fn composed_many(
        &self,
        inputs: &[&Value],
        expression: impl FnOnce(&[Tensor]) -> candle_core::Result<Vec<Tensor>>,
    ) -> Result<Vec<Value>> {
        let mut vars = Vec::new();
        let mut arguments = Vec::new();
        for v in inputs {
            if self.recording && v.tracked() {
                let var = Var::from_tensor(&v.tensor)?;
                arguments.push(var.as_tensor().clone());
                vars.push((v.slot, var));
            } else {
                arguments.push(v.tensor.clone());
            }
        }
        let results = expression(&arguments)?;
        let detached = results.iter().map(Tensor::detach).collect();
        Ok(self.push_many(detached, inputs, move |grads, slots| {
            let mut total: Option<Tensor> = None;
            for (result, grad) in results.iter().zip(grads) {
                if let Some(grad) = grad.take() {
                    // the sum only carries gradients; halves would not add up to a type that other
                    // results have
                    let part = upcast(&(result * grad)?.sum_all()?)?;
                    total = Some(match total {
                        None => part,
                        Some(t) => (t + part)?,
                    });
                }
            }
            if let Some(total) = total {
                let store = total.backward()?;
                for (slot, var) in &vars {
                    if let Some(g) = store.get(var.as_tensor()) {
                        slots.add(*slot, g.contiguous()?)?;
                    }
                }
            }
            Ok(())
        }))
    }

    /// Walks back from a scalar `loss` and returns the gradient of every given parameter that the
    /// loss depends on.
    ///
    /// # Errors
    /// A candle error, or the tape was off.
    pub fn backward<'a>(
        self,
        loss: &Value,
        parameters: impl IntoIterator<Item = &'a Parameter>,
    ) -> Result<Gradients> {
        let inner = self.inner.into_inner();
        let start = loss.slot.ok_or(Error::NothingTrainable)?;
        let mut slots = Slots((0..inner.slots).map(|_| None).collect());
        slots.add(Some(start), loss.tensor.ones_like()?)?;
        for node in inner.nodes.into_iter().rev() {
            let grads = node.outputs.iter().map(|o| slots.take(*o));
            let mut grads = grads.collect::<Result<Vec<_>>>()?;
            if grads.iter().any(Option::is_some) {
                (node.backward)(&mut grads, &mut slots)?;
            }
        }
        let taken = parameters.into_iter().filter_map(|p| {
            let slot = inner.leaves.get(&p.id)?;
            let gradient = slots.take(*slot).transpose()?;
            Some(gradient.map(|g| (p.name.clone(), g)))
        });
        taken.collect()
    }
}

impl Default for Tape {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::without_cpu_kernels;
    use candle_core::Device;

    /// What a slot holds after a column at this place, or a whole gradient that others see or not.
    fn sum_of(given: &[Given]) -> Vec<Vec<f64>> {
        let mut slots = Slots(vec![None]);
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
    fn a_parameter_is_handed_out_rounded_and_its_gradient_comes_back_in_its_own_type() {
        // 1 + 2^-12 is 1 in bf16
        let saved = Tensor::new(&[1.0_f32 + 2.0_f32.powi(-12)], &Device::Cpu).unwrap();
        let p = Parameter::new("p", saved, true);
        let tape = Tape::new().computing_in(DType::BF16);
        let x = tape.parameter(&p).unwrap();
        assert_eq!(x.tensor.dtype(), DType::BF16);
        let rounded: Vec<f32> = upcast(&x.tensor).unwrap().to_vec1().unwrap();
        assert_eq!(rounded, [1.0]);
        let loss = tape
            .composed(&[&x], |a| (upcast(&a[0])? * 3.0)?.sum_all())
            .unwrap();
        let gradients = tape.backward(&loss, [&p]).unwrap();
        assert_eq!(gradients["p"].dtype(), DType::F32);
        assert_eq!(gradients["p"].to_vec1::<f32>().unwrap(), [3.0]);
    }
}
