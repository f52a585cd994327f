//! `inducer merge`: folds LoRA, (IA)³ and tuned backbone tensors into a backbone that
//! `transformers` loads.

use super::options::model_directory;
use crate::files::{At, read_json};
use anyhow::{Result, ensure};
use candle_core::{DType, Device};
use clap::Args;
use inducer_datasets::files::write_atomic;
use inducer_gpu::files::load_with_adapter;
use inducer_gpu::files::merge::merge;
use inducer_gpu::files::write_json;
use inducer_gpu::{BackboneConfig, Model};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

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

/// `inducer merge`.
#[derive(Args, Clone, Debug)]
pub struct MergeArgs {
    /// Hugging Face directory, or the name of a model in the hub's cache (HF_HUB_CACHE, HF_HOME)
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: PathBuf,
    /// Adapter directory, of this project or of PEFT
    #[arg(long)]
    pub adapter: PathBuf,
    /// Directory to write; parts that cannot be folded go to its folder adapter/
    #[arg(long)]
    pub out: PathBuf,
}

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
    let (mut backbone, saved) = load_with_adapter(&args.backbone, &args.adapter)?;
    let c = &saved.config;
    ensure!(
        c.lora.is_some() || c.ia3.is_some() || c.full || c.bitfit,
        "{}: nothing to fold: the adapter has no LoRA, (IA)³ or backbone tensors",
        args.adapter.display()
    );
    let rest = merge(backbone.as_mut(), &saved)?;
    let config = backbone.config();
    Model::new(backbone, DType::F32, &Device::Cpu).save_backbone(&args.out)?;
    configuration(&args.backbone, &args.out, &config)?;
    for name in COMPANIONS {
        let from = args.backbone.join(name);
        if from.exists() {
            let bytes = std::fs::read(&from).at(&from)?;
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

/// The backbone's own `config.json` with the new vocabulary's size, or the head and its number of
/// classes: whatever else it says still holds.
fn configuration(from: &Path, to: &Path, config: &BackboneConfig) -> Result<()> {
    let [from, to] = [from, to].map(|dir| dir.join("config.json"));
    let (mut value, written): (Value, Value) = (read_json(&from)?, read_json(&to)?);
    value["vocab_size"] = config.spec().vocabulary.into();
    if let BackboneConfig::Roberta(c) = config {
        value["architectures"] = written["architectures"].clone();
        // the backbone's own names of as many classes stay
        for field in ["id2label", "label2id"] {
            if value[field].as_object().map(Map::len) != Some(c.classes()) {
                value[field] = written[field].clone();
            }
        }
    }
    Ok(write_json(&to, &value)?)
}
