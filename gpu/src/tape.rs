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
use crate::kernels::precision::upcast;
use crate::kernels::{cuda, held_in, many};
pub use crate::slots::Slots;
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
    copies: Vec<Copy>,
}

/// A trained parameter that a card was handed out in another type: the slots of the copy and of
/// the parameter. Gradients of all copies are converted together, when all are known.
struct Copy {
    slot: usize,
    leaf: usize,
}

/// The record of one forward pass.
pub struct Tape {
    inner: RefCell<Inner>,
    recording: bool,
    compute: Option<DType>,
    /// Copies of parameters in the type that is computed in, by the parameter's identity.
    converted: RefCell<HashMap<usize, Tensor>>,
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
            converted: RefCell::default(),
        }
    }

    /// The same tape with parameters handed out in `dtype`, whatever they are stored in: mixed
    /// precision. A parameter's gradient comes back in the type that it is stored in.
    ///
    /// Where the CPU's kernels compute in bf16, parameters are handed out in f32, and it is the
    /// operands of products that are rounded (`kernels::bf16`).
    pub fn computing_in(self, dtype: DType) -> Self {
        Self {
            compute: Some(dtype),
            ..self
        }
    }

    /// Whether the operands of a product of this tensor are to be rounded to bf16 by the CPU's
    /// kernels.
    pub(crate) fn rounds(&self, t: &Tensor) -> bool {
        self.compute
            .is_some_and(|dtype| held_in(dtype, t.device()) != dtype)
    }

    /// Converts parameters on a card into the type that is computed in, all at once.
    ///
    /// # Errors
    /// No memory.
    pub fn convert<'a>(&self, parameters: impl IntoIterator<Item = &'a Parameter>) -> Result<()> {
        if self.compute != Some(DType::BF16) {
            return Ok(());
        }
        let served = |p: &&Parameter| many::runs([&p.tensor]) && p.tensor.is_contiguous();
        let all: Vec<&Parameter> = parameters.into_iter().filter(served).collect();
        let tensors: Vec<Tensor> = all.iter().map(|p| p.tensor.clone()).collect();
        let copies = many::converted(&tensors, DType::BF16)?;
        let ids = all.iter().map(|p| p.id);
        self.converted.borrow_mut().extend(ids.zip(copies));
        Ok(())
    }

    /// The parameter as a value; one slot a parameter, however often it is used.
    ///
    /// # Errors
    /// Mixed precision, and the device cannot convert.
    pub fn parameter(&self, parameter: &Parameter) -> Result<Value> {
        let saved = self.leaf(parameter);
        let (from, slot) = (saved.tensor.dtype(), saved.slot);
        match self.compute.map(|to| held_in(to, saved.tensor.device())) {
            Some(to) if to != from => {
                let known = self.converted.borrow().get(&parameter.id).cloned();
                let cast = known.map_or_else(|| saved.tensor.to_dtype(to), Ok)?;
                if let Some(leaf) = slot.filter(|_| cuda::runs(&cast) && from == DType::F32) {
                    return Ok(self.copy_of(leaf, cast));
                }
                let back = move |g: Tensor, slots: &mut Slots| slots.add(slot, g.to_dtype(from)?);
                Ok(self.push(cast, &[&saved], back))
            }
            _ => Ok(saved),
        }
    }

    fn copy_of(&self, leaf: usize, tensor: Tensor) -> Value {
        let mut inner = self.inner.borrow_mut();
        let slot = inner.slots;
        inner.slots += 1;
        inner.copies.push(Copy { slot, leaf });
        Value {
            tensor,
            slot: Some(slot),
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

    /// Whether an operation on these inputs is recorded.
    pub(crate) fn records(&self, inputs: &[&Value]) -> bool {
        self.recording && inputs.iter().any(|v| v.tracked())
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
        if !self.records(inputs) {
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
        let copies = inner.copies.iter().map(|c| c.slot);
        let mut slots = Slots::empty(inner.slots).of_any_type(copies);
        slots.add(Some(start), loss.tensor.ones_like()?)?;
        for node in inner.nodes.into_iter().rev() {
            let grads = node.outputs.iter().map(|o| slots.take(*o));
            let mut grads = grads.collect::<Result<Vec<_>>>()?;
            if grads.iter().any(Option::is_some) {
                (node.backward)(&mut grads, &mut slots)?;
            }
        }
        gather(inner.copies, &mut slots)?;
        let taken = parameters.into_iter().filter_map(|p| {
            let slot = inner.leaves.get(&p.id)?;
            let gradient = slots.take(*slot).transpose()?;
            Some(gradient.map(|g| (p.name.clone(), g)))
        });
        taken.collect()
    }
}

/// Hands the gradients of copies to their parameters, in f32.
fn gather(copies: Vec<Copy>, slots: &mut Slots) -> Result<()> {
    let (mut halves, mut leaves) = (Vec::new(), Vec::new());
    for Copy { slot, leaf } in copies.into_iter().rev() {
        match slots.take(slot)? {
            Some(g) if g.dtype() == DType::F32 => slots.pass(Some(leaf), g)?,
            Some(g) => {
                halves.push(g.contiguous()?);
                leaves.push(leaf);
            }
            None => {}
        }
    }
    for (leaf, g) in leaves
        .into_iter()
        .zip(many::converted(&halves, DType::F32)?)
    {
        slots.add(Some(leaf), g)?;
    }
    Ok(())
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

    #[test]
    fn a_parameter_is_handed_out_rounded_and_its_gradient_comes_back_in_its_own_type() {
        // 1 + 2^-12 is 1 in bf16
        let saved = Tensor::new(&[1.0_f32 + 2.0_f32.powi(-12)], &Device::Cpu).unwrap();
        let p = Parameter::new("p", saved, true);
        let tape = Tape::new().computing_in(DType::BF16);
        let as_is = tape.parameter(&p).unwrap();
        assert_eq!(as_is.tensor.dtype(), DType::F32, "by the CPU's kernels");
        let x = without_cpu_kernels(|| tape.parameter(&p)).unwrap();
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

    #[test]
    fn the_cpu_s_kernels_round_the_operands_of_products_and_nothing_else_does() {
        let [single, double] =
            [DType::F32, DType::F64].map(|dtype| Tensor::zeros(2, dtype, &Device::Cpu).unwrap());
        let mixed = Tape::off().computing_in(DType::BF16);
        assert!(mixed.rounds(&single));
        assert!(!without_cpu_kernels(|| mixed.rounds(&single)));
        assert!(!Tape::off().rounds(&single));
        assert!(!Tape::off().computing_in(DType::F32).rounds(&single));
        assert!(!Tape::off().computing_in(DType::F64).rounds(&double));
    }

    /// A parameter that is used twice, handed out in bf16 by a card: 1/3 and 1/256 of it in f32.
    #[cfg(emulated_kernels)]
    #[test]
    fn a_card_converts_all_parameters_at_once_and_their_gradients_in_the_end() {
        let numbers: Vec<f32> = (0..9001).map(|i| (i as f32 * 0.37).sin()).collect();
        let first = Tensor::from_vec(numbers, 9001, &Device::Cpu).unwrap();
        let second = Tensor::new(&[[0.3_f32, -2.0], [7.0, 0.0]], &Device::Cpu).unwrap();
        let parameters = [
            ("a", first, true),
            ("b", second.clone(), true),
            ("c", second, false),
        ]
        .map(|(name, tensor, trained)| Parameter::new(name, tensor, trained));
        let run = |at_once: bool| {
            let tape = Tape::new().computing_in(DType::BF16);
            if at_once {
                tape.convert(&parameters[..2]).unwrap();
            }
            let [a, again, b, c] = [0, 0, 1, 2].map(|i| tape.parameter(&parameters[i]).unwrap());
            let found = [&a, &b, &c].map(|v| v.tensor.clone());
            let loss = tape.composed(&[&a, &again, &b, &c], |x| {
                let of = |t: &Tensor, factor: f64| (upcast(t)? * factor)?.sum_all();
                ((of(&x[0], 3.0)? + of(&x[1], 1.0 / 256.0)?)? + of(&x[2], 1.5)?)? + of(&x[3], 1.0)
            });
            (found, tape.backward(&loss.unwrap(), &parameters).unwrap())
        };
        for at_once in [true, false] {
            let (found, gradients) = cuda::emulated(|| run(at_once));
            for (p, t) in parameters.iter().zip(&found) {
                assert_eq!(t.dtype(), DType::BF16);
                let expected = p.tensor.to_dtype(DType::BF16).unwrap();
                let of = |t: &Tensor| upcast(&t.flatten_all().unwrap()).unwrap().to_vec1::<f32>();
                assert_eq!(of(t).unwrap(), of(&expected).unwrap(), "{}", p.name);
            }
            assert_eq!(gradients.keys().collect::<Vec<_>>(), ["a", "b"]);
            // 3 + 1/256 is no number of bf16: the two are added up in f32
            let of_a = gradients["a"].to_vec1::<f32>().unwrap();
            assert_eq!(of_a, vec![3.0 + 1.0 / 256.0; 9001]);
            assert_eq!(gradients["b"].to_vec2::<f32>().unwrap(), [[1.5; 2]; 2]);
        }
    }
}
