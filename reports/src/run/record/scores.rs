//! A task's scores, and their forms in `result.json` and `report.json`.

use crate::run::Prepared;
use anyhow::Result;
use inducer_datasets::metrics::glue::Glue;
use inducer_datasets::metrics::meteor::Files;
use inducer_datasets::metrics::{Accuracy, ClassF1, Coqa, Texts, WebNlg, coqa, texts, webnlg};
use inducer_datasets::{Example, Task};
use serde::{Deserialize, Serialize};

/// A task's score. It serialises as `inducer evaluate --json` prints it; `in_result` and
/// `in_report` are its forms in the two files, of which only `result.json` has the counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scores {
    /// Texts from triples.
    WebNlg {
        /// BLEU, 0 to 100.
        bleu: Bleu,
        /// METEOR on all, 0 to 1, and its matchers that ran.
        #[serde(skip)]
        meteor: Option<(f64, Vec<String>)>,
        /// TER on all, 0 is perfect.
        #[serde(skip)]
        ter: Option<f64>,
        /// All three by category, where the texts were scored just now.
        scores: Option<Box<WebNlg>>,
    },
    /// Answers to conversational questions.
    Coqa {
        /// Exact match and F1, over all questions and by domain.
        scores: Coqa,
    },
    /// Classes.
    Glue {
        /// Accuracy, over all rows and by genre; of data of one's own F1 as well.
        scores: Glue,
    },
    /// Texts of one's own.
    Text {
        /// BLEU as sacrebleu computes it, 0 to 100.
        bleu: Bleu,
        /// METEOR on all, 0 to 1, and its matchers that ran.
        #[serde(skip)]
        meteor: Option<(f64, Vec<String>)>,
        /// TER on all as sacrebleu computes it, 0 is perfect.
        #[serde(skip)]
        ter: Option<f64>,
        /// Exact match and F1 of words on all.
        overlap: coqa::Scores,
        /// All of them by group, where the texts were scored just now.
        scores: Option<Box<Texts>>,
    },
}

impl Scores {
    /// Scores outputs (texts, or the classes' names), one for each example.
    ///
    /// # Errors
    /// Resources of METEOR that cannot be read; an example whose class is not known.
    pub fn of(
        prepared: &Prepared,
        outputs: &[String],
        examples: &[Example],
        files: &Files,
    ) -> Result<Self> {
        Ok(match prepared.source.task {
            Task::WebNlg => webnlg::scores(outputs, examples, files)?.into(),
            Task::Generate => texts::scores(outputs, examples, files)?.into(),
            Task::Coqa => Self::Coqa {
                scores: super::super::scores::coqa_scores(outputs, examples)?,
            },
            Task::Mnli | Task::Sst2 | Task::Classify => Self::Glue {
                scores: super::super::scores::glue_scores(prepared, outputs, examples)?,
            },
        })
    }

    /// No score.
    pub fn none() -> Self {
        Self::of_fields(Common::default(), None, None, None, None)
    }

    /// As text: `BLEU seen 59.80, unseen –, all 46.10`, `exact match 1.2, F1 3.4`, `accuracy
    /// 83.0 % (332 of 400)`.
    pub fn as_text(&self) -> String {
        match self {
            Self::WebNlg { bleu, .. } => bleu.as_text(),
            Self::Coqa { scores } => {
                let all = &scores.overall;
                format!("exact match {:.1}, F1 {:.1}", all.exact_match, all.f1)
            }
            Self::Glue { scores } => {
                let Accuracy {
                    score,
                    correct,
                    total,
                } = scores.overall;
                let f1 = scores
                    .f1
                    .as_ref()
                    .map(|f| format!(", macro F1 {:.3}", f.macro_f1));
                format!(
                    "accuracy {:.1} % ({correct} of {total}){}",
                    100.0 * score,
                    f1.unwrap_or_default()
                )
            }
            Self::Text { bleu, overlap, .. } => format!(
                "BLEU {:.2}, exact match {:.1}, F1 {:.1}",
                bleu.all.unwrap_or(0.0),
                overlap.exact_match,
                overlap.f1
            ),
        }
    }
}

