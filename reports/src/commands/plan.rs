//! What `inducer report` says of a study before it runs: its list, and how long it will take.

use super::print;
use crate::progress::note;
use crate::study::estimate::estimate;
use crate::study::listed::Listed;
use crate::study::plan::Part;
use crate::study::planned::Planned;
use crate::study::schedule::Workers;
use anyhow::Result;

/// `--plan`: the list, and which of it is done.
pub fn list(rows: &[Listed], json: bool) -> Result<()> {
    if json {
        return print::json(&rows);
    }
    for row in rows {
        let steps = row.steps.map_or("–".into(), |n| n.to_string());
        print::line(format_args!(
            "{:>4}  {:<4}  {:<14} seed {}  {steps:>5} steps  {}",
            row.number,
            if row.done { "done" } else { "" },
            row.name,
            row.seed,
            row.directory.display()
        ))?;
    }
    Ok(())
}

/// Says how long these runs will take here.
pub fn say_how_long(left: &[(&Planned, &Part)], workers: Workers<'_>) -> Result<()> {
    let (methods, total) = estimate(left, workers)?;
    for (name, one) in &methods {
        let steps = format!(
            "{:.3} s a step, {:.1} h in all",
            one.step,
            one.training / 3600.0
        );
        note(format_args!(
            "{name:<14} {steps}, decoding {:.1} min",
            one.decoding / 60.0
        ));
    }
    let (n, hours) = (left.len(), total / 3600.0);
    let runs = if n == 1 { "run" } else { "runs" };
    note(format_args!(
        "{n} {runs}: about {hours:.1} h here. Runs that are stopped go on where they stood."
    ));
    Ok(())
}
