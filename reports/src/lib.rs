//! The command `inducer`: runs, studies and their report.

pub mod bench;
pub mod commands;
pub mod compute;
pub mod document;
pub mod files;
pub mod forward;
pub mod memory;
pub mod parameters;
pub mod pretraining;
pub mod progress;
pub mod report;
pub mod run;
pub mod scoring;
pub mod stats;
pub mod study;
pub mod teach;
