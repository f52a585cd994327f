//! The adapter (Eq. 1), sequential after the attention or parallel to the FFN.
//!
//! ```text
//! sequential:  y + φ(LN(y) W₁ + b₁) W₂ + b₂
//! parallel:    FFN(x) + s (φ(LN(x) W₁ + b₁) W₂ + b₂)          φ = ReLU, LN optional
//! ```

use super::{Part, Pass};
use crate::error::Result;
use crate::ops::activation::Activation;
use crate::ops::layer_norm::norm;
use crate::ops::linear::Linear;
use crate::tape::{Pair, Parameter, Value};

/// A bottleneck adapter of one layer.
pub struct Bottleneck {
    /// Whether it stands beside the FFN; otherwise after the attention.
    pub parallel: bool,
    /// s.
    pub scale: f64,
    /// Weight and bias of its LayerNorm.
    pub norm: Option<Pair>,
    /// W₁ᵀ [r, d], b₁, W₂ᵀ [d, r], b₂.
    pub tensors: [Parameter; 4],
    /// ε of its LayerNorm.
    pub eps: f64,
}

impl Bottleneck {
    fn onto(&self, pass: &Pass<'_>, x: &Value, y: &Value) -> Result<Value> {
        let tape = pass.tape;
        let [w1, b1, w2, b2] = tape.parameters(&self.tensors)?;
        let x = match &self.norm {
            Some(pair) => norm(tape, pair, x, self.eps)?,
            None => x.clone(),
        };
        let hidden =
            Activation::Relu.apply(tape, &Linear::torch(&w1, Some(&b1)).apply(tape, &x)?)?;
        Linear::torch(&w2, Some(&b2))
            .scaled(self.scale)
            .onto(y, 0)
            .apply(tape, &hidden)
    }
}

impl Part for Bottleneck {
    fn parameters(&self) -> Vec<&Parameter> {
        self.tensors
            .iter()
            .chain(self.norm.iter().flatten())
            .collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.tensors
            .iter_mut()
            .chain(self.norm.iter_mut().flatten())
            .collect()
    }

    fn on_output(&self, pass: &Pass<'_>, y: Value) -> Result<Value> {
        if self.parallel {
            Ok(y)
        } else {
            self.onto(pass, &y, &y)
        }
    }

    fn beside_ffn(&self, pass: &Pass<'_>, x: &Value, y: Value) -> Result<Value> {
        if self.parallel {
            self.onto(pass, x, &y)
        } else {
            Ok(y)
        }
    }
}
