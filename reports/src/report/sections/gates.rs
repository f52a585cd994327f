//! The mechanism: λ and μ by layer and by position, and how far the added keys lie.

use super::sorted;
use crate::document::format::{fixed, optional, spread};
use crate::document::table::Table;
use crate::document::{Block, Figure, Section};
use crate::report::figures::chart::{Chart, Curve};
use crate::report::figures::gates::{self, over_seeds};
use crate::stats::Summary;
use crate::study::{FixedLosses, LayerGates, PositionGates, Row, Run, Study};
use std::collections::BTreeSet;

const QUANTILES: [&str; 5] = ["5 %", "25 %", "50 %", "75 %", "95 %"];

/// What the distances mean.
const DISTANCE: &str = "Distance: from a query to the nearest key that the method adds, ‖q − k‖ / \
 p^(1/4). exp(⟨q, k⟩/√p) is a Gaussian kernel of bandwidth p^(1/4) in ‖q − k‖, times factors of \
 the two norms alone; at three bandwidths the Gaussian has fallen to one hundredth. Not reached: \
 queries whose added tokens together get less than 0.01 of the weight. Adaptive and Extension put \
 the key on the query, at distance 0.";

/// What the replaced gates mean.
const WORTH: &str = "The loss of the scored inputs, each with its first reference, in nats a token \
 (a row of a classifier), with the trained method's own gates, and what is added to it when a \
 number stands in their place at every token: the mean of each head, so that a gate no longer \
 depends on its query, or 1, so that an inducer is an adapter without a gate and of a prefix's \
 layer only the prefix is left. Nothing is trained again.";

/// The section.
pub fn section(study: &Study) -> Section {
    let heading = "λ and μ, and how far the keys lie";
    Section::new("gates", "λ and μ", heading, blocks(study))
}

fn blocks(study: &Study) -> Vec<Block> {
    let layers = layers(study);
    if layers.rows.is_empty() {
        return vec![Block::body("No method of this study has a gate.")];
    }
    let by_layer = Figure {
        title: "How much weight the added tokens get",
        meaning: match is_measured_untrained(study) {
            true => {
                "λ is the weight of the inducer's own token, μ that of all prefix tokens together. \
                 What it was before the first step stands in the table: the frozen model's queries \
                 and keys decide it, and only the difference was learnt."
            }
            false => {
                "λ is the weight of the inducer's own token, μ that of all prefix tokens together."
            }
        },
        signs: gates::SIGNS.into(),
        picture: gates::draw(&study.rows),
        table: layers,
    };
    let by_position = Figure {
        title: "λ and μ by position of the query",
        meaning: "Mean of λ (inducers) or μ (prefixes) over layers and heads, by position of the \
                  query in spans that double: 0 to 7, 8 to 15, 16 to 31 and so on, each at its \
                  middle.",
        signs: String::new(),
        picture: position_chart(study),
        table: positions(study),
    };
    let figures = [by_layer, by_position].into_iter();
    let worth = [
        Block::heading("What λ and μ are worth"),
        Block::note(WORTH),
        Block::Table(worth(study)),
    ];
    let distances = [
        Block::heading("How far the added keys lie"),
        Block::note(DISTANCE),
        Block::Table(distances(study)),
    ];
    let figures = figures.filter_map(Figure::block);
    figures.chain(worth).chain(distances).collect()
}

/// Whether a run knows its gates before the first step; those of earlier versions do not.
fn is_measured_untrained(study: &Study) -> bool {
    let mut gates = study.rows.iter().flat_map(over_seeds);
    gates.any(|g| g.untrained.is_some())
}

/// Gates by method and layer, means over seeds: what the strips draw.
fn layers(study: &Study) -> Table {
    let rows = study.rows.iter();
    let layers = rows.flat_map(|row| over_seeds(row).into_iter().map(move |g| (row, g)));
    let caption = "λ of inducers and μ of prefixes by layer, means over seeds";
    let mut table = Table::of(caption, layers)
        .text("Method", |l| l.0.title.clone())
        .number("Layer", |l| (l.1.layer + 1).to_string())
        .number("mean", |l| fixed(l.1.mean, 3))
        .number("mean before training", |l| optional(l.1.untrained, 3));
    for (i, title) in QUANTILES.iter().enumerate() {
        table = table.under("Quantiles", title, |l| fixed(l.1.quantiles[i], 3));
    }
    let heads = |g: &LayerGates| g.heads.iter().map(|h| fixed(*h, 3)).collect::<Vec<_>>();
    table
        .text("Mean of each head", |l| heads(&l.1).join(", "))
        .finish()
}

/// The mean gate by position; empty when it was not measured at two positions.
fn position_chart(study: &Study) -> String {
    let points = |run: &Run| {
        let point = |p: &PositionGates| (0.5 * (p.from + p.to) as f64, p.gate);
        run.result.mechanism.by_position.iter().map(point).collect()
    };
    Chart {
        id: "positions",
        title: "λ and μ by position of the query",
        axis: "position of the query (mean λ or μ)".into(),
        digits: 3,
        logarithmic: false,
        curves: Curve::all(&study.rows, points),
    }
    .draw()
}

