//! Which logit of each row is the largest.

use crate::error::Result;
use crate::kernels::cuda::{self, Arg, Grid};
use candle_core::{DType, Tensor};

/// Index of the largest logit of each row; the lowest of equal ones.
///
/// # Errors
/// Logits that are not a matrix.
pub fn argmax(logits: &Tensor) -> Result<Vec<u32>> {
    if cuda::runs(logits) {
        return Ok(on_card(&logits.contiguous()?)?.to_vec1()?);
    }
    // every type that a model computes in is exact in f64
    let rows: Vec<Vec<f64>> = logits.to_dtype(DType::F64)?.to_vec2()?;
    Ok(rows
        .iter()
        .map(|row| {
            let mut best = 0;
            for (i, x) in row.iter().enumerate() {
                if *x > row[best] {
                    best = i;
                }
            }
            best as u32
        })
        .collect())
}

/// The indices [rows], on the device.
fn on_card(logits: &Tensor) -> Result<Tensor> {
    let (rows, width) = logits.dims2()?;
    let best = cuda::empty(rows, DType::U32, logits.device())?;
    let args = [Arg::In(logits), Arg::Out(&best), Arg::U32(width)];
    let each = 16 / logits.dtype().size_in_bytes();
    cuda::launch(
        logits,
        "argmax",
        Grid::row_a_block(rows, width, each),
        &args,
    )?;
    Ok(best)
}
