//! Cross entropy with label smoothing, as PyTorch defines it.
//!
//! ```text
//! loss_i = (1 − ε) (−log softmax(z_i)_{y_i}) + ε · mean_c (−log softmax(z_i)_c)
//! loss   = mean of loss_i over the rows whose label is not −100
//! ```
//!
//! Checked by `loss_of_uniform_logits_is_the_logarithm_of_the_number_of_classes` and
//! `loss_smoothing_is_a_mixture_with_the_uniform_target`.

use crate::error::Error;
use crate::scalar::Real;
use ndarray::ArrayRef2;

/// The label that asks for no loss.
pub const IGNORED: i64 = -100;

/// Mean cross entropy of logits and labels, row by row (no shift), and the number of labelled rows.
///
/// # Shapes
/// `logits`: `[n, classes]`; `labels`: n.
///
/// # Errors
/// When the lengths differ, a label is neither a class nor −100, or no row is labelled.
///
/// # Numerics
/// Each row's greatest logit is subtracted first.
///
/// ```
/// use inducer_reference::loss::cross_entropy;
/// use ndarray::array;
/// let logits = array![[0.0_f64, 0.0], [5.0, -5.0]];
/// let (loss, count) = cross_entropy(&logits, &[1, -100], 0.1)?;
/// assert_eq!((loss, count), (2.0_f64.ln(), 1));
/// # Ok::<(), inducer_reference::Error>(())
/// ```
pub fn cross_entropy<T: Real>(
    logits: &ArrayRef2<T>,
    labels: &[i64],
    label_smoothing: T,
) -> Result<(T, usize), Error> {
    let (n, classes) = logits.dim();
    if labels.len() != n {
        return Err(Error::Length {
            what: "labels",
            expected: n,
            found: labels.len(),
        });
    }
    let mut sum = T::zero();
    let mut count = 0;
    for (i, &label) in labels
        .iter()
        .enumerate()
        .filter(|(_, label)| **label != IGNORED)
    {
        let class = usize::try_from(label).ok().filter(|&class| class < classes);
        let class = class.ok_or_else(|| Error::Input {
            input: "label",
            position: i,
            expected: format!("less than {classes}, or −100"),
            found: label.to_string(),
        })?;
        let row = logits.row(i);
        let greatest = row.iter().copied().fold(row[class], T::maximum);
        let shifted = row.mapv(|z| z - greatest);
        let lse = shifted.mapv(T::exp).sum().ln();
        let of_label = lse - shifted[class];
        let of_all = lse - shifted.sum() / T::from_usize(classes);
        sum = sum + (T::one() - label_smoothing) * of_label + label_smoothing * of_all;
        count += 1;
    }
    if count == 0 {
        return Err(Error::Length {
            what: "labelled rows",
            expected: 1,
            found: 0,
        });
    }
    Ok((sum / T::from_usize(count), count))
}

/// Labels shifted by one: row i of the logits predicts token i + 1; the last row has no label.
///
/// ```
/// assert_eq!(inducer_reference::loss::shift_labels(&[7, 8, 9]), vec![8, 9, -100]);
/// ```
#[must_use]
pub fn shift_labels(labels: &[i64]) -> Vec<i64> {
    let next = labels.iter().skip(1).copied();
    next.chain((!labels.is_empty()).then_some(IGNORED))
        .collect()
}
