//! The command `inducer`: runs, studies and their report.

pub mod bench;
pub mod cli;
pub mod commands;
pub mod compute;
pub mod document;
pub mod files;
pub mod memory;
pub mod page;
pub mod pretraining;
pub mod progress;
pub mod report;
pub mod run;
pub mod stats;
pub mod study;
pub mod teach;
