//! The checks of every claim, by subject. A claim names all of its checks where it is defined.

pub mod data;
pub mod equations;
pub mod metrics;
pub mod models;

use crate::{Claim, Present};
use equations as eq;
use std::sync::{PoisonError, RwLock};

/// Makes claims.
type Make = Box<dyn Fn() -> Vec<Claim> + Send + Sync>;

/// Claims about what is no part of this crate.
static FURTHER: RwLock<Vec<Make>> = RwLock::new(Vec::new());

/// Adds claims, behind this crate's; their rows go to [`ledger::add`](crate::ledger::add).
pub(crate) fn add(claims: impl Fn() -> Vec<Claim> + Send + Sync + 'static) {
    let mut all = FURTHER.write().unwrap_or_else(PoisonError::into_inner);
    all.push(Box::new(claims));
}

/// Every claim that this crate checks, on the CPU.
#[must_use]
pub fn all() -> Vec<Claim> {
    on(&Present::cpu())
}

/// Every claim, on the GPU and on a program of one's own too where there is one.
#[must_use]
pub fn on(present: &Present) -> Vec<Claim> {
    let groups = [
        eq::attention::claims(present),
        eq::kernel::claims(),
        eq::limits::claims(present),
        eq::prefix::claims(present),
        eq::inducer::claims(present),
        eq::ladder::claims(present),
        eq::lora::claims(present),
        eq::adapter::claims(present),
        eq::counts::claims(),
        eq::inducing::claims(),
        eq::authors::claims(),
        eq::sentences::claims(present),
        models::mutations::claims(present),
        models::ladder::claims(present),
        models::initial::claims(),
        models::agreement::claims(present),
        models::gradients::claims(present),
        models::invariance::claims(present),
        models::decoding::claims(present),
        models::training::claims(present),
        models::trainer::claims(present),
        models::optimiser::claims(present),
        models::selection::claims(present),
        models::dropout::claims(present),
        models::greedy::claims(present),
        models::products::claims(),
        models::sizes::claims(present),
        models::large::claims(present),
        models::first_layer::claims(present),
        models::heads::claims(present),
        models::start::claims(),
        models::settings::claims(),
        models::exchange::claims(present),
        models::imports::claims(present),
        models::peft_ia3::claims(present),
        models::pickles::claims(),
        metrics::claims(),
        data::claims(),
        models::departures::claims(present),
        models::files::claims(present),
        models::ia3::claims(present),
    ];
    let further = FURTHER.read().unwrap_or_else(PoisonError::into_inner);
    let further = further.iter().flat_map(|claims| claims());
    groups.into_iter().flatten().chain(further).collect()
}
