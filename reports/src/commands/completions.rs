//! `inducer completions`: what a shell completes the command by.

use super::Cli;
use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

/// `inducer completions`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Runs the command: prints the script.
///
/// # Errors
/// None.
pub fn run(args: &CompletionsArgs) -> Result<()> {
    let mut out = Vec::new();
    generate(args.shell, &mut Cli::command(), "inducer", &mut out);
    super::print::whole(String::from_utf8(out)?)?;
    Ok(())
}
