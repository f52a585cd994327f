//! `inducer man`: manual pages, one for the command and one for each subcommand.

use super::Cli;
use crate::files::{At, create_dir};
use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_mangen::Man;
use inducer_datasets::files::write_atomic;
use std::path::{Path, PathBuf};

/// `inducer man`.
#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// Directory to write, as in ~/.local/share/man/man1
    #[arg(long)]
    pub out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// The directory cannot be written.
pub fn run(args: &ManArgs) -> Result<()> {
    create_dir(&args.out)?;
    let mut whole = Cli::command();
    whole.build();
    page(&args.out, &whole, "inducer")?;
    let subcommands = whole.get_subcommands().filter(|c| c.get_name() != "help");
    for command in subcommands {
        page(
            &args.out,
            command,
            &format!("inducer-{}", command.get_name()),
        )?;
    }
    eprintln!(
        "{}: man -M .. inducer, man inducer-train …",
        args.out.display()
    );
    Ok(())
}

fn page(dir: &Path, command: &clap::Command, name: &str) -> Result<()> {
    let mut text = Vec::new();
    Man::new(command.clone()).title(name).render(&mut text)?;
    let path = dir.join(format!("{name}.1"));
    write_atomic(&path, &text).at(&path)
}
