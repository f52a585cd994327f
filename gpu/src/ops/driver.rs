//! What every operation over slices has in common: which form runs, what is saved for the backward
//! pass, and where the gradients go.

use crate::error::Result;
use crate::kernels::elem::Elem;
use crate::kernels::{cuda, dispatch, fused_pair, tensor, with_slices, with_some_slices};
use crate::tape::{Slots, Tape, Value};
use candle_core::{DType, Shape, Tensor};

/// The gradient of one input, as data of this kind.
pub(super) enum Gradient<D> {
    /// Nobody asked for it.
    Unwanted,
    /// Freshly computed, of the input's shape or of its first columns (the queries of [q | k | v]).
    Of(D),
    /// The result's gradient, unchanged.
    Passed,
}

impl<D> Gradient<D> {
    /// What `compute` gives, if it is wanted.
    pub(super) fn when(wanted: bool, compute: impl FnOnce() -> D) -> Self {
        match wanted {
            true => Self::Of(compute()),
            false => Self::Unwanted,
        }
    }

    /// What `compute` gives, if it is wanted and succeeds.
    pub(super) fn try_when(wanted: bool, compute: impl FnOnce() -> Result<D>) -> Result<Self> {
        Ok(match wanted {
            true => Self::Of(compute()?),
            false => Self::Unwanted,
        })
    }
}

/// An operation of N inputs with one result, over the slices of contiguous CPU tensors or by the
/// kernels of a card.
pub(super) trait Op<const N: usize>: 'static {
    /// Which inputs the backward pass reads. The others are not saved: it is given empty slices, or
    /// no tensors.
    const READS: [bool; N] = [true; N];

    /// The elements of the result.
    fn forward<T: Elem>(&self, inputs: [&[T]; N]) -> Vec<T>;

    /// The gradient of each input `x` from that of the result.
    fn backward<T: Elem>(&self, x: [&[T]; N], g: &[T], wanted: [bool; N]) -> [Gradient<Vec<T>>; N];

    /// Whether the kernels of a card add the first input's gradient to what already waits there:
    /// [`Op::backward_onto`].
    const ADDS_TO_WAITING: bool = false;

    /// Whether a card's kernels serve its sizes.
    fn suits_card(&self) -> bool {
        true
    }

    /// The result by the kernels of a card. Inputs are contiguous, each in f32 or bf16; the result
    /// has the type that [`Op::composed`] gives it.
    fn forward_on_card(&self, inputs: [&Tensor; N]) -> Result<Tensor>;

    /// The gradient of each input by the kernels of a card, in any type.
    fn backward_on_card(
        &self,
        x: [Option<&Tensor>; N],
        g: &Tensor,
        wanted: [bool; N],
    ) -> Result<[Gradient<Tensor>; N]>;

    /// The same, with the first input's gradient added to one that waits for it: of its shape, in
    /// f32.
    fn backward_onto(
        &self,
        x: [Option<&Tensor>; N],
        g: &Tensor,
        wanted: [bool; N],
        waiting: Option<&Tensor>,
    ) -> Result<[Gradient<Tensor>; N]> {
        match waiting {
            None => self.backward_on_card(x, g, wanted),
            Some(_) => unreachable!("only operations that add to it are given one"),
        }
    }

    /// The same function in plain differentiable candle.
    fn composed(&self, inputs: &[Tensor]) -> candle_core::Result<Tensor>;
}

