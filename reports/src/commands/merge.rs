//! `inducer merge`: folds LoRA and tuned backbone tensors into a backbone that `transformers` loads.

use crate::cli::MergeArgs;
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device};
use inducer_datasets::files::write_atomic;
use inducer_gpu::backbone::Backbone;
use inducer_gpu::merge::merge;
use inducer_gpu::{BackboneConfig, Model, Saved, saved};
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
    let classes = saved::classes(&args.adapter)?;
    let mut backbone = Backbone::load(&args.backbone, classes, 0, DType::F32, &Device::Cpu)?;
    let saved = Saved::read(&args.adapter, &backbone.config(), DType::F32, &Device::Cpu)?;
    let c = &saved.config;
    ensure!(
        c.lora.is_some() || c.full || c.bitfit,
        "{}: nothing to fold: the adapter has neither LoRA nor backbone tensors",
        args.adapter.display()
    );
    let rest = merge(&mut backbone, &saved)?;
    let config = backbone.config();
    Model::new(backbone, DType::F32, &Device::Cpu).save_backbone(&args.out)?;
    configuration(&args.backbone, &args.out, &config)?;
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

/// The backbone's own `config.json` with the new vocabulary's size, or the head and its number of classes: whatever else it says still holds.
fn configuration(from: &Path, to: &Path, config: &BackboneConfig) -> Result<()> {
    let path = from.join("config.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    value["vocab_size"] = config.vocabulary().into();
    if let BackboneConfig::Roberta(_) = config {
        let written = std::fs::read_to_string(to.join("config.json"))?;
        let written: serde_json::Value = serde_json::from_str(&written)?;
        for field in ["architectures", "id2label", "label2id"] {
            if field == "architectures"
                || value[field].as_object().map(serde_json::Map::len)
                    != written[field].as_object().map(serde_json::Map::len)
            {
                value[field] = written[field].clone();
            }
        }
    }
    let text = serde_json::to_string_pretty(&value)? + "\n";
    Ok(write_atomic(&to.join("config.json"), text.as_bytes())?)
}
