//! Mixed precision: products in bf16, everything that adds up many terms in f32.
//!
//! The rule is autocast's. What comes out of a product (linear maps, weighted values, hidden units)
//! is in the type that the model computes in; the residual stream, LayerNorm, scores with their
//! log-sum-exp, λ and μ, and losses are in f32, and so are the trained tensors and the optimiser's
//! state. λ = σ(s − LSE) is why scores are not left in bf16: there a log-sum-exp of 40 is rounded
//! by up to 0.125, and λ by an eighth of itself.
//!
//! The CPU's kernels keep all of these in f32 and round the operands of products instead
//! ([`super::bf16`]); what follows is for a card and for candle's tensors. For f32 and f64 every
//! function here returns what it is given.

use candle_core::{DType, Result, Tensor};

/// Whether a type has half of f32's bits.
fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::BF16 | DType::F16)
}

/// The type that trained tensors are kept in when a model computes in `dtype`: the master weights.
pub fn master_dtype(dtype: DType) -> DType {
    if is_half(dtype) { DType::F32 } else { dtype }
}

/// The same elements in f32 where they have half of its bits.
///
/// # Errors
/// The device cannot convert.
pub fn upcast(t: &Tensor) -> Result<Tensor> {
    t.to_dtype(master_dtype(t.dtype()))
}

/// The same elements in the type of `other`.
///
/// # Errors
/// The device cannot convert.
pub fn cast_like(t: &Tensor, other: &Tensor) -> Result<Tensor> {
    t.to_dtype(other.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn halves_are_kept_in_f32_and_the_rest_as_it_is() {
        for (given, expected) in [
            (DType::BF16, DType::F32),
            (DType::F16, DType::F32),
            (DType::F32, DType::F32),
            (DType::F64, DType::F64),
        ] {
            assert_eq!(master_dtype(given), expected);
            let t = Tensor::new(&[1.5_f64], &Device::Cpu).unwrap();
            assert_eq!(
                upcast(&t.to_dtype(given).unwrap()).unwrap().dtype(),
                expected
            );
        }
    }
}
