//! The command `inducer`.

use inducer_reports::commands;
use inducer_reports::memory;
use std::process::ExitCode;

/// A step allocates and frees the same few hundred buffers over and over; this allocator keeps them
/// mapped.
#[global_allocator]
static ALLOCATOR: memory::Counting<mimalloc::MiMalloc> = memory::Counting(mimalloc::MiMalloc);

fn main() -> ExitCode {
    memory::installed();
    commands::main()
}