/// Runs an operation whose result has this shape: by the device's kernels where they apply, else
/// composed.
pub(super) fn run<O: Op<N>, const N: usize>(
    tape: &Tape,
    op: O,
    inputs: [&Value; N],
    shape: impl Into<Shape>,
) -> Result<Value> {
    let tensors = inputs.map(|v| &v.tensor);
    if op.suits_card() && tensors.iter().all(|t| cuda::runs(t)) {
        return run_on_card(tape, op, inputs, shape.into());
    }
    if !tensors.iter().all(|t| fused_pair(tensors[0], t)) {
        return tape.composed(&inputs, |a| op.composed(a));
    }
    let y = dispatch!(tensors[0], T => {
        tensor(with_slices::<T, _, N>(tensors, |x| op.forward(x))?, shape)
    })?;
    let saved = saved(O::READS, tensors);
    let places = places(inputs);
    Ok(tape.push(y, &inputs, move |g, slots| {
        dispatch!(g, T => {
            let wanted = places.each_ref().map(|(slot, _)| slot.is_some());
            let gradients = with_slices([&g], |[g]| {
                let saved = saved.each_ref().map(Option::as_ref);
                with_some_slices::<T, _, N>(saved, |x| op.backward(x, g, wanted))
            })??;
            for (gradient, (slot, shape)) in gradients.into_iter().zip(places) {
                match gradient {
                    Gradient::Unwanted => {}
                    Gradient::Passed => slots.pass(slot, g.clone())?,
                    Gradient::Of(data) => hand_back(data, slot, &shape, slots)?,
                }
            }
            Ok(())
        })
    }))
}

fn run_on_card<O: Op<N>, const N: usize>(
    tape: &Tape,
    op: O,
    inputs: [&Value; N],
    shape: Shape,
) -> Result<Value> {
    let tensors = inputs.map(|v| v.tensor.contiguous());
    let mut contiguous: [Option<Tensor>; N] = [const { None }; N];
    for (place, t) in contiguous.iter_mut().zip(tensors) {
        *place = Some(t?);
    }
    let tensors = contiguous
        .each_ref()
        .map(|t| t.as_ref().unwrap_or(&inputs[0].tensor));
    let y = op.forward_on_card(tensors)?.reshape(shape)?;
    let saved = saved(O::READS, tensors);
    let places = places(inputs);
    let types = tensors.map(Tensor::dtype);
    Ok(tape.push(y, &inputs, move |g, slots| {
        let wanted = places.each_ref().map(|(slot, _)| slot.is_some());
        let g = g.contiguous()?;
        let waiting = match O::ADDS_TO_WAITING && types[0] == DType::F32 {
            true => slots.take_whole(places[0].0, DType::F32),
            false => None,
        };
        let saved = saved.each_ref().map(Option::as_ref);
        let gradients = op.backward_onto(saved, &g, wanted, waiting.as_ref())?;
        for ((gradient, (slot, shape)), dtype) in gradients.into_iter().zip(places).zip(types) {
            match gradient {
                Gradient::Unwanted => {}
                Gradient::Passed if dtype == g.dtype() => slots.pass(slot, g.clone())?,
                Gradient::Passed => slots.add(slot, g.to_dtype(dtype)?)?,
                Gradient::Of(data) => {
                    let data = slots.typed(slot, data, dtype)?;
                    hand_back_tensor(&data, slot, &shape, slots)?;
                }
            }
        }
        Ok(())
    }))
}

fn saved<const N: usize>(reads: [bool; N], tensors: [&Tensor; N]) -> [Option<Tensor>; N] {
    let mut reads = reads.iter();
    tensors.map(|t| reads.next().is_some_and(|r| *r).then(|| t.clone()))
}

fn places<const N: usize>(inputs: [&Value; N]) -> [(Option<usize>, Shape); N] {
    inputs.map(|v| (v.slot(), v.tensor.shape().clone()))
}

/// Adds a gradient to the slot of an input with this shape; one that is shorter is that of the
/// input's first columns.
pub(super) fn hand_back<T: Elem>(
    gradient: Vec<T>,
    slot: Option<usize>,
    shape: &Shape,
    slots: &mut Slots,
) -> Result<()> {
    if gradient.len() == shape.elem_count() {
        return slots.add(slot, tensor(gradient, shape)?);
    }
    let (rows, total) = shape.dims2()?;
    let width = gradient.len() / rows;
    slots.add_columns(slot, &tensor(gradient, (rows, width))?, 0, total)
}

/// [`hand_back`] of a tensor.
pub(super) fn hand_back_tensor(
    gradient: &Tensor,
    slot: Option<usize>,
    shape: &Shape,
    slots: &mut Slots,
) -> Result<()> {
    let count = gradient.elem_count();
    if count == shape.elem_count() {
        return slots.add(slot, gradient.reshape(shape)?);
    }
    let (rows, total) = shape.dims2()?;
    slots.add_columns(slot, &gradient.reshape((rows, count / rows))?, 0, total)
}
