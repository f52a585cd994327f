//! `inducer teach`: the teaching page.

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
    /// Write the page's pictures, as they stand when it opens, into this directory as SVG (needs
    /// Chromium)
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The page cannot be made or the file cannot be written.
pub fn run(args: &TeachArgs) -> Result<()> {
    let page = teach::page()?;
    files::write_page(&args.out, &page)?;
    pictures::asked(&page, args.svg.as_deref())
}
