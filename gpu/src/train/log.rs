//! `metrics.jsonl` and TensorBoard's event file of a run.

use super::tensorboard::EventFile;
use crate::error::{Error, Result};
use crate::files::write;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// One line of `metrics.jsonl`.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Line {
    /// After this step.
    pub(super) step: usize,
    /// Training loss, smoothing included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) loss: Option<f64>,
    /// Learning rate of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) learning_rate: Option<f64>,
    /// Global norm before clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gradient_norm: Option<f64>,
    /// Tokens seen so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<u64>,
    /// Loss without smoothing and dropout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) validation_loss: Option<f64>,
    /// The task's own figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) validation_score: Option<f64>,
    /// Distance from the frozen model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) drift: Option<f64>,
    /// Seconds of training so far.
    pub(super) seconds: f64,
}

/// `metrics.jsonl`, cut back to the checkpoint when a run goes on, and the same numbers for
/// TensorBoard.
pub(super) struct Log(Option<Files>);

struct Files {
    metrics: std::fs::File,
    path: PathBuf,
    events: EventFile,
    /// When the run began, in seconds since 1970, as if it had never stopped.
    begin: f64,
}

impl Log {
    /// `resumed` is the step of the checkpoint that the run goes on from; without one nothing that
    /// stands there counts.
    pub(super) fn open(dir: Option<&Path>, resumed: Option<usize>) -> Result<Self> {
        let Some(dir) = dir else {
            return Ok(Self(None));
        };
        let path = dir.join("metrics.jsonl");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let kept: Vec<(&str, Line)> = before
            .lines()
            .filter_map(|text| Some((text, serde_json::from_str::<Line>(text).ok()?)))
            .filter(|(_, line)| resumed.is_some_and(|step| line.step <= step))
            .collect();
        let text: String = kept.iter().map(|(text, _)| format!("{text}\n")).collect();
        write(&path, text.as_bytes())?;
        let metrics = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(|e| Error::io(&path, e))?;
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0.0, |d| d.as_secs_f64());
        let mut files = Files {
            metrics,
            path,
            events: EventFile::create(&dir.join("tensorboard/events.out.tfevents.0"))?,
            begin: now - kept.last().map_or(0.0, |(_, line)| line.seconds),
        };
        for (_, line) in &kept {
            files.event(line)?;
        }
        Ok(Self(Some(files)))
    }

    /// Adds a line.
    pub(super) fn line(&mut self, line: &Line) -> Result<()> {
        let Some(files) = &mut self.0 else {
            return Ok(());
        };
        let mut text = serde_json::to_string(line).map_err(|e| Error::json(&files.path, e))?;
        text.push('\n');
        files
            .metrics
            .write_all(text.as_bytes())
            .map_err(|e| Error::io(&files.path, e))?;
        files.event(line)
    }
}

impl Files {
    fn event(&mut self, line: &Line) -> Result<()> {
        let values: Vec<(&str, f64)> = [
            ("loss/train", line.loss),
            ("loss/validation", line.validation_loss),
            ("score/validation", line.validation_score),
            ("drift", line.drift),
            ("learning_rate", line.learning_rate),
            ("gradient_norm", line.gradient_norm),
        ]
        .into_iter()
        .filter_map(|(tag, value)| Some((tag, value?)))
        .collect();
        self.events
            .scalars(line.step, self.begin + line.seconds, &values)
    }
}
