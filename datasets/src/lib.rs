//! Data in, scores out: official files or generated ones become examples, examples become packed
//! sequences of tokens, and generated texts become scores.
//!
//! ```text
//! files ── directory: webnlg, coqa, glue, own ──▶ Example
//! Example ── layout + tokenizer (cache) ──▶ Encoded ── batches ──▶ Batch
//! texts ── metrics ──▶ scores ── significance ──▶ p
//! ```
//!
//! # From a directory to a batch
//!
//! [`directory::load`] reads the official files of a [`Task`], the Hub's tables of it or data of
//! one's [`own`], and says in [`Splits::notes`] how the parts came about. A [`Layout`] writes an
//! [`Example`] as the paper does: special tokens, segment ids, labels. [`batches`] puts sequences
//! of similar length into one [`Batch`], one behind the other, without padding.
//!
//! Nothing is downloaded. [`synthetic`] writes data in the official layouts, which go through the
//! same loaders:
//!
//! ```
//! use inducer_datasets::synthetic::{self, SyntheticConfig};
//! use inducer_datasets::{Layout, Malformed, Task, Tokenizer, batches, directory};
//!
//! let dir = tempfile::tempdir()?;
//! let sizes = SyntheticConfig { train: 20, dev: 4, test: 4, ..Default::default() };
//! synthetic::write(dir.path(), sizes)?;
//! let data = directory::load(Task::WebNlg, dir.path(), Malformed::Refuse)?;
//! assert!(data.notes[0].starts_with("not the official release"));
//!
//! // a tokenizer of 400 tokens, and the layout for a backbone that has as many and 320 positions
//! let text = synthetic::pretraining_text(1, 20_000);
//! let tokenizer = Tokenizer::train(text.split("\n\n"), 400)?;
//! let layout = Layout::new(&tokenizer, Task::WebNlg, 400, 320)?;
//! let sequences = layout.training_rows(&data.train[0])?;
//! assert_eq!(sequences.len(), data.train[0].references.len());
//! let target = &sequences[0].ids[sequences[0].prompt_len..];
//! assert_eq!(layout.decode(target), data.train[0].references[0]);
//!
//! let batch = batches::pack(&sequences.iter().collect::<Vec<_>>());
//! assert_eq!(batch.tokens(), sequences.iter().map(|s| s.ids.len()).sum::<usize>());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # From texts to scores
//!
//! [`metrics`] computes what the official scorers compute, checked against them: BLEU, METEOR, TER,
//! CoQA's exact match and F1, accuracy. Each gives what one example adds and sums it, so a corpus
//! score can be taken of any group, and [`significance`] can draw examples again.
pub mod batch;
pub mod batches;
pub mod cache;
pub mod coqa;
pub mod directory;
mod entries;
mod error;
mod example;
pub mod files;
pub mod fingerprint;
pub mod glue;
mod guard;
pub mod layout;
pub mod metrics;
pub mod own;
mod part;
pub mod reading;
pub mod significance;
pub mod synthetic;
pub mod table;
mod task;
pub mod tokenizer;
pub mod webnlg;

pub use batch::{Batch, IGNORE, Labels};
pub use cache::Cache;
pub use error::{Error, Place, Result};
pub use example::{Example, Input, Skipped, Splits, Triple};
pub use layout::{Encoded, Layout, Surface};
pub use part::{Malformed, Part};
pub use reading::Reading;
pub use task::Task;
pub use tokenizer::Tokenizer;
