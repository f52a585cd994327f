//! The two sub-layers of a transformer layer and the places in them where parts act.
//!
//! ```text
//! attention   q, k, v = x W + b          then each part's on_qkv
//!             f, LSE = attention(q, k, v)             on_heads
//!             y = f W^o + b^o (+ update)              on_output
//! FFN         u = φ(x W + b)                          on_ffn_hidden
//!             y = u W + b                             beside_ffn
//! ```

use crate::error::Result;
use crate::ops::activation::Activation;
use crate::ops::attention::{Rows, attention};
use crate::ops::dropout::{Dropout, dropout};
use crate::ops::linear::Linear;
use crate::parts::{Attended, DropoutSite, ForwardContext, Part};
use crate::tape::{Pair, Tape, Value};

/// A linear map with its bias, added to a value where one is given.
pub type Affine = fn(&Tape, &Pair, &Value, Option<&Value>) -> Result<Value>;

/// The map of a weight [inputs, outputs].
///
/// # Errors
/// Shapes that do not fit.
pub fn conv1d(tape: &Tape, pair: &Pair, x: &Value, onto: Option<&Value>) -> Result<Value> {
    let [weight, bias] = tape.parameters(pair)?;
    apply(tape, Linear::conv1d(&weight, &bias), x, onto)
}

/// The map of a weight [outputs, inputs].
///
/// # Errors
/// Shapes that do not fit.
pub fn torch(tape: &Tape, pair: &Pair, x: &Value, onto: Option<&Value>) -> Result<Value> {
    let [weight, bias] = tape.parameters(pair)?;
    apply(tape, Linear::torch(&weight, Some(&bias)), x, onto)
}

fn apply(tape: &Tape, map: Linear<'_>, x: &Value, onto: Option<&Value>) -> Result<Value> {
    match onto {
        Some(y) => map.onto(y, 0).apply(tape, x),
        None => map.apply(tape, x),
    }
}

/// A layer in a forward pass: what its sub-layers have in common.
#[derive(Clone, Copy)]
pub struct Layer<'a, 'c> {
    /// The pass.
    pub ctx: &'a ForwardContext<'c>,
    /// Its index.
    pub index: usize,
    /// The parts that act in it.
    pub parts: &'a [Box<dyn Part>],
    /// How its linear maps lie in files.
    pub affine: Affine,
}

impl Layer<'_, '_> {
    /// Dropout at a site of this layer.
    pub fn dropout(&self, site: DropoutSite) -> Dropout {
        self.ctx.dropout(self.index, site)
    }

    /// The attention's output [tokens, d] from its input `x` [tokens, d] and the projections of it
    /// [tokens, 3d].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn attention(&self, x: &Value, mut qkv: Value, output: &Pair) -> Result<Value> {
        let ctx = self.ctx;
        for part in self.parts {
            qkv = part.on_qkv(ctx, x, qkv)?;
        }
        let mut attended = self.attend(&qkv)?;
        for part in self.parts {
            attended = part.on_heads(ctx, &qkv, attended)?;
        }
        let mut y = (self.affine)(ctx.tape, output, &attended.f, attended.update.as_ref())?;
        for part in self.parts {
            y = part.on_output(ctx, y)?;
        }
        Ok(y)
    }

    fn attend(&self, qkv: &Value) -> Result<Attended> {
        let ctx = self.ctx;
        let rows = Rows {
            heads: ctx.heads,
            starts: ctx.starts,
            visible: ctx.visible,
        };
        let (f, lse) = match &ctx.cache {
            None => {
                let drop = self.dropout(DropoutSite::Attention);
                attention(ctx.tape, qkv, rows, drop)?
            }
            Some(cache) => {
                let mut cache = cache.borrow_mut();
                let (f, lse) = cache.attend(self.index, &qkv.tensor, rows)?;
                (Value::constant(f), Value::constant(lse))
            }
        };
        Ok(Attended {
            f,
            lse,
            update: None,
        })
    }

    /// The FFN's output [tokens, d] from its input; `drop` acts on what the FFN itself returns.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn feed_forward(
        &self,
        x: &Value,
        [up, down]: [&Pair; 2],
        activation: Activation,
        drop: Dropout,
    ) -> Result<Value> {
        let (ctx, tape) = (self.ctx, self.ctx.tape);
        let mut hidden = activation.apply(tape, &(self.affine)(tape, up, x, None)?)?;
        for part in self.parts {
            hidden = part.on_ffn_hidden(ctx, hidden)?;
        }
        let mut y = dropout(tape, &(self.affine)(tape, down, &hidden, None)?, drop)?;
        for part in self.parts {
            y = part.beside_ffn(ctx, x, y)?;
        }
        Ok(y)
    }
}
