//! A byte-level BPE and a small GPT-2 or RoBERTa from plain text, as a Hugging Face directory.
//!
//! GPT-2 predicts the next token. RoBERTa predicts masked ones: of each row, drawn anew in every
//! epoch, 15 % of the tokens are asked for; 80 % of those are replaced by `<mask>`, 10 % by a
//! random token, 10 % stay.

use crate::compute::Precision;
use crate::files::{self, At};
use crate::run::lock::Lock;
use anyhow::{Result, anyhow, ensure};
use candle_core::{DType, Device};
use inducer_datasets::batches::epoch_batches;
use inducer_datasets::{Batch, IGNORE, Tokenizer, fingerprint};
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::backbone::Roberta;
use inducer_gpu::files::backbone::save_as;
use inducer_gpu::kernels::precision::master_dtype;
use inducer_gpu::tensors::generator;
use inducer_gpu::train::{AdamWConfig, Data, Event, Schedule, Summary, TrainConfig, train};
use inducer_gpu::{Gpt2Config, Model, RobertaConfig, ranges};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is pretrained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A causal language model.
    #[default]
    Gpt2,
    /// A masked language model.
    Roberta,
}

/// Scalar type of a file's weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stored {
    /// Single.
    #[default]
    F32,
    /// Brain float.
    Bf16,
}

impl Stored {
    fn is_single(&self) -> bool {
        *self == Self::F32
    }

    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// Everything that decides the backbone besides the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// What to make.
    #[serde(default)]
    pub kind: Kind,
    /// Vocabulary of the byte-level BPE.
    pub vocabulary: usize,
    /// Layers.
    pub layers: usize,
    /// Hidden size.
    pub hidden: usize,
    /// Heads.
    pub heads: usize,
    /// Positions.
    pub positions: usize,
    /// Tokens a row while training.
    pub length: usize,
    /// Rows a step.
    pub batch_size: usize,
    /// Steps.
    pub steps: usize,
    /// Learning rate.
    pub learning_rate: f64,
    /// Seed.
    pub seed: u64,
    /// Scalar type of the computation; what is trained stays single in mixed precision.
    #[serde(default, skip_serializing_if = "Precision::is_single")]
    pub dtype: Precision,
    /// Scalar type of the weights that are written.
    #[serde(default, skip_serializing_if = "Stored::is_single")]
    pub save_dtype: Stored,
}

/// What a backbone was made of: the file `pretraining.json` beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// Version of the program.
    pub version: String,
    /// SHA-256 of the text.
    pub text: String,
    /// SHA-256 of `model.safetensors`.
    pub weights: String,
    /// Everything else that decided it.
    pub config: PretrainConfig,
}

/// Rows of equal length cut from the tokens of the text.
struct Rows {
    rows: Vec<Vec<u32>>,
    validation: Vec<Batch>,
    batch_size: usize,
    seed: u64,
    /// The vocabulary, where masked tokens are to be found and not the next ones.
    masked: Option<u32>,
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

/// A batch of rows; none where no token of them is to be found.
fn pack<'a>(
    rows: impl Iterator<Item = &'a Vec<u32>>,
    masked: Option<u32>,
    rng: &mut impl Rng,
) -> Option<Batch> {
    let labelled = |row: &Vec<u32>| match masked {
        Some(vocabulary) => mask(row, vocabulary, rng),
        None => (row.clone(), row.iter().map(|t| i64::from(*t)).collect()),
    };
    let (ids, labels): (Vec<_>, Vec<_>) = rows.map(labelled).unzip();
    let any = labels.iter().flatten().any(|l: &i64| *l != IGNORE);
    any.then(|| Batch::pack(&ids, None, Some(&labels)))
}

impl Data for Rows {
    fn epoch(&self, epoch: usize) -> Vec<Batch> {
        let lengths = vec![1; self.rows.len()];
        let mut rng = generator(self.seed, &format!("masks of epoch {epoch}"));
        epoch_batches(&lengths, self.batch_size, self.seed, epoch as u64)
            .iter()
            .filter_map(|b| pack(b.iter().map(|i| &self.rows[*i]), self.masked, &mut rng))
            .collect()
    }

