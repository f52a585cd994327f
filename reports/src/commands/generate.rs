//! `inducer generate`: the model's texts for the test split.

use super::options::{Compute, Decode, Inputs};
use crate::compute::Precision;
use crate::run::{self, Prepared};
use crate::{files, progress};
use anyhow::{Result, ensure};
use clap::Args;
use inducer_datasets::Example;
use inducer_gpu::{AdapterConfig, Model};
use std::path::{Path, PathBuf};

/// `inducer generate`.
#[derive(Args, Clone, Debug)]
pub struct GenerateArgs {
    /// Inputs
    #[command(flatten)]
    pub inputs: Inputs,
    /// Adapter directory
    #[arg(long)]
    pub adapter: PathBuf,
    /// File to write [default: standard output]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Decoding
    #[command(flatten)]
    pub decode: Decode,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// Test examples and the texts that a saved adapter writes for them.
pub struct Generated {
    /// Data and layout.
    pub prepared: Prepared,
    /// The model.
    pub model: Model,
    /// What was put into words.
    pub examples: Vec<Example>,
    /// The texts, or the classes' names.
    pub texts: Vec<String>,
}

/// Loads everything and decodes.
///
/// # Errors
/// Files that are missing or do not fit each other.
pub fn decode(
    inputs: &Inputs,
    adapter: &Path,
    decode: &Decode,
    compute: &Compute,
) -> Result<Generated> {
    let config = AdapterConfig::read(&adapter.join("adapter_config.json"))?;
    let prepared = inputs.prepare(&config)?;
    let device = compute.device.open()?;
    let task = inputs.task;
    let mut model = run::load(task, &inputs.backbone, 0, Precision::F32, &device)?;
    model.attach_saved(adapter)?;
    let special = task.special_tokens().len();
    ensure!(
        model.special() == special,
        "{}: tensor `transformer.wte.added` has {} rows; the task {task} has {special} special \
         tokens",
        adapter.display(),
        model.special()
    );
    let examples = run::test_examples(&prepared, decode.test_limit);
    let max_new = decode.max_new_tokens.unwrap_or(prepared.usual_new_tokens());
    let bar = progress::bar(examples.len() as u64, "decoding");
    let decode = || {
        let mut on_done = |n| bar.inc(n as u64);
        run::outputs(&model, &prepared, &examples, max_new, &mut on_done)
    };
    let texts = compute.pool()?.install(decode)?;
    bar.finish_and_clear();
    Ok(Generated {
        prepared,
        model,
        examples,
        texts,
    })
}

/// Runs the command.
///
/// # Errors
/// As [`decode`]; the file cannot be written.
pub fn run(args: &GenerateArgs) -> Result<()> {
    let generated = decode(&args.inputs, &args.adapter, &args.decode, &args.compute)?;
    let lines = generated.texts.join("\n") + "\n";
    match &args.out {
        Some(path) => {
            files::write(path, &lines)?;
            println!("{}: {} texts", path.display(), generated.texts.len());
        }
        None => print!("{lines}"),
    }
    Ok(())
}
