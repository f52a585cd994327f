//! Training: optimiser, schedule, checkpoints, and the loop.

pub mod checkpoint;
pub mod events;
pub mod optimiser;
pub mod schedule;
mod trainer;

pub use optimiser::{AdamW, AdamWConfig, clip_factor, global_norm};
pub use schedule::Schedule;
pub use trainer::{Data, Event, Summary, TrainConfig, evaluate, train};
