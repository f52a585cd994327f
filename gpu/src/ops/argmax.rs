//! The class or token with the greatest logit.

use crate::error::Result;
use candle_core::{DType, Tensor};

/// Index of the largest logit of each row; ties go to the lowest.
///
/// # Errors
/// The logits are no matrix.
pub fn argmax(logits: &Tensor) -> Result<Vec<u32>> {
    let rows: Vec<Vec<f32>> = logits.to_dtype(DType::F32)?.to_vec2()?;
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