/// Gates, distances and unreached queries by position.
fn positions(study: &Study) -> Table {
    let spans = study.rows.iter().flat_map(|row| {
        let spans: BTreeSet<_> = position_gates(row).map(|p| (p.from, p.to)).collect();
        spans.into_iter().map(move |span| (row, span))
    });
    let mean = |(row, span): &(&Row, (usize, usize)), value: fn(&PositionGates) -> f64| {
        let here = position_gates(row).filter(|p| p.from == span.0);
        Summary::of(&here.map(value).collect::<Vec<f64>>())
    };
    let caption = "λ and μ by position of the query, mean ± sample standard deviation over seeds";
    Table::of(caption, spans)
        .text("Method", |s| s.0.title.clone())
        .text("Positions", |s| format!("{} to {}", s.1.0, s.1.1))
        .number("mean λ or μ", |s| spread(mean(s, |p| p.gate), 3))
        .number("not reached, %", |s| {
            spread(mean(s, |p| 100.0 * p.unreached), 1)
        })
        .number("median distance", |s| spread(mean(s, |p| p.distance), 2))
        .finish()
}

/// Distances and unreached queries by layer, means over seeds.
fn distances(study: &Study) -> Table {
    let layers = study.rows.iter().flat_map(|row| {
        let layers = sorted(layer_gates(row).map(|g| g.layer));
        layers.into_iter().map(move |layer| (row, layer))
    });
    let mean = |(row, layer): &(&Row, usize), number: &dyn Fn(&LayerGates) -> Option<f64>| {
        let here = layer_gates(row).filter(|g| g.layer == *layer);
        let values: Vec<f64> = here.filter_map(number).collect();
        Summary::of(&values).map(|s| s.mean)
    };
    let unreached = |g: &LayerGates| g.unreached;
    let caption = "How far the added keys lie from the queries, by layer, means over seeds";
    let mut table = Table::of(caption, layers)
        .text("Method", |l| l.0.title.clone())
        .number("Layer", |l| (l.1 + 1).to_string())
        .number("Not reached, %", |l| {
            optional(mean(l, &unreached).map(|u| 100.0 * u), 1)
        });
    for (i, title) in QUANTILES.iter().enumerate() {
        let distance = |g: &LayerGates| g.distance.map(|d| d[i]);
        table = table.under("Distance in bandwidths", title, |l| {
            optional(mean(l, &distance), 2)
        });
    }
    table.finish()
}

/// The losses with other gates, means over seeds.
fn worth(study: &Study) -> Table {
    let fixed = |row: &Row| {
        row.runs
            .iter()
            .any(|r| r.result.mechanism.fixed_gates.is_some())
    };
    let rows = study.rows.iter().filter(|row| fixed(row));
    let mean = |row: &Row, of: fn(&FixedLosses) -> f64| {
        let all = row
            .runs
            .iter()
            .filter_map(|r| r.result.mechanism.fixed_gates.as_ref());
        Summary::of(&all.map(of).collect::<Vec<f64>>())
    };
    let caption = "Loss with other gates, mean ± sample standard deviation over seeds";
    Table::of(caption, rows)
        .text("Method", |row| row.title.clone())
        .number("own λ or μ", |row| spread(mean(row, |f| f.own), 3))
        .number("each head's mean", |row| {
            spread(mean(row, |f| f.head_mean - f.own), 3)
        })
        .number("1", |row| spread(mean(row, |f| f.one - f.own), 3))
        .finish()
}

fn position_gates(row: &Row) -> impl Iterator<Item = &PositionGates> {
    row.runs
        .iter()
        .flat_map(|r| &r.result.mechanism.by_position)
}

fn layer_gates(row: &Row) -> impl Iterator<Item = &LayerGates> {
    row.runs.iter().flat_map(|r| &r.result.mechanism.gates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::format::DASH;
    use crate::report::testing;

    #[test]
    fn methods_with_gates_have_a_curve_and_rows_and_others_have_none() {
        let study = testing::study();
        let picture = position_chart(&study);
        assert!(picture.contains("Prefix-tuning") && !picture.contains("Fine-tuning"));
        assert_eq!(positions(&study).rows.len(), 6 * 3);
        assert_eq!(distances(&study).rows.len(), 6 * 4);
    }

    #[test]
    fn what_was_there_before_training_is_a_mean_over_all_seeds_or_none() {
        let mut study = testing::study();
        let column = |study: &Study| {
            let table = layers(study);
            let rows = table.rows.iter().map(|r| r[3].text.clone());
            rows.collect::<Vec<String>>()
        };
        let full = column(&study);
        assert!(full.iter().all(|text| text != DASH), "{full:?}");
        let runs = study.rows.iter_mut().flat_map(|r| r.runs.last_mut());
        for gates in runs.flat_map(|r| &mut r.result.mechanism.gates) {
            gates.untrained = None;
        }
        assert!(column(&study).iter().all(|text| text == DASH));
    }

    #[test]
    fn what_a_gate_is_worth_is_the_difference_of_the_losses_and_old_runs_leave_it_out() {
        let mut study = testing::study();
        let text = |study: &Study| {
            let rows = worth(study).rows;
            rows.iter()
                .map(|r| r[1..].iter().map(|c| c.text.clone()).collect())
                .collect()
        };
        let found: Vec<Vec<String>> = text(&study);
        assert_eq!(found.len(), 6);
        assert!(
            found
                .iter()
                .all(|r| r[1].starts_with("0.050") && r[2].starts_with("0.400"))
        );
        let runs = study.rows.iter_mut().flat_map(|r| &mut r.runs);
        runs.for_each(|r| r.result.mechanism.fixed_gates = None);
        assert_eq!(text(&study), Vec::<Vec<String>>::new());
    }

    #[test]
    fn an_old_report_without_distances_says_so() {
        let mut study = testing::study();
        let runs = study.rows.iter_mut().flat_map(|r| &mut r.runs);
        for g in runs.flat_map(|r| &mut r.result.mechanism.gates) {
            g.distance = None;
            g.unreached = None;
        }
        assert!(distances(&study).rows.iter().all(|r| r[2].text == DASH));
    }
}
