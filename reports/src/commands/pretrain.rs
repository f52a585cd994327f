//! `inducer pretrain`: a byte-level BPE and a small GPT-2 or RoBERTa from plain text, as a Hugging
//! Face directory.
//!
//! GPT-2 predicts the next token. RoBERTa predicts masked ones: of each row, drawn anew in every
//! epoch, 15 % of the tokens are asked for; 80 % of those are replaced by `<mask>`, 10 % by a
//! random token, 10 % stay.

use crate::cli::PretrainArgs;
use crate::{compute, progress};
use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device};
use inducer_datasets::batches::epoch_batches;
use inducer_datasets::files::write_atomic;
use inducer_datasets::{Batch, IGNORE, Tokenizer};
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::backbone::Roberta;
use inducer_gpu::tensors::generator;
use inducer_gpu::train::{AdamWConfig, Data, Schedule, Summary, TrainConfig, train};
use inducer_gpu::{Gpt2Config, Model, RobertaConfig, Tensors as _};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is pretrained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A causal language model.
    #[default]
    Gpt2,
    /// A masked language model.
    Roberta,
}

/// Everything that decides the backbone besides the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// Which backbone.
    #[serde(default)]
    pub kind: Kind,
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

/// The same rows with masked tokens to be found.
struct Masked {
    rows: Vec<Vec<u32>>,
    validation: Vec<Batch>,
    batch_size: usize,
    seed: u64,
    vocabulary: u32,
}

/// `<mask>` and the first id that is no special token, in tokenizers trained here.
const MASK: u32 = 4;

/// A row with some of its tokens to be found: its ids as the model sees them, and its labels.
fn mask(row: &[u32], vocabulary: u32, rng: &mut impl Rng) -> (Vec<u32>, Vec<i64>) {
    let mut ids = row.to_vec();
    let mut labels = vec![IGNORE; row.len()];
    for (id, label) in ids.iter_mut().zip(&mut labels) {
        if *id <= MASK || !rng.random_bool(0.15) {
            continue;
        }
        *label = i64::from(*id);
        match rng.random_range(0..10) {
            0..8 => *id = MASK,
            8 => *id = rng.random_range(MASK + 1..vocabulary),
            _ => {}
        }
    }
    (ids, labels)
}

fn masked(rows: &[&Vec<u32>], vocabulary: u32, rng: &mut impl Rng) -> Option<Batch> {
    let (ids, labels): (Vec<_>, Vec<_>) = rows.iter().map(|r| mask(r, vocabulary, rng)).unzip();
    let any = labels.iter().flatten().any(|l: &i64| *l != IGNORE);
    any.then(|| Batch::pack(&ids, None, Some(&labels)))
}

impl Data for Masked {
    fn epoch(&self, epoch: usize) -> Vec<Batch> {
        let lengths = vec![1; self.rows.len()];
        let mut rng = generator(self.seed, &format!("masks of epoch {epoch}"));
        epoch_batches(&lengths, self.batch_size, self.seed, epoch as u64)
            .iter()
            .filter_map(|b| {
                let rows: Vec<&Vec<u32>> = b.iter().map(|i| &self.rows[*i]).collect();
                masked(&rows, self.vocabulary, &mut rng)
            })
            .collect()
    }

    fn validation(&self) -> &[Batch] {
        &self.validation
    }
}

