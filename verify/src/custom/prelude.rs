//! Everything that a file with a variant needs: `use inducer_verify::custom::prelude::*;`.

pub use super::{Formula, Points, Tensors, matrix, vector};
pub use candle_core::{D, Tensor};
pub use inducer_gpu::ops::attention::Heads;
pub use inducer_gpu::parts::custom::{CustomMethod, Layer};
pub use inducer_gpu::parts::{Attended, ForwardContext, Part};
pub use inducer_gpu::tensors::{Declare, Init};
pub use inducer_gpu::{Parameter, Result, Value, tensors};
pub use inducer_reference::Real;
pub use inducer_reference::attention::attend;
pub use inducer_reference::kernel::score;
pub use ndarray::{Array1, Array2};
pub use {candle_core, ndarray};
