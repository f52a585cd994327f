//! Learning curves, and what a run costs in time and memory.

use super::record::parts;
use super::{by_method, by_step, mean_curve, step_curves};
use crate::document::format::{count, fixed, list, or_dash, spread};
use crate::document::table::Table;
use crate::document::{Block, Figure, Section};
use crate::report::figures::chart::{self, Chart};
use crate::stats::Summary;
use crate::study::{Row, Run, Study};

/// What time and memory mean.
const EFFORT: &str = "Seconds and tokens a second are of runs that shared the machine with each \
 other. MB at most: the most memory that a run's own threads had allocated at once while training \
 (weights, activations, gradients, moments), counted by the allocator, so that runs in one process \
 do not mix; what the whole process holds is more.";

/// The section.
pub fn section(study: &Study) -> Section {
    let caption = "Validation loss by step, mean ± sample standard deviation over seeds";
    let figure = Figure {
        title: "Learning curves",
        meaning: "",
        signs: format!("{}{}", chart::SIGNS, left_out(study)),
        picture: learning_curves(study),
        table: by_step(study, caption, 3, |r| &r.curves.validation),
    };
    let none = "No method was validated at more than one step, so there are no curves.";
    let curves = figure.block_or(none);
    Section::new(
        "training",
        "Training",
        "Training, time and memory",
        vec![curves, Block::Table(effort(study)), Block::note(EFFORT)],
    )
}

/// Validation loss by step; empty when no method has a curve.
fn learning_curves(study: &Study) -> String {
    Chart {
        id: "curves",
        title: "Validation loss by step and method",
        axis: "step (validation loss, nats a token)".into(),
        digits: 3,
        logarithmic: false,
        curves: step_curves(study, |r| &r.curves.validation),
    }
    .draw()
}

/// Methods whose loss is known at one step only, which is no curve; empty when there are none.
fn left_out(study: &Study) -> String {
    let point = |row| match mean_curve(row, |r| &r.curves.validation).as_slice() {
        [(_, only)] => Some(format!("{} ({})", row.title, fixed(only.mean, 3))),
        _ => None,
    };
    let points: Vec<String> = study.rows.iter().filter_map(point).collect();
    if points.is_empty() {
        return String::new();
    }
    let points = list(&points);
    format!(" Not drawn, because known at one step only: {points}.")
}

/// Size, learning rate, time and memory of each method.
fn effort(study: &Study) -> Table {
    let mean = |row: &Row, number: fn(&Run) -> f64, digits| {
        let values: Vec<f64> = row.runs.iter().map(number).filter(|x| *x > 0.0).collect();
        spread(Summary::of(&values), digits)
    };
    let rate = |row: &Row| or_dash(row.learning_rate.map(|x| format!("{x:e}")));
    let megabytes = |run: &Run| run.result.peak_bytes.map_or(0.0, |b| b as f64 / 1e6);
    by_method("Size, learning rate, time and memory", &study.rows)
        .under("Parameters", "trained", |row| count(row.trained))
        .under("Parameters", "stored", |row| count(row.stored))
        .number("Learning rate", |row| rate(row))
        .under("Training", "seconds", |row| {
            mean(row, |r| r.result.training.train_seconds, 1)
        })
        .under("Training", "tokens a second", |row| {
            mean(row, |r| r.tokens_per_second, 0)
        })
        .under("Training", "MB at most", |row| mean(row, megabytes, 1))
        .text("Parts", |row| parts(row))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn a_single_point_is_no_curve_but_is_reported() {
        let study = testing::study();
        let said = left_out(&study);
        assert!(said.contains("only: Untuned backbone (4.793)."), "{said}");
        assert!(!learning_curves(&study).contains("Untuned"));
    }
}
