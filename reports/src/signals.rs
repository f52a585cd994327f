//! Ctrl-C and SIGTERM: runs finish their step and write their checkpoints; a second signal ends the
//! process at once.

use crate::progress;
use inducer_gpu::train::stop;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// 128 + the signal's number; 0 before any.
static STATUS: AtomicI32 = AtomicI32::new(0);
static ENDED: AtomicBool = AtomicBool::new(false);

/// How long the main thread has for its own last line once every checkpoint is written.
const GRACE: Duration = Duration::from_secs(2);

/// The exit status of a process that was asked to stop: 130 after Ctrl-C, 143 after SIGTERM.
pub fn status() -> Option<i32> {
    Some(STATUS.load(Ordering::SeqCst)).filter(|status| *status != 0)
}

/// Ends the process with a last line; only the first caller's is written.
pub fn end(line: impl Display, status: i32) -> ! {
    if ENDED.swap(true, Ordering::SeqCst) {
        loop {
            std::thread::park();
        }
    }
    progress::say(line);
    std::process::exit(status)
}

/// Listens from here on.
///
/// # Errors
/// The system's.
#[cfg(unix)]
pub fn listen() -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let again = status().is_some();
            STATUS.store(128 + signal, Ordering::SeqCst);
            if again {
                std::process::exit(128 + signal);
            }
            let training = stop::training() > 0;
            stop::request();
            std::thread::spawn(move || finish(training, 128 + signal));
        }
    });
    Ok(())
}

/// Nothing to listen to.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn listen() -> std::io::Result<()> {
    Ok(())
}

/// Waits for the checkpoints. What else goes on, decoding and scoring, writes nothing before it
/// ends and is made again.
#[cfg(unix)]
fn finish(training: bool, status: i32) -> ! {
    if training {
        progress::say_between(
            "stopping behind this step; a second signal ends the process at once",
        );
    }
    while stop::training() > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    while training && begun.elapsed() < GRACE {
        std::thread::sleep(Duration::from_millis(20));
    }
    end(
        "stopped; the same command goes on where this one stood",
        status,
    )
}
