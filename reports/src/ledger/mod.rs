//! The claims ledger around a run of it: how far it is, its rows as JUnit XML, and a finished one
//! kept beside the study that it is part of; and the rows of this crate's own.

pub mod claims;
pub mod junit;
pub mod kept;

use crate::progress::{Level, Progress};
use anyhow::Result;
use inducer_verify::ReportRow;
use inducer_verify::{Ledger, Options, Verdict, render};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The progress of a run of the ledger; a row that failed is shown at once.
pub struct LedgerProgress {
    progress: Progress,
    failed: AtomicUsize,
}

impl LedgerProgress {
    /// From the first row on.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn new(options: &Options) -> Result<Self> {
        let rows = options.rows(&Ledger::read()?).len();
        Ok(Self {
            progress: Progress::new(rows as u64, "rows", "claims ledger"),
            failed: AtomicUsize::new(0),
        })
    }

    /// A row is there.
    pub fn row(&self, row: &ReportRow) {
        let failed = row.verdict == Verdict::Failed;
        if failed {
            self.failed.fetch_add(1, Ordering::Relaxed);
            self.progress.tell(Level::Usual, render::line(row));
        } else {
            self.progress.tell(Level::Verbose, render::line(row));
        }
        let detail = match self.failed.load(Ordering::Relaxed) {
            0 => row.claim.clone(),
            n => format!("{n} failed"),
        };
        self.progress.add(1, &detail);
    }
}
