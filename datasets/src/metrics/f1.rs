//! F1 of classes, as scikit-learn's `f1_score(average="macro")` computes it.
//!
//! ```text
//! F1_c = 2 TP_c / (2 TP_c + FP_c + FN_c),   macro F1 = mean of F1_c
//! ```
//!
//! The mean is over the classes that occur as a label or as an answer; one that is never answered
//! rightly has 0.

use std::collections::BTreeMap;

use super::paired;
use crate::Result;

/// F1 of each class and their mean, 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct ClassF1 {
    /// The mean over classes.
    pub macro_f1: f64,
    /// Of each class by its name.
    pub classes: BTreeMap<String, f64>,
}

/// F1 of predicted classes by their names.
///
/// # Errors
/// The lists differ in length.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use inducer_datasets::metrics::f1::macro_f1;
/// let f = macro_f1(&["a", "a", "b", "a"], &["a", "b", "b", "c"]).unwrap();
/// // a: 1 right, 2 wrong; b: 1 right, 1 missed; c: 1 missed
/// assert_eq!((f.classes["a"], f.classes["b"], f.classes["c"]), (0.5, 2.0 / 3.0, 0.0));
/// assert_abs_diff_eq!(f.macro_f1, (0.5 + 2.0 / 3.0) / 3.0, epsilon = 1e-15);
/// ```
pub fn macro_f1<S: AsRef<str>>(predicted: &[S], expected: &[S]) -> Result<ClassF1> {
    // right, predicted, expected
    let mut counts = BTreeMap::<&str, [usize; 3]>::new();
    for (p, e) in paired(predicted, expected)? {
        let (p, e) = (p.as_ref(), e.as_ref());
        counts.entry(p).or_default()[1] += 1;
        counts.entry(e).or_default()[2] += 1;
        if p == e {
            counts.entry(p).or_default()[0] += 1;
        }
    }
    let f1 = |[right, predicted, expected]: [usize; 3]| {
        2.0 * right as f64 / (predicted + expected) as f64
    };
    let classes = counts.into_iter().map(|(name, c)| (name.to_owned(), f1(c)));
    let classes: BTreeMap<String, f64> = classes.collect();
    Ok(ClassF1 {
        macro_f1: classes.values().sum::<f64>() / classes.len().max(1) as f64,
        classes,
    })
}
