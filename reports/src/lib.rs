//! Runs, studies, and what is told of them: the library behind the command `inducer`.
//!
//! # From a command to a page
//!
//! A [`run`] is one method with one seed in one directory. `run::RunConfig::resolve` puts together
//! everything that decides its result, `run::execute_run` trains, decodes and scores, and can be
//! stopped and go on at any moment. A [`study`] is a list of such runs: [`study::plan`] makes the
//! list, [`study::schedule`] the runs that are missing, [`study::assemble`] reads what they left
//! on disk into one value, [`study::Study`], which `report.json` holds. A [`report`] is a function
//! of that value alone: sections of text, tables and pictures, which [`document`] writes as HTML
//! and as Markdown.
//!
//! ```text
//! commands ─▶ study::plan ─▶ run::execute_run ─▶ study::assemble ─▶ report ─▶ document
//!             (what to run)   (a directory each)   (a Study)         (sections) (HTML, Markdown)
//! ```
//!
//! Means, intervals and verdicts are computed when a page is written ([`stats`]) and never stored.
//!
//! # The other commands
//!
//! - [`forward`]: logits, loss and gradients of a batch from the engine or from the reference.
//! - [`scoring`]: the metrics on files of texts, with tests of the difference of two systems.
//! - [`inference`]: the texts and scores of a saved adapter or of the backbone alone.
//! - [`ledger`]: the claims ledger's progress, its rows for a CI, and what of it is kept.
//! - [`merging`]: adapters folded into a backbone.
//! - [`parameters`]: the parameter counts of the paper's tables.
//! - [`pretraining`]: a small backbone and its tokenizer from plain text.
//! - [`bench`](mod@bench): the time of a training step or of decoding.
//! - [`doctor`]: what is found on this machine.
//! - [`csv`]: tables and records for other programs.
//! - [`teach`]: the interactive page on the paper's kernel view, which checks itself.
//! - [`pictures`]: the pictures of such a page as SVG files.
//! - [`explain`]: a trained adapter on one text, as a page of the same kind.
//!
//! # A variant of one's own
//!
//! [`program!`] makes this same command with variants that a crate of one's own has.
//!
//! # What belongs where
//!
//! Only [`commands`] knows the command line: each subcommand reads its options, calls one function
//! of the modules above and prints what it returns. [`compute`] names devices and scalar types,
//! [`memory`] counts what a run allocates, [`files`] puts the path before every error,
//! [`progress`] shows how far work has come, [`signals`] ends it where it can go on.
//!
//! # Example
//!
//! The pages of a study that an earlier run of `inducer report` wrote:
//!
//! ```no_run
//! use inducer_reports::{report, study::Study};
//!
//! let study = Study::read("out/report.json".as_ref())?;
//! std::fs::write("report.html", report::html(&study))?;
//! # anyhow::Ok(())
//! ```

pub mod bench;
pub mod commands;
pub mod compute;
pub mod csv;
pub mod doctor;
pub mod document;
pub mod explain;
pub mod files;
pub mod forward;
pub mod inference;
pub mod ledger;
pub mod memory;
pub mod merging;
pub mod parameters;
pub mod pictures;
pub mod pretraining;
pub mod progress;
pub mod report;
pub mod run;
pub mod scoring;
pub mod signals;
pub mod stats;
pub mod study;
pub mod teach;

pub use inducer_verify::custom::register;
#[doc(hidden)]
pub use mimalloc::MiMalloc;

/// The whole program `inducer`, `fn main` included, with these variants of one's own (values of
/// [`Formula`](inducer_verify::custom::Formula) and
/// [`CustomMethod`](inducer_gpu::parts::CustomMethod)) beside the paper's methods: each is trained,
/// decoded, saved, loaded, counted, reported and checked by its name.
///
/// ```ignore
/// inducer_reports::program!(TwoInducers);
/// ```
#[macro_export]
macro_rules! program {
    ($($variant:path),* $(,)?) => {
        /// A step allocates and frees the same few hundred buffers over and over; this allocator
        /// keeps them mapped.
        #[global_allocator]
        static ALLOCATOR: $crate::memory::Counting<$crate::MiMalloc> =
            $crate::memory::Counting($crate::MiMalloc);

        /// The command.
        pub fn main() -> ::std::process::ExitCode {
            $crate::memory::installed();
            $crate::commands::main(&[$(|| $crate::register(&$variant)),*])
        }
    };
}
