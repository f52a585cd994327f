//! Progress bars on a terminal, plain lines elsewhere.

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use inducer_gpu::train::Event;
use rayon::ThreadPool;

/// A bar with an ETA; silent when standard error is not a terminal.
pub fn bar(length: u64, name: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(
        "{prefix:>14} [{bar:32}] {pos}/{len} {elapsed_precise} ETA {eta} {msg}",
    ) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(name.to_string());
    bar
}

/// Does work on a pool with a bar that follows the events of its training.
///
/// # Errors
/// The work's.
pub fn training<R: Send>(
    pool: &ThreadPool,
    steps: usize,
    name: &str,
    work: impl FnOnce(&mut dyn FnMut(&Event)) -> Result<R> + Send,
) -> Result<R> {
    let bar = bar(steps as u64, name);
    let result = pool.install(|| work(&mut |event| on_event(&bar, event)))?;
    bar.finish_and_clear();
    Ok(result)
}

/// Shows a training event on a bar.
fn on_event(bar: &ProgressBar, event: &Event) {
    match event {
        Event::Resumed { step } => bar.set_position(*step as u64),
        Event::Step {
            step,
            loss,
            tokens_per_second,
        } => {
            bar.set_position(*step as u64);
            bar.set_message(format!("loss {loss:.3}  {tokens_per_second:.0} tokens/s"));
        }
        Event::Validation { step, loss } => {
            bar.println(format!("{:>14} step {step}: validation loss {loss:.4}", ""))
        }
    }
}