impl Scores {
    /// The scores that a file's fields say; a task has its own only.
    fn of_fields(
        common: Common,
        coqa: Option<Coqa>,
        accuracy: Option<Accuracy>,
        macro_f1: Option<f64>,
        overlap: Option<coqa::Scores>,
    ) -> Self {
        let genres = Default::default();
        let f1 = macro_f1.map(|macro_f1| ClassF1 {
            macro_f1,
            ..ClassF1::default()
        });
        let Common { bleu, meteor, ter } = common;
        match (coqa, accuracy, overlap) {
            (Some(scores), ..) => Self::Coqa { scores },
            (None, Some(overall), _) => Self::Glue {
                scores: Glue {
                    overall,
                    genres,
                    f1,
                },
            },
            (None, None, Some(overlap)) => Self::Text {
                bleu,
                meteor,
                ter,
                overlap,
                scores: None,
            },
            (None, None, None) => Self::WebNlg {
                bleu,
                meteor,
                ter,
                scores: None,
            },
        }
    }
}

/// The figures of texts that several tasks have.
#[derive(Default)]
struct Common {
    bleu: Bleu,
    meteor: Option<(f64, Vec<String>)>,
    ter: Option<f64>,
}

impl From<Texts> for Scores {
    fn from(all: Texts) -> Self {
        let (bleu, meteor) = (&all.bleu, &all.meteor.all);
        let [seen, unseen] = [&bleu.seen, &bleu.unseen].map(|b| b.as_ref().map(|b| b.score));
        let matchers = meteor.matchers.iter().map(ToString::to_string);
        Self::Text {
            bleu: Bleu {
                seen,
                unseen,
                all: Some(bleu.all.score),
                without_empty: None,
            },
            meteor: Some((meteor.score, matchers.collect())),
            ter: Some(all.ter.all.score),
            overlap: all.overlap.all,
            scores: Some(Box::new(all)),
        }
    }
}

impl From<WebNlg> for Scores {
    fn from(all: WebNlg) -> Self {
        let (bleu, meteor) = (&all.bleu, &all.meteor.all);
        let [seen, unseen] = [&bleu.seen, &bleu.unseen].map(|b| b.as_ref().map(|b| b.score));
        let matchers = meteor.matchers.iter().map(ToString::to_string);
        Self::WebNlg {
            bleu: Bleu {
                seen,
                unseen,
                all: seen.or(unseen).map(|_| bleu.all.score),
                without_empty: Some(all.bleu_without_empty.all.score),
            },
            meteor: Some((meteor.score, matchers.collect())),
            ter: Some(all.ter.all.score),
            scores: Some(Box::new(all)),
        }
    }
}

/// The fields of `result.json`.
pub(super) mod in_result {
    use super::*;
    use serde::{Deserializer, Serializer};

    #[derive(Default, Serialize, Deserialize)]
    struct Fields {
        bleu: Bleu,
        #[serde(skip_serializing_if = "Option::is_none")]
        meteor: Option<(f64, Vec<String>)>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ter: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        coqa: Option<Coqa>,
        #[serde(skip_serializing_if = "Option::is_none")]
        accuracy: Option<Accuracy>,
        #[serde(skip_serializing_if = "Option::is_none")]
        macro_f1: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        overlap: Option<coqa::Scores>,
    }

