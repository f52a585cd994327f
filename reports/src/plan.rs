//! A study as a list of independent runs, before any of them is made.
//!
//! The list depends on the command line alone, so several machines that are given the same one
//! divide it by number (`--only`, `--shard`) without talking to each other.

use crate::cli::ReportArgs;
use crate::commands::train::{
    VALIDATION_ENTRIES, device_name, learning_rate, method, prepare, training,
};
use crate::embedded;
use crate::run::{self, Prepared, RunConfig};
use anyhow::{Context, Result, ensure};
use inducer_datasets::{Malformed, Surface, Task, directory};
use inducer_gpu::{AdapterConfig, BackboneConfig, Method, hub};
use std::path::{Path, PathBuf};

/// Methods of the second part, which asks what long inputs do.
const LONG_METHODS: [&str; 2] = ["prefix", "inducer"];

/// One run of a study.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Name of the method.
    pub method: String,
    /// Seed.
    pub seed: u64,
    /// Its directory.
    pub dir: PathBuf,
    /// Its configuration.
    pub config: RunConfig,
}

impl Planned {
    /// The name of its directory without the seed: `long-prefix`.
    pub fn name(&self) -> String {
        let name = self
            .dir
            .file_name()
            .map(|n| n.to_string_lossy().into_owned());
        let name = name.unwrap_or_else(|| self.method.clone());
        name.trim_end_matches(&format!("-seed{}", self.seed)).into()
    }
}

/// Data and the runs on them.
pub struct Part {
    /// The data, encoded for the backbone.
    pub prepared: Prepared,
    /// Name of the data.
    pub data_name: String,
    /// Runs, all methods of one seed before the next seed.
    pub runs: Vec<Planned>,
}

/// A study: inputs and runs.
pub struct Plan {
    /// The study.
    pub main: Part,
    /// The same question on long inputs.
    pub long: Option<Part>,
    /// The backbone.
    pub backbone: BackboneConfig,
    /// Name of the backbone.
    pub backbone_name: String,
    /// Seeds, in order.
    pub seeds: Vec<u64>,
}

impl Plan {
    /// All runs with their data, in the order of `--plan`.
    pub fn runs(&self) -> Vec<(&Planned, &Part)> {
        let of = |part| move |run| (run, part);
        let long = self.long.iter().flat_map(|p| p.runs.iter().map(of(p)));
        self.main
            .runs
            .iter()
            .map(of(&self.main))
            .chain(long)
            .collect()
    }
}

/// Steps, batch size, validation and test entries of a budget.
struct Budget {
    steps: usize,
    batch_size: usize,
    test_limit: Option<usize>,
}

fn budget(args: &ReportArgs) -> Budget {
    let (steps, batch_size, test_limit) = match (args.data.is_none(), args.quick) {
        (true, false) => (160, 16, None),
        (true, true) => (80, 16, Some(120)),
        (false, false) => (300, 8, None),
        (false, true) => (60, 8, Some(100)),
    };
    Budget {
        steps,
        batch_size: args.hyper.batch_size.unwrap_or(batch_size),
        test_limit: args.decode.test_limit.or(test_limit),
    }
}

/// Long inputs need a smaller batch for the same work, and many questions share a passage: a choice
/// of them is enough.
fn long_budget(args: &ReportArgs) -> Budget {
    let (steps, test_limit) = if args.quick { (60, 80) } else { (240, 240) };
    Budget {
        steps,
        batch_size: args.hyper.batch_size.unwrap_or(8),
        test_limit: args.decode.test_limit.or(Some(test_limit)),
    }
}

/// Where a part's data lie and how they are read.
struct Source {
    task: Task,
    dir: PathBuf,
    name: String,
    surface: Surface,
}

fn main_source(args: &ReportArgs) -> Result<Source> {
    let task: Task = args.task.into();
    match &args.data {
        Some(dir) => Ok(Source {
            task,
            dir: dir.clone(),
            name: task.title().into(),
            surface: Surface::Raw,
        }),
        None => {
            let dir = args.out.join(match task {
                Task::WebNlg => "data".into(),
                other => format!("data-{other}"),
            });
            Ok(Source {
                task,
                name: embedded::data(task, &dir)?,
                dir,
                surface: Surface::Plain,
            })
        }
    }
}

fn long_source(args: &ReportArgs) -> Result<Option<Source>> {
    let source = |dir: PathBuf, name, surface| Source {
        task: Task::Coqa,
        dir,
        name,
        surface,
    };
    match (&args.long_data, args.no_long) {
        (Some(dir), _) => Ok(Some(source(
            dir.clone(),
            Task::Coqa.title().into(),
            Surface::Raw,
        ))),
        (None, false) if args.data.is_none() && args.task == crate::cli::TaskName::Webnlg => {
            let dir = args.out.join("data-long");
            let name = embedded::long_data(&dir)?;
            Ok(Some(source(dir, name, Surface::Plain)))
        }
        _ => Ok(None),
    }
}

