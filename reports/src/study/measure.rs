//! What is measured of a run. A new score is a new variant.

use super::{Row, Run, Scores, paper};
use crate::stats::{Summary, paired};
use inducer_datasets::Task;

/// One number of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// BLEU on categories that occur in training.
    BleuSeen,
    /// BLEU on categories that do not.
    BleuUnseen,
    /// BLEU on all.
    BleuAll,
    /// BLEU on all, of the references that there are.
    BleuWithoutEmpty,
    /// METEOR on all.
    Meteor,
    /// TER on all.
    Ter,
    /// CoQA's exact match.
    ExactMatch,
    /// CoQA's F1.
    F1,
    /// Accuracy.
    Accuracy,
    /// Mean of the classes' F1, of data of one's own.
    MacroF1,
    /// Lowest validation loss: that of the adapter that is scored.
    Loss,
    /// Loss of all references of the scored test examples.
    TestLoss,
}

/// How a measure is written.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Above a column, under its group.
    pub title: &'static str,
    /// What neighbouring columns share.
    pub group: &'static str,
    /// Above a pair of columns.
    pub short: &'static str,
    /// In sentences.
    pub sentence: &'static str,
    /// What a difference is in: `+0.71 BLEU`.
    pub unit: &'static str,
    /// Decimals that are shown.
    pub digits: usize,
    /// Decimals that the paper prints.
    pub paper_digits: usize,
}

