//! The gated mixture of two attentions: the prefix (§4.2).
//!
//! ```text
//! f_prefix = (1 − μ) f + μ · attention over the prefix,   μ = σ(LSE_prefix − LSE)
//! ```

use super::attention::Heads;
use crate::error::Result;
use crate::kernels::elem::dot;
use crate::kernels::precision::{cast_like, upcast};
use crate::kernels::threads::for_rows;
use crate::kernels::{cpu, dispatch, fused, tensor};
use crate::tape::{Tape, Value};
use candle_core::Tensor;
use num_traits::{One as _, Zero as _};

/// `(1 − μ) f + μ g` for each head.
///
/// # Shapes
/// `f`, `g` [tokens, d], `mu` [tokens, H] → [tokens, d].
///
/// # Errors
/// Shapes that do not fit.
pub fn mixture(tape: &Tape, f: &Value, g: &Value, mu: &Value, heads: Heads) -> Result<Value> {
    let (count, p, d) = (heads.count, heads.width, heads.hidden());
    let tokens = f.tensor.dim(0)?;
    if !fused(&f.tensor) {
        let mut out = tape.composed(&[f, g, mu], |a| {
            let (f, g) = (upcast(&a[0])?, upcast(&a[1])?);
            let change = (g - &f)?
                .reshape((tokens, count, p))?
                .broadcast_mul(&upcast(&a[2])?.unsqueeze(2)?)?;
            Ok(vec![cast_like(
                &(f + change.reshape((tokens, d))?)?,
                &a[0],
            )?])
        })?;
        return Ok(out.remove(0));
    }
    let y = dispatch!(f.tensor, T => {
        let (f, g, m) = (cpu(&f.tensor)?, cpu(&g.tensor)?, cpu(&mu.tensor)?);
        let (f, g, m) = (f.slice::<T>()?, g.slice::<T>()?, m.slice::<T>()?);
        let mut y = vec![T::zero(); f.len()];
        for_rows(&mut y, p, #[inline(always)] |i, row| {
            for (j, y) in row.iter_mut().enumerate() {
                *y = (T::one() - m[i]) * f[i * p + j] + m[i] * g[i * p + j];
            }
        });
        tensor(y, (tokens, d))
    })?;
    let slots_of = [f.slot(), g.slot(), mu.slot()];
    let kept = [f.tensor.clone(), g.tensor.clone(), mu.tensor.clone()];
    Ok(tape.push(y, &[f, g, mu], move |grad, slots| {
        dispatch!(grad, T => {
            let m = cpu(&kept[2])?;
            let m = m.slice::<T>()?;
            let share = |own: bool| -> Result<Tensor> {
                let mut y = cpu(&grad)?.slice::<T>()?.to_vec();
                for_rows(&mut y, p, #[inline(always)] |i, row| {
                    let w = if own { m[i] } else { T::one() - m[i] };
                    row.iter_mut().for_each(|y| *y *= w);
                });
                tensor(y, (tokens, d))
            };
            if slots_of[0].is_some() {
                slots.add(slots_of[0], share(false)?)?;
            }
            if slots_of[1].is_some() {
                slots.add(slots_of[1], share(true)?)?;
            }
            let (y, f, g) = (cpu(&grad)?, cpu(&kept[0])?, cpu(&kept[1])?);
            let (y, f, g) = (y.slice::<T>()?, f.slice::<T>()?, g.slice::<T>()?);
            let dm: Vec<T> = (0..tokens * count).map(|i| {
                let at = i * p..(i + 1) * p;
                dot(&y[at.clone()], &g[at.clone()]) - dot(&y[at.clone()], &f[at])
            }).collect();
            slots.add(slots_of[2], tensor(dm, (tokens, count))?)
        })
    }))
}
