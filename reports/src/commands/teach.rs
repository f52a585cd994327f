//! `inducer teach`: the teaching page.

use super::options::Pictures;
use crate::{files, pictures, teach};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

/// `inducer teach`.
#[derive(Args, Clone, Debug)]
pub struct TeachArgs {
    /// File to write
    #[arg(long, default_value = "teach.html")]
    pub out: PathBuf,
    /// Pictures
    #[command(flatten)]
    pub pictures: Pictures,
}

/// Runs the command.
///
/// # Errors
/// The page cannot be made or the file cannot be written.
pub fn run(args: &TeachArgs) -> Result<()> {
    let page = teach::page()?;
    files::write_page(&args.out, &page)?;
    pictures::of_page(&page, args.pictures.places())
}
