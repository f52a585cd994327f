//! `inducer generate`: the model's texts for the test split.

use crate::cli::{Compute, Decode, GenerateArgs, Inputs, Precision};
use crate::commands::train::{load, prepare};
use crate::run::{self, Prepared};
use crate::{compute, progress};
use anyhow::{Context, Result, ensure};
use inducer_datasets::Example;
use inducer_datasets::files::write_atomic;
use inducer_gpu::{AdapterConfig, Model};
use std::path::Path;

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
    let (prepared, _) = prepare(
        inputs.task.into(),
        load(inputs)?,
        &inputs.backbone,
        &[config],
        inputs.surface.into(),
    )?;
    let device = compute::device(compute)?;
    let mut model = run::load(prepared.task, &inputs.backbone, 0, Precision::F32, &device)?;
    model.attach_saved(adapter)?;
    let special = prepared.task.special_tokens().len();
    ensure!(
        model.special() == special,
        "{}: tensor `transformer.wte.added` has {} rows; the task {} has {special} special tokens",
        adapter.display(),
        model.special(),
        prepared.task
    );
    let examples = run::test_examples(&prepared, decode.test_limit);
    let max_new = decode
        .max_new_tokens
        .unwrap_or(prepared.longest_target().max(40));
    let bar = progress::bar(examples.len() as u64, "decoding");
    let pool = compute::pool(compute::threads(compute))?;
    let texts = match prepared.task.generates() {
        true => pool.install(|| {
            run::texts(&model, &prepared, &examples, max_new, &mut |n| {
                bar.inc(n as u64)
            })
        })?,
        false => {
            let predicted = pool.install(|| run::classes(&model, &prepared, &examples))?;
            run::named(prepared.task, &predicted)
        }
    };
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
    let mut lines = generated.texts.join("\n");
    lines.push('\n');
    match &args.out {
        Some(path) => {
            write_atomic(path, lines.as_bytes()).with_context(|| path.display().to_string())?;
            println!("{}: {} texts", path.display(), generated.texts.len());
        }
        None => print!("{lines}"),
    }
    Ok(())
}
