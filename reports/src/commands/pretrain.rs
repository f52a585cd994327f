//! `inducer pretrain`: a small backbone from plain text.

use super::options::{Compute, named, precision, real, whole};
use super::print;
use crate::compute::Precision;
use crate::files;
use crate::pretraining::{Kind, PretrainConfig, Stored, pretrain};
use crate::progress::Progress;
use crate::study::generated::LONG_WORDS;
use anyhow::Result;
use clap::Args;
use inducer_datasets::synthetic;
use inducer_gpu::ranges;
use std::path::PathBuf;

/// `inducer pretrain`.
#[derive(Args, Clone, Debug)]
pub struct PretrainArgs {
    /// Plain text
    #[arg(long, required_unless_present_any = ["prose", "conversations"])]
    pub text: Option<PathBuf>,
    /// So many bytes of the prose that embedded backbones were made of, in place of --text
    #[arg(long, conflicts_with = "text", value_name = ranges::COUNT.text,
        value_parser = whole(ranges::COUNT))]
    pub prose: Option<usize>,
    /// So many bytes of such prose and conversations about passages, in place of --text
    #[arg(long, conflicts_with_all = ["text", "prose"], value_name = ranges::COUNT.text,
        value_parser = whole(ranges::COUNT))]
    pub conversations: Option<usize>,
    /// Directory to write
    #[arg(long)]
    pub out: PathBuf,
    /// What to make
    #[arg(
        long,
        default_value = "gpt2",
        display_order = 0,
        value_parser = named::<Kind>(&[
            ("gpt2", "A causal language model"),
            ("roberta", "A masked language model"),
        ])
    )]
    pub kind: Kind,
    /// Vocabulary of the byte-level BPE
    #[arg(long, default_value_t = 4096, value_name = ranges::SIZE.text,
        value_parser = whole(ranges::SIZE))]
    pub vocabulary: usize,
    /// Layers
    #[arg(long, default_value_t = 4, value_name = ranges::LAYERS.text,
        value_parser = whole(ranges::LAYERS))]
    pub layers: usize,
    /// Hidden size
    #[arg(long, default_value_t = 192, value_name = ranges::SIZE.text,
        value_parser = whole(ranges::SIZE))]
    pub hidden: usize,
    /// Heads
    #[arg(long, default_value_t = 3, value_name = ranges::SIZE.text,
        value_parser = whole(ranges::SIZE))]
    pub heads: usize,
    /// Positions
    #[arg(long, default_value_t = 512, value_name = ranges::SIZE.text,
        value_parser = whole(ranges::SIZE))]
    pub positions: usize,
    /// Tokens a row while training
    #[arg(long, default_value_t = 256, value_name = ranges::SIZE.text,
        value_parser = whole(ranges::SIZE))]
    pub length: usize,
    /// Rows a step
    #[arg(long, default_value_t = 16, value_name = ranges::BATCH.text,
        value_parser = whole(ranges::BATCH))]
    pub batch_size: usize,
    /// Steps
    #[arg(long, default_value_t = 1000, value_name = ranges::STEPS.text,
        value_parser = whole(ranges::STEPS))]
    pub steps: usize,
    /// Learning rate
    #[arg(long, visible_alias = "lr", default_value_t = 2e-3,
        value_name = ranges::LEARNING_RATE.text, value_parser = real(ranges::LEARNING_RATE))]
    pub learning_rate: f64,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Scalar type of the computation
    #[arg(long, default_value = "f32", value_parser = precision())]
    pub dtype: Precision,
    /// Scalar type of the weights that are written
    #[arg(long, default_value = "f32", value_parser = named::<Stored>(&[
        ("f32", "Single"),
        ("bf16", "Brain float: rounded, half the size"),
    ]))]
    pub save_dtype: Stored,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

impl PretrainArgs {
    fn config(&self) -> PretrainConfig {
        PretrainConfig {
            kind: self.kind,
            vocabulary: self.vocabulary,
            layers: self.layers,
            hidden: self.hidden,
            heads: self.heads,
            positions: self.positions,
            length: self.length,
            batch_size: self.batch_size,
            steps: self.steps,
            learning_rate: self.learning_rate,
            seed: self.seed,
            dtype: self.dtype,
            save_dtype: self.save_dtype,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// As [`pretrain`].
pub fn run(args: &PretrainArgs) -> Result<()> {
    let text = match (&args.text, args.conversations) {
        (Some(path), _) => files::read(path)?,
        (None, Some(bytes)) => synthetic::conversations_text(1, bytes, LONG_WORDS),
        (None, None) => synthetic::pretraining_text(1, args.prose.unwrap_or_default()),
    };
    let device = args.compute.open_for(args.dtype)?;
    let config = args.config();
    let pool = args.compute.pool()?;
    let summary = {
        let progress = Progress::new(config.steps as u64, "steps", "pretraining");
        pool.install(|| {
            pretrain(&text, &config, &args.out, &device, &mut |e| {
                progress.follow(e)
            })
        })?
    };
    print::line(format_args!(
        "{}: {} steps, {} tokens, {:.0} s, validation loss {:.3} nats a token",
        args.out.display(),
        summary.steps,
        summary.tokens,
        summary.seconds,
        summary.validation_loss
    ))
}
