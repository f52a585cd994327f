//! Learning-rate schedules, as transformers' `get_*_schedule_with_warmup` and fairseq's polynomial
//! decay.

use serde::{Deserialize, Serialize};

/// The course of the learning rate after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// To 0 in a straight line.
    Linear,
    /// No change.
    Constant,
    /// Half a cosine to 0.
    Cosine,
    /// `(1 − end)(1 − x)^power + end` for the share x of the decay that is done, and `end` after
    /// it.
    Polynomial {
        /// The power; 1 is a straight line.
        power: f64,
        /// The last learning rate as a share of the highest, 0 to 1.
        end: f64,
    },
}

impl Schedule {
    /// The factor on the learning rate of step `step` (from 0) of `total`.
    ///
    /// ```
    /// use inducer_gpu::train::Schedule;
    /// assert_eq!(Schedule::Linear.factor(5, 10, 100), 0.5); // half of the warm-up
    /// assert_eq!(Schedule::Linear.factor(55, 10, 100), 0.5); // half of the decay
    /// ```
    pub fn factor(self, step: usize, warmup: usize, total: usize) -> f64 {
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        let done = (step - warmup) as f64 / (total.saturating_sub(warmup)).max(1) as f64;
        match self {
            Self::Linear => (1.0 - done).max(0.0),
            Self::Constant => 1.0,
            Self::Polynomial { power, end } => {
                (1.0 - end) * (1.0 - done.min(1.0)).powf(power) + end
            }
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `get_polynomial_decay_schedule_with_warmup(optimizer, 10, 100, lr_end=2e-5, power=2.0)` of
    /// transformers 5.23.0 on a learning rate of 2e-4, divided by it.
    #[test]
    fn the_polynomial_is_that_of_transformers() {
        let schedule = Schedule::Polynomial {
            power: 2.0,
            end: 0.1,
        };
        let expected = [
            (0, 0.0),
            (5, 0.5),
            (10, 1.0),
            (40, 0.5),
            (99, 0.100_111_111_111_111_11),
            (100, 0.1),
            (110, 0.1),
        ];
        for (step, factor) in expected {
            let found = schedule.factor(step, 10, 100);
            // one power and three roundings
            assert!(
                (found - factor).abs() < 4.0 * f64::EPSILON,
                "{step}: {found}"
            );
        }
    }

    #[test]
    fn a_polynomial_of_power_one_to_zero_is_the_line() {
        let line = Schedule::Polynomial {
            power: 1.0,
            end: 0.0,
        };
        for step in 0..60 {
            assert_eq!(
                line.factor(step, 7, 50),
                Schedule::Linear.factor(step, 7, 50)
            );
        }
        assert_ne!(line.factor(30, 7, 50), Schedule::Cosine.factor(30, 7, 50));
    }
}
