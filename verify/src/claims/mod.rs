//! The checks of every claim, by subject. A claim names all of its checks where it is defined.

pub mod equations;
pub mod models;

use crate::{Claim, Cuda};
use equations as eq;

/// Every claim that this crate checks, on the CPU.
#[must_use]
pub fn all() -> Vec<Claim> {
    on(&Cuda::not_asked())
}

/// Every claim, on the GPU too where there is one.
#[must_use]
pub fn on(cuda: &Cuda) -> Vec<Claim> {
    let groups = [
        eq::attention::claims(cuda),
        eq::kernel::claims(),
        eq::limits::claims(cuda),
        eq::prefix::claims(cuda),
        eq::inducer::claims(cuda),
        eq::ladder::claims(cuda),
        eq::lora::claims(cuda),
        eq::adapter::claims(cuda),
        eq::counts::claims(),
        eq::inducing::claims(),
        eq::authors::claims(),
        models::mutations::claims(cuda),
        models::ladder::claims(cuda),
        models::initial::claims(),
        models::agreement::claims(cuda),
        models::gradients::claims(cuda),
        models::invariance::claims(cuda),
        models::decoding::claims(cuda),
        models::training::claims(cuda),
        models::departures::claims(cuda),
        models::files::claims(cuda),
        models::ia3::claims(cuda),
    ];
    groups.into_iter().flatten().collect()
}
