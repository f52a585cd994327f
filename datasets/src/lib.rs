//! Data in, scores out: official files or generated ones become examples, examples become packed
//! rows of tokens, generated texts become scores.
//!
//! ```text
//! files ── directory: webnlg, coqa, glue ──▶ Example ── layout + tokenizer (cache) ──▶ Encoded ── batches ──▶ Batch
//! texts ── metrics ──▶ scores
//! ```
//!
//! Nothing here is downloaded: [`synthetic`] makes data in the official layout and it goes through
//! the same loader.
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
pub mod layout;
pub mod metrics;
mod part;
pub mod significance;
pub mod synthetic;
mod task;
pub mod tokenizer;
pub mod webnlg;
pub mod webnlg_xml;

pub use batch::{Batch, IGNORE, Labels};
pub use cache::Cache;
pub use error::{Error, Result};
pub use example::{Example, Input, Skipped, Splits, Triple};
pub use layout::{Encoded, Layout, Surface};
pub use part::{Malformed, Part};
pub use task::Task;
pub use tokenizer::Tokenizer;
