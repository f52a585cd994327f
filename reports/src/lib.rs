//! The command `inducer`: runs, studies and their report.

pub mod bench;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod compute;
pub mod files;
pub mod memory;
pub mod page;
pub mod pretraining;
pub mod progress;
pub mod run;
pub mod stats;
pub mod study;
pub mod teach;
