//! How far each method moves from the frozen model.

use super::{by_step, step_curves};
use crate::document::{Figure, Section};
use crate::report::figures::chart::Chart;
use crate::study::Study;

/// The section.
pub fn section(study: &Study) -> Section {
    let caption = "KL(frozen ‖ tuned) by step in nats, mean ± sample standard deviation over seeds";
    let figure = Figure {
        title: "How far each method moves from the frozen model",
        meaning: "Mean KL(frozen ‖ tuned) of the next token (of the class) on the same validation \
                  rows, in nats. Step 0 is what attaching the method does before any training: \
                  near nothing where the start stays close to the frozen model, a jump under \
                  Gating, whose start takes (1 − λ) off every head.",
        signs: "The axis is logarithmic; values below its lowest line lie on it.".into(),
        picture: chart(study),
        table: by_step(study, caption, 4, |r| &r.curves.drift),
    };
    let block = figure.block_or("The drift was not measured in these runs.");
    let heading = "Drift from the frozen model";
    Section::new("drift", "Drift", heading, vec![block])
}

/// The drift by step; empty when it was not measured.
fn chart(study: &Study) -> String {
    Chart {
        id: "drift",
        title: "Drift from the frozen model by step and method",
        axis: "step (KL from the frozen model, nats)".into(),
        digits: 4,
        logarithmic: true,
        curves: step_curves(study, |r| &r.curves.drift),
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn every_trained_method_has_a_curve_of_drift() {
        let study = testing::study();
        let picture = chart(&study);
        for row in study.rows.iter().filter(|r| r.method != "none") {
            assert!(picture.contains(&row.title), "{}", row.title);
        }
    }
}
