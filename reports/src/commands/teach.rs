//! `inducer teach`: the teaching page.

use crate::{files, teach};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

/// `inducer teach`.
#[derive(Args, Clone, Debug)]
pub struct TeachArgs {
    /// File to write
    #[arg(long, default_value = "teach.html")]
    pub out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// The page cannot be made or the file cannot be written.
pub fn run(args: &TeachArgs) -> Result<()> {
    files::write_page(&args.out, &teach::page()?)
}
