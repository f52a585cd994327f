//! What a run found, as `result.json` holds it and `report.json` takes it over.

use anyhow::Result;
use inducer_datasets::metrics::glue::Glue;
use inducer_datasets::metrics::meteor::Files;
use inducer_datasets::metrics::{Accuracy, Coqa, WebNlg, coqa, webnlg};
use inducer_datasets::{Example, Task};
use serde::{Deserialize, Serialize};

/// What a run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResult {
    /// Scores on the test part.
    #[serde(flatten, with = "in_result")]
    pub scores: Scores,
    /// Losses, steps, times.
    #[serde(flatten)]
    pub training: TrainingSummary,
    /// Loss of all references of the scored examples, nats a token; none of runs that were scored
    /// by an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_loss: Option<f64>,
    /// Gates, and what goes with the length of an input.
    #[serde(flatten)]
    pub mechanism: Mechanism,
    /// Most bytes held at once; none where they were not counted, or the run was stopped in
    /// between.
    #[serde(default)]
    pub peak_bytes: Option<u64>,
}

/// How a run was trained, in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// Validation loss of the adapter that was scored: the lowest.
    pub validation_loss: f64,
    /// Its step.
    pub best_step: usize,
    /// Validation loss after the last step.
    pub last_validation_loss: f64,
    /// Steps done.
    pub steps: usize,
    /// Tokens seen.
    pub tokens: u64,
    /// Seconds of training.
    pub train_seconds: f64,
    /// Seconds of decoding.
    pub decode_seconds: f64,
}

/// [`TrainingSummary`] under the names of `report.json`, where `validation_loss` is the last.
#[derive(Serialize, Deserialize)]
#[serde(remote = "TrainingSummary")]
pub(crate) struct TrainingInReport {
    #[serde(rename = "validation_loss")]
    last_validation_loss: f64,
    #[serde(rename = "best_validation_loss")]
    validation_loss: f64,
    best_step: usize,
    #[serde(rename = "seconds")]
    train_seconds: f64,
    tokens: u64,
    #[serde(skip)]
    steps: usize,
    #[serde(skip)]
    decode_seconds: f64,
}

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
        /// Accuracy, over all rows and by genre.
        scores: Glue,
    },
}

impl Scores {
    /// Scores outputs (texts, or the classes' names), one for each example.
    ///
    /// # Errors
    /// Resources of METEOR that cannot be read; an example whose class is not known.
    pub fn of(task: Task, outputs: &[String], examples: &[Example], files: &Files) -> Result<Self> {
        Ok(match task {
            Task::WebNlg => webnlg::scores(outputs, examples, files)?.into(),
            Task::Coqa => Self::Coqa {
                scores: super::scores::coqa_scores(outputs, examples)?,
            },
            Task::Mnli | Task::Sst2 => Self::Glue {
                scores: super::scores::glue_scores(task, outputs, examples)?,
            },
        })
    }

    /// No score.
    pub fn none() -> Self {
        Self::of_fields(Bleu::default(), None, None, None, None)
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
                format!("accuracy {:.1} % ({correct} of {total})", 100.0 * score)
            }
        }
    }
}

