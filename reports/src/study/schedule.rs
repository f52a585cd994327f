//! Makes the runs of a plan, several at a time.

use super::plan::{Part, Plan, Planned};
use crate::run::{RunResult, execute_run};
use crate::{compute, progress};
use anyhow::{Result, anyhow};
use candle_core::Device;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use inducer_gpu::train::Event;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    let work = runs
        .iter()
        .map(|(r, _)| r.config.train.steps + DECODE_SHARE);
    let total: usize = work.sum();
    let bar = bars.add(progress::bar(total as u64, "study"));
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
                    let threads = (threads / jobs).max(1);
                    if let Err(e) = execute_planned(planned, part, threads, device, &bar)
                        && let Ok(mut slot) = failed.lock()
                    {
                        let run = format!("{} with seed {}", planned.method(), planned.seed());
                        slot.get_or_insert(e.context(run));
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

fn execute_planned(
    planned: &Planned,
    part: &Part,
    threads: usize,
    device: &Device,
    bar: &ProgressBar,
) -> Result<RunResult> {
    let pool = compute::pool(threads)?;
    let mut done = 0;
    let result = pool.install(|| {
        execute_run(
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
        planned.seed(),
        result.training.validation_loss,
        result.scores.as_text(),
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
