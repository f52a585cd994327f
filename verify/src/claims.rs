//! The checks of every claim, by subject.

pub mod adapter;
pub mod attention;
pub mod authors;
pub mod counts;
pub mod decoding;
pub mod departures;
pub mod files;
pub mod gradients;
pub mod inducer;
pub mod inducing;
pub mod inducing_field;
pub mod initial;
pub mod invariance;
pub mod kernel;
pub mod ladder;
pub mod ladder_field;
pub mod ladder_models;
pub mod limits;
pub mod lora;
pub mod models;
pub mod prefix;
pub mod roberta;
pub mod terms;
pub mod training;

use crate::claim::Claim;
use crate::engine::Cuda;

/// Every claim that this crate checks, on the CPU.
#[must_use]
pub fn all() -> Vec<Claim> {
    on(&Cuda::not_asked())
}

/// Every claim, on the GPU too where there is one.
#[must_use]
pub fn on(cuda: &Cuda) -> Vec<Claim> {
    let groups = [
        attention::claims(),
        kernel::claims(),
        limits::claims(cuda),
        prefix::claims(),
        inducer::claims(),
        ladder::claims(),
        ladder_models::claims(cuda),
        lora::claims(),
        adapter::claims(),
        counts::claims(),
        initial::claims(),
        models::claims(cuda),
        gradients::claims(cuda),
        invariance::claims(cuda),
        decoding::claims(cuda),
        training::claims(cuda),
        inducing::claims(),
        authors::claims(),
        departures::claims(cuda),
        files::claims(cuda),
        roberta::claims(cuda),
        terms::claims(cuda),
    ];
    let claims = groups.into_iter().flatten();
    let on_models = |claim| ladder_models::on_models(terms::on_models(claim, cuda), cuda);
    claims.map(on_models).collect()
}
