//! The pages of a report.json, made again without running anything:
//!
//! ```sh
//! cargo run -p inducer-reports --example page -- reports/results/embedded.json out
//! ```
//!
//! writes out/report.html, out/report.md and out/report.json, the last in today's layout, and made
//! smaller where the third word is `--slim` (`study::slim`).

use anyhow::{Context, Result, anyhow, ensure};
use inducer_reports::report;
use inducer_reports::study::{Study, slim::slim};
use std::path::PathBuf;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (json, out) = arguments
        .next()
        .zip(arguments.next())
        .ok_or_else(|| anyhow!("usage: page REPORT.json OUT [--slim]"))?;
    let study = Study::read(&json)?;
    let written = match arguments.next() {
        None => serde_json::to_string(&study)?,
        Some(word) => {
            let found = word.display();
            ensure!(
                word.as_os_str() == "--slim",
                "{found}: expected --slim or nothing"
            );
            slim(&study)?.to_string()
        }
    };
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    for (name, text) in [
        ("report.html", report::html(&study)),
        ("report.md", report::markdown(&study)),
        ("report.json", written),
    ] {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
