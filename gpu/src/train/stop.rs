//! A process that is asked to stop: a run then finishes its step, writes its checkpoint and ends.
//!
//! One process has one answer, whatever number of runs it makes, so this is a flag of the process.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);
static TRAINING: AtomicUsize = AtomicUsize::new(0);

/// Asks every run of this process to stop behind its step.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Whether that was asked.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// How many runs are training now and have a checkpoint to write before the process may end.
pub fn training() -> usize {
    TRAINING.load(Ordering::SeqCst)
}

/// A run that is training, from here to the end of the scope.
pub(super) struct Section;

impl Section {
    pub(super) fn enter() -> Self {
        TRAINING.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        TRAINING.fetch_sub(1, Ordering::SeqCst);
    }
}
