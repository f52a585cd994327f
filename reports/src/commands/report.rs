//! `inducer report`: the ablation study, run by run, and its report.
//!
//! A study is a list of independent runs, each a directory under `OUT/runs`. Runs that are done are
//! read, runs that were stopped go on.

use crate::cli::ReportArgs;
use crate::plan::{Part, Plan, Planned, plan};
use crate::report::{self, compare};
use crate::run::{self, RunResult};
use crate::study::Study;
use crate::{assemble, compute};
use anyhow::{Context, Result, anyhow, ensure};
use candle_core::Device;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use inducer_datasets::files::write_atomic;
use inducer_gpu::train::Event;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

/// Makes the chosen runs of a plan, several at a time.
///
/// # Errors
/// The first run that failed; the others that were going are finished first.
pub fn execute(
    plan: &Plan,
    chosen: &[usize],
    jobs: usize,
    threads: usize,
    device: &Device,
) -> Result<()> {
    let all = plan.runs();
    let runs: Vec<(&Planned, &Part)> = chosen.iter().map(|i| all[*i]).collect();
    let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let total: usize = runs
        .iter()
        .map(|(r, _)| r.config.train.steps + DECODE_SHARE)
        .sum();
    let bar = bars.add(crate::progress::bar(total as u64, "study"));
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::SeqCst);
                    let stop = failed.lock().map_or(true, |f| f.is_some());
                    let Some((planned, part)) = runs.get(i).filter(|_| !stop) else {
                        return;
                    };
                    if let Err(e) = one(planned, part, (threads / jobs).max(1), device, &bar)
                        && let Ok(mut slot) = failed.lock()
                    {
                        slot.get_or_insert(
                            e.context(format!("{} with seed {}", planned.method, planned.seed)),
                        );
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    match failed.into_inner().map_err(|_| anyhow!("a run panicked"))? {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

/// Share of a run's progress that decoding takes, in steps.
const DECODE_SHARE: usize = 40;

fn one(
    planned: &Planned,
    part: &Part,
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
            &part.prepared,
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
    let line = format!(
        "{:<14} seed {}: validation loss {:.3}, {} ({:.0} s + {:.0} s)",
        planned.name(),
        planned.seed,
        result.training.validation_loss,
        result.scores.words(),
        result.training.train_seconds,
        result.training.decode_seconds
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
    write_all(
        out,
        [
            ("report.json", json),
            ("report.md", report::markdown(study)),
            ("report.html", report::html(study)),
        ],
    )
}

fn write_all<const N: usize>(out: &Path, files: [(&str, String); N]) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    for (name, text) in files {
        let path = out.join(name);
        write_atomic(&path, text.as_bytes()).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The numbers of `--only` (from 1) or `--shard`, else all.
fn chosen(args: &ReportArgs, count: usize) -> Result<Vec<usize>> {
    for number in &args.only {
        ensure!(
            (1..=count).contains(number),
            "--only {number}: expected a number from 1 to {count} (see --plan)"
        );
    }
    Ok(match args.shard {
        Some(shard) => (0..count)
            .filter(|i| i % shard.of == shard.part - 1)
            .collect(),
        None if args.only.is_empty() => (0..count).collect(),
        None => args.only.iter().map(|n| n - 1).collect(),
    })
}

/// `--plan`: the list, and which of it is done.
fn list(plan: &Plan, json: bool) -> Result<()> {
    let mut rows = Vec::new();
    for (i, (planned, part)) in plan.runs().into_iter().enumerate() {
        let done = run::finished(&planned.dir, &planned.config)?.is_some();
        rows.push(serde_json::json!({
            "number": i + 1, "data": part.data_name, "method": planned.method, "seed": planned.seed,
            "steps": planned.config.train.steps, "directory": planned.dir, "done": done,
        }));
        if !json {
            println!(
                "{:>4}  {:<4}  {:<14} seed {}  {:>5} steps  {}",
                i + 1,
                if done { "done" } else { "" },
                planned.name(),
                planned.seed,
                planned.config.train.steps,
                planned.dir.display()
            );
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(())
}

/// `--compare A.json B.json`.
fn compared(args: &ReportArgs, paths: &[std::path::PathBuf]) -> Result<()> {
    let [a, b] = paths else {
        return Err(anyhow!("--compare: expected two files"));
    };
    let found = compare::Comparison::of(&Study::read(a)?, &Study::read(b)?, [a, b]);
    let json = serde_json::to_string_pretty(&found)? + "\n";
    if args.json {
        print!("{json}");
    }
    write_all(
        &args.out,
        [
            ("compare.json", json),
            ("compare.md", found.markdown()),
            ("compare.html", found.html()),
        ],
    )?;
    show(args, ["compare.html", "compare.md", "compare.json"])
}

fn show<const N: usize>(args: &ReportArgs, names: [&str; N]) -> Result<()> {
    if !args.json {
        for name in names {
            println!("{}", args.out.join(name).display());
        }
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit; a run that failed.
pub fn run(args: &ReportArgs) -> Result<()> {
    if let Some(paths) = &args.compare {
        return compared(args, paths);
    }
    let started = SystemTime::now();
    let threads = compute::threads(&args.compute);
    let jobs = args.jobs.unwrap_or(threads).clamp(1, threads);
    let device = compute::device(&args.compute)?;
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let plan = plan(args, threads)?;
    if args.plan {
        return list(&plan, args.json);
    }
    let part_only = !args.only.is_empty() || args.shard.is_some();
    if !args.merge {
        execute(
            &plan,
            &chosen(args, plan.runs().len())?,
            jobs,
            threads,
            &device,
        )?;
    }
    if part_only {
        return Ok(());
    }
    let study = assemble::study(&plan, args, threads, started)?;
    write(&study, &args.out)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&study)?);
    }
    show(args, ["report.html", "report.md", "report.json"])
}
