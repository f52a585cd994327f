//! The two sub-layers of a transformer layer and the places in them where parts act.
//!
//! ```text
//! attention   q, k, v = x W + b          then each part's on_qkv
//!             f, LSE = attention(q, k, v)             on_heads
//!             y = f W^o + b^o (+ update)              on_map, on_output
//! FFN         u = φ(x W + b)                          on_map before φ, on_ffn_hidden
//!             y = u W + b                             on_map, beside_ffn
//! ```

use crate::error::Result;
use crate::ops::activation::Activation;
use crate::ops::attention::{Rows, attention};
use crate::ops::dropout::{Dropout, dropout};
use crate::ops::linear::{Activated, Layout, Linear};
use crate::parts::{Attended, DropoutSite, ForwardContext, Part, Target};
use crate::tape::{Pair, Value};

/// A layer in a forward pass: what its sub-layers have in common.
#[derive(Clone, Copy)]
pub struct Layer<'a, 'c> {
    /// The pass.
    pub ctx: &'a ForwardContext<'c>,
    /// Its index.
    pub index: usize,
    /// The parts that act in it.
    pub parts: &'a [Box<dyn Part>],
    /// How its weights lie in memory.
    pub layout: Layout,
}

/// Leads `x` through layers with their parts; `forward` makes a layer's output of its input.
///
/// # Errors
/// Those of `forward`.
pub fn through<'c, L>(
    ctx: &ForwardContext<'c>,
    layout: Layout,
    layers: &[L],
    parts: &[Vec<Box<dyn Part>>],
    x: Value,
    forward: impl Fn(&L, Layer<'_, 'c>, &Value) -> Result<Value>,
) -> Result<Value> {
    let mut layers = layers.iter().zip(parts).enumerate();
    layers.try_fold(x, |x, (index, (layer, parts))| {
        let at = Layer {
            ctx,
            index,
            parts,
            layout,
        };
        forward(layer, at, &x)
    })
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
        ctx.show_heads(self.index, &qkv, &attended.lse)?;
        for part in self.parts {
            attended = part.on_heads(ctx, &qkv, attended)?;
        }
        let y = self.affine(output, &attended.f, attended.update.as_ref())?;
        let mut y = self.on_map(Target::O, &attended.f, y)?;
        for part in self.parts {
            y = part.on_output(ctx, y)?;
        }
        Ok(y)
    }

    /// A linear map, added to a value where one is given.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn affine(&self, map: &Pair, x: &Value, onto: Option<&Value>) -> Result<Value> {
        let tape = self.ctx.tape;
        let [weight, bias] = tape.parameters(map)?;
        let map = Linear::new(self.layout, &weight, Some(&bias));
        let onto = onto.map(|y| (y, 0));
        Linear { onto, ..map }.apply(tape, x)
    }

    /// A linear map's result `y` from `x` after the parts that act on it.
    fn on_map(&self, target: Target, x: &Value, mut y: Value) -> Result<Value> {
        for part in self.parts {
            y = part.on_map(self.ctx, target, x, y)?;
        }
        Ok(y)
    }

    fn attend(&self, qkv: &Value) -> Result<Attended> {
        let ctx = self.ctx;
        let rows = Rows {
            heads: ctx.heads,
            offsets: ctx.offsets,
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
        let mut hidden = match self.parts.iter().any(|p| p.acts_on(Target::Up)) {
            true => {
                let y = self.on_map(Target::Up, x, self.affine(up, x, None)?)?;
                Activated::alone(activation.apply(tape, &y)?)
            }
            false => {
                let [w1, b1] = tape.parameters(up)?;
                let map = Linear::new(self.layout, &w1, Some(&b1));
                map.activated(tape, x, activation)?
            }
        };
        for part in self.parts {
            hidden = hidden.changed(|hidden| part.on_ffn_hidden(ctx, hidden))?;
        }
        let [w2, b2] = tape.parameters(down)?;
        let map = Linear::new(self.layout, &w2, Some(&b2));
        let y = map.of_activated(tape, &hidden)?;
        let y = self.on_map(Target::Down, hidden.value(), y)?;
        let mut y = dropout(tape, &y, drop)?;
        for part in self.parts {
            y = part.beside_ffn(ctx, x, y)?;
        }
        Ok(y)
    }
}