    fn validation(&self) -> &[Batch] {
        &self.validation
    }
}

/// Documents are separated by blank lines; each ends with the token `end`.
fn tokenise(tokenizer: &Tokenizer, text: &str, end: u32) -> Result<Vec<u32>> {
    use rayon::prelude::*;
    let documents = text.split("\n\n").map(str::trim);
    let documents: Vec<&str> = documents.filter(|d| !d.is_empty()).collect();
    let encoded = documents.par_iter().map(|d| tokenizer.encode(d));
    let encoded = encoded.collect::<inducer_datasets::Result<Vec<Vec<u32>>>>()?;
    let ended = |ids: Vec<u32>| ids.into_iter().chain([end]);
    Ok(encoded.into_iter().flat_map(ended).collect())
}

/// The rows of a text, and how many more are held out for validation.
fn rows(tokenizer: &Tokenizer, text: &str, config: &PretrainConfig) -> Result<(Rows, usize)> {
    let (start, end) = match config.kind {
        Kind::Gpt2 => (None, 0),
        Kind::Roberta => (Some(0), 2),
    };
    let tokens = tokenise(tokenizer, text, end)?;
    // a RoBERTa's row stands between <s> and </s>
    let around = if start.is_some() { 2 } else { 0 };
    let mut rows: Vec<Vec<u32>> = tokens
        .chunks_exact(config.length.saturating_sub(around).max(1))
        .map(|row| match start {
            None => row.to_vec(),
            Some(start) => [&[start], row, &[end]].concat(),
        })
        .collect();
    let held_out = (rows.len() / 20).clamp(1, 64);
    ensure!(
        rows.len() > held_out + config.batch_size,
        "the text has only {} tokens: too few for rows of {} in batches of {}",
        tokens.len(),
        config.length,
        config.batch_size
    );
    let last = rows.split_off(rows.len() - held_out);
    let masked = (config.kind == Kind::Roberta).then_some(config.vocabulary as u32);
    let mut rng = generator(config.seed, "masks of the held-out rows");
    let batches = last.chunks(config.batch_size);
    let validation = batches.filter_map(|b| pack(b.iter(), masked, &mut rng));
    let rows = Rows {
        rows,
        validation: validation.collect(),
        batch_size: config.batch_size,
        seed: config.seed,
        masked,
    };
    Ok((rows, held_out))
}

fn tokenizer(text: &str, config: &PretrainConfig) -> Result<Tokenizer> {
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
    Ok(tokenizer)
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
    on_event: &mut dyn FnMut(&Event),
) -> Result<Summary> {
    config.check()?;
    let _lock = Lock::take(out)?;
    let tokenizer = tokenizer(text, config)?;
    let (data, held_out) = rows(&tokenizer, text, config)?;
    let mut model = match config.kind {
        Kind::Gpt2 => gpt2(config, device)?,
        Kind::Roberta => roberta(config, device)?,
    };
    model.tune_backbone()?;
    let work = out.join("pretraining");
    files::create_dir(&work)?;
    let summary = train(&mut model, &data, &config.training(), Some(&work), on_event)?;
    tokenizer.save(out)?;
    save_as(model.backbone.as_ref(), out, config.save_dtype.dtype())?;
    if config.kind == Kind::Gpt2 {
        let generation =
            serde_json::json!({ "bos_token_id": 0, "eos_token_id": 0, "_from_model_config": true });
        let path = out.join("generation_config.json");
        files::write(&path, &format!("{generation:#}\n"))?;
    }
    let parameters = model.backbone.parameters();
    let parameters = parameters.iter().map(|p| p.tensor.elem_count()).sum();
    let card = card(config, &summary, parameters, held_out);
    files::write(&out.join("README.md"), &card)?;
    let weights = out.join("model.safetensors");
    let made = Made {
        version: env!("CARGO_PKG_VERSION").into(),
        text: fingerprint::of_bytes(text.as_bytes()),
        weights: fingerprint::of_bytes(&std::fs::read(&weights).at(&weights)?),
        config: config.clone(),
    };
    let made = serde_json::to_string_pretty(&made)? + "\n";
    files::write(&out.join("pretraining.json"), &made)?;
    let (log, kept) = (work.join("metrics.jsonl"), out.join("pretraining.jsonl"));
    std::fs::rename(&log, &kept).at(&kept)?;
    std::fs::remove_dir_all(&work).at(&work)?;
    Ok(summary)
}

