//! What a run found, as `result.json` holds it and `report.json` takes it over.

mod scores;

use scores::in_result;
use serde::{Deserialize, Serialize};

pub(crate) use scores::in_report;
pub use scores::{Bleu, Scores};

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
            format!(
                r#"{none},"accuracy":{{"accuracy":0.5,"correct":1,"total":2}},"macro_f1":0.25"#
            ),
            format!(r#"{some},"meteor":[0.25,["exact","stem"]],"ter":0.5,"overlap":{{{coqa}}}"#),
        ];
        for text in texts.map(|t| result(&t)) {
            let read: RunResult = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
    }
}
