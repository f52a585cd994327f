//! `inducer doctor`: what the command finds here, and what each thing is for.

use super::print;
use crate::compute::{self, Device};
use crate::{csv, doctor};
use anyhow::Result;
use clap::Args;

/// `inducer doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Print as JSON
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print as CSV
    #[arg(long)]
    pub csv: bool,
}

/// Runs the command. What is missing is said and is no failure.
///
/// # Errors
/// None in practice.
pub fn run(args: &DoctorArgs) -> Result<()> {
    let cuda = Device::Cuda.open().map(|_| ());
    let found = doctor::examine(compute::threads(None), cuda);
    if args.json {
        return print::json(&found);
    }
    if args.csv {
        let rows = found.iter().map(serde_json::to_value);
        return print::whole(csv::of_records(&rows.collect::<Result<Vec<_>, _>>()?));
    }
    for finding in &found {
        let mark = if finding.present { "yes" } else { "no" };
        print::line(format_args!(
            "{:<12} {mark:<4} {}",
            finding.what, finding.found
        ))?;
        print::line(format_args!("{:<17} for {}", "", finding.purpose))?;
    }
    Ok(())
}
