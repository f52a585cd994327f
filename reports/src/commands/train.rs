//! `inducer train`: one method, one seed.

use super::inputs::Inputs;
use super::options::{Compute, Decode, Hyper, MethodSizes};
use super::print;
use crate::progress::{Progress, note, say};
use crate::run::lock::Lock;
use crate::run::{
    BackboneFacts, Budget, Made, MethodSpec, Prepared, RunConfig, Stage, directory, execute_run,
};
use anyhow::Result;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use inducer_gpu::BackboneConfig;
use std::path::PathBuf;

/// Where nothing else is asked for.
const BUDGET: Budget = Budget {
    steps: 300,
    batch_size: 8,
    test_limit: None,
};

/// `inducer train`.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// Inputs
    #[command(flatten)]
    pub inputs: Inputs,
    /// Method by name, or an adapter_config.json
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub method: String,
    /// The run's directory; a run that was stopped there goes on, and a finished one goes on to a
    /// larger number of steps or is scored on another part of the test entries
    #[arg(long, alias = "output-dir")]
    pub out: PathBuf,
    /// Remove the run that is in --out first
    #[arg(long)]
    pub overwrite: bool,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Hyperparameters
    #[command(flatten)]
    pub hyper: Hyper,
    /// Sizes
    #[command(flatten)]
    pub sizes: MethodSizes,
    /// Decoding
    #[command(flatten)]
    pub decode: Decode,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit each other; numbers that are not finite.
pub fn run(args: &TrainArgs) -> Result<()> {
    args.inputs.check_places()?;
    let dir = &args.inputs.backbone;
    let knobs = args.sizes.knobs();
    let method = MethodSpec::find(&args.method, &BackboneConfig::read(dir)?, &knobs)?;
    MethodSpec::check_sizes(std::slice::from_ref(&method))?;
    let prepared = args.inputs.prepare(&method.adapter)?;
    let hyper = args.hyper.with(&args.decode, &args.compute);
    hyper.learning_rate.check(std::iter::once(&*method.name))?;
    let facts = BackboneFacts::read(dir)?;
    let config = RunConfig::resolve(&prepared, &facts, &method, &hyper, BUDGET, args.seed)?;
    if args.overwrite {
        let _lock = Lock::take(&args.out)?;
        directory::clear(&args.out)?;
    }
    let device = args.compute.open_for(config.dtype)?;
    note(settings(&config, &prepared));
    let made = {
        let name = format!("{} seed {}", method.name, args.seed);
        let steps = config.train.steps as u64;
        let mut progress = Progress::new(steps, "steps", &*name);
        let mut on_stage = |stage: Stage<'_>| follow(&mut progress, &name, stage);
        args.compute
            .pool()?
            .install(|| execute_run(&args.out, &config, &prepared, &device, true, &mut on_stage))?
    };
    if let Some(warning) = no_better(args, &prepared, &made)? {
        say(warning);
    }
    match args.json {
        true => print::json(&made.result),
        false => print::line(summary(args, &config, &prepared, &made)),
    }
}

/// Shows what a run does now.
fn follow(progress: &mut Progress, name: &str, stage: Stage<'_>) {
    match stage {
        Stage::Training(event) => progress.follow(event),
        Stage::Decoding(count) => {
            *progress = Progress::new(count as u64, "texts", format!("{name}, decoding"));
        }
        Stage::Decoded(more) => progress.add(more as u64, ""),
        Stage::Scoring => *progress = Progress::new(0, "", format!("{name}, scoring")),
    }
}

/// What was resolved from options, method and backbone.
fn settings(config: &RunConfig, prepared: &Prepared) -> String {
    let t = &config.train;
    let validated = config.validation_entries.min(prepared.splits.dev.len());
    let accumulated = match t.accumulation {
        1 => String::new(),
        n => format!(" × {n}"),
    };
    format!(
        "{}: {} steps of {}{accumulated} rows, learning rate {:e}, warm-up {}, dropout {}, label \
         smoothing {}, at most {} new tokens, {validated} validation entries",
        config.method,
        t.steps,
        config.batch_size,
        t.learning_rate,
        t.warmup,
        t.dropout,
        t.label_smoothing,
        config.max_new_tokens
    )
}

/// What is said where training made nothing better; of classes accuracy decides what is best.
fn no_better(args: &TrainArgs, prepared: &Prepared, made: &Made) -> Result<Option<String>> {
    let best = made.result.training.validation_loss;
    let first = directory::curves(&args.out)?.validation.first().copied();
    let first = first.filter(|(step, start)| *step == 0 && best > *start);
    let first = first.filter(|_| prepared.source.task.generates());
    Ok(first.map(|(_, start)| {
        format!(
            "warning: {}: the best validation loss is {best:.4} and was {start:.4} before \
             training: the untrained backbone is better; try a lower learning rate",
            args.out.display()
        )
    }))
}

fn summary(args: &TrainArgs, config: &RunConfig, prepared: &Prepared, made: &Made) -> String {
    let training = &made.result.training;
    let times = match made.before {
        true => "finished before, nothing was done now".into(),
        false => format!(
            "{:.0} s training, {:.0} s decoding",
            training.train_seconds, training.decode_seconds
        ),
    };
    format!(
        "{}: {}, {} steps, validation loss {:.4}; {} on {} ({times})",
        args.out.display(),
        config.method,
        training.steps,
        training.validation_loss,
        made.result.scores.as_text(),
        prepared.scored(config.test_limit),
    )
}