/// Documents are separated by blank lines; each ends with the token `end`.
fn tokenise(tokenizer: &Tokenizer, text: &str, end: u32) -> Result<Vec<u32>> {
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
        out.push(end);
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
    let tokenizer = match config.kind {
        Kind::Gpt2 => Tokenizer::train(text.lines(), config.vocabulary)?,
        Kind::Roberta => Tokenizer::train_roberta(text.lines(), config.vocabulary)?,
    };
    ensure!(
        tokenizer.vocab_size() == config.vocabulary,
        "the text gives only {} tokens of the {} asked for with --vocabulary",
        tokenizer.vocab_size(),
        config.vocabulary
    );
    let (start, end) = match config.kind {
        Kind::Gpt2 => (None, 0),
        Kind::Roberta => (Some(0), 2),
    };
    let tokens = tokenise(&tokenizer, text, end)?;
    // a RoBERTa's row stands between <s> and </s>
    let around = if start.is_some() { 2 } else { 0 };
    let mut rows: Vec<Vec<u32>> = tokens
        .chunks_exact(config.length.saturating_sub(around).max(1))
        .map(|row| match start {
            None => row.to_vec(),
            Some(start) => [&[start], row, &[end]].concat(),
        })
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
    let (mut model, data): (Model, Box<dyn Data>) = match config.kind {
        Kind::Gpt2 => (gpt2(config, device)?, Box::new(blocks(rows, &last, config))),
        Kind::Roberta => (
            roberta(config, device)?,
            Box::new(masks(rows, &last, config)),
        ),
    };
    model.tune_backbone()?;
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
            coupled: false,
        },
        validate_every: (config.steps / 5).max(1),
        patience: None,
        checkpoint_every: 100,
    };
    let work = out.join("pretraining");
    std::fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let summary = train(&mut model, data.as_ref(), &training, Some(&work), on_event)?;
    tokenizer.save(out)?;
    model.save_backbone(out)?;
    let (kind, pipeline, special) = match config.kind {
        Kind::Gpt2 => ("GPT-2", "text-generation", "`<|endoftext|>` = 0"),
        Kind::Roberta => (
            "RoBERTa",
            "fill-mask",
            "`<s>`, `<pad>`, `</s>`, `<unk>`, `<mask>` = 0 to 4",
        ),
    };
    if config.kind == Kind::Gpt2 {
        let generation =
            serde_json::json!({ "bos_token_id": 0, "eos_token_id": 0, "_from_model_config": true });
        let text = format!("{generation:#}\n");
        write_atomic(&out.join("generation_config.json"), text.as_bytes())?;
    }
    let parameters: usize = model
        .backbone
        .parameters()
        .iter()
        .map(|p| p.tensor.elem_count())
        .sum();
    let card = format!(
        "---\nlibrary_name: transformers\npipeline_tag: {pipeline}\n---\n# A small {kind}\n\nMade \
         by `inducer pretrain` (version {}): {} layers, hidden {}, {} heads, {} positions, \
         byte-level BPE of {} tokens ({special}), {parameters} parameters.\n\
         {} tokens seen in {} steps; validation loss {:.3} nats a token on {} held-out rows of {} \
         tokens.\n",
        env!("CARGO_PKG_VERSION"),
        config.layers,
        config.hidden,
        config.heads,
        config.positions,
        config.vocabulary,
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

fn gpt2(config: &PretrainConfig, device: &Device) -> Result<Model> {
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
    let backbone = Gpt2::random(shape, config.seed, DType::F32, device)?;
    Ok(Model::new(backbone, DType::F32, device))
}

fn roberta(config: &PretrainConfig, device: &Device) -> Result<Model> {
    let shape = RobertaConfig {
        vocab_size: config.vocabulary,
        // the table's first rows, up to padding_idx, are no positions
        max_position_embeddings: config.positions + 2,
        hidden_size: config.hidden,
        num_hidden_layers: config.layers,
        num_attention_heads: config.heads,
        intermediate_size: 4 * config.hidden,
        ..RobertaConfig::base()
    };
    let backbone = Roberta::random_masked(shape, config.seed, DType::F32, device)?;
    Ok(Model::new(backbone, DType::F32, device))
}

fn blocks(rows: Vec<Vec<u32>>, last: &[Vec<u32>], config: &PretrainConfig) -> Blocks {
    Blocks {
        rows,
        validation: last.chunks(config.batch_size).map(pack).collect(),
        batch_size: config.batch_size,
        seed: config.seed,
    }
}

fn masks(rows: Vec<Vec<u32>>, last: &[Vec<u32>], config: &PretrainConfig) -> Masked {
    let vocabulary = config.vocabulary as u32;
    let mut rng = generator(config.seed, "masks of the held-out rows");
    let validation = last
        .chunks(config.batch_size)
        .filter_map(|rows| masked(&rows.iter().collect::<Vec<_>>(), vocabulary, &mut rng))
        .collect();
    Masked {
        rows,
        validation,
        batch_size: config.batch_size,
        seed: config.seed,
        vocabulary,
    }
}

/// Runs the command.
///
/// # Errors
/// As [`pretrain`].
pub fn run(args: &PretrainArgs) -> Result<()> {
    let text =
        std::fs::read_to_string(&args.text).with_context(|| args.text.display().to_string())?;
    let config = PretrainConfig {
        kind: args.kind,
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
