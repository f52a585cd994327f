//! Makes the runs of a plan, several at a time. Runs that another process is making are left to it,
//! and taken over if it ends before they do.

use super::plan::Part;
use super::planned::Planned;
use super::rates;
use crate::compute;
use crate::progress::{Level, Progress, step_words};
use crate::run::lock::{Busy, Lock};
use crate::run::{Made, Stage, directory, execute_run};
use anyhow::{Result, anyhow};
use candle_core::Device;
use inducer_gpu::train::{Event, stop};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a run of another process is left alone before it is asked for again.
const AGAIN: Duration = Duration::from_millis(500);

/// Share of a run's progress that decoding takes, in steps.
const DECODE_SHARE: usize = 40;

/// What is left of a study, and what became of the rest.
struct Study<'a> {
    runs: Vec<(&'a Planned, &'a Part)>,
    device: &'a Device,
    threads: usize,
    /// Runs to make, and from when on.
    queue: Mutex<VecDeque<(usize, Instant)>>,
    failed: Mutex<Option<anyhow::Error>>,
    done: AtomicUsize,
    progress: Progress,
    /// Work that comes after these runs.
    later: Left,
    /// What is done when a run is finished; one at a time, with the earliest time of the next.
    look: Mutex<Instant>,
    on_finished: &'a OnFinished<'a>,
}

/// What is done when a run has been finished.
pub type OnFinished<'a> = dyn Fn(Left) -> Result<()> + Sync + 'a;

/// The shortest time between two of its calls.
const BETWEEN: Duration = Duration::from_secs(20);

/// What is left of a study.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Left {
    /// Runs.
    pub runs: usize,
    /// Their steps, decoding counted in steps.
    pub steps: u64,
    /// Seconds, where that can be said.
    pub seconds: Option<f64>,
}

impl Left {
    /// All of these runs.
    pub fn of(runs: &[(&Planned, &Part)]) -> Self {
        Self {
            runs: runs.len(),
            steps: runs.iter().map(|(run, _)| work(run)).sum(),
            seconds: None,
        }
    }
}

/// Steps of a run, with decoding counted in steps.
fn work(run: &Planned) -> u64 {
    let decodes = !run.config.loss_only && !run.config.is_candidate();
    (run.config.train.steps + if decodes { DECODE_SHARE } else { 0 }) as u64
}

/// What runs are made on.
#[derive(Clone, Copy)]
pub struct Workers<'a> {
    /// Runs at a time.
    pub jobs: usize,
    /// By how many the time of runs that were measured alone is divided.
    pub at_once: usize,
    /// Threads of all of them.
    pub threads: usize,
    /// Device.
    pub device: &'a Device,
}

impl Workers<'_> {
    /// Threads of each run.
    pub fn threads_each(self) -> usize {
        (self.threads / self.jobs).max(1)
    }
}

/// Makes runs, several at a time. After the first one that is made, and then not more often than
/// every twenty seconds, `on_finished` is called with what is left: of these, and `later`.
///
/// # Errors
/// The first run that failed or was stopped; the others that were going are finished first.
pub fn execute(
    runs: &[(&Planned, &Part)],
    workers: Workers<'_>,
    later: Left,
    on_finished: &OnFinished<'_>,
) -> Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    let now = Instant::now();
    let searches = runs.iter().all(|(r, _)| r.config.is_candidate());
    let name = match runs.len() {
        n if searches => format!("search for learning rates, {n} runs"),
        1 => "study of 1 run".into(),
        n => format!("study of {n} runs"),
    };
    let study = Study {
        progress: Progress::new(Left::of(runs).steps, "steps", name),
        queue: Mutex::new((0..runs.len()).map(|i| (i, now)).collect()),
        runs: runs.to_vec(),
        device: workers.device,
        threads: workers.threads_each(),
        failed: Mutex::new(None),
        done: AtomicUsize::new(0),
        later,
        look: Mutex::new(now),
        on_finished,
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.jobs {
            scope.spawn(|| study.work());
        }
    });
    let (done, of) = (study.done.into_inner(), study.runs.len());
    match study
        .failed
        .into_inner()
        .map_err(|_| anyhow!("a run panicked"))?
    {
        Some(e) => Err(e.context(format!("{done} of {of} runs are done"))),
        None => Ok(()),
    }
}

/// Removes what stands in the directories of runs.
///
/// # Errors
/// [`Busy`] when another process makes one of them; the system's.
pub fn clear(runs: &[(&Planned, &Part)]) -> Result<()> {
    for (planned, _) in runs {
        let _lock = Lock::take(&planned.dir)?;
        directory::clear(&planned.dir)?;
    }
    Ok(())
}

