//! Prefix-tuning (§4.2): `f_prefix = (1 − μ) f + μ · attention over the prefix`, μ = σ(LSE_prefix −
//! LSE).
//!
//! While it is trained, the prefix may come from `P = tanh(E W₁ + b₁) W₂ + b₂`, laid out as PEFT
//! does: P [l, 2 L d] read as [l, 2L, H, p], layer i's keys at 2i, its values at 2i + 1.

use super::observe::{Added, distance_to_nearest};
use super::{Attended, DropoutSite, ForwardContext, Part, PartConfig, Wrong, sized};
use crate::config::Spec;
use crate::error::Result;
use crate::kernels::precision::upcast;
use crate::ops::attention::attention_to;
use crate::ops::inducer::{joint, mixture};
use crate::tape::{Pair, Parameter, Tape, Value};
use crate::tensors::{Declare, Init};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// A learned prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixConfig {
    /// l.
    pub length: usize,
    /// Whether the text's positions start at l.
    #[serde(default = "yes")]
    pub offset_positions: bool,
    /// Training through P = MLP(E).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reparametrisation: Option<Reparametrisation>,
}

/// The prefix's MLP while training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reparametrisation {
    /// Width of the hidden layer.
    pub width: usize,
}

fn yes() -> bool {
    true
}

impl PrefixConfig {
    /// Names of a layer's keys and values below its attention module.
    pub const NAMES: [&str; 2] = ["prefix.key", "prefix.value"];

    /// Names of all layers' keys and values, in the order in which P holds them.
    pub fn names(spec: &Spec) -> impl Iterator<Item = String> {
        let layers = (0..spec.layers).map(|i| spec.attention_name(i));
        layers.flat_map(|at| Self::NAMES.map(|name| format!("{at}.{name}")))
    }

    /// Keys and values [H, l, p] of all layers from P [l, 2 L d].
    pub(crate) fn split(p: &Tensor, spec: &Spec) -> candle_core::Result<Vec<Tensor>> {
        let blocks = (0..2 * spec.layers).map(|i| spec.heads.split(p, i * spec.hidden));
        blocks.collect()
    }

    /// Declares the network that makes the prefixes of all layers while it is trained, if there is
    /// one.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn network(&self, spec: &Spec, from: &Declare<'_>) -> Result<Option<PrefixNetwork>> {
        let Some(Reparametrisation { width }) = self.reparametrisation else {
            return Ok(None);
        };
        let (d, outputs) = (spec.hidden, 2 * spec.layers * spec.hidden);
        // PyTorch's start, but the biases start at 0
        let start = |inputs| [Init::kaiming(inputs), Init::ZERO];
        let at = from.within("transformer.prefix");
        Ok(Some(PrefixNetwork {
            embedding: at.weight("embedding", [self.length, d], Init::Normal(1.0))?,
            down: at.linear("down", [width, d], start(d))?,
            up: at.linear("up", [outputs, width], start(width))?,
            spec: *spec,
        }))
    }
}

impl PartConfig for PrefixConfig {
    fn check(&self) -> std::result::Result<(), Wrong> {
        sized("length", self.length)?;
        let width = self.reparametrisation.map_or(1, |r| r.width);
        sized("reparametrisation.width", width)
    }

    fn declare(&self, layer: usize, spec: &Spec, from: &Declare<'_>) -> Result<Box<dyn Part>> {
        let shape = [spec.heads.count, self.length, spec.heads.width];
        let at = from.within(spec.attention_name(layer));
        let start = Init::Normal(spec.initializer_std);
        let [key, value] = Self::NAMES;
        let tensors = match self.reparametrisation {
            Some(_) => None,
            None => Some([
                at.weight(key, shape, start)?,
                at.weight(value, shape, start)?,
            ]),
        };
        Ok(Box::new(Prefix { layer, tensors }))
    }
}

/// The prefix of one layer.
pub struct Prefix {
    /// Layer.
    pub layer: usize,
    /// Keys and values [H, l, p]; absent while a reparametrisation makes them.
    pub tensors: Option<Pair>,
}

crate::tensors!(Prefix: tensors);

impl Part for Prefix {
    fn on_heads(
        &self,
        ctx: &ForwardContext<'_>,
        qkv: &Value,
        attended: Attended,
    ) -> Result<Attended> {
        let tape = ctx.tape;
        let (keys, values) = match &self.tensors {
            Some(pair) => tape.parameters(pair)?.into(),
            None => ctx.prefix[self.layer].clone(),
        };
        if keys.tensor.dim(1)? == 0 {
            return self.empty(ctx, attended);
        }
        let (g, lse) = attention_to(
            tape,
            qkv,
            &keys,
            &values,
            ctx.heads,
            ctx.dropout(self.layer, DropoutSite::Prefix),
        )?;
        let mu = ctx.gate(self.layer, &lse, &attended.lse, || {
            distance_to_nearest(&qkv.tensor, &keys.tensor, ctx.heads)
        })?;
        ctx.show_added(self.layer, || Ok(Added::Prefix(upcast(&keys.tensor)?)))?;
        let f = mixture(tape, &attended.f, &g, &mu, ctx.heads)?;
        let lse = joint(tape, &attended.lse, &lse)?;
        Ok(Attended { f, lse, ..attended })
    }
}

