//! The subcommands, one a file.

pub mod bench;
pub mod evaluate;
pub mod export;
pub mod forward;
pub mod generate;
pub mod merge;
pub mod params;
pub mod pretrain;
pub mod report;
pub mod score;
pub mod teach;
pub mod train;
pub mod verify;