/// What all parts of a study share.
struct Common<'a> {
    args: &'a ReportArgs,
    backbone: PathBuf,
    fingerprint: String,
    dropout: f64,
    seeds: &'a [u64],
}

/// Plans the study of a command line: loads data and backbone, resolves every run.
///
/// # Errors
/// Files that are missing or do not fit; an unknown method.
pub fn plan(args: &ReportArgs, threads: usize) -> Result<Plan> {
    let seeds: &[u64] = if args.quick {
        &args.seeds[..1.min(args.seeds.len())]
    } else {
        &args.seeds
    };
    ensure!(
        !seeds.is_empty() && !args.methods.is_empty(),
        "--seeds and --methods: expected at least one of each"
    );
    let source = main_source(args)?;
    let backbone = match &args.backbone {
        Some(dir) => dir.clone(),
        None => embedded::backbone(source.task, threads)?,
    };
    let common = Common {
        args,
        fingerprint: run::backbone_fingerprint(&backbone)?,
        dropout: run::backbone_dropout(&backbone)?,
        backbone,
        seeds,
    };
    let names: Vec<&str> = args.methods.iter().map(String::as_str).collect();
    let main = part(&common, &source, &names, "", budget(args))?;
    let long = long_source(args)?
        .map(|source| {
            let methods = LONG_METHODS.map(|m| m);
            part(&common, &source, &methods, "long-", long_budget(args))
        })
        .transpose()?;
    let backbone_name = match &args.backbone {
        Some(dir) => {
            let name = hub::name(dir);
            let last = Path::new(&name).file_name();
            last.map_or_else(|| name.clone(), |n| n.to_string_lossy().into_owned())
        }
        None if source.task.generates() => "a small GPT-2 pretrained on generated prose".into(),
        None => "a small RoBERTa pretrained on generated prose".into(),
    };
    Ok(Plan {
        main,
        long,
        backbone: BackboneConfig::read(&common.backbone)?,
        backbone_name,
        seeds: seeds.to_vec(),
    })
}

fn part(
    common: &Common<'_>,
    source: &Source,
    names: &[&str],
    prefix: &str,
    budget: Budget,
) -> Result<Part> {
    let args = common.args;
    let config = BackboneConfig::read(&common.backbone)?;
    let methods: Vec<(String, AdapterConfig)> = names
        .iter()
        .map(|m| method(m, &config))
        .collect::<Result<_>>()?;
    let splits = directory::load(source.task, &source.dir, Malformed::Refuse)
        .with_context(|| source.dir.display().to_string())?;
    let adapters: Vec<AdapterConfig> = methods.iter().map(|(_, a)| a.clone()).collect();
    let (prepared, backbone) = prepare(
        source.task,
        splits,
        &common.backbone,
        &adapters,
        source.surface,
    )?;
    let longest_target = match source.task.generates() {
        true => prepared.longest_target().max(40),
        false => 1,
    };
    let mut runs = Vec::new();
    for seed in common.seeds {
        for (name, adapter) in &methods {
            let mut train = training(
                source.task,
                &args.hyper,
                *seed,
                learning_rate(name, &backbone),
                prepared.train.len(),
                budget.batch_size,
                budget.steps,
                common.dropout,
            );
            if *adapter == AdapterConfig::none() {
                train.steps = 0;
            }
            train.validate_every = (train.steps / 4).max(1);
            let adapter = match Method::named(name) {
                Some(_) => run::resolved(adapter, &common.backbone, train.dropout),
                None => adapter.clone(),
            };
            runs.push(Planned {
                method: name.clone(),
                seed: *seed,
                dir: place(&args.out, prefix, name, *seed),
                config: RunConfig {
                    version: env!("CARGO_PKG_VERSION").into(),
                    task: source.task,
                    data: source.dir.clone(),
                    data_fingerprint: prepared.splits.fingerprint.clone(),
                    backbone: common.backbone.clone(),
                    backbone_fingerprint: common.fingerprint.clone(),
                    method: name.clone(),
                    adapter,
                    surface: source.surface,
                    batch_size: budget.batch_size,
                    validation_entries: VALIDATION_ENTRIES,
                    max_new_tokens: args.decode.max_new_tokens.unwrap_or(longest_target),
                    test_limit: budget.test_limit,
                    device: device_name(args.compute.device).into(),
                    dtype: args.hyper.dtype,
                    train,
                },
            });
        }
    }
    Ok(Part {
        prepared,
        data_name: source.name.clone(),
        runs,
    })
}

fn place(out: &Path, prefix: &str, method: &str, seed: u64) -> PathBuf {
    out.join("runs")
        .join(format!("{prefix}{method}-seed{seed}"))
}
