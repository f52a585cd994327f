//! `inducer report`: the ablation study, run by run, and its report.
//!
//! A study is a list of independent runs, each a directory under `OUT/runs`. Runs that are done are read, runs that were stopped go on.

use crate::cli::ReportArgs;
use crate::commands::train::{
    VALIDATION_ENTRIES, device_name, learning_rate, method, prepare, training,
};
use crate::run::{self, Prepared, RunConfig, RunResult};
use crate::study::Study;
use crate::{assemble, compute, embedded, page};
use anyhow::{Context, Result, anyhow, bail, ensure};
use candle_core::Device;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use inducer_datasets::files::write_atomic;
use inducer_datasets::{Malformed, Surface, Task, webnlg};
use inducer_gpu::train::Event;
use inducer_gpu::{AdapterConfig, BackboneConfig, Gpt2Config};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

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

/// A study: inputs and runs.
pub struct Plan {
    /// The data, encoded for the backbone.
    pub prepared: Prepared,
    /// The backbone.
    pub backbone: Gpt2Config,
    /// Runs, all methods of one seed before the next seed.
    pub runs: Vec<Planned>,
    /// Name of the data.
    pub data_name: String,
    /// Name of the backbone.
    pub backbone_name: String,
    /// Seeds, in order.
    pub seeds: Vec<u64>,
}

/// Steps, batch size and test limit of a budget.
struct Budget {
    steps: usize,
    batch_size: usize,
    test_limit: Option<usize>,
}

fn budget(args: &ReportArgs, embedded: bool) -> Budget {
    let (steps, batch_size, test_limit) = match (embedded, args.quick) {
        (true, false) => (320, 16, None),
        (true, true) => (100, 16, Some(120)),
        (false, false) => (300, 8, None),
        (false, true) => (60, 8, Some(100)),
    };
    Budget {
        steps,
        batch_size: args.hyper.batch_size.unwrap_or(batch_size),
        test_limit: args.decode.test_limit.or(test_limit),
    }
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
    let backbone_dir = match &args.backbone {
        Some(dir) => dir.clone(),
        None => embedded::backbone(threads)?,
    };
    let (data_dir, data_name, surface) = match &args.data {
        Some(dir) => (dir.clone(), "WebNLG 2017".to_string(), Surface::Raw),
        None => {
            let dir = args.out.join("data");
            let config = embedded::data(&dir)?;
            (
                dir,
                format!("embedded generator, seed {}", config.seed),
                Surface::Plain,
            )
        }
    };
    let budget = budget(args, args.data.is_none());
    let config = BackboneConfig::Gpt2(Gpt2Config::read(&backbone_dir)?);
    let methods: Vec<(String, AdapterConfig)> = args
        .methods
        .iter()
        .map(|m| method(m, &config))
        .collect::<Result<_>>()?;
    let splits = webnlg::load(&data_dir, Malformed::Refuse)?;
    let adapters: Vec<AdapterConfig> = methods.iter().map(|(_, a)| a.clone()).collect();
    let (prepared, backbone) = prepare(Task::WebNlg, splits, &backbone_dir, &adapters, surface)?;
    let BackboneConfig::Gpt2(shape) = &backbone else {
        bail!("{}: the report needs a GPT-2", backbone_dir.display());
    };
    let shape = shape.clone();
    let backbone_fingerprint = run::backbone_fingerprint(&backbone_dir)?;
    let dropout = run::backbone_dropout(&backbone_dir)?;
    let mut runs = Vec::new();
    for seed in seeds {
        for (name, adapter) in &methods {
            let untuned = *adapter == AdapterConfig::none();
            let mut train = training(
                Task::WebNlg,
                &args.hyper,
                *seed,
                learning_rate(name, &backbone),
                prepared.train.len(),
                budget.batch_size,
                budget.steps,
                dropout,
            );
            if untuned {
                train.steps = 0;
            }
            train.validate_every = (train.steps / 4).max(1);
            let adapter = run::resolved(adapter, &backbone_dir, train.dropout);
            runs.push(Planned {
                method: name.clone(),
                seed: *seed,
                dir: args.out.join("runs").join(format!("{name}-seed{seed}")),
                config: RunConfig {
                    version: env!("CARGO_PKG_VERSION").into(),
                    task: "webnlg".into(),
                    data: data_dir.clone(),
                    data_fingerprint: prepared.splits.fingerprint.clone(),
                    backbone: backbone_dir.clone(),
                    backbone_fingerprint: backbone_fingerprint.clone(),
                    method: name.clone(),
                    adapter,
                    surface,
                    batch_size: budget.batch_size,
                    validation_entries: VALIDATION_ENTRIES,
                    max_new_tokens: args
                        .decode
                        .max_new_tokens
                        .unwrap_or(prepared.longest_target().max(40)),
                    test_limit: budget.test_limit,
                    device: device_name(args.compute.device).into(),
                    train,
                },
            });
        }
    }
    let backbone_name = match &args.backbone {
        Some(dir) => dir.file_name().map_or_else(
            || dir.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        ),
        None => "a small GPT-2 pretrained on generated prose".into(),
    };
    Ok(Plan {
        prepared,
        backbone: shape,
        runs,
        data_name,
        backbone_name,
        seeds: seeds.to_vec(),
    })
}

