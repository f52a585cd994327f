//! `inducer forward`: logits, loss and gradients of a batch, from either engine.

use super::options::{Compute, adapter_directory, model_directory, named, precision};
use super::print;
use crate::compute::Precision;
use crate::files::At;
use crate::forward::{Engine, Request, note, tensors};
use anyhow::Result;
use clap::Args;
use inducer_datasets::files::write_atomic;
use inducer_gpu::files::safetensors::serialize;
use std::collections::HashMap;
use std::path::PathBuf;

/// `inducer forward`.
#[derive(Args, Clone, Debug)]
pub struct ForwardArgs {
    /// Hugging Face directory, or the name of a model in the hub's cache (HF_HUB_CACHE, HF_HOME)
    #[arg(long, value_parser = model_directory(), value_name = "DIR or NAME")]
    pub backbone: PathBuf,
    /// Adapter directory
    #[arg(long, value_parser = adapter_directory(), value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// JSON file with input_ids, and optionally labels, attention_mask, segment_ids, position_ids.
    /// Without position_ids, a GPT-2 counts from a row's first token under mask 1 (as generate in
    /// transformers does; its bare forward counts padding too), a RoBERTa skips padding ids. A
    /// label under mask 0 is refused; a classifier reads the first token under mask 1
    #[arg(long)]
    pub batch: PathBuf,
    /// safetensors file to write
    #[arg(long)]
    pub out: PathBuf,
    /// Scalar type
    #[arg(long, default_value = "f32", value_parser = precision())]
    pub dtype: Precision,
    /// Gradients of every adapter tensor as well
    #[arg(long)]
    pub gradients: bool,
    /// Implementation
    #[arg(long, default_value = "gpu", value_parser = named::<Engine>(&[
        ("gpu", "The training engine"),
        ("reference", "The ndarray reference"),
    ]))]
    pub engine: Engine,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit each other.
pub fn run(args: &ForwardArgs) -> Result<()> {
    let request = Request {
        backbone: args.backbone.clone(),
        adapter: args.adapter.clone(),
        batch: args.batch.clone(),
        dtype: args.dtype,
        gradients: args.gradients,
        engine: args.engine,
        device: args.compute.device,
    };
    let mut metadata = HashMap::new();
    if let Some(note) = note(&request)? {
        eprintln!("note: {note}");
        metadata.insert("note".to_string(), note);
    }
    let (out, loss) = args.compute.pool()?.install(|| tensors(&request))?;
    let bytes = serialize(out.iter().map(|(n, t)| (n, t)), metadata)?;
    write_atomic(&args.out, &bytes).at(&args.out)?;
    let (path, count) = (args.out.display(), out.len());
    match loss {
        Some(loss) => print::line(format_args!("{path}: {count} tensors, loss {loss:.6}")),
        None => print::line(format_args!("{path}: {count} tensors")),
    }
}
