//! Training: optimiser, schedule, checkpoints, and the loop.

pub mod checkpoint;
mod config;
mod data;
mod divergence;
mod log;
pub mod optimiser;
pub mod schedule;
pub mod stop;
pub mod tensorboard;
mod trainer;

pub use config::TrainConfig;
pub use data::{Data, evaluate};
pub use optimiser::{AdamW, AdamWConfig, Measured, Pending, clip_factor};
pub use schedule::Schedule;
pub use trainer::{Event, Summary, train};
