//! `inducer pretrain`: a small backbone from plain text.

use crate::cli::Compute;
use crate::pretraining::{PretrainConfig, pretrain};
use crate::{files, progress};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

/// `inducer pretrain`.
#[derive(Args, Clone, Debug)]
pub struct PretrainArgs {
    /// Plain text
    #[arg(long)]
    pub text: PathBuf,
    /// Directory to write
    #[arg(long)]
    pub out: PathBuf,
    /// The backbone and its training
    #[command(flatten)]
    pub config: PretrainConfig,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// Runs the command.
///
/// # Errors
/// As [`pretrain`].
pub fn run(args: &PretrainArgs) -> Result<()> {
    let text = files::read(&args.text)?;
    let device = args.compute.device.open()?;
    let bar = progress::bar(args.config.steps as u64, "pretraining");
    let summary = args.compute.pool()?.install(|| {
        pretrain(&text, &args.config, &args.out, &device, &mut |e| {
            progress::on_event(&bar, e)
        })
    })?;
    bar.finish_and_clear();
    println!(
        "{}: {} steps, {} tokens, {:.0} s, validation loss {:.3} nats a token",
        args.out.display(),
        summary.steps,
        summary.tokens,
        summary.seconds,
        summary.validation_loss
    );
    Ok(())
}
