//! The operations of a training step, each with its own backward pass.
//!
//! Up to three forms of each, under the same names everywhere:
//!
//! - **fused**: hand-written over slices, for f32 and f64 on the CPU;
//! - **tensors**: in candle's tensor operations with a backward pass of its own, on any device and
//!   in mixed precision. The three operations that cost most have it ([`linear`], [`attention`] and
//!   [`cross_entropy`]): no frozen weight gets a gradient, no n × n matrix is kept, and logits
//!   exist for a part of the labelled positions at a time;
//! - **composed**: in plain differentiable candle, whose own backward pass it has. It is what the
//!   other operations run where the CPU's kernels do not apply, and the witness of every form in
//!   the tests (values and gradients); of those three operations it stands there.
//!
//! Operations over slices with one result share what is around them (`driver`).

pub mod activation;
pub mod argmax;
pub mod attention;
pub mod cross_entropy;
mod driver;
pub mod dropout;
pub mod embedding;
pub mod gather;
pub mod inducer;
pub mod layer_norm;
pub mod linear;
pub mod rescale;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
