//! `inducer export`: an adapter in PEFT's layout, or PEFT's in this project's.

use crate::cli::{ExportArgs, Layout};
use anyhow::{Result, ensure};
use inducer_gpu::{files, hub, peft};

/// Runs the command.
///
/// # Errors
/// Files that are missing or broken; a part that the other layout does not know.
pub fn run(args: &ExportArgs) -> Result<()> {
    ensure!(
        args.out != args.adapter,
        "--out {}: expected another directory than --adapter",
        args.out.display()
    );
    let (backbone, mut saved) = files::load_with_adapter(&args.backbone, &args.adapter)?;
    if saved.config.base_model_name_or_path.is_empty() {
        saved.config.base_model_name_or_path = hub::name(&args.backbone);
    }
    match args.layout {
        Layout::Peft => peft::export(&saved, backbone.as_ref(), &args.out)?,
        Layout::Inducer => saved.write(&args.out)?,
    }
    eprintln!("{}: written", args.out.display());
    Ok(())
}
