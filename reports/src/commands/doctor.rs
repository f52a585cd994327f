//! `inducer doctor`: what the command finds here, and what each thing is for.

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
    let found = doctor::examine(compute::threads(), cuda);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else if args.csv {
        let records: Vec<_> = found.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        print!("{}", csv::of_records(&records));
    } else {
        for finding in &found {
            let mark = if finding.present { "yes" } else { "no" };
            println!("{:<12} {mark:<4} {}", finding.what, finding.found);
            println!("{:<17} for {}", "", finding.purpose);
        }
    }
    Ok(())
}
