//! The pages of a report.json, made again without running anything:
//!
//! ```sh
//! cargo run -p inducer-reports --example page -- reports/results/embedded.json out
//! ```
//!
//! writes out/report.html, out/report.md and out/report.json, the last in today's layout.

use anyhow::{Context, Result, anyhow};
use inducer_reports::{report, study::Study};
use std::path::PathBuf;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (json, out) = arguments
        .next()
        .zip(arguments.next())
        .ok_or_else(|| anyhow!("usage: page REPORT.json OUT"))?;
    let study = Study::read(&json)?;
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    for (name, text) in [
        ("report.html", report::html(&study)),
        ("report.md", report::markdown(&study)),
        ("report.json", serde_json::to_string(&study)?),
    ] {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