    pub(crate) fn serialize<S: Serializer>(scores: &Scores, to: S) -> Result<S::Ok, S::Error> {
        let mut f = Fields::default();
        match scores.clone() {
            Scores::WebNlg {
                bleu, meteor, ter, ..
            } => (f.bleu, f.meteor, f.ter) = (bleu, meteor, ter),
            Scores::Coqa { scores } => f.coqa = Some(scores),
            Scores::Glue { scores } => {
                f.accuracy = Some(scores.overall);
                f.macro_f1 = scores.f1.map(|f1| f1.macro_f1);
            }
            Scores::Text {
                bleu,
                meteor,
                ter,
                overlap,
                ..
            } => (f.bleu, f.meteor, f.ter, f.overlap) = (bleu, meteor, ter, Some(overlap)),
        }
        f.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Scores, D::Error> {
        let f = Fields::deserialize(from)?;
        let common = Common {
            bleu: f.bleu,
            meteor: f.meteor,
            ter: f.ter,
        };
        Ok(Scores::of_fields(
            common, f.coqa, f.accuracy, f.macro_f1, f.overlap,
        ))
    }
}

/// The fields of `report.json`.
pub(crate) mod in_report {
    use super::*;
    use serde::{Deserializer, Serializer};

    #[derive(Default, Serialize, Deserialize)]
    struct Fields {
        #[serde(default)]
        bleu: Bleu,
        meteor: Option<f64>,
        ter: Option<f64>,
        /// Exact match and F1.
        coqa: Option<[f64; 2]>,
        /// Per cent.
        accuracy: Option<f64>,
        /// Of the classes of data of one's own, 0 to 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        macro_f1: Option<f64>,
        /// Exact match and F1 of texts of one's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        overlap: Option<[f64; 2]>,
    }

    pub(crate) fn serialize<S: Serializer>(scores: &Scores, to: S) -> Result<S::Ok, S::Error> {
        let mut f = Fields::default();
        match scores {
            Scores::WebNlg {
                bleu, meteor, ter, ..
            } => (f.bleu, f.meteor, f.ter) = (*bleu, meteor.as_ref().map(|m| m.0), *ter),
            Scores::Coqa { scores } => {
                f.coqa = Some([scores.overall.exact_match, scores.overall.f1])
            }
            Scores::Glue { scores } => {
                f.accuracy = Some(100.0 * scores.overall.score);
                f.macro_f1 = scores.f1.as_ref().map(|f1| f1.macro_f1);
            }
            Scores::Text {
                bleu,
                meteor,
                ter,
                overlap,
                ..
            } => {
                (f.bleu, f.meteor, f.ter) = (*bleu, meteor.as_ref().map(|m| m.0), *ter);
                f.overlap = Some([overlap.exact_match, overlap.f1]);
            }
        }
        f.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Scores, D::Error> {
        let f = Fields::deserialize(from)?;
        let meteor = f.meteor.map(|m| (m, Vec::new()));
        let of = |[exact_match, f1]: [f64; 2]| coqa::Scores {
            exact_match,
            f1,
            questions: 0,
        };
        let coqa = f.coqa.map(|scores| Coqa {
            overall: of(scores),
            ..Coqa::default()
        });
        let accuracy = f.accuracy.map(|percent| Accuracy {
            score: percent / 100.0,
            correct: 0,
            total: 0,
        });
        let common = Common {
            bleu: f.bleu,
            meteor,
            ter: f.ter,
        };
        let overlap = f.overlap.map(of);
        Ok(Scores::of_fields(
            common, coqa, accuracy, f.macro_f1, overlap,
        ))
    }
}

/// BLEU, 0 to 100; absent where the test part has no such entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bleu {
    /// Categories that occur in training.
    pub seen: Option<f64>,
    /// Categories that do not.
    pub unseen: Option<f64>,
    /// All.
    pub all: Option<f64>,
    /// All, of the references that there are: multi-bleu takes a missing one for an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_empty: Option<f64>,
}

impl Bleu {
    fn as_text(&self) -> String {
        let figure = |x: Option<f64>| x.map_or("–".into(), |x| format!("{x:.2}"));
        let [seen, unseen, all] = [self.seen, self.unseen, self.all].map(figure);
        format!("BLEU seen {seen}, unseen {unseen}, all {all}")
    }
}
