//! The training engine of inducer-tuning: GPT-2 and RoBERTa with every method of the paper, on
//! candle, CPU and CUDA.
//!
//! A [`Model`] is a backbone with a method attached. The backbone comes from a Hugging Face
//! directory ([`Model::load`]) or starts at random ([`backbone::Gpt2::random`]); it is frozen. A
//! method is a configuration, [`AdapterConfig`], which lists parts: an inducer or a prefix in the
//! attention, LoRA on its projections, adapters. [`Method`] names those of the paper and sizes them
//! for a backbone. [`Model::attach`] declares the tensors of the parts and gives them their initial
//! values; from then on they are what [`train`](mod@train) changes, [`Model::save_adapter`] writes
//! and [`counts`] counts.
//!
//! ```
//! use approx::assert_abs_diff_eq;
//! use candle_core::{DType, Device};
//! use inducer_datasets::batch::Batch;
//! use inducer_gpu::{Gpt2Config, LossOptions, Method, Model, backbone::Gpt2, counts};
//!
//! let small = Gpt2Config::small();
//! let config = Gpt2Config { n_embd: 24, n_layer: 2, n_head: 3, vocab_size: 50, ..small };
//! let backbone = Gpt2::random(config, 1, DType::F64, &Device::Cpu)?;
//! let mut model = Model::new(backbone, DType::F64, &Device::Cpu);
//!
//! let inducer = Method::Inducer.on(&model.backbone.config());
//! model.attach(&inducer, 0, 1)?;
//! let trained: usize = model.trainable().iter().map(|p| p.tensor.elem_count()).sum();
//! assert_eq!(trained, counts::trained(&inducer, &model.backbone.config()));
//!
//! // two sequences in one batch, without padding; -100 is "no loss here"
//! let ids = [vec![7, 8, 9], vec![4, 5]];
//! let batch = Batch::pack(&ids, None, Some(&[vec![-100, 8, 9], vec![-100, 5]]));
//! let (loss, gradients) = model.gradients(&batch, LossOptions::PLAIN)?;
//! assert_abs_diff_eq!(loss, 50_f64.ln(), epsilon = 0.5); // it has not learned anything yet
//! assert_eq!(gradients.len(), model.trainable().len());
//! # Ok::<(), inducer_gpu::Error>(())
//! ```
//!
//! `examples/finetune.rs` goes on from here: training and decoding.
//!
//! The modules stand in layers, each using those before it only: [`ranges`] (what a setting may
//! be), [`notes`], [`kernels`] (slices, products, threads), [`gradients`], [`tape`] (reverse
//! mode), [`ops`] (what is differentiated), [`tensors`](mod@tensors) (how a tensor is declared),
//! [`config`] (backbones' configurations), [`parts`] (one file a method's part), [`backbone`],
//! [`adapter`], [`counts`], [`methods`], [`named`] (one's own among them), [`model`], [`decode`]
//! and [`drift`], [`files`], [`train`](mod@train).

pub mod adapter;
pub mod backbone;
pub mod config;
pub mod counts;
pub mod decode;
pub mod drift;
pub mod error;
pub mod files;
pub mod gradients;
pub mod kernels;
pub mod methods;
pub mod model;
pub mod named;
pub mod notes;
pub mod ops;
pub mod parts;
pub mod ranges;
mod slots;
pub mod tape;
pub mod tensors;
pub mod train;

pub use adapter::AdapterConfig;
pub use backbone::Backbone;
pub use config::{BackboneConfig, Gpt2Config, RobertaConfig};
pub use error::{Error, Result};
pub use files::{SavedAdapter, hub, peft};
pub use methods::Method;
pub use model::{Loss, LossOptions, Model};
pub use named::{Named, register};
pub use parts::{CustomMethod, Variant};
pub use tape::{Parameter, Tape, Value};
pub use tensors::Tensors;
