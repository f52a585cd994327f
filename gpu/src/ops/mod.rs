//! The operations of a training step, each with its own backward pass.
//!
//! Every file has its operation in a fused form for the CPU, hand-written over slices, and as
//! `composed`, the same function in plain differentiable candle, which is the witness of every
//! other form in the tests (values and gradients) and their rival in the benches. Where the fused
//! form does not apply (on CUDA, in mixed precision) the three operations that cost most,
//! [`linear`], [`attention`] and [`cross_entropy`], have a third form in candle's tensor operations
//! with a backward pass of its own; there too no frozen weight gets a gradient, no n × n matrix is
//! kept, and logits exist for a part of the labelled positions at a time. The rest runs there as
//! composed.

pub mod activation;
pub mod argmax;
pub mod attention;
pub mod cross_entropy;
pub mod dropout;
pub mod embedding;
pub mod gather;
pub mod inducer;
pub mod layer_norm;
pub mod linear;
pub mod mixture;

#[cfg(test)]
pub(crate) mod testing;
