//! Learning curves: validation loss by step, and the drift from the frozen model by step.

use super::chart::{Chart, Line, Series};
use super::tables::mean_curve;
use super::words::{fixed, list};
use crate::study::{Row, Run, Study};

/// What drift is.
pub const DRIFT_KEY: &str = "Mean KL(frozen ‖ tuned) of the next token (of the class) on the same \
 validation rows, in nats, on a logarithmic axis; smaller values lie on its lowest line. Step 0 is \
 what attaching the method does before any training: near nothing where the start stays close to \
 the frozen model, a jump under Gating, whose start takes (1 − λ) off every head.";

/// The picture in both widths; empty when no method has a curve.
pub fn draw(study: &Study) -> String {
    Chart {
        id: "curves",
        title: "Validation loss by step and method".into(),
        axis: "step (validation loss, nats a token)".into(),
        digits: 3,
        logarithmic: false,
        lines: lines(study, |r| &r.validation_curve),
    }
    .draw()
}

/// The drift by step in both widths; empty when it was not measured.
pub fn drift(study: &Study) -> String {
    Chart {
        id: "drift",
        title: "Drift from the frozen model by step and method".into(),
        axis: "step (KL from the frozen model, nats)".into(),
        digits: 4,
        logarithmic: true,
        lines: lines(study, |r| &r.drift_curve),
    }
    .draw()
}

fn lines(study: &Study, of: fn(&Run) -> &Vec<(usize, f64)>) -> Vec<Line> {
    let line = |row: &Row| {
        let runs: Vec<Series> = row
            .runs
            .iter()
            .map(|r| of(r).iter().map(|p| (p.0 as f64, p.1)).collect())
            .collect();
        Line::of(&row.method, &row.title, &runs)
    };
    study.rows.iter().filter_map(line).collect()
}

/// Methods whose loss is known at one step only, which is no curve.
pub fn left_out(study: &Study) -> Vec<(String, f64)> {
    let rows = study.rows.iter();
    let ends = rows.filter_map(
        |r| match mean_curve(r, |r| &r.validation_curve).as_slice() {
            [(_, only)] => Some((r.title.clone(), only.mean)),
            _ => None,
        },
    );
    ends.collect()
}

/// What is not drawn, in words: ` Not drawn: Untuned backbone (4.793).`
pub fn left_out_words(study: &Study) -> String {
    let out: Vec<String> = left_out(study)
        .into_iter()
        .map(|(title, loss)| format!("{title} ({})", fixed(loss, 3)))
        .collect();
    if out.is_empty() {
        return String::new();
    }
    format!(
        " Not drawn, because known at one step only: {}.",
        list(&out)
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_single_point_is_no_curve_but_is_reported() {
        let study = fixture::study();
        let out = left_out(&study);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].0, "Untuned backbone");
        assert!(!draw(&study).contains("Untuned"));
    }

    #[test]
    fn every_trained_method_has_a_line_of_drift() {
        let study = fixture::study();
        let picture = drift(&study);
        for row in study.rows.iter().filter(|r| r.method != "none") {
            assert!(picture.contains(&row.title), "{}", row.title);
        }
    }
}
