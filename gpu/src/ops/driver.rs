//! What every operation over slices has in common: which form runs, what is saved for the backward
//! pass, and where the gradients go.

use crate::error::Result;
use crate::kernels::elem::Elem;
use crate::kernels::{dispatch, fused_pair, tensor, with_slices, with_some_slices};
use crate::tape::{Slots, Tape, Value};
use candle_core::{Shape, Tensor};

/// The gradient of one input.
pub(super) enum Gradient<T> {
    /// Nobody asked for it.
    Unwanted,
    /// Freshly computed, of the input's shape or of its first columns (the queries of [q | k | v]).
    Of(Vec<T>),
    /// The result's gradient, unchanged.
    Passed,
}

impl<T> Gradient<T> {
    /// What `compute` gives, if it is wanted.
    pub(super) fn when(wanted: bool, compute: impl FnOnce() -> Vec<T>) -> Self {
        match wanted {
            true => Self::Of(compute()),
            false => Self::Unwanted,
        }
    }
}

/// An operation of N inputs with one result, over the slices of contiguous CPU tensors.
pub(super) trait Op<const N: usize>: 'static {
    /// Which inputs the backward pass reads. The others are not saved: it is given empty slices.
    const READS: [bool; N] = [true; N];

    /// The elements of the result.
    fn forward<T: Elem>(&self, inputs: [&[T]; N]) -> Vec<T>;

    /// The gradient of each input `x` from that of the result.
    fn backward<T: Elem>(&self, x: [&[T]; N], g: &[T], wanted: [bool; N]) -> [Gradient<T>; N];

    /// The same function in plain differentiable candle.
    fn composed(&self, inputs: &[Tensor]) -> candle_core::Result<Tensor>;
}

/// Runs an operation whose result has this shape: fused where the kernels apply, else composed.
pub(super) fn run<O: Op<N>, const N: usize>(
    tape: &Tape,
    op: O,
    inputs: [&Value; N],
    shape: impl Into<Shape>,
) -> Result<Value> {
    let tensors = inputs.map(|v| &v.tensor);
    if !tensors.iter().all(|t| fused_pair(tensors[0], t)) {
        return tape.composed(&inputs, |a| op.composed(a));
    }
    let y = dispatch!(tensors[0], T => {
        tensor(with_slices::<T, _, N>(tensors, |x| op.forward(x))?, shape)
    })?;
    let mut reads = O::READS.iter();
    let saved = tensors.map(|t| reads.next().is_some_and(|r| *r).then(|| t.clone()));
    let places = inputs.map(|v| (v.slot(), v.tensor.shape().clone()));
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
