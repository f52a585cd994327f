//! Claims about whole models, checked on the training engine.

pub mod agreement;
pub mod decoding;
pub mod departures;
pub mod files;
pub mod gradients;
pub mod ia3;
pub mod initial;
pub mod invariance;
pub mod ladder;
pub mod mutations;
pub mod training;
