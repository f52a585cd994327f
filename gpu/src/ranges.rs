//! What a number of a configuration may be: the one place for its limits, which the file's reader,
//! the command line and its help all take from here.

use std::fmt::Display;

/// The values that a number may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// In words: `1 to 65,536`, `above 0 to 10`.
    pub text: &'static str,
    least: f64,
    most: f64,
    /// Whether the least value itself is left out.
    above: bool,
    /// Whether the greatest value itself is left out.
    below: bool,
    /// Whether only whole numbers are meant.
    whole: bool,
}

impl Range {
    const fn whole(least: u32, most: u32, text: &'static str) -> Self {
        Self {
            text,
            least: least as f64,
            most: most as f64,
            above: false,
            below: false,
            whole: true,
        }
    }

    const fn real(least: f64, most: f64, text: &'static str) -> Self {
        Self {
            text,
            least,
            most,
            above: false,
            below: false,
            whole: false,
        }
    }

    const fn without_least(self) -> Self {
        Self {
            above: true,
            ..self
        }
    }

    const fn without_most(self) -> Self {
        Self {
            below: true,
            ..self
        }
    }

    /// Whether only whole numbers are meant.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether a number is one of them; NaN never is.
    pub fn contains(&self, x: f64) -> bool {
        let low = if self.above {
            x > self.least
        } else {
            x >= self.least
        };
        let high = if self.below {
            x < self.most
        } else {
            x <= self.most
        };
        low && high && !(self.whole && x.fract() != 0.0)
    }

    /// `expected a whole number, 1 to 65,536, found 0`.
    pub fn refusal(&self, found: impl Display) -> String {
        let kind = if self.whole {
            "a whole number"
        } else {
            "a number"
        };
        format!("expected {kind}, {}, found {found}", self.text)
    }

    /// The number, if it is one of them.
    ///
    /// # Errors
    /// What was expected and found.
    pub fn check(&self, x: f64) -> Result<f64, String> {
        match self.contains(x) {
            true => Ok(x),
            false => Err(self.refusal(x)),
        }
    }
}

/// Optimiser steps that are asked for.
pub const STEPS: Range = Range::whole(1, 100_000_000, "1 to 100,000,000");
/// Passes over the training data.
pub const EPOCHS: Range = Range::whole(1, 100_000, "1 to 100,000");
/// Rows of a batch, and batches of a step.
pub const BATCH: Range = Range::whole(1, 65_536, "1 to 65,536");
/// Warm-up steps.
pub const WARMUP: Range = Range::whole(0, 100_000_000, "0 to the number of steps");
/// Steps between two of something.
pub const EVERY: Range = Range::whole(1, 100_000_000, "1 to 100,000,000");
/// Validations without a new best.
pub const PATIENCE: Range = Range::whole(1, 1_000_000, "1 to 1,000,000");
/// The highest learning rate. A step of Adam moves a weight by about so much, so more than 10 can
/// only be a slip.
pub const LEARNING_RATE: Range = Range::real(0.0, 10.0, "above 0 to 10").without_least();
/// A probability of dropping: at 1 nothing would be left.
pub const DROPOUT: Range = Range::real(0.0, 1.0, "0 to below 1").without_most();
/// Probability mass that label smoothing takes from the label.
pub const SMOOTHING: Range = Range::real(0.0, 1.0, "0 to below 1").without_most();
/// A share of something.
pub const SHARE: Range = Range::real(0.0, 1.0, "0 to 1");
/// Weight decay, which is multiplied by the learning rate.
pub const WEIGHT_DECAY: Range = Range::real(0.0, 10.0, "0 to 10");
/// Adam's β₁ and β₂.
pub const BETA: Range = Range::real(0.0, 1.0, "0 to below 1").without_most();
/// Adam's ε.
pub const EPS: Range = Range::real(0.0, 1.0, "above 0 to 1").without_least();
/// A norm that gradients are clipped to, or a power.
pub const POSITIVE: Range = Range::real(0.0, 1e6, "above 0 to 1,000,000").without_least();
/// Threads of a process, and runs at a time.
pub const THREADS: Range = Range::whole(1, 1024, "1 to 1,024");
/// New tokens of a text.
pub const NEW_TOKENS: Range = Range::whole(1, 1_000_000, "1 to what the positions leave");
/// Entries, runs, draws, cases: a number of things of which there is at least one.
pub const COUNT: Range = Range::whole(1, 100_000_000, "1 to 100,000,000");
/// The same, where 0 means none of them.
pub const COUNT_OR_NONE: Range = Range::whole(0, 100_000_000, "0 to 100,000,000");
/// A size of a network: rank, bottleneck, prefix length, hidden size, heads, classes.
pub const SIZE: Range = Range::whole(1, 1_000_000, "1 to 1,000,000");
/// Layers of a network; the deepest ones published have some hundred.
pub const LAYERS: Range = Range::whole(1, 10_000, "1 to 10,000");
/// LoRA's α, which is divided by the rank.
pub const ALPHA: Range = Range::real(0.0, 1e6, "above 0 to 1,000,000").without_least();

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Range; 21] = [
        STEPS,
        EPOCHS,
        BATCH,
        WARMUP,
        EVERY,
        PATIENCE,
        LEARNING_RATE,
        DROPOUT,
        SMOOTHING,
        SHARE,
        WEIGHT_DECAY,
        BETA,
        EPS,
        POSITIVE,
        THREADS,
        NEW_TOKENS,
        COUNT,
        COUNT_OR_NONE,
        SIZE,
        LAYERS,
        ALPHA,
    ];

    #[test]
    fn no_range_has_a_number_that_is_none() {
        for range in ALL {
            for x in [f64::NAN, f64::INFINITY, -f64::INFINITY, -1.0, 1e300] {
                assert!(!range.contains(x), "{range:?}: {x}");
                assert!(range.check(x).unwrap_err().contains(range.text));
            }
        }
    }

    #[test]
    fn the_words_say_the_limits() {
        for range in ALL {
            let first = range.text.split(' ').find_map(|w| w.parse::<f64>().ok());
            let least = first.unwrap_or_else(|| panic!("no number in {}", range.text));
            assert_eq!(
                range.contains(least),
                !range.text.starts_with("above"),
                "{range:?}"
            );
            let last = range
                .text
                .rsplit(' ')
                .next()
                .unwrap_or_default()
                .replace(',', "");
            let Ok(most) = last.parse::<f64>() else {
                continue; // `the number of steps`: checked where that is known
            };
            assert_eq!(
                range.contains(most),
                !range.text.contains("below"),
                "{range:?}"
            );
            assert!(!range.contains(most + 1.0), "{range:?}");
        }
        assert!(BATCH.contains(1.0) && !BATCH.contains(1.5) && !BATCH.contains(0.0));
    }
}