impl Measure {
    /// The measures of a task's main table.
    pub fn main(task: Task) -> &'static [Self] {
        match task {
            Task::Coqa => &[Self::ExactMatch, Self::F1, Self::TestLoss, Self::Loss],
            Task::Mnli | Task::Sst2 => &[Self::Accuracy, Self::TestLoss, Self::Loss],
            Task::Classify => &[Self::Accuracy, Self::MacroF1, Self::TestLoss, Self::Loss],
            Task::Generate => &[
                Self::BleuSeen,
                Self::BleuUnseen,
                Self::BleuAll,
                Self::Meteor,
                Self::Ter,
                Self::ExactMatch,
                Self::F1,
                Self::TestLoss,
                Self::Loss,
            ],
            Task::WebNlg => &[
                Self::BleuSeen,
                Self::BleuUnseen,
                Self::BleuAll,
                Self::BleuWithoutEmpty,
                Self::Meteor,
                Self::Ter,
                Self::TestLoss,
                Self::Loss,
            ],
        }
    }

    /// The measure that verdicts on a task are about.
    pub fn first(task: Task) -> Self {
        match task {
            Task::Coqa => Self::F1,
            Task::Mnli | Task::Sst2 | Task::Classify => Self::Accuracy,
            Task::WebNlg | Task::Generate => Self::BleuAll,
        }
    }

    /// What it is called, and in how many decimals it is written.
    pub fn named(self) -> Named {
        let other = |title, sentence, unit, [digits, paper_digits]: [usize; 2]| Named {
            title,
            short: title,
            sentence,
            group: "",
            unit,
            digits,
            paper_digits,
        };
        let bleu = |title, short, sentence| Named {
            short,
            group: "BLEU",
            ..other(title, sentence, "BLEU", [2, 1])
        };
        match self {
            Self::BleuSeen => bleu("seen", "BLEU seen", "BLEU on seen categories"),
            Self::BleuUnseen => bleu("unseen", "BLEU unseen", "BLEU on unseen categories"),
            Self::BleuAll => bleu("all", "BLEU all", "BLEU on all"),
            Self::BleuWithoutEmpty => bleu(
                "all, no empty",
                "BLEU, no empty",
                "BLEU on all without empty references",
            ),
            Self::Meteor => other("METEOR", "METEOR", "METEOR", [3, 2]),
            Self::Ter => other("TER ↓", "TER", "TER", [3, 2]),
            Self::ExactMatch => other(
                "Exact match",
                "exact match",
                "points of exact match",
                [2, 1],
            ),
            Self::F1 => other("F1", "F1", "F1", [2, 1]),
            Self::Accuracy => other("Accuracy", "accuracy", "points of accuracy", [2, 1]),
            Self::MacroF1 => other("Macro F1", "macro F1", "macro F1", [3, 2]),
            Self::Loss => other("Validation loss ↓", "validation loss", "nats", [3, 1]),
            Self::TestLoss => other("Test loss ↓", "test loss", "nats", [3, 1]),
        }
    }

    /// Whether more is better.
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Self::Loss | Self::TestLoss | Self::Ter)
    }

    /// The number of a run.
    pub fn of(self, run: &Run) -> Option<f64> {
        match (self, &run.result.scores) {
            (Self::BleuSeen, Scores::WebNlg { bleu, .. } | Scores::Text { bleu, .. }) => bleu.seen,
            (Self::BleuUnseen, Scores::WebNlg { bleu, .. } | Scores::Text { bleu, .. }) => {
                bleu.unseen
            }
            (Self::BleuAll, Scores::WebNlg { bleu, .. } | Scores::Text { bleu, .. }) => bleu.all,
            (Self::BleuWithoutEmpty, Scores::WebNlg { bleu, .. }) => bleu.without_empty,
            (Self::Meteor, Scores::WebNlg { meteor, .. } | Scores::Text { meteor, .. }) => {
                meteor.as_ref().map(|m| m.0)
            }
            (Self::Ter, Scores::WebNlg { ter, .. } | Scores::Text { ter, .. }) => *ter,
            (Self::ExactMatch, Scores::Text { overlap, .. }) => Some(overlap.exact_match),
            (Self::F1, Scores::Text { overlap, .. }) => Some(overlap.f1),
            (Self::MacroF1, Scores::Glue { scores }) => scores.f1.as_ref().map(|f| f.macro_f1),
            (Self::ExactMatch, Scores::Coqa { scores }) => Some(scores.overall.exact_match),
            (Self::F1, Scores::Coqa { scores }) => Some(scores.overall.f1),
            (Self::Accuracy, Scores::Glue { scores }) => Some(100.0 * scores.overall.score),
            (Self::Loss, _) => Some(run.result.training.validation_loss),
            (Self::TestLoss, _) => run.result.test_loss,
            _ => None,
        }
    }

    /// The paper's figure; its Table 2 (RoBERTa) is not part of this program.
    pub fn paper(self, method: &str) -> Option<f64> {
        let row = paper::of(method)?;
        match self {
            Self::BleuSeen => Some(row.bleu[0]),
            Self::BleuUnseen => Some(row.bleu[1]),
            Self::BleuAll => Some(row.bleu[2]),
            Self::Meteor => Some(row.meteor[2]),
            Self::Ter => Some(row.ter[2]),
            Self::ExactMatch => Some(row.coqa[0]),
            Self::F1 => Some(row.coqa[1]),
            Self::Accuracy
            | Self::MacroF1
            | Self::BleuWithoutEmpty
            | Self::Loss
            | Self::TestLoss => None,
        }
    }

    /// The measure whose figures in the paper stand beside this one's.
    pub fn beside(self) -> Self {
        match self {
            Self::BleuWithoutEmpty => Self::BleuAll,
            other => other,
        }
    }

    /// The paper's `upper − lower`.
    pub fn paper_difference(self, lower: &str, upper: &str) -> Option<f64> {
        Some(self.paper(upper)? - self.paper(lower)?)
    }

    /// Its numbers in a row, by seed.
    pub fn by_seed(self, row: &Row) -> Vec<(u64, f64)> {
        row.runs
            .iter()
            .filter_map(|r| self.of(r).map(|x| (r.seed, x)))
            .collect()
    }

    /// Its summary over the runs of a row.
    pub fn summary(self, row: &Row) -> Option<Summary> {
        let values: Vec<f64> = self.by_seed(row).into_iter().map(|(_, x)| x).collect();
        Summary::of(&values)
    }

    /// `b − a`, paired by seed.
    pub fn difference(self, a: &Row, b: &Row) -> Option<Summary> {
        paired(&self.by_seed(a), &self.by_seed(b))
    }

    /// Whether `a` is better than `b`.
    pub fn better(self, a: f64, b: f64) -> bool {
        if self.higher_is_better() {
            a > b
        } else {
            a < b
        }
    }
}
