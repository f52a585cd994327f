//! The checks of every claim, by subject.

pub mod adapter;
pub mod attention;
pub mod authors;
pub mod counts;
pub mod decoding;
pub mod gradients;
pub mod inducer;
pub mod inducing;
pub mod initial;
pub mod invariance;
pub mod kernel;
pub mod ladder;
pub mod ladder_models;
pub mod limits;
pub mod lora;
pub mod models;
pub mod prefix;
pub mod roberta;
pub mod terms;
pub mod training;

use crate::claim::Claim;

/// Every claim that this crate checks.
#[must_use]
pub fn all() -> Vec<Claim> {
    let groups = [
        attention::claims(),
        kernel::claims(),
        limits::claims(),
        prefix::claims(),
        inducer::claims(),
        ladder::claims(),
        ladder_models::claims(),
        lora::claims(),
        adapter::claims(),
        counts::claims(),
        initial::claims(),
        models::claims(),
        gradients::claims(),
        invariance::claims(),
        decoding::claims(),
        training::claims(),
        inducing::claims(),
        authors::claims(),
        roberta::claims(),
        terms::claims(),
    ];
    groups.into_iter().flatten().collect()
}
