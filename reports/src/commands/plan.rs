//! What `inducer report` says of a study before it runs: its list, and how long it will take.

use super::print;
use crate::progress::note;
use crate::study::estimate::estimate;
use crate::study::listed::Listed;
use crate::study::plan::Plan;
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

/// Says how long the runs of the plan will take here.
pub fn say_how_long(
    plan: &Plan,
    device: &candle_core::Device,
    threads: usize,
    jobs: usize,
) -> Result<()> {
    let (methods, total) = estimate(plan, device, threads, jobs)?;
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
    let (runs, hours) = (plan.runs().len(), total / 3600.0);
    note(format_args!(
        "{runs} runs: about {hours:.1} h here. Runs that are stopped go on where they stood."
    ));
    Ok(())
}
