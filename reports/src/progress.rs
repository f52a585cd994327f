//! How far work has come: on a terminal one line that is drawn in place and fits its width,
//! elsewhere a line when the work begins and every 20 seconds. All of it goes to standard error.

use indicatif::{ProgressBar, ProgressStyle};
use inducer_gpu::train::Event;
use std::fmt::Display;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Seconds between two lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(20);

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Results and errors only.
    Quiet,
    /// And how far the work has come.
    Usual,
    /// And every validation, and what was decided on the way.
    Verbose,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Usual as u8);
static LOG_EVERY: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Sets how much this process tells, and after how many steps of training it writes a line, besides
/// those by the clock.
pub fn set(level: Level, log_every: Option<usize>) {
    LEVEL.store(level as u8, Ordering::Relaxed);
    LOG_EVERY.store(log_every.unwrap_or(usize::MAX), Ordering::Relaxed);
}

fn tells(level: Level) -> bool {
    LEVEL.load(Ordering::Relaxed) >= level as u8
}

/// A line on standard error; where that is closed nobody wants to know.
pub fn say(line: impl Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A line of a thread that shows no progress itself: on a terminal it takes the place of the line
/// that is drawn there, and the next drawing goes below.
pub fn say_between(line: impl Display) {
    use std::io::IsTerminal as _;
    let erase = if std::io::stderr().is_terminal() {
        "\r\x1b[2K"
    } else {
        ""
    };
    say(format_args!("{erase}{line}"));
}

/// A line for people who want to see what goes on.
pub fn note(line: impl Display) {
    if tells(Level::Usual) {
        say(line);
    }
}

/// Work whose progress is shown, until it is dropped.
pub struct Progress {
    bar: ProgressBar,
    /// What is done, in words: `inducer seed 1`.
    name: String,
    unit: &'static str,
    total: u64,
    state: Mutex<State>,
}

struct State {
    position: u64,
    detail: String,
    /// When work began, and where it stood then.
    begun: (Instant, u64),
    /// Whether a unit was done since: the first one also waits for all that had to be read.
    first: bool,
    said: Instant,
}

impl Progress {
    /// Work of `total` units (0 where nobody knows), which begins now.
    pub fn new(total: u64, unit: &'static str, name: impl Into<String>) -> Self {
        let bar = match tells(Level::Usual) {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        let now = Instant::now();
        let progress = Self {
            bar,
            name: name.into(),
            unit,
            total,
            state: Mutex::new(State {
                position: 0,
                detail: String::new(),
                begun: (now, 0),
                first: false,
                said: now,
            }),
        };
        progress.begin();
        progress
    }

    fn begin(&self) {
        if self.bar.is_hidden() {
            let of = match self.total {
                0 => String::new(),
                n => format!(": {n} {}", self.unit),
            };
            note(format_args!("{}{of}", self.name));
        } else {
            self.bar.set_message(self.name.clone());
            self.bar.tick();
        }
    }

    /// So much was done before this process came.
    pub fn resumed(&self, position: u64) {
        if let Ok(mut state) = self.state.lock() {
            state.position = position;
            state.begun = (Instant::now(), position);
            state.first = false;
        }
        self.show(false);
    }

    /// Stands at `position`; `detail` says more: `loss 2.31`.
    pub fn at(&self, position: u64, detail: &str) {
        let mut due = false;
        if let Ok(mut state) = self.state.lock() {
            due = state.said.elapsed() >= EVERY;
            if !state.first && position > state.position {
                state.begun = (Instant::now(), position);
                state.first = true;
            }
            (state.position, state.detail) = (position, detail.into());
        }
        self.show(due);
    }

    /// So much more is done; `detail` says more.
    pub fn add(&self, more: u64, detail: &str) {
        let position = self.state.lock().map_or(0, |s| s.position);
        self.at(position + more, detail);
    }

    /// So much more was done before, which says nothing of the time that the rest takes.
    pub fn skip(&self, more: u64) {
        if let Ok(mut state) = self.state.lock() {
            state.position += more;
            state.begun.1 += more;
        }
    }

    /// Units that are left.
    pub fn left(&self) -> u64 {
        let position = self.state.lock().map_or(0, |s| s.position);
        self.total.saturating_sub(position)
    }

    /// The seconds that so many units will take, as those took that are done; none before the
    /// second one is.
    pub fn seconds_for(&self, units: u64) -> Option<f64> {
        let state = self.state.lock().ok()?;
        seconds(&state, units)
    }

    /// Draws the line, or writes one if it is `due`.
    fn show(&self, due: bool) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        let line = line(&self.name, self.unit, self.total, &state);
        if !self.bar.is_hidden() {
            self.bar.set_message(line);
            self.bar.tick();
        } else if due {
            state.said = Instant::now();
            note(line);
        }
    }

    /// Writes a line that stays, above the one that is drawn.
    pub fn say(&self, line: impl Display) {
        match self.bar.is_hidden() {
            true => say(line),
            false => self.bar.suspend(|| say(line)),
        }
    }

    /// The same, if so much is to be told.
    pub fn tell(&self, level: Level, line: impl Display) {
        if tells(level) {
            self.say(line);
        }
    }

    /// Follows the events of a training.
    pub fn follow(&self, event: &Event) {
        match event {
            Event::Resumed { step } => {
                let line = format!("{}: goes on behind step {step}", self.name);
                self.tell(Level::Usual, line);
                self.resumed(*step as u64);
            }
            Event::Step {
                step,
                loss,
                tokens_per_second,
            } => {
                let detail = step_words(*loss, *tokens_per_second);
                self.at(*step as u64, &detail);
                if step.is_multiple_of(LOG_EVERY.load(Ordering::Relaxed)) {
                    self.tell(
                        Level::Usual,
                        format_args!("{}, step {step}: {detail}", self.name),
                    );
                }
            }
            other => self.tell_of(&self.name, other),
        }
    }

    /// Says what a run, by its name, has to tell apart from its steps.
    pub fn tell_of(&self, name: &str, event: &Event) {
        match event {
            Event::Validation { step, loss } => self.tell(
                Level::Verbose,
                format_args!("{name}, step {step}: validation loss {loss:.4}"),
            ),
            Event::Strayed { step, loss, start } => self.say(format_args!(
                "warning: {name}, step {step}: the validation loss is {loss:.4} and was {start:.4} \
                 before training: training diverges; try a tenth of the learning rate"
            )),
            Event::Resumed { .. } | Event::Step { .. } => {}
        }
    }
}

/// `loss 2.310, 5120 tokens/s`.
pub fn step_words(loss: f64, tokens_per_second: f64) -> String {
    format!("loss {loss:.3}, {tokens_per_second:.0} tokens/s")
}

fn line(name: &str, unit: &str, total: u64, state: &State) -> String {
    let mut parts = Vec::new();
    match total {
        0 if state.position == 0 => parts.push(name.to_string()),
        0 => parts.push(format!("{name}: {} {unit}", state.position)),
        total => parts.push(format!("{name}: {} of {total} {unit}", state.position)),
    }
    if !state.detail.is_empty() {
        parts.push(state.detail.clone());
    }
    let left = total.saturating_sub(state.position);
    if let Some(seconds) = seconds(state, left).filter(|_| left > 0) {
        parts.push(format!("{} left", duration(seconds)));
    }
    parts.join(", ")
}

fn seconds(state: &State, units: u64) -> Option<f64> {
    let (begun, from) = state.begun;
    let done = state.position.saturating_sub(from);
    (done > 0).then(|| begun.elapsed().as_secs_f64() / done as f64 * units as f64)
}

/// `42 s`, `3 min`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    match seconds as u64 {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s => format!("{} h {} min", s / 3600, s / 60 % 60),
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(position: u64, begun: (Instant, u64), detail: &str) -> State {
        State {
            position,
            detail: detail.into(),
            begun,
            first: true,
            said: Instant::now(),
        }
    }

    #[test]
    fn the_time_left_is_there_from_the_second_unit_on() {
        let progress = Progress::new(10, "steps", "x");
        let of = |p: &Progress| {
            let state = p.state.lock().unwrap();
            line(&p.name, p.unit, p.total, &state)
        };
        progress.at(1, "");
        assert_eq!(of(&progress), "x: 1 of 10 steps");
        progress.at(2, "");
        progress.at(3, "");
        assert_eq!(of(&progress), "x: 3 of 10 steps, 0 s left");
        progress.resumed(6);
        assert_eq!(of(&progress), "x: 6 of 10 steps");
        progress.at(7, "");
        progress.at(8, "");
        assert_eq!(of(&progress), "x: 8 of 10 steps, 0 s left");
    }

    #[test]
    fn a_line_has_name_place_detail_and_the_time_left() {
        let ago = Instant::now()
            .checked_sub(Duration::from_secs(100))
            .unwrap();
        let text = line(
            "inducer seed 1",
            "steps",
            300,
            &state(100, (ago, 50), "loss 2.310"),
        );
        assert!(
            text.starts_with("inducer seed 1: 100 of 300 steps, loss 2.310, 6 min left"),
            "{text}"
        );
        assert_eq!(
            line("verify", "rows", 0, &state(7, (ago, 0), "")),
            "verify: 7 rows"
        );
        assert_eq!(
            line("x", "steps", 3, &state(3, (ago, 0), "")),
            "x: 3 of 3 steps"
        );
    }

    #[test]
    fn durations_have_the_unit_that_is_read() {
        assert_eq!(
            [42.9, 150.0, 7500.0].map(duration),
            ["42 s", "2 min", "2 h 5 min"]
        );
    }
}
