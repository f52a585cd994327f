//! The training engine: GPT-2 and RoBERTa with every method of the paper, on candle, CPU and CUDA.

pub mod adapter;
pub mod backbone;
pub mod config;
pub mod counts;
pub mod decode;
pub mod drift;
pub mod error;
pub mod files;
pub mod gradients;
pub mod methods;
pub mod model;
pub mod ops;
pub mod parts;
pub mod tape;
pub mod tensors;
pub mod train;

pub use adapter::AdapterConfig;
pub use backbone::Backbone;
pub use config::{BackboneConfig, Gpt2Config, RobertaConfig};
pub use error::{Error, Result};
pub use files::{SavedAdapter, hub, peft};
pub use methods::Method;
pub use model::{LossOptions, Model};
pub use parts::Variant;
pub use tape::{Parameter, Tape, Value};
pub use tensors::Tensors;
