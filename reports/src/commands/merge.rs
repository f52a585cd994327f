//! `inducer merge`: folds LoRA and tuned backbone tensors into a backbone that `transformers` loads.

use crate::cli::MergeArgs;
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device};
use inducer_datasets::files::write_atomic;
use inducer_gpu::gpt2::Gpt2;
use inducer_gpu::merge::merge;
use inducer_gpu::{BackboneConfig, Model, Saved};
use std::path::Path;

/// What a Hugging Face directory holds besides weights and configuration.
const COMPANIONS: [&str; 7] = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
];

/// Runs the command.
///
/// # Errors
/// Files that are missing or broken; nothing to fold.
pub fn run(args: &MergeArgs) -> Result<()> {
    ensure!(
        args.out != args.backbone,
        "--out {}: expected another directory than --backbone",
        args.out.display()
    );
    let mut backbone = Gpt2::load(&args.backbone, DType::F32, &Device::Cpu)?;
    let saved = Saved::read(
        &args.adapter,
        &BackboneConfig::Gpt2(backbone.config.clone()),
        DType::F32,
        &Device::Cpu,
    )?;
    let c = &saved.config;
    ensure!(
        c.lora.is_some() || c.full || c.bitfit,
        "{}: nothing to fold: the adapter has neither LoRA nor backbone tensors",
        args.adapter.display()
    );
    let rest = merge(&mut backbone, &saved)?;
    let vocabulary = backbone.config.vocab_size;
    Model::new(backbone, DType::F32, &Device::Cpu).save_backbone(&args.out)?;
    configuration(&args.backbone, &args.out, vocabulary)?;
    for name in COMPANIONS {
        let from = args.backbone.join(name);
        if from.exists() {
            let bytes = std::fs::read(&from).with_context(|| from.display().to_string())?;
            write_atomic(&args.out.join(name), &bytes)?;
        }
    }
    match rest {
        None => eprintln!("{}: the merged backbone", args.out.display()),
        Some(rest) => {
            let dir = args.out.join("adapter");
            rest.write(&dir)?;
            eprintln!(
                "{}: the merged backbone; {}: the parts that cannot be folded",
                args.out.display(),
                dir.display()
            );
        }
    }
    Ok(())
}

/// The backbone's own `config.json` with the new vocabulary's size: whatever else it says still holds.
fn configuration(from: &Path, to: &Path, vocabulary: usize) -> Result<()> {
    let path = from.join("config.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    value["vocab_size"] = vocabulary.into();
    let text = serde_json::to_string_pretty(&value)? + "\n";
    Ok(write_atomic(&to.join("config.json"), text.as_bytes())?)
}
