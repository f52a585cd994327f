//! Claims about whole models, checked on the training engine.

pub mod agreement;
pub mod decoding;
pub mod departures;
pub mod dropout;
pub mod exchange;
pub mod files;
pub mod first_layer;
pub mod gradients;
pub mod greedy;
pub mod heads;
pub mod ia3;
pub mod imports;
pub mod initial;
pub mod invariance;
pub mod ladder;
pub mod large;
pub mod mutations;
pub mod optimiser;
pub mod products;
pub mod selection;
pub mod settings;
pub mod sizes;
pub mod start;
pub mod trainer;
pub mod training;
