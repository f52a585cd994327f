//! `inducer export`: an adapter in PEFT's layout, or PEFT's in this project's.

use crate::cli::{ExportArgs, Layout};
use anyhow::{Result, ensure};
use candle_core::{DType, Device};
use inducer_gpu::backbone::Backbone;
use inducer_gpu::{Saved, hub, peft, saved};

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
    let classes = saved::classes(&args.adapter)?;
    let backbone = Backbone::load(&args.backbone, classes, 0, DType::F32, &Device::Cpu)?;
    let mut saved = Saved::read(&args.adapter, &backbone.config(), DType::F32, &Device::Cpu)?;
    if saved.config.base_model_name_or_path.is_empty() {
        saved.config.base_model_name_or_path = hub::name(&args.backbone);
    }
    match args.layout {
        Layout::Peft => peft::export(&saved, &backbone, &args.out)?,
        Layout::Inducer => saved.write(&args.out)?,
    }
    eprintln!("{}: written", args.out.display());
    Ok(())
}
