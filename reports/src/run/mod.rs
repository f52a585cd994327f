//! A run: one method, one seed, one directory ([`directory`]).

mod card;
pub mod config;
pub mod directory;
mod execute;
mod knobs;
pub mod lock;
mod mechanism;
mod prepared;
pub mod record;
mod scores;
pub mod test_loss;

pub use config::{BackboneFacts, Budget, Hyperparameters, MethodSpec, RunConfig, Steps};
pub use execute::{CLASSES, Made, Stage, execute_run, load, test_examples};
pub use knobs::{Knobs, Rates};
pub use mechanism::REACHED;
pub(crate) use mechanism::measure;
pub(crate) use prepared::evenly;
pub use prepared::{Prepared, Source, TaskData};
pub use record::{RunResult, Scores};
pub use scores::{class_named, meteor_files, outputs};