/// Executes the runs of a plan, several at a time; results in the order of the plan.
///
/// # Errors
/// The first run that failed; the others that were going are finished first.
pub fn execute(
    plan: &Plan,
    jobs: usize,
    threads: usize,
    device: &Device,
) -> Result<Vec<RunResult>> {
    let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let total: usize = plan
        .runs
        .iter()
        .map(|r| r.config.train.steps + DECODE_SHARE)
        .sum();
    let bar = bars.add(crate::progress::bar(total as u64, "study"));
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let results: Vec<Mutex<Option<RunResult>>> =
        plan.runs.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::SeqCst);
                    let stop = failed.lock().map_or(true, |f| f.is_some());
                    let Some(planned) = plan.runs.get(i).filter(|_| !stop) else {
                        return;
                    };
                    match one(planned, plan, (threads / jobs).max(1), device, &bar) {
                        Ok(result) => {
                            if let Ok(mut slot) = results[i].lock() {
                                *slot = Some(result);
                            }
                        }
                        Err(e) => {
                            if let Ok(mut slot) = failed.lock() {
                                slot.get_or_insert(e.context(format!(
                                    "{} with seed {}",
                                    planned.method, planned.seed
                                )));
                            }
                        }
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    if let Some(e) = failed.into_inner().map_err(|_| anyhow!("a run panicked"))? {
        return Err(e);
    }
    results
        .into_iter()
        .map(|slot| {
            slot.into_inner()
                .ok()
                .flatten()
                .context("a run gave no result")
        })
        .collect()
}

/// Share of a run's progress that decoding takes, in steps.
const DECODE_SHARE: usize = 40;

fn one(
    planned: &Planned,
    plan: &Plan,
    threads: usize,
    device: &Device,
    bar: &ProgressBar,
) -> Result<RunResult> {
    let pool = compute::pool(threads)?;
    let mut done = 0;
    let result = pool.install(|| {
        run::execute(
            &planned.dir,
            &planned.config,
            &plan.prepared,
            device,
            &mut |event| match event {
                Event::Resumed { step } | Event::Step { step, .. } => {
                    bar.inc((step - done) as u64);
                    done = *step;
                }
                Event::Validation { .. } => {}
            },
        )
    })?;
    bar.inc((planned.config.train.steps + DECODE_SHARE - done) as u64);
    let b = |x: Option<f64>| x.map_or("–".into(), |x| format!("{x:.2}"));
    let line = format!(
        "{:<14} seed {}: validation loss {:.3}, BLEU seen {} unseen {} all {} ({:.0} s + {:.0} s)",
        planned.method,
        planned.seed,
        result.validation_loss,
        b(result.bleu.seen),
        b(result.bleu.unseen),
        b(result.bleu.all),
        result.train_seconds,
        result.decode_seconds
    );
    if bar.is_hidden() {
        eprintln!("{line}");
    } else {
        bar.println(line);
    }
    Ok(result)
}

/// Writes report.json, report.md and report.html, each whole or not at all.
///
/// # Errors
/// A file cannot be written.
pub fn write(study: &Study, out: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(study)? + "\n";
    for (name, text) in [
        ("report.json", json),
        ("report.md", page::markdown::render(study)),
        ("report.html", page::html::render(study)),
    ] {
        let path = out.join(name);
        write_atomic(&path, text.as_bytes()).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit; a run that failed.
pub fn run(args: &ReportArgs) -> Result<()> {
    let started = SystemTime::now();
    let threads = compute::threads(&args.compute);
    let jobs = args.jobs.unwrap_or(threads).clamp(1, threads);
    let device = compute::device(&args.compute)?;
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let plan = plan(args, threads)?;
    let results = execute(&plan, jobs, threads, &device)?;
    let study = assemble::study(&plan, &results, args, threads, started)?;
    write(&study, &args.out)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&study)?);
    } else {
        for name in ["report.html", "report.md", "report.json"] {
            println!("{}", args.out.join(name).display());
        }
    }
    Ok(())
}
