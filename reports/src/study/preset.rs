//! How much a study does, by name.

use super::rates::Search;
use crate::run::{Hyperparameters, Steps};
use inducer_datasets::Task;
use inducer_gpu::{Method, Named};
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

/// How much a study does where nothing else is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// One seed, fewer steps, fewer test entries.
    Quick,
    /// Minutes on generated data, an hour on real ones.
    #[default]
    Default,
    /// The paper's own: its epochs, all test entries.
    Paper,
}

/// Learning rates that a study on generated data tries for each method.
const RATES: [f64; 3] = [1.25e-3, 3.5e-3, 1e-2];

/// Further seeds of the steps' methods on generated data, which make them sixteen.
const LOSS_SEEDS: RangeInclusive<u64> = 4..=16;

/// The names of the methods of a study that names none: those of the paper's tables, and those of
/// one's own.
pub fn usual_methods() -> &'static str {
    static USUAL: LazyLock<String> = LazyLock::new(|| {
        let all = Named::all().into_iter();
        let usual = all.filter(|m| !matches!(m, Named::Paper(Method::Ia3)));
        let names: Vec<&str> = usual.map(Named::name).collect();
        names.join(",")
    });
    &USUAL
}

/// Section 6: epochs of WebNLG, of CoQA, of the classification tasks; data of one's own have
/// WebNLG's.
fn epochs(task: Task) -> usize {
    match task {
        Task::Coqa => 5,
        _ => 10,
    }
}

impl Preset {
    /// What a study of this size asks for where the command line leaves it open. The paper's
    /// learning rates, warm-up, clipping and smoothing are every run's; its epochs and dropout are
    /// asked for here, and the early stop looks once an epoch.
    pub fn hyper(self, task: Task, given: Hyperparameters) -> Hyperparameters {
        if self != Self::Paper {
            return given;
        }
        Hyperparameters {
            steps: given.steps.or(Some(Steps::Epochs(epochs(task)))),
            dropout: given.dropout.or(Some(0.1)),
            validate_every: given.validate_every.or(Some(Steps::Epochs(1))),
            ..given
        }
    }

    /// Further seeds of the methods whose steps are judged, in a study on generated data where
    /// nothing is said of seeds: three runs know little of their own deviation.
    pub fn loss_seeds(self) -> Vec<u64> {
        match self {
            Self::Default => LOSS_SEEDS.collect(),
            Self::Quick | Self::Paper => Vec::new(),
        }
    }

    /// How a study on generated data chooses learning rates where nothing is said of them: one
    /// rate for all methods would decide which of them leads. A quick study does not choose.
    pub fn search(self, seeds: &[u64]) -> Option<Search> {
        let seed = (0..).find(|s| !seeds.contains(s))?;
        (self == Self::Default).then(|| Search {
            rates: RATES.to_vec(),
            seed,
            steps: None,
        })
    }
}
