//! Mixed precision: products in bf16, everything that adds up many terms in f32.
//!
//! The rule is autocast's. What comes out of a product (linear maps, weighted values, hidden units)
//! is in the type that the model computes in; the residual stream, LayerNorm, scores with their
//! log-sum-exp, λ and μ, and losses are in f32, and so are the trained tensors and the optimiser's
//! state. λ = σ(s − LSE) is why scores are not left in bf16: there a log-sum-exp of 40 is rounded
//! by up to 0.125, and λ by an eighth of itself.
//!
//! For f32 and f64 every function here returns what it is given.

use candle_core::{DType, Result, Tensor};

/// Whether a type has half of f32's bits.
fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::BF16 | DType::F16)
}

/// The type that trained tensors are kept in when a model computes in `dtype`: the master weights.
pub fn kept(dtype: DType) -> DType {
    if is_half(dtype) { DType::F32 } else { dtype }
}

/// The same elements in f32 where they have half of its bits.
///
/// # Errors
/// The device cannot convert.
pub fn wide(t: &Tensor) -> Result<Tensor> {
    t.to_dtype(kept(t.dtype()))
}

/// The same elements in the type of `other`.
///
/// # Errors
/// The device cannot convert.
pub fn like(t: &Tensor, other: &Tensor) -> Result<Tensor> {
    t.to_dtype(other.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::{Parameter, Tape};
    use candle_core::Device;

    #[test]
    fn halves_are_kept_in_f32_and_the_rest_as_it_is() {
        for (given, expected) in [
            (DType::BF16, DType::F32),
            (DType::F16, DType::F32),
            (DType::F32, DType::F32),
            (DType::F64, DType::F64),
        ] {
            assert_eq!(kept(given), expected);
            let t = Tensor::new(&[1.5_f64], &Device::Cpu).unwrap();
            assert_eq!(wide(&t.to_dtype(given).unwrap()).unwrap().dtype(), expected);
        }
    }

    #[test]
    fn a_parameter_is_handed_out_rounded_and_its_gradient_comes_back_in_its_own_type() {
        // 1 + 2^-12 is 1 in bf16
        let kept = Tensor::new(&[1.0_f32 + 2.0_f32.powi(-12)], &Device::Cpu).unwrap();
        let p = Parameter::new("p", kept, true);
        let tape = Tape::new().computing_in(DType::BF16);
        let x = tape.parameter(&p).unwrap();
        assert_eq!(x.tensor.dtype(), DType::BF16);
        let rounded: Vec<f32> = wide(&x.tensor).unwrap().to_vec1().unwrap();
        assert_eq!(rounded, [1.0]);
        let loss = tape
            .composed(&[&x], |a| Ok(vec![(wide(&a[0])? * 3.0)?.sum_all()?]))
            .unwrap()
            .remove(0);
        let gradients = tape.backward(&loss, [&p]).unwrap();
        assert_eq!(gradients["p"].dtype(), DType::F32);
        assert_eq!(gradients["p"].to_vec1::<f32>().unwrap(), [3.0]);
    }
}
