//! A run as it stands in `report.json`.

use super::Run;
use crate::run::RunResult;
use crate::run::directory::Curves;
use crate::run::record::{self, Mechanism, Scores, TrainingSummary};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// [`Run`] as `report.json` has it: one flat object. serde refuses unknown fields of an object only
/// where nothing that is flattened into it flattens something itself.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunInReport {
    seed: u64,
    #[serde(flatten, with = "record::in_report")]
    scores: Scores,
    #[serde(flatten, with = "record::TrainingInReport")]
    training: TrainingSummary,
    tokens_per_second: f64,
    #[serde(flatten)]
    curves: Curves,
    #[serde(default)]
    test_loss: Option<f64>,
    #[serde(flatten)]
    mechanism: Mechanism,
    #[serde(default)]
    peak_bytes: Option<u64>,
    directory: String,
    configuration: Value,
}

impl From<RunInReport> for Run {
    fn from(run: RunInReport) -> Self {
        Self {
            seed: run.seed,
            result: RunResult {
                scores: run.scores,
                training: run.training,
                test_loss: run.test_loss,
                mechanism: run.mechanism,
                peak_bytes: run.peak_bytes,
            },
            tokens_per_second: run.tokens_per_second,
            curves: run.curves,
            directory: run.directory,
            configuration: run.configuration,
        }
    }
}

impl From<Run> for RunInReport {
    fn from(run: Run) -> Self {
        Self {
            seed: run.seed,
            scores: run.result.scores,
            training: run.result.training,
            tokens_per_second: run.tokens_per_second,
            curves: run.curves,
            test_loss: run.result.test_loss,
            mechanism: run.result.mechanism,
            peak_bytes: run.result.peak_bytes,
            directory: run.directory,
            configuration: run.configuration,
        }
    }
}
