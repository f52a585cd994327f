//! `inducer merge`: folds LoRA, (IA)³ and tuned backbone tensors into a backbone that
//! `transformers` loads.

use super::options::{adapter_directory, fresh, model_directory};
use crate::merging::merged;
use crate::progress::say;
use anyhow::{Result, ensure};
use clap::Args;
use std::path::PathBuf;

/// `inducer merge`.
#[derive(Args, Clone, Debug)]
pub struct MergeArgs {
    /// Hugging Face directory, or the name of a model in the hub's cache (HF_HUB_CACHE, HF_HOME)
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: PathBuf,
    /// Adapter directory, of this project or of PEFT
    #[arg(long, value_parser = adapter_directory(), value_name = "DIR")]
    pub adapter: PathBuf,
    /// Directory to write; parts that cannot be folded go to its folder adapter/
    #[arg(long)]
    pub out: PathBuf,
    /// Write into a directory that is not empty
    #[arg(long)]
    pub overwrite: bool,
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or broken; nothing to fold; a directory that is not empty.
pub fn run(args: &MergeArgs) -> Result<()> {
    ensure!(
        args.out != args.backbone,
        "--out {}: expected another directory than --backbone",
        args.out.display()
    );
    fresh(&args.out, args.overwrite)?;
    let out = args.out.display();
    match merged(&args.backbone, &args.adapter, &args.out)? {
        None => say(format_args!("{out}: the merged backbone")),
        Some(rest) => say(format_args!(
            "{out}: the merged backbone; {}: the parts that cannot be folded",
            rest.display()
        )),
    }
    Ok(())
}
