//! The visible set V(i): which keys query i may see.
//!
//! A causal model lets query i see keys j ≤ i only; a padded batch hides its padding keys. Every
//! sum over keys in this crate runs over V(i), the denominator of λ included. (The authors' RoBERTa
//! code lets padding keys into λ's denominator; Equation (7) does not.)
//!
//! Checked by `padding_changes_no_output_under_any_method` and
//! `causal_a_later_token_changes_no_earlier_output_under_any_method`.

use ndarray::Array2;

/// For each query the set of keys that it sees.
///
/// ```
/// use inducer_reference::visible::Visible;
/// let visible = Visible::causal(3).hiding(&[false, true, true]); // the first key is padding
/// assert_eq!(visible.of(2).collect::<Vec<_>>(), vec![1, 2]);
/// assert_eq!(visible.of(0).count(), 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible(Array2<bool>);

impl Visible {
    /// Every one of n queries sees all m keys.
    #[must_use]
    pub fn all(n: usize, m: usize) -> Self {
        Self(Array2::from_elem((n, m), true))
    }

    /// Query i of n sees keys 0 to i.
    #[must_use]
    pub fn causal(n: usize) -> Self {
        Self(Array2::from_shape_fn((n, n), |(i, j)| j <= i))
    }

    /// Any relation, `[n, m]`.
    #[must_use]
    pub fn from_matrix(sees: Array2<bool>) -> Self {
        Self(sees)
    }

    /// The same sets without the keys whose `real` is false.
    #[must_use]
    pub fn hiding(mut self, real: &[bool]) -> Self {
        for mut row in self.0.rows_mut() {
            for (sees, &real) in row.iter_mut().zip(real) {
                *sees &= real;
            }
        }
        self
    }

    /// The members of V(i), ascending.
    pub fn of(&self, i: usize) -> impl Iterator<Item = usize> + '_ {
        self.0
            .row(i)
            .into_iter()
            .enumerate()
            .filter_map(|(j, &sees)| sees.then_some(j))
    }

    /// Whether j ∈ V(i).
    #[must_use]
    pub fn sees(&self, i: usize, j: usize) -> bool {
        self.0[[i, j]]
    }
}