impl Scores {
    /// The scores that a file's fields say; a task has its own only.
    fn of_fields(
        bleu: Bleu,
        meteor: Option<(f64, Vec<String>)>,
        ter: Option<f64>,
        coqa: Option<Coqa>,
        accuracy: Option<Accuracy>,
    ) -> Self {
        let genres = Default::default();
        match (coqa, accuracy) {
            (Some(scores), _) => Self::Coqa { scores },
            (None, Some(overall)) => Self::Glue {
                scores: Glue { overall, genres },
            },
            (None, None) => Self::WebNlg {
                bleu,
                meteor,
                ter,
                scores: None,
            },
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
mod in_result {
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
    }

    pub(super) fn serialize<S: Serializer>(scores: &Scores, to: S) -> Result<S::Ok, S::Error> {
        let mut f = Fields::default();
        match scores.clone() {
            Scores::WebNlg {
                bleu, meteor, ter, ..
            } => (f.bleu, f.meteor, f.ter) = (bleu, meteor, ter),
            Scores::Coqa { scores } => f.coqa = Some(scores),
            Scores::Glue { scores } => f.accuracy = Some(scores.overall),
        }
        f.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Scores, D::Error> {
        let f = Fields::deserialize(from)?;
        Ok(Scores::of_fields(
            f.bleu, f.meteor, f.ter, f.coqa, f.accuracy,
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
            Scores::Glue { scores } => f.accuracy = Some(100.0 * scores.overall.score),
        }
        f.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Scores, D::Error> {
        let f = Fields::deserialize(from)?;
        let meteor = f.meteor.map(|m| (m, Vec::new()));
        let coqa = f.coqa.map(|[exact_match, f1]| Coqa {
            overall: coqa::Scores {
                exact_match,
                f1,
                questions: 0,
            },
            ..Coqa::default()
        });
        let accuracy = f.accuracy.map(|percent| Accuracy {
            score: percent / 100.0,
            correct: 0,
            total: 0,
        });
        Ok(Scores::of_fields(f.bleu, meteor, f.ter, coqa, accuracy))
    }
}

/// The paper's mechanism in a run: how much weight the added tokens get.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mechanism {
    /// λ of inducers, μ of prefixes, by layer; empty for other methods.
    pub gates: Vec<LayerGates>,
    /// The same by position of the query.
    #[serde(default)]
    pub by_position: Vec<PositionGates>,
    /// Score and mechanism by length of the input.
    #[serde(default)]
    pub by_length: Vec<LengthBin>,
    /// What λ or μ is worth; absent for other methods and in runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_gates: Option<FixedLosses>,
}

/// The loss of the scored inputs, each with its first reference, in nats a token (a row of a
/// classifier): with the method's own gates and with others in their place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedLosses {
    /// λ or μ as it is.
    pub own: f64,
    /// The mean of each head at every token.
    pub head_mean: f64,
    /// 1 at every token.
    pub one: f64,
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

/// λ (or μ) of one layer over validation tokens and heads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerGates {
    /// Layer, from 0.
    pub layer: usize,
    /// Mean.
    pub mean: f64,
    /// 5, 25, 50, 75 and 95 per cent quantiles.
    pub quantiles: [f64; 5],
    /// Shares of 20 equal bins over [0, 1].
    pub histogram: Vec<f64>,
    /// Mean of each head.
    pub heads: Vec<f64>,
    /// 5, 25, 50, 75 and 95 per cent quantiles of the distance from a query to the nearest added
    /// key, in bandwidths p^{1/4} of the kernel.
    #[serde(default)]
    pub distance: Option<[f64; 5]>,
    /// Share of queries whose added tokens together get less than a hundredth of the weight.
    #[serde(default)]
    pub unreached: Option<f64>,
    /// Mean before the first step of training, on the same queries: what the frozen model and the
    /// start decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untrained: Option<f64>,
}

/// λ (or μ) of the queries in a span of positions, over layers and heads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionGates {
    /// First position, from 0.
    pub from: usize,
    /// Last position.
    pub to: usize,
    /// Queries, layers and heads counted.
    pub queries: usize,
    /// Mean.
    pub gate: f64,
    /// Share below a hundredth.
    pub unreached: f64,
    /// Median distance to the nearest added key, in bandwidths.
    pub distance: f64,
}

/// What a run did with the test inputs of similar length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthBin {
    /// Tokens of the shortest input.
    pub from: usize,
    /// Tokens of the longest input.
    pub to: usize,
    /// Inputs.
    pub entries: usize,
    /// The task's first score on them.
    pub score: Option<f64>,
    /// Loss of the first reference, nats a token.
    pub loss: f64,
    /// Mean of λ or μ over layers, heads and positions.
    pub gate: Option<f64>,
    /// Share of queries below a hundredth.
    pub unreached: Option<f64>,
    /// Median distance to the nearest added key, in bandwidths.
    pub distance: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = r#""validation_loss":1.5,"best_step":2,"last_validation_loss":1.75,
        "steps":3,"tokens":4,"train_seconds":5.5,"decode_seconds":6.5,
        "gates":[],"by_position":[],"by_length":[],"peak_bytes":null"#;

    /// A `result.json` with the given scores.
    fn result(scores: &str) -> String {
        let rest: Vec<&str> = REST.split_whitespace().collect();
        format!("{{{scores},{}}}", rest.concat())
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let good = r#"{"seen": 1.5, "unseen": null, "all": 2.5}"#;
        let bad = r#"{"seen": 1.5, "unseen": null, "all": 2.5, "al": 2.5}"#;
        assert!(serde_json::from_str::<Bleu>(good).is_ok());
        let message = serde_json::from_str::<Bleu>(bad).unwrap_err().to_string();
        assert!(message.contains("`al`"), "{message}");
        let bad = result(&format!(r#""bleu":{good},"step":3"#));
        let message = serde_json::from_str::<RunResult>(&bad)
            .unwrap_err()
            .to_string();
        assert!(message.contains("`step`"), "{message}");
    }

    #[test]
    fn results_of_every_task_are_read_and_written_byte_for_byte() {
        let none = r#""bleu":{"seen":null,"unseen":null,"all":null}"#;
        let some = r#""bleu":{"seen":1.5,"unseen":null,"all":1.5}"#;
        let coqa = r#""exact_match":25.0,"f1":40.0,"questions":4"#;
        let texts = [
            some.to_string(),
            format!(r#"{some},"meteor":[0.25,["exact","stem"]],"ter":0.5"#),
            format!(r#"{none},"coqa":{{{coqa},"domains":{{"news":{{{coqa}}}}}}}"#),
            format!(r#"{none},"accuracy":{{"accuracy":0.5,"correct":1,"total":2}}"#),
        ];
        for text in texts.map(|t| result(&t)) {
            let read: RunResult = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
    }
}
