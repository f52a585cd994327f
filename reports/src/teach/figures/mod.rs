//! The figures, one a file: the state in which each starts, seeded other states, and what the
//! reference says of them.

pub mod attention;
pub mod growth;
pub mod inducer;
pub mod ladder;
pub mod prefix;
pub mod process;
pub mod smoother;

use super::draw::Draw;
use super::quantity::Witnesses;
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

/// Seeded states of each figure besides the one in which it starts.
pub const OTHER_STATES: u64 = 12;

/// What a figure is to the self-check.
pub trait Figure: Serialize + Sized {
    /// Its name, in the script and in the page.
    const NAME: &'static str;

    /// The state in which it starts.
    fn start() -> Self;

    /// A random state.
    fn other(draw: &mut Draw) -> Self;

    /// The reference's values and bounds.
    ///
    /// # Errors
    /// When the reference cannot evaluate the state.
    fn witnesses(&self) -> Result<Witnesses>;
}

/// A figure's states with their witnesses, the starting state first.
///
/// # Errors
/// When the reference cannot evaluate a state.
fn checked<F: Figure>() -> Result<Value> {
    let others = (1..=OTHER_STATES).map(|seed| F::other(&mut Draw::new(seed)));
    let all = std::iter::once(F::start()).chain(others).enumerate();
    let one = |(i, state): (usize, F)| {
        let expected = state
            .witnesses()
            .with_context(|| format!("figure {}, state {i}", F::NAME))?;
        Ok(json!({"state": state, "expected": expected}))
    };
    let states = all.map(one).collect::<Result<Vec<Value>>>()?;
    Ok(json!({"name": F::NAME, "states": states}))
}

/// The self-check's data: every figure with every state.
///
/// # Errors
/// When the reference cannot evaluate a state.
pub fn all() -> Result<Vec<Value>> {
    Ok(vec![
        checked::<smoother::Smoother>()?,
        checked::<attention::Attention>()?,
        checked::<prefix::Prefix>()?,
        checked::<growth::Growth>()?,
        checked::<inducer::Inducer>()?,
        checked::<process::Process>()?,
        checked::<ladder::Ladder>()?,
    ])
}
