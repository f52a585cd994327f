//! What the report runs on when it is given nothing: generated data, and a small backbone pretrained once on generated prose.
//!
//! The backbone is cached under `$INDUCER_CACHE`, else `$XDG_CACHE_HOME/inducer`, else `~/.cache/inducer`, in a directory named by the
//! fingerprint of everything that decides it.

use crate::commands::pretrain::{Kind, PretrainConfig, pretrain};
use crate::progress;
use anyhow::{Context, Result};
use candle_core::Device;
use inducer_datasets::fingerprint;
use inducer_datasets::synthetic::{self, SyntheticConfig};
use std::path::{Path, PathBuf};

/// The prose's seed and size in bytes.
const PROSE: (u64, usize) = (1, 4_000_000);

/// The embedded backbone.
pub fn backbone_config() -> PretrainConfig {
    PretrainConfig {
        kind: Kind::Gpt2,
        vocabulary: 1536,
        layers: 3,
        hidden: 128,
        heads: 4,
        positions: 384,
        length: 96,
        batch_size: 6,
        steps: 4500,
        learning_rate: 4e-3,
        seed: 1,
    }
}

/// Where what can be made again is kept.
pub fn cache() -> PathBuf {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    from("INDUCER_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|d| d.join("inducer")))
        .or_else(|| from("HOME").map(|d| d.join(".cache/inducer")))
        .unwrap_or_else(|| PathBuf::from(".inducer-cache"))
}

/// Writes the generated data to `dir`, unless they are there already.
///
/// # Errors
/// The directory cannot be written.
pub fn data(dir: &Path) -> Result<SyntheticConfig> {
    let config = SyntheticConfig::default();
    if !dir.join("test.json").exists() {
        synthetic::write(dir, config)?;
    }
    Ok(config)
}

/// The directory of the embedded backbone; made when it is not cached.
///
/// # Errors
/// The cache cannot be written.
pub fn backbone(threads: usize) -> Result<PathBuf> {
    let config = backbone_config();
    let key = fingerprint::of_bytes(
        format!(
            "{}{PROSE:?}{}",
            env!("CARGO_PKG_VERSION"),
            serde_json::to_string(&config)?
        )
        .as_bytes(),
    );
    let home = cache();
    let dir = home.join(format!("backbone-{}", &key[..16]));
    if dir.join("model.safetensors").exists() {
        return Ok(dir);
    }
    let partial = home.join(format!("backbone-{}.partial", &key[..16]));
    std::fs::create_dir_all(&partial).with_context(|| partial.display().to_string())?;
    eprintln!(
        "Pretraining the embedded backbone, once: {} steps, kept in {}",
        config.steps,
        dir.display()
    );
    let text = synthetic::pretraining_text(PROSE.0, PROSE.1);
    let bar = progress::bar(config.steps as u64, "pretraining");
    let pool = crate::compute::pool(threads)?;
    pool.install(|| {
        pretrain(&text, &config, &partial, &Device::Cpu, &mut |e| {
            progress::on_event(&bar, e)
        })
    })?;
    bar.finish_and_clear();
    std::fs::rename(&partial, &dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}
