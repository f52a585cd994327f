//! GLUE's conventions for MNLI and SST-2 (Wang et al. 2019).
//!
//! Both are scored by accuracy over all labelled rows, written in per cent with one decimal. MNLI
//! has two figures, matched and mismatched genres, which are not pooled; its task score in GLUE's
//! average is their mean. A submission is a table `index`, `prediction` with the class's name as in
//! the training file (SST-2: 0 or 1), in the order of the test file.

use std::collections::BTreeMap;

use super::accuracy::{Accuracy, Counts};
use super::f1::ClassF1;
use super::groups::by_group;
use super::paired;
use crate::{Error, Example, Result, Task};

/// Accuracy of a part and of each genre in it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Glue {
    /// Over all rows.
    #[serde(flatten)]
    pub overall: Accuracy,
    /// Over each genre, or group of data of one's own; empty for SST-2.
    pub genres: BTreeMap<String, Accuracy>,
    /// F1 of the classes, for data of one's own.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub f1: Option<ClassF1>,
}

/// Scores predicted classes against the examples' own.
///
/// # Errors
/// The lists differ in length; an example has no class.
pub fn glue(predicted: &[u32], examples: &[Example]) -> Result<Glue> {
    let right = |(p, e): (&u32, &Example)| match e.class {
        Some(class) => Ok(Counts::of(*p == class)),
        None => Err(Error::Invalid(format!(
            "row {}: its class is not known, it cannot be scored",
            e.position
        ))),
    };
    let right: Vec<Counts> = paired(predicted, examples)?
        .map(right)
        .collect::<Result<_>>()?;
    let genres: Vec<&str> = examples.iter().map(|e| e.category.as_str()).collect();
    let (overall, mut genres) = by_group(&right, &genres, Counts::score)?;
    genres.remove("");
    Ok(Glue {
        overall,
        genres,
        f1: None,
    })
}

/// MNLI's task score: the mean of its two accuracies.
///
/// ```
/// use inducer_datasets::metrics::{Accuracy, glue::mnli};
/// // 3 of 4 and 1 of 2: the mean of 0.75 and 0.5, not 4 of 6
/// assert_eq!(mnli(&Accuracy::new(3, 4), &Accuracy::new(1, 2)), 0.625);
/// ```
pub fn mnli(matched: &Accuracy, mismatched: &Accuracy) -> f64 {
    (matched.score + mismatched.score) / 2.0
}

/// Predictions as GLUE's server takes them.
///
/// # Errors
/// The task is no classification task, or a class is none of its own.
///
/// ```
/// use inducer_datasets::{Task, metrics::glue::submission};
/// let table = submission(Task::Mnli, &[2, 0]).unwrap();
/// assert_eq!(table, "index\tprediction\n0\tcontradiction\n1\tentailment\n");
/// assert!(submission(Task::Sst2, &[2]).is_err() && submission(Task::Coqa, &[]).is_err());
/// ```
pub fn submission(task: Task, predicted: &[u32]) -> Result<String> {
    let classes = task.classes();
    if classes.is_empty() {
        return Err(Error::Invalid(format!("{task} has no classes to submit")));
    }
    let mut table = String::from("index\tprediction\n");
    for (i, class) in predicted.iter().enumerate() {
        let name = classes.get(*class as usize);
        let name = name.ok_or_else(|| Error::Invalid(format!("{task} has no class {class}")))?;
        table += &format!("{i}\t{name}\n");
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;

    fn row(genre: &str, class: Option<u32>) -> Example {
        Example {
            position: 1,
            category: genre.into(),
            seen: true,
            input: Input::Sentence(String::new()),
            references: vec![],
            class,
            id: None,
        }
    }

    #[test]
    fn genres_have_their_own_accuracy() {
        let rows = [
            row("fiction", Some(0)),
            row("slate", Some(1)),
            row("slate", Some(2)),
        ];
        let s = glue(&[0, 1, 1], &rows).unwrap();
        assert_eq!((s.overall.correct, s.overall.total), (2, 3));
        assert_eq!(
            (s.genres["fiction"].score, s.genres["slate"].score),
            (1.0, 0.5)
        );
        assert!(glue(&[1], &[row("", Some(1))]).unwrap().genres.is_empty());
    }

    #[test]
    fn rows_without_a_class_and_unpaired_lists_are_refused() {
        assert!(
            glue(&[1], &[row("", None)])
                .unwrap_err()
                .to_string()
                .contains("not known")
        );
        assert!(glue(&[], &[row("", Some(1))]).is_err());
    }
}
