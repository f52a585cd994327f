//! `inducer export`: an adapter in PEFT's layout, or PEFT's in this project's.

use super::options::{adapter_directory, fresh, model_directory};
use crate::progress::say;
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use inducer_gpu::{files, hub, peft};
use std::path::PathBuf;

/// Whose layout of an adapter directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// PEFT's own.
    Peft,
    /// This project's.
    Inducer,
}

/// `inducer export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// Hugging Face directory, or the name of a model in the hub's cache (HF_HUB_CACHE, HF_HOME)
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: PathBuf,
    /// Adapter directory, of this project or of PEFT
    #[arg(long, value_parser = adapter_directory(), value_name = "DIR")]
    pub adapter: PathBuf,
    /// Directory to write
    #[arg(long)]
    pub out: PathBuf,
    /// The layout to write
    #[arg(long, value_enum, default_value = "peft")]
    pub layout: Layout,
    /// Write into a directory that is not empty
    #[arg(long)]
    pub overwrite: bool,
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or broken; a part that the other layout does not know; a directory that
/// is not empty.
pub fn run(args: &ExportArgs) -> Result<()> {
    ensure!(
        args.out != args.adapter,
        "--out {}: expected another directory than --adapter",
        args.out.display()
    );
    fresh(&args.out, args.overwrite)?;
    let (backbone, mut saved) = files::load_with_adapter(&args.backbone, &args.adapter)?;
    if saved.config.base_model_name_or_path.is_empty() {
        saved.config.base_model_name_or_path = hub::name(&args.backbone);
    }
    match args.layout {
        Layout::Peft => peft::export(&saved, backbone.as_ref(), &args.out)?,
        Layout::Inducer => saved.write(&args.out)?,
    }
    say(format_args!("{}: written", args.out.display()));
    Ok(())
}
