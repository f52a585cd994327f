//! The training engine: GPT-2 and RoBERTa with every method of the paper, on candle, CPU and CUDA.

pub mod backbone;
pub mod cache;
pub mod config;
pub mod error;
pub mod generate;
pub mod gpt2;
pub mod hub;
pub mod init;
pub mod kernels;
pub mod merge;
pub mod method;
mod mmap;
pub mod model;
pub mod ops;
pub mod parts;
pub mod peft;
pub mod probe;
pub mod roberta;
pub mod saved;
pub mod shapes;
pub mod tape;
pub mod train;
pub mod weights;

pub use backbone::{Backbone, BackboneConfig};
pub use config::{AdapterConfig, Gpt2Config, RobertaConfig, Variant};
pub use error::{Error, Result};
pub use method::Method;
pub use model::{LossOptions, Model};
pub use saved::Saved;
pub use tape::{Parameter, Tape, Value};
