//! The operations of a training step, each with its own backward pass.
//!
//! Up to four forms of each, under the same names everywhere:
//!
//! - **fused**: hand-written over slices, for f32 and f64 on the CPU. In mixed precision it runs
//!   on values in f32, and the products of linear maps, of the inducer's networks and of the head
//!   round their operands to bf16 ([`kernels::bf16`](crate::kernels::bf16));
//! - **card**: by the kernels in [`kernels::cuda`](crate::kernels::cuda), for f32 and bf16 on a
//!   CUDA device. Within [`emulated`](crate::kernels::cuda::emulated) the same kernels run on
//!   tensors of the CPU;
//! - **tensors**: in candle's tensor operations with a backward pass of its own, on any device and
//!   in any type. No frozen weight gets a gradient, no n × n matrix is kept, and logits exist for
//!   a part of the labelled positions at a time;
//! - **composed**: in plain differentiable candle, whose own backward pass it has. It is the
//!   witness of every other form in the tests, of values and gradients.
//!
//! Which form runs where. *Elsewhere* is f64 on a card; on the CPU tensors of bf16, and operands of
//! different types, which a card's kernels take together in f32 and bf16; and every type within
//! [`without_cpu_kernels`](crate::kernels::without_cpu_kernels). "Candle" is one tensor operation,
//! with a gradient of its own where there is one.
//!
//! | operation | CPU, f32 and f64 | card, f32 and bf16 | elsewhere | corners |
//! |---|---|---|---|---|
//! | [`linear`]: the map | fused | cuBLAS⁵, `linear.cu` | tensors | `card_loss` |
//! | [`linear`]: columns | candle | `pointwise.cu` | candle | `card_rows` |
//! | [`attention`] in rows, to a prefix | fused | `attention.cu`¹ | tensors | `card_attention` |
//! | [`attention`] over a cache | fused² | `attention.cu`¹ | tensors | `card_attention` |
//! | [`attention`]: new tokens to a cache | a copy² | `attention.cu`¹ | candle | `card_attention` |
//! | [`cross_entropy`] of hidden states | fused | cuBLAS, `loss.cu` | tensors | `card_loss` |
//! | [`cross_entropy`]: logits of the head | fused | candle | candle | `layers` |
//! | [`cross_entropy`] of class scores | composed | composed | composed | `layers` |
//! | [`layer_norm`] | fused | `rows.cu` | composed | `card_rows` |
//! | [`activation`] | fused | `pointwise.cu` | composed | `card_rows` |
//! | [`dropout`], residual connection | fused | `pointwise.cu` | tensors³ | `card_rows` |
//! | [`embedding`] | fused | `embedding.cu` | composed | `card_rows` |
//! | [`inducer`]: score, units, values | fused | `inducer.cu`¹ | composed | `card_inducer` |
//! | [`inducer`]: gate, joint, mixtures | fused | `inducer.cu` | composed | `card_inducer` |
//! | [`rescale`] | fused | `pointwise.cu` | composed | `card_rows` |
//! | [`gather`]: rows | candle | candle, `embedding.cu`⁴ | candle | `card_rows` |
//! | [`gather`]: concatenation | candle | candle, `pointwise.cu`⁴ | candle | `layers` |
//! | [`argmax`] | a loop | `loss.cu` | a loop | `card_loss` |
//! | a prefix's own network (`parts::prefix`) | composed | composed | composed | the ledger |
//! | sums of gradients (`kernels::inplace`) | a loop | `pointwise.cu` | candle | `card_rows` |
//! | norm, clipping, AdamW | loops | `optimiser.cu`⁶ | candle | `card_optimiser` |
//! | trained tensors as bf16, gradients as f32 | – | `optimiser.cu`⁶ | candle | `card_methods` |
//!
//! 1. For heads of at most 128 elements; wider ones are computed as elsewhere. The score without
//!    an MLP_k has kernels for every width.
//! 2. A cache is made for a type and a device, and on the CPU it is fused in f32 and f64 within
//!    `without_cpu_kernels` too.
//! 3. The factors are hashed on the host. The other forms hash them where they are used, to the
//!    same bits.
//! 4. The kernels are those of the gradient.
//! 5. In bf16 with bias, sum, tanh-GELU and its slope in the same pass, by cuBLASLt, where the
//!    addresses allow it (`kernels::product`). Emulated, candle's product and `linear.cu` stand in
//!    its place; the call itself is run on a card alone (`inducer verify --engine cuda`).
//! 6. Over all tensors together, by way of `kernels::many`.
//!
//! The last three rows are not operations of this module: they surround the backward pass.
//!
//! What checks them:
//!
//! - `testing::agree` holds each form of what has a gradient against the composed one, with the
//!   gradient of every input: fused and elsewhere in f64 and f32, the card's form, emulated, in
//!   f32; elsewhere and the card's form in bf16 (`tests::layers`, `tests::attention`). Class scores
//!   are held against the formula, and caches against whole rows (`decode::kv_cache`);
//! - the modules in the last column, of `tests`, hold the emulated kernels against the CPU's
//!   kernels in f64 at the edges of tiles, vectors and types, with controls that differ;
//! - the ledger of `inducer-verify` holds whole models against the reference: engines `cpu f64`,
//!   `cpu f32`, `cpu bf16` (fused), `cpu tensors`, `cpu tensors bf16` (elsewhere), `emulated f32`,
//!   `emulated bf16`, and with a device `cuda f32` and `cuda bf16` (card);
//! - `verify/checks/sanitized_kernels.sh` runs this crate's tests with the kernels under
//!   AddressSanitizer and UndefinedBehaviorSanitizer.
//!
//! Where no C++ compiler built the emulated kernels their tests are left out, and the ledger says
//! "not run". Operations over slices with one result share what is around them (`driver`).

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
