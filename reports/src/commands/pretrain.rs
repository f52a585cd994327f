//! `inducer pretrain`: a byte-level BPE and a small GPT-2 from plain text, as a Hugging Face directory.

use crate::cli::PretrainArgs;
use crate::{compute, progress};
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device};
use inducer_datasets::batches::epoch_batches;
use inducer_datasets::files::write_atomic;
use inducer_datasets::{Batch, Tokenizer};
use inducer_gpu::gpt2::Gpt2;
use inducer_gpu::train::{AdamWConfig, Data, Schedule, Summary, TrainConfig, train};
use inducer_gpu::{AdapterConfig, Gpt2Config, Model};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Everything that decides the backbone besides the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// Ids of the BPE.
    pub vocabulary: usize,
    /// Layers.
    pub layers: usize,
    /// Hidden size.
    pub hidden: usize,
    /// Heads.
    pub heads: usize,
    /// Positions.
    pub positions: usize,
    /// Tokens a row.
    pub length: usize,
    /// Rows a step.
    pub batch_size: usize,
    /// Steps.
    pub steps: usize,
    /// Learning rate.
    pub learning_rate: f64,
    /// Seed.
    pub seed: u64,
}

/// Rows of equal length cut from the tokens of the text.
struct Blocks {
    rows: Vec<Vec<u32>>,
    validation: Vec<Batch>,
    batch_size: usize,
    seed: u64,
}

fn pack(rows: &[Vec<u32>]) -> Batch {
    let labels: Vec<Vec<i64>> = rows
        .iter()
        .map(|r| r.iter().map(|t| i64::from(*t)).collect())
        .collect();
    Batch::pack(rows, None, Some(&labels))
}

impl Data for Blocks {
    fn epoch(&self, epoch: usize) -> Vec<Batch> {
        let lengths = vec![1; self.rows.len()];
        let order = epoch_batches(&lengths, self.batch_size, self.seed, epoch as u64);
        order
            .iter()
            .map(|b| pack(&b.iter().map(|i| self.rows[*i].clone()).collect::<Vec<_>>()))
            .collect()
    }

    fn validation(&self) -> &[Batch] {
        &self.validation
    }
}

/// Documents are separated by blank lines; each ends with the end-of-text token.
fn tokenise(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    use rayon::prelude::*;
    let documents: Vec<&str> = text
        .split("\n\n")
        .map(str::trim)
        .filter(|d| !d.is_empty())
        .collect();
    let encoded: Vec<Vec<u32>> = documents
        .par_iter()
        .map(|d| tokenizer.encode(d))
        .collect::<inducer_datasets::Result<_>>()?;
    let mut out = Vec::new();
    for ids in encoded {
        out.extend(ids);
        out.push(0);
    }
    Ok(out)
}

/// Trains tokenizer and backbone and writes the directory. Returns the summary of the training.
///
/// # Errors
/// A text too short for the sizes asked for; files that cannot be written.
pub fn pretrain(
    text: &str,
    config: &PretrainConfig,
    out: &Path,
    device: &Device,
    on_event: &mut dyn FnMut(&inducer_gpu::train::Event),
) -> Result<Summary> {
    ensure!(
        config.hidden.is_multiple_of(config.heads),
        "--hidden {}: expected a multiple of --heads {}",
        config.hidden,
        config.heads
    );
    ensure!(
        config.length <= config.positions,
        "--length {}: expected at most --positions {}",
        config.length,
        config.positions
    );
    let tokenizer = Tokenizer::train(text.lines(), config.vocabulary)?;
    ensure!(
        tokenizer.vocab_size() == config.vocabulary,
        "the text gives only {} tokens of the {} asked for with --vocabulary",
        tokenizer.vocab_size(),
        config.vocabulary
    );
    let tokens = tokenise(&tokenizer, text)?;
    let mut rows: Vec<Vec<u32>> = tokens
        .chunks_exact(config.length)
        .map(<[u32]>::to_vec)
        .collect();
    let held = (rows.len() / 20).clamp(1, 64);
    ensure!(
        rows.len() > held + config.batch_size,
        "the text has only {} tokens: too few for rows of {} in batches of {}",
        tokens.len(),
        config.length,
        config.batch_size
    );
    let last = rows.split_off(rows.len() - held);
    let data = Blocks {
        rows,
        validation: last.chunks(config.batch_size).map(pack).collect(),
        batch_size: config.batch_size,
        seed: config.seed,
    };

    let shape = Gpt2Config {
        vocab_size: config.vocabulary,
        n_positions: config.positions,
        n_embd: config.hidden,
        n_layer: config.layers,
        n_head: config.heads,
        n_inner: None,
        layer_norm_epsilon: 1e-5,
        initializer_range: 0.02,
        eos_token_id: Some(0),
    };
    let mut model = Model::new(
        Gpt2::random(shape.clone(), config.seed, DType::F32, device)?,
        DType::F32,
        device,
    );
    model.attach(
        &AdapterConfig {
            full: true,
            ..AdapterConfig::none()
        },
        0,
        config.seed,
    )?;
    let training = TrainConfig {
        seed: config.seed,
        steps: config.steps,
        accumulation: 1,
        learning_rate: config.learning_rate,
        warmup: (config.steps / 20).max(1),
        schedule: Schedule::Cosine,
        clip: Some(1.0),
        clip_micro_batches: false,
        label_smoothing: 0.0,
        dropout: 0.0,
        optimiser: AdamWConfig {
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
        },
        validate_every: (config.steps / 5).max(1),
        patience: None,
        checkpoint_every: 100,
    };
    let work = out.join("pretraining");
    std::fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let summary = train(&mut model, &data, &training, Some(&work), on_event)?;
    tokenizer.save(out)?;
    model.save_backbone(out)?;
    let generation =
        serde_json::json!({ "bos_token_id": 0, "eos_token_id": 0, "_from_model_config": true });
    write_atomic(
        &out.join("generation_config.json"),
        format!("{generation:#}\n").as_bytes(),
    )?;
    let card = format!(
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n# A small GPT-2\n\nMade by `inducer pretrain` (version {}): {} layers, hidden {}, {} heads, {} positions, byte-level BPE of {} tokens (`<|endoftext|>` = 0), {} parameters.\n\
         {} tokens seen in {} steps; validation loss {:.3} nats a token on {} held-out rows of {} tokens.\n",
        env!("CARGO_PKG_VERSION"),
        config.layers,
        config.hidden,
        config.heads,
        config.positions,
        config.vocabulary,
        shape.parameters(),
        summary.tokens,
        summary.steps,
        summary.validation_loss,
        held,
        config.length,
    );
    write_atomic(&out.join("README.md"), card.as_bytes())?;
    std::fs::remove_dir_all(&work).with_context(|| work.display().to_string())?;
    Ok(summary)
}

/// Runs the command.
///
/// # Errors
/// As [`pretrain`].
pub fn run(args: &PretrainArgs) -> Result<()> {
    let text =
        std::fs::read_to_string(&args.text).with_context(|| args.text.display().to_string())?;
    let config = PretrainConfig {
        vocabulary: args.vocabulary,
        layers: args.layers,
        hidden: args.hidden,
        heads: args.heads,
        positions: args.positions,
        length: args.length,
        batch_size: args.batch_size,
        steps: args.steps,
        learning_rate: args.learning_rate,
        seed: args.seed,
    };
    let device = compute::device(&args.compute)?;
    let bar = progress::bar(args.steps as u64, "pretraining");
    let pool = compute::pool(compute::threads(&args.compute))?;
    let summary = pool.install(|| {
        pretrain(&text, &config, &args.out, &device, &mut |e| {
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
