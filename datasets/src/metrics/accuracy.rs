//! Accuracy, GLUE's figure for MNLI and SST-2.
//!
//! ```text
//! accuracy = #{i : predicted_i = expected_i} / n
//! ```

use super::{paired, total};
use crate::Result;

/// Accuracy and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Accuracy {
    /// The score, 0 to 1; 0 of no examples.
    #[serde(rename = "accuracy")]
    pub score: f64,
    /// Examples predicted rightly.
    pub correct: usize,
    /// Examples.
    pub total: usize,
}

/// What one example adds, or the sum over several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Examples predicted rightly.
    pub correct: usize,
    /// Examples.
    pub total: usize,
}

impl Counts {
    /// One example.
    pub fn of(right: bool) -> Self {
        Self {
            correct: usize::from(right),
            total: 1,
        }
    }

    /// The score of summed counts.
    pub fn score(&self) -> Accuracy {
        Accuracy::new(self.correct, self.total)
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.correct += other.correct;
        self.total += other.total;
    }
}

impl Accuracy {
    /// The score of counts.
    pub fn new(correct: usize, total: usize) -> Self {
        let score = match total {
            0 => 0.0,
            n => correct as f64 / n as f64,
        };
        Self {
            score,
            correct,
            total,
        }
    }
}

/// Accuracy of predictions, whatever their type: class ids or the lines of a file.
///
/// # Errors
/// The lists differ in length.
///
/// ```
/// use inducer_datasets::metrics::accuracy;
/// assert_eq!(accuracy(&[0, 2, 1, 1], &[0, 2, 2, 1]).unwrap().score, 0.75);
/// ```
pub fn accuracy<T: PartialEq>(predicted: &[T], expected: &[T]) -> Result<Accuracy> {
    Ok(total(counts(predicted, expected)?).score())
}

/// [`Counts`] of every prediction.
///
/// # Errors
/// The lists differ in length.
pub fn counts<T: PartialEq>(predicted: &[T], expected: &[T]) -> Result<Vec<Counts>> {
    let pairs = paired(predicted, expected)?;
    Ok(pairs.map(|(p, e)| Counts::of(p == e)).collect())
}

#[cfg(test)]
mod tests {
    use super::accuracy;

    #[test]
    fn nothing_is_zero_and_unpaired_lists_are_refused() {
        assert_eq!(accuracy::<u32>(&[], &[]).unwrap().score, 0.0);
        let e = accuracy(&["a"], &[]).unwrap_err();
        assert_eq!(e.to_string(), "1 hypotheses but 0 sets of references");
    }

    #[test]
    fn one_wrong_of_three_is_two_thirds() {
        let a = accuracy(&["x", "y", "z"], &["x", "y", "Z"]).unwrap();
        assert_eq!((a.correct, a.total, a.score), (2, 3, 2.0 / 3.0));
    }
}
