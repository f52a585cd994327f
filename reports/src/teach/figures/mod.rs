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
use super::quantity::{Formula, Witnesses, witnesses};
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
}

/// A figure's states with the reference's values and bounds, the starting state first.
fn checked<F: Figure>(evaluate: impl Fn(&F) -> Result<Witnesses>) -> Result<Value> {
    let others = (1..=OTHER_STATES).map(|seed| F::other(&mut Draw::new(seed)));
    let all = std::iter::once(F::start()).chain(others).enumerate();
    let one = |(i, state): (usize, F)| {
        let expected = evaluate(&state);
        let expected = expected.with_context(|| format!("figure {}, state {i}", F::NAME))?;
        Ok(json!({"state": state, "expected": expected}))
    };
    let states = all.map(one).collect::<Result<Vec<Value>>>()?;
    Ok(json!({"name": F::NAME, "states": states}))
}

/// As [`checked`], of a figure whose formulas give values and bounds.
fn formula<F: Figure + Formula>() -> Result<Value> {
    checked(|state: &F| Ok(witnesses(state)))
}

/// The self-check's data: every figure with every state.
///
/// # Errors
/// When the reference cannot evaluate a state.
pub fn all() -> Result<Vec<Value>> {
    Ok(vec![
        formula::<smoother::Smoother>()?,
        formula::<attention::Attention>()?,
        formula::<prefix::Prefix>()?,
        formula::<growth::Growth>()?,
        formula::<inducer::Inducer>()?,
        checked(process::Process::witnesses)?,
        formula::<ladder::Ladder>()?,
    ])
}
