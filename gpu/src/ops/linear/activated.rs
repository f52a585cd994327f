//! A linear map with an activation, as a hidden layer has it: on a card the two are one, and so are
//! the slope of the activation and the product with the next map's weight.

use super::Linear;
use crate::error::Result;
use crate::ops::activation::Activation;
use crate::tape::{Tape, Value};

/// The units of a hidden layer.
pub struct Activated {
    /// Their values.
    value: Value,
    /// What the activation was applied to, where a map of the units needs it.
    before: Option<Before>,
}

/// What an activation was applied to.
#[derive(Clone)]
pub(super) struct Before {
    pub(super) value: Value,
    pub(super) activation: Activation,
}

impl Activated {
    /// Units that an operation of its own has made.
    pub fn alone(value: Value) -> Self {
        Self {
            value,
            before: None,
        }
    }

    /// Their values.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What `change` makes of the units.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn changed(self, change: impl FnOnce(Value) -> Result<Value>) -> Result<Self> {
        let slot = self.value.slot();
        let value = change(self.value)?;
        // a value of another operation is not that of the activation any more
        let before = self.before.filter(|_| value.slot() == slot);
        Ok(Self { value, before })
    }
}

impl Linear<'_> {
    /// An activation of the map of `x`.
    ///
    /// # Shapes
    /// `x` [tokens, in] → [tokens, out].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn activated(&self, tape: &Tape, x: &Value, activation: Activation) -> Result<Activated> {
        let sizes = self.sizes(tape, &x.tensor)?;
        let (value, before) = match self.onto.is_none() && self.runs_on_card(x) {
            true => self.activated_on_card(tape, x, activation, sizes)?,
            false => (activation.apply(tape, &self.apply(tape, x)?)?, None),
        };
        Ok(Activated { value, before })
    }

    /// The map of the units of a hidden layer.
    ///
    /// # Shapes
    /// Those of [`Linear::apply`].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn of_activated(&self, tape: &Tape, units: &Activated) -> Result<Value> {
        let Activated { value: x, before } = units;
        match self.runs_on_card(x) {
            true => self.on_card(tape, x, before.as_ref(), self.sizes(tape, &x.tensor)?),
            false => self.apply(tape, x),
        }
    }
}
