//! `inducer train`: one method, one seed.

use crate::cli::{DeviceName, Hyper, Inputs, OptimiserName, ScheduleName, TrainArgs};
use crate::run::{self, Prepared, RunConfig};
use crate::{compute, progress};
use anyhow::{Context, Result, bail, ensure};
use inducer_datasets::{Malformed, Splits, Surface, Task, directory};
use inducer_gpu::train::{Schedule, TrainConfig};
use inducer_gpu::{AdapterConfig, BackboneConfig, Method};
use std::path::Path;

/// Validation entries that a run uses: enough for a steady loss, few enough to be quick.
pub const VALIDATION_ENTRIES: usize = 150;

/// A method by name, or an adapter_config.json: its name and parts.
///
/// # Errors
/// Neither a name nor a readable file.
pub fn method(name: &str, backbone: &BackboneConfig) -> Result<(String, AdapterConfig)> {
    if let Some(m) = Method::named(name) {
        return Ok((m.name().into(), m.on(backbone)));
    }
    let path = Path::new(name);
    if path.exists() {
        return Ok((
            path.file_stem()
                .map_or_else(|| name.into(), |s| s.to_string_lossy().into_owned()),
            AdapterConfig::read(path)?,
        ));
    }
    let names: Vec<&str> = Method::ALL.iter().map(|m| m.name()).collect();
    bail!(
        "--method {name}: expected an adapter_config.json or one of {}",
        names.join(", ")
    )
}

/// The learning rate of a method where none is given: section 6's, but fine-tuning's small one only
/// for GPT-2's own sizes.
pub fn learning_rate(method: &str, backbone: &BackboneConfig) -> f64 {
    let large = backbone.spec().hidden >= 768;
    match (backbone, Method::named(method)) {
        (BackboneConfig::Roberta(_), _) if large => 2e-4,
        (BackboneConfig::Gpt2(_), Some(m)) if large => m.learning_rate(),
        _ => Method::Inducer.learning_rate(),
    }
}

/// Resolves the hyperparameters.
pub fn training(
    task: Task,
    hyper: &Hyper,
    seed: u64,
    rate: f64,
    rows: usize,
    batch_size: usize,
    default_steps: usize,
    dropout: f64,
) -> TrainConfig {
    let steps = hyper.steps.unwrap_or_else(|| {
        hyper
            .epochs
            .map_or(default_steps, |e| e * rows.div_ceil(batch_size))
    });
    let rate = hyper.learning_rate.unwrap_or(rate);
    let mut config = match task.generates() {
        true => TrainConfig::generation(rate, steps),
        false => TrainConfig::classification(rate, steps),
    };
    config.seed = seed;
    let by_ratio = hyper
        .warmup_ratio
        .map(|r| (r * steps as f64).round() as usize);
    config.warmup = hyper.warmup.or(by_ratio).unwrap_or(config.warmup);
    config.schedule = match hyper.schedule {
        ScheduleName::Linear => Schedule::Linear,
        ScheduleName::Constant => Schedule::Constant,
        ScheduleName::Cosine => Schedule::Cosine,
        ScheduleName::Polynomial => Schedule::Polynomial {
            power: hyper.power,
            end: hyper.end,
        },
    };
    config.optimiser.coupled = hyper.optimiser == OptimiserName::Adam;
    config.optimiser.weight_decay = hyper.weight_decay.unwrap_or(config.optimiser.weight_decay);
    config.patience = hyper.patience.or(config.patience);
    config.dropout = hyper.dropout.unwrap_or(dropout);
    config.accumulation = hyper.accumulation;
    config.clip_micro_batches = hyper.clip_micro_batches;
    config.checkpoint_every = hyper.checkpoint_every;
    config.label_smoothing = hyper.label_smoothing.unwrap_or(config.label_smoothing);
    config
}

/// Name of a device in run.json.
pub fn device_name(device: DeviceName) -> &'static str {
    match device {
        DeviceName::Cpu => "cpu",
        DeviceName::Cuda => "cuda",
    }
}

