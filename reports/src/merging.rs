//! LoRA, (IA)³ and tuned backbone tensors folded into a backbone that `transformers` loads.

use crate::files::{At, read_json};
use anyhow::{Result, ensure};
use inducer_datasets::files::write_atomic;
use inducer_gpu::BackboneConfig;
use inducer_gpu::files::backbone::{save_as, stored_dtype};
use inducer_gpu::files::load_with_adapter;
use inducer_gpu::files::merge::merge;
use inducer_gpu::files::write_json;
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

/// Writes the merged backbone to `out`; the directory of the parts that cannot be folded, where
/// there are any.
///
/// # Errors
/// Files that are missing or broken; nothing to fold.
pub fn merged(backbone_dir: &Path, adapter: &Path, out: &Path) -> Result<Option<PathBuf>> {
    let (mut backbone, saved) = load_with_adapter(backbone_dir, adapter)?;
    let c = &saved.config;
    ensure!(
        c.lora.is_some() || c.ia3.is_some() || c.tunes_any(),
        "{}: nothing to fold: the adapter has no LoRA, (IA)³ or backbone tensors",
        adapter.display()
    );
    let rest = merge(backbone.as_mut(), &saved)?;
    let config = backbone.config();
    let dtype = stored_dtype(backbone_dir)?;
    save_as(backbone.as_ref(), out, dtype)?;
    configuration(backbone_dir, out, &config)?;
    for name in COMPANIONS {
        let from = backbone_dir.join(name);
        if from.exists() {
            let bytes = std::fs::read(&from).at(&from)?;
            write_atomic(&out.join(name), &bytes)?;
        }
    }
    let left = rest.map(|rest| {
        let dir = out.join("adapter");
        rest.write(&dir).map(|()| dir)
    });
    Ok(left.transpose()?)
}

/// The backbone's own `config.json` with the new vocabulary's size, or the head and its number of
/// classes: whatever else it says still holds.
fn configuration(from: &Path, to: &Path, config: &BackboneConfig) -> Result<()> {
    let [from, to] = [from, to].map(|dir| dir.join("config.json"));
    let (mut value, written): (Value, Value) = (read_json(&from)?, read_json(&to)?);
    value["vocab_size"] = config.spec().vocabulary.into();
    // the type of the file, under the names that transformers has had for it
    let dtype = written["torch_dtype"].clone();
    let names = ["dtype", "torch_dtype"];
    let mut named: Vec<&str> = names.into_iter().filter(|n| !value[*n].is_null()).collect();
    if named.is_empty() {
        named.push("torch_dtype");
    }
    for name in named {
        value[name] = dtype.clone();
    }
    if let BackboneConfig::Gpt2(c) = config {
        value["tie_word_embeddings"] = c.tie_word_embeddings.into();
    }
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
