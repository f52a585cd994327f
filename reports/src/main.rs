//! The command `inducer`.

use clap::Parser;
use inducer_reports::commands::Cli;
use inducer_reports::memory;
use std::process::ExitCode;

/// A step allocates and frees the same few hundred buffers over and over; this allocator keeps them
/// mapped.
#[global_allocator]
static ALLOCATOR: memory::Counting<mimalloc::MiMalloc> = memory::Counting(mimalloc::MiMalloc);

fn main() -> ExitCode {
    memory::installed();
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}
