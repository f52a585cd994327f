//! The command `inducer`.

use clap::Parser;
use inducer_reports::cli::{Cli, Command};
use inducer_reports::{commands, memory};
use std::process::ExitCode;

/// A step allocates and frees the same few hundred buffers over and over; this allocator keeps them
/// mapped.
#[global_allocator]
static ALLOCATOR: memory::Counting<mimalloc::MiMalloc> = memory::Counting(mimalloc::MiMalloc);

fn main() -> ExitCode {
    memory::installed();
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Score(args) => commands::score::run(args),
        Command::Forward(args) => commands::forward::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Merge(args) => commands::merge::run(args),
        Command::Export(args) => commands::export::run(args),
        Command::Params(args) => commands::params::run(args),
        Command::Pretrain(args) => commands::pretrain::run(args),
        Command::Verify(args) => commands::verify::run(args),
        Command::Train(args) => commands::train::run(args),
        Command::Report(args) => commands::report::run(args),
        Command::Evaluate(args) => commands::evaluate::run(args),
        Command::Generate(args) => commands::generate::run(args),
        Command::Teach(args) => commands::teach::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}