impl Prefix {
    /// A prefix of length 0: μ = 0, f_prefix = f, and no key is at any finite distance.
    fn empty(&self, ctx: &ForwardContext<'_>, attended: Attended) -> Result<Attended> {
        let lse = &attended.lse.tensor;
        let mu = Value::constant(lse.zeros_like()?);
        let far =
            || Ok(Tensor::full(f64::INFINITY, lse.shape(), lse.device())?.to_dtype(lse.dtype())?);
        ctx.observe(self.layer, &mu, far)?;
        Ok(attended)
    }
}

/// The reparametrisation of all layers' prefixes.
pub struct PrefixNetwork {
    /// E [l, d].
    pub embedding: Parameter,
    /// W₁ [width, d], b₁.
    pub down: Pair,
    /// W₂ [2 L d, width], b₂.
    pub up: Pair,
    spec: Spec,
}

crate::tensors!(PrefixNetwork: embedding, down, up);

impl PrefixNetwork {
    /// Keys and values [H, l, p] of every layer.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn apply(&self, tape: &Tape) -> Result<Vec<(Value, Value)>> {
        let embedding = tape.parameter(&self.embedding)?;
        let ([w1, b1], [w2, b2]) = (tape.parameters(&self.down)?, tape.parameters(&self.up)?);
        let (l, layers, heads) = (
            self.embedding.tensor.dim(0)?,
            self.spec.layers,
            self.spec.heads,
        );
        let all = tape.composed(&[&embedding, &w1, &b1, &w2, &b2], |a| {
            let u = a[0].matmul(&a[1].t()?)?.broadcast_add(&a[2])?.tanh()?;
            let p = u.matmul(&a[3].t()?)?.broadcast_add(&a[4])?;
            p.reshape((l, 2 * layers, heads.count, heads.width))?
                .permute((1, 2, 0, 3))?
                .contiguous()
        })?;
        let each = apart(tape, &all)?;
        let pairs = each.chunks_exact(2);
        Ok(pairs
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect())
    }

    /// The prefix as it is stored after training: f32 keys and values of every layer by name.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn stored(&self) -> Result<Vec<(String, Tensor)>> {
        let all = self.apply(&Tape::off())?.into_iter();
        let all = all.flat_map(|(key, value)| [key, value]);
        let named = PrefixConfig::names(&self.spec).zip(all);
        named
            .map(|(name, t)| Ok((name, t.tensor.to_dtype(DType::F32)?)))
            .collect()
    }
}

/// The tensors that lie one behind the other in one; their gradients are put together once.
fn apart(tape: &Tape, all: &Value) -> Result<Vec<Value>> {
    let (slot, count) = (all.slot(), all.tensor.dim(0)?);
    let parts = (0..count).map(|i| all.tensor.get(i));
    let parts: Vec<Tensor> = parts.collect::<candle_core::Result<_>>()?;
    let like = parts.clone();
    Ok(tape.push_many(parts, &[all], move |gradients, slots| {
        let of = |(g, like): (&mut Option<Tensor>, &Tensor)| match g.take() {
            Some(g) => Ok(g),
            None => like.zeros_like(),
        };
        let gradients = gradients.iter_mut().zip(&like).map(of);
        let gradients = gradients.collect::<candle_core::Result<Vec<_>>>()?;
        slots.add(slot, Tensor::stack(&gradients, 0)?)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::parameters;
    use approx::assert_relative_eq;
    use candle_core::Device;

    #[test]
    fn tensors_taken_apart_have_their_gradients_put_together_and_zeros_where_there_is_none() {
        let all = parameters(1, &[&[3, 2, 4]], DType::F64);
        let tape = Tape::new();
        let each = apart(&tape, &tape.parameter(&all[0]).unwrap()).unwrap();
        let sum = tape.composed(&[&each[0], &each[2]], |a| {
            ((&a[0] * 2.0)? + (&a[1] * 3.0)?)?.sum_all()
        });
        let gradients = tape.backward(&sum.unwrap(), &all).unwrap();
        let found = gradients["x0"].to_vec3::<f64>().unwrap();
        for (part, factor) in found.iter().zip([2.0, 0.0, 3.0]) {
            assert!(part.iter().flatten().all(|x| *x == factor));
        }
    }

    #[test]
    fn a_part_after_the_prefix_sees_the_log_sum_exp_of_prefix_and_text() {
        let value = |x: [f64; 3]| Value::constant(Tensor::new(&x, &Device::Cpu).unwrap());
        let (a, b) = ([0.5, -3.0, 900.0], [1.5, 2.0, -900.0]);
        let found = joint(&Tape::off(), &value(a), &value(b)).unwrap();
        let found: Vec<f64> = found.tensor.to_vec1().unwrap();
        for (i, found) in found.into_iter().enumerate() {
            // ln(e^a + e^b) = max + ln(1 + e^{−|a − b|})
            let expected = a[i].max(b[i]) + (-(a[i] - b[i]).abs()).exp().ln_1p();
            let most = 4.0 * f64::EPSILON;
            assert_relative_eq!(found, expected, epsilon = 0.0, max_relative = most);
        }
    }
}