impl PretrainConfig {
    fn check(&self) -> Result<()> {
        for (option, range, value) in [
            ("vocabulary", ranges::SIZE, self.vocabulary),
            ("layers", ranges::LAYERS, self.layers),
            ("hidden", ranges::SIZE, self.hidden),
            ("heads", ranges::SIZE, self.heads),
            ("positions", ranges::SIZE, self.positions),
            ("length", ranges::SIZE, self.length),
            ("batch-size", ranges::BATCH, self.batch_size),
            ("steps", ranges::STEPS, self.steps),
        ] {
            let found = range.check(value as f64);
            found.map_err(|message| anyhow!("--{option}: {message}"))?;
        }
        ensure!(
            self.length >= 4,
            "--length {}: expected at least 4",
            self.length
        );
        ensure!(
            self.hidden.is_multiple_of(self.heads),
            "--hidden {}: expected a multiple of --heads {}",
            self.hidden,
            self.heads
        );
        ensure!(
            self.length <= self.positions,
            "--length {}: expected at most --positions {}",
            self.length,
            self.positions
        );
        Ok(())
    }

    fn training(&self) -> TrainConfig {
        TrainConfig {
            seed: self.seed,
            warmup: (self.steps / 20).clamp(1, self.steps),
            schedule: Schedule::Cosine,
            label_smoothing: 0.0,
            dropout: 0.0,
            optimiser: AdamWConfig {
                beta2: 0.95,
                weight_decay: 0.1,
                ..AdamWConfig::default()
            },
            validate_every: (self.steps / 5).max(1),
            patience: None,
            checkpoint_every: 100,
            ..TrainConfig::generation(self.learning_rate, self.steps)
        }
    }
}

fn card(config: &PretrainConfig, summary: &Summary, parameters: usize, held_out: usize) -> String {
    let (kind, pipeline, special) = match config.kind {
        Kind::Gpt2 => ("GPT-2", "text-generation", "`<|endoftext|>` = 0"),
        Kind::Roberta => (
            "RoBERTa",
            "fill-mask",
            "`<s>`, `<pad>`, `</s>`, `<unk>`, `<mask>` = 0 to 4",
        ),
    };
    format!(
        "---\nlibrary_name: transformers\npipeline_tag: {pipeline}\n---\n# A small {kind}\n\nMade \
         by `inducer pretrain` (version {}): {} layers, hidden {}, {} heads, {} positions, \
         byte-level BPE of {} tokens ({special}), {parameters} parameters.\n\
         {} tokens seen in {} steps; validation loss {:.3} nats a token on {held_out} held-out \
         rows of {} tokens.\n",
        env!("CARGO_PKG_VERSION"),
        config.layers,
        config.hidden,
        config.heads,
        config.positions,
        config.vocabulary,
        summary.tokens,
        summary.steps,
        summary.validation_loss,
        config.length,
    )
}

fn gpt2(config: &PretrainConfig, device: &Device) -> Result<Model> {
    let shape = Gpt2Config {
        vocab_size: config.vocabulary,
        n_positions: config.positions,
        n_embd: config.hidden,
        n_layer: config.layers,
        n_head: config.heads,
        eos_token_id: Some(0),
        ..Gpt2Config::small()
    };
    let dtype = config.dtype.begin();
    let backbone = Gpt2::random(shape, config.seed, master_dtype(dtype), device)?;
    Ok(Model::new(backbone, dtype, device))
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
    let dtype = config.dtype.begin();
    let backbone = Roberta::random_masked(shape, config.seed, master_dtype(dtype), device)?;
    Ok(Model::new(backbone, dtype, device))
}
