//! `inducer teach`: the teaching page.

use crate::cli::TeachArgs;
use crate::teach;
use anyhow::{Context, Result};
use inducer_datasets::files::write_atomic;

/// Runs the command.
///
/// # Errors
/// The page cannot be made or the file cannot be written.
pub fn run(args: &TeachArgs) -> Result<()> {
    let page = teach::page()?;
    write_atomic(&args.out, page.as_bytes())
        .with_context(|| format!("{}: cannot be written", args.out.display()))?;
    eprintln!("{}: open it in a browser", args.out.display());
    Ok(())
}