/// Loads data and encodes them for a backbone and the given adapters.
///
/// # Errors
/// Files that are missing or do not fit.
pub fn prepare(
    task: Task,
    splits: Splits,
    backbone: &Path,
    adapters: &[AdapterConfig],
    surface: Surface,
) -> Result<(Prepared, BackboneConfig)> {
    let config = BackboneConfig::read(backbone)?;
    ensure!(
        task.generates() == matches!(config, BackboneConfig::Gpt2(_)),
        "{}: --task {task} needs a {}",
        backbone.display(),
        if task.generates() { "GPT-2" } else { "RoBERTa" }
    );
    let offset = adapters
        .iter()
        .map(AdapterConfig::position_offset)
        .max()
        .unwrap_or(0);
    let longest = config.positions().saturating_sub(offset);
    let prepared = Prepared::new(
        task,
        splits,
        backbone,
        config.vocabulary(),
        longest,
        VALIDATION_ENTRIES,
        surface,
    )?;
    Ok((prepared, config))
}

/// Loads the data of `--data`; says on standard error how its parts came about and what was left
/// out.
///
/// # Errors
/// Files that are missing or broken; with `--skip-malformed`, files that cannot be read on.
pub fn load(inputs: &Inputs) -> Result<Splits> {
    let malformed = match inputs.skip_malformed {
        true => Malformed::Skip,
        false => Malformed::Refuse,
    };
    let splits = directory::load(inputs.task.into(), &inputs.data, malformed)
        .with_context(|| format!("--data {}", inputs.data.display()))?;
    splits.notes.iter().for_each(|n| eprintln!("note: {n}"));
    if !splits.malformed.is_empty() {
        eprintln!("{} malformed entries left out:", splits.malformed.len());
        splits.malformed.iter().for_each(|m| eprintln!("  {m}"));
    }
    Ok(splits)
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit each other; a loss that is not finite.
pub fn run(args: &TrainArgs) -> Result<()> {
    let backbone = BackboneConfig::read(&args.inputs.backbone)?;
    let (name, mut adapter) = method(&args.method, &backbone)?;
    let splits = load(&args.inputs)?;
    let (prepared, backbone) = prepare(
        args.inputs.task.into(),
        splits,
        &args.inputs.backbone,
        std::slice::from_ref(&adapter),
        args.inputs.surface.into(),
    )?;
    let batch_size = args.hyper.batch_size.unwrap_or(8);
    let rate = learning_rate(&name, &backbone);
    let mut train = training(
        prepared.task,
        &args.hyper,
        args.seed,
        rate,
        prepared.train.len(),
        batch_size,
        300,
        run::backbone_dropout(&args.inputs.backbone)?,
    );
    if adapter == AdapterConfig::none() {
        train.steps = 0;
    }
    if Method::named(&args.method).is_some() {
        adapter = run::resolved(&adapter, &args.inputs.backbone, train.dropout);
    }
    let config = RunConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        task: prepared.task.name().into(),
        data: args.inputs.data.clone(),
        data_fingerprint: prepared.splits.fingerprint.clone(),
        backbone: args.inputs.backbone.clone(),
        backbone_fingerprint: run::backbone_fingerprint(&args.inputs.backbone)?,
        method: name.clone(),
        adapter,
        surface: args.inputs.surface.into(),
        batch_size,
        validation_entries: VALIDATION_ENTRIES,
        max_new_tokens: args
            .decode
            .max_new_tokens
            .unwrap_or(prepared.longest_target().max(40)),
        test_limit: args.decode.test_limit,
        device: device_name(args.compute.device).into(),
        dtype: args.hyper.dtype,
        train,
    };
    let device = compute::device(&args.compute)?;
    let pool = compute::pool(compute::threads(&args.compute))?;
    let bar = progress::bar(config.train.steps as u64, &name);
    let result = pool.install(|| {
        run::execute(&args.out, &config, &prepared, &device, &mut |e| {
            progress::on_event(&bar, e)
        })
    })?;
    bar.finish_and_clear();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        println!(
            "{}: {name}, {} steps, validation loss {:.4}; {} ({:.0} s training, {:.0} s decoding)",
            args.out.display(),
            result.steps,
            result.validation_loss,
            result.words(),
            result.train_seconds,
            result.decode_seconds
        );
    }
    Ok(())
}
