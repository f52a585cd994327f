//! Metrics from their definitions, once more and without haste: each file has one that shares no
//! code with the metric's own.

mod bleu;
mod classes;
mod coqa;
mod meteor;
mod significance;
mod student;
mod ter;
mod ter_long;
mod written;

use crate::{Claim, Error, Result, Target};

/// The claims of these files.
#[must_use]
pub fn claims() -> Vec<Claim> {
    vec![
        Claim::new("metric-bleu").on_one_sided(Target::CpuF64, bleu::bleu),
        // of most texts no n-gram of four words matches, or each does
        Claim::new("metric-bleu-webnlg")
            .one_case_in(2)
            .at_least(60)
            .on_one_sided(Target::CpuF64, written::challenge),
        Claim::new("metric-bleu-13a")
            .one_case_in(2)
            .at_least(60)
            .on_one_sided(Target::CpuF64, written::smoothed),
        Claim::new("metric-ter").on_one_sided(Target::CpuF64, ter::ter),
        // few cases meet a limit of theirs
        Claim::new("metric-ter-long")
            .one_case_in(2)
            .at_least(60)
            .on_one_sided(Target::CpuF64, ter_long::known),
        Claim::new("metric-meteor").on_one_sided(Target::CpuF64, meteor::meteor),
        // few texts meet every way in which words can match
        Claim::new("metric-meteor-synonyms")
            .one_case_in(2)
            .at_least(200)
            .on_one_sided(Target::CpuF64, meteor::synonyms),
        Claim::new("metric-coqa").on_one_sided(Target::CpuF64, coqa::coqa),
        Claim::new("metric-classes").on_one_sided(Target::CpuF64, classes::classes),
        Claim::new("metric-groups").on_one_sided(Target::CpuF64, classes::groups),
        Claim::new("significance").on_one_sided(Target::CpuF64, significance::resampled),
        Claim::new("significance-t").on_one_sided(Target::CpuF64, student::t_tests),
    ]
}

/// What the crate of data gave; its error keeps a check from being made.
pub(super) fn given<T>(found: inducer_datasets::Result<T>) -> Result<T> {
    found.map_err(|e| Error::Missing(e.to_string()))
}
