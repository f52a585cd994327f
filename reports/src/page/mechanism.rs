//! The mechanism beyond layers: λ and μ by position of the query, and how far the added keys lie.

use super::chart::{Chart, Line, Series};
use super::table::{Column, Table};
use super::words::{NOTHING, fixed, spread};
use crate::stats::Summary;
use crate::study::{LayerGates, PositionGates, Row, Study};

/// What the chart by position shows.
pub const POSITION_KEY: &str = "Mean of λ (inducers) or μ (prefixes) over layers and heads, by \
 position of the query in spans that double: 0 to 7, 8 to 15, 16 to 31 and so on, each at its \
 middle.";

/// What the distances mean.
pub const DISTANCE_KEY: &str = "Distance: from a query to the nearest key that the method adds, ‖q \
 − k‖ / p^(1/4). exp(⟨q, k⟩/√p) is a Gaussian kernel of bandwidth p^(1/4) in ‖q − k‖, times \
 factors of the two norms alone; at three bandwidths the Gaussian has fallen to one hundredth. Not \
 reached: queries whose added tokens together get less than 0.01 of the weight. Adaptive and \
 Extension put the key on the query, at distance 0.";

/// The chart by position in both widths; empty when it was not measured.
pub fn positions(study: &Study) -> String {
    let line = |row: &Row| {
        let runs: Vec<Series> = row
            .runs
            .iter()
            .map(|r| {
                r.mechanism
                    .by_position
                    .iter()
                    .map(|p| (middle(p), p.gate))
                    .collect()
            })
            .collect();
        Line::of(&row.method, &row.title, &runs)
    };
    Chart {
        id: "positions",
        title: "λ and μ by position of the query".into(),
        axis: "position of the query (mean λ or μ)".into(),
        digits: 3,
        logarithmic: false,
        lines: study.rows.iter().filter_map(line).collect(),
    }
    .draw()
}

fn middle(p: &PositionGates) -> f64 {
    0.5 * (p.from + p.to) as f64
}

/// Gates, distances and unreached queries by position.
pub fn position_table(study: &Study) -> Table {
    let columns = vec![
        Column::words("Method"),
        Column::words("Positions"),
        Column::number("mean λ or μ"),
        Column::number("not reached, %"),
        Column::number("median distance"),
    ];
    let caption = "λ and μ by position of the query, mean ± sample standard deviation over seeds";
    let mut table = Table::new(caption, columns);
    for row in &study.rows {
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for p in row.runs.iter().flat_map(|r| &r.mechanism.by_position) {
            if !spans.contains(&(p.from, p.to)) {
                spans.push((p.from, p.to));
            }
        }
        for (from, to) in spans {
            let of = |value: fn(&PositionGates) -> f64| {
                let all = row.runs.iter().flat_map(|r| &r.mechanism.by_position);
                let here: Vec<f64> = all.filter(|p| p.from == from).map(value).collect();
                Summary::of(&here)
            };
            table.rows.push(vec![
                row.title.as_str().into(),
                format!("{from} to {to}").into(),
                spread(of(|p| p.gate).as_ref(), 3).into(),
                spread(of(|p| 100.0 * p.unreached).as_ref(), 1).into(),
                spread(of(|p| p.distance).as_ref(), 2).into(),
            ]);
        }
    }
    table
}

/// Distances and unreached queries by layer, means over seeds.
pub fn distances(study: &Study) -> Table {
    let mut columns = vec![
        Column::words("Method"),
        Column::number("Layer"),
        Column::number("Not reached, %"),
    ];
    let quantiles = ["5 %", "25 %", "50 %", "75 %", "95 %"];
    columns.extend(quantiles.map(|q| Column::number(q).under("Distance in bandwidths")));
    let caption = "How far the added keys lie from the queries, by layer, means over seeds";
    let mut table = Table::new(caption, columns);
    for row in &study.rows {
        let mut layers: Vec<usize> = row
            .runs
            .iter()
            .flat_map(|r| &r.mechanism.gates)
            .map(|g| g.layer)
            .collect();
        layers.sort_unstable();
        layers.dedup();
        for layer in layers {
            let all = || row.runs.iter().flat_map(|r| &r.mechanism.gates);
            let here: Vec<&LayerGates> = all().filter(|g| g.layer == layer).collect();
            let mean = |of: &dyn Fn(&LayerGates) -> Option<f64>| {
                let values: Vec<f64> = here.iter().filter_map(|g| of(g)).collect();
                Summary::of(&values).map(|s| s.mean)
            };
            let mut cells = vec![
                row.title.as_str().into(),
                (layer + 1).to_string().into(),
                mean(&|g| g.unreached)
                    .map_or(NOTHING.into(), |u| fixed(100.0 * u, 1))
                    .into(),
            ];
            for i in 0..quantiles.len() {
                let at = mean(&|g| g.distance.map(|d| d[i]));
                cells.push(at.map_or(NOTHING.into(), |d| fixed(d, 2)).into());
            }
            table.rows.push(cells);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn methods_with_gates_have_a_line_and_rows_and_others_have_none() {
        let study = fixture::study();
        let picture = positions(&study);
        assert!(picture.contains("Prefix-tuning") && !picture.contains("Fine-tuning"));
        assert_eq!(position_table(&study).rows.len(), 6 * 3);
        assert_eq!(distances(&study).rows.len(), 6 * 4);
    }

    #[test]
    fn an_old_report_without_distances_says_so() {
        let mut study = fixture::study();
        for g in study
            .rows
            .iter_mut()
            .flat_map(|r| &mut r.runs)
            .flat_map(|r| &mut r.mechanism.gates)
        {
            g.distance = None;
            g.unreached = None;
        }
        assert!(distances(&study).rows.iter().all(|r| r[2].text == NOTHING));
    }
}