impl Study<'_> {
    /// Makes runs until none is left, one has failed, or the process is to stop.
    fn work(&self) {
        while let Some((i, from)) = self.next() {
            std::thread::sleep(from.saturating_duration_since(Instant::now()));
            let (planned, part) = self.runs[i];
            if rates::has_diverged(planned) {
                self.diverged(planned);
                continue;
            }
            let error = match self.make(i, planned, part) {
                Ok(made) => {
                    self.finished(planned, part, &made);
                    // what stands there of a run made before may say more than a page so far
                    if !made.before
                        && let Err(error) = self.look()
                    {
                        held(&self.failed).get_or_insert(error);
                    }
                    continue;
                }
                Err(error) => error,
            };
            if let Some(busy) = error.downcast_ref::<Busy>() {
                let line = format_args!("{}: left to {}", name(planned), busy.holder);
                self.progress.tell(Level::Verbose, line);
                held(&self.queue).push_back((i, Instant::now() + AGAIN));
            } else if planned.config.is_candidate() && rates::is_divergence(&error) {
                match rates::mark(planned, &error) {
                    Ok(()) => self.diverged(planned),
                    Err(error) => _ = held(&self.failed).get_or_insert(error),
                }
            } else {
                held(&self.failed).get_or_insert(error.context(name(planned)));
            }
        }
    }

    fn next(&self) -> Option<(usize, Instant)> {
        let over = stop::requested() || held(&self.failed).is_some();
        let mut queue = held(&self.queue);
        // a run that waits for another process comes behind those that nobody makes
        let first = (0..queue.len()).min_by_key(|at| queue[*at].1)?;
        if over { None } else { queue.remove(first) }
    }

    fn make(&self, i: usize, planned: &Planned, part: &Part) -> Result<Made> {
        let pool = compute::pool(self.threads)?;
        let mut stood = 0;
        let name = name(planned);
        let (steps, of) = (planned.config.train.steps, self.runs.len());
        let mut on_stage = |stage: Stage<'_>| match stage {
            Stage::Training(Event::Step {
                step,
                loss,
                tokens_per_second,
            }) => {
                let words = step_words(*loss, *tokens_per_second);
                let more = (*step - stood) as u64;
                stood = *step;
                let detail = format!(
                    "run {} of {of}: {name}, step {step}/{steps}, {words}",
                    i + 1
                );
                self.progress.add(more, &detail);
            }
            Stage::Training(Event::Resumed { step }) => {
                self.progress.skip(*step as u64);
                stood = *step;
            }
            Stage::Training(event) => self.progress.tell_of(&name, event),
            Stage::Decoding(_) | Stage::Decoded(_) => {
                self.progress
                    .add(0, &format!("run {} of {of}: {name}, decoding", i + 1));
            }
            Stage::Scoring => {
                self.progress
                    .add(0, &format!("run {} of {of}: {name}, scoring", i + 1));
            }
        };
        let made = pool.install(|| {
            let (dir, config) = (&planned.dir, &planned.config);
            execute_run(
                dir,
                config,
                &part.prepared,
                self.device,
                false,
                &mut on_stage,
            )
        })?;
        let rest = work(planned) - stood as u64;
        match made.before {
            true => self.progress.skip(rest),
            false => self.progress.add(rest, ""),
        }
        Ok(made)
    }

    /// A candidate that cannot be chosen.
    fn diverged(&self, planned: &Planned) {
        let done = self.done.fetch_add(1, Ordering::SeqCst) + 1;
        let of = self.runs.len();
        self.progress.skip(work(planned));
        let line = format!("{done:>3} of {of}: {:<14} diverged", planned.name());
        self.progress.tell(Level::Usual, line);
    }

    /// Calls `on_finished` where it is time for it and nobody else is at it.
    fn look(&self) -> Result<()> {
        let Ok(mut next) = self.look.try_lock() else {
            return Ok(());
        };
        let now = Instant::now();
        if now < *next {
            return Ok(());
        }
        let done = self.done.load(Ordering::SeqCst);
        (self.on_finished)(Left {
            runs: self.runs.len() - done + self.later.runs,
            steps: self.progress.left() + self.later.steps,
            seconds: self
                .progress
                .seconds_for(self.progress.left() + self.later.steps),
        })?;
        // a page is not worth more than a few per cent of the time that the runs take
        *next = now + BETWEEN.max(20 * now.elapsed());
        Ok(())
    }

    fn finished(&self, planned: &Planned, part: &Part, made: &Made) {
        let done = self.done.fetch_add(1, Ordering::SeqCst) + 1;
        let (training, of) = (&made.result.training, self.runs.len());
        if planned.config.is_candidate() {
            let (name, loss) = (planned.name(), training.validation_loss);
            let line = format!("{done:>3} of {of}: {name:<14} validation loss {loss:.3}");
            return self.progress.tell(Level::Usual, line);
        }
        let scored = part.prepared.scored(planned.config.test_limit);
        let times = match made.before {
            true => "made before".into(),
            false => format!(
                "{:.0} s + {:.0} s",
                training.train_seconds, training.decode_seconds
            ),
        };
        let found = match (planned.config.loss_only, made.result.test_loss) {
            (true, Some(loss)) => format!("test loss {loss:.3}"),
            _ => made.result.scores.as_text(),
        };
        let line = format!(
            "{done:>3} of {of}: {:<14} seed {}: validation loss {:.3}, {found} on {scored} \
             ({times})",
            planned.name(),
            planned.seed(),
            training.validation_loss,
        );
        self.progress.tell(Level::Usual, line);
    }
}

fn name(planned: &Planned) -> String {
    format!("{} with seed {}", planned.name(), planned.seed())
}

/// A lock that a panic elsewhere does not keep: what it guards is never half changed.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
