//! Which logit of each row is the largest.

use crate::error::Result;
use candle_core::{DType, Tensor};

/// Index of the largest logit of each row; the lowest of equal ones.
pub(crate) fn argmax(logits: &Tensor) -> Result<Vec<u32>> {
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
