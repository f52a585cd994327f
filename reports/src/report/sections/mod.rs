//! The report's sections: each a function of the study alone.

mod claims;
mod drift;
mod gates;
mod going;
mod ladder;
mod lengths;
mod rates;
mod record;
mod results;
mod samples;
mod steps;
mod training;
mod verdict;

pub use record::sources;

use crate::document::Section;
use crate::document::format::{count, spread};
use crate::document::table::{Table, TableOf};
use crate::parameters;
use crate::report::figures::chart::Curve;
use crate::stats::Summary;
use crate::study::paper::Step;
use crate::study::{Row, Run, Study, paper};

/// All sections, in order.
pub fn all(study: &Study) -> Vec<Section> {
    let mut all = vec![
        verdict::section(study),
        results::section(study),
        ladder::section(study),
    ];
    all.extend(rates::section(study));
    all.extend([
        lengths::section(study),
        gates::section(study),
        drift::section(study),
        training::section(study),
        samples::section(study),
        claims::section(study),
        record::section(study),
    ]);
    if let (Some(going), Some(first)) = (going::block(study), all.first_mut()) {
        first.blocks.insert(0, going);
    }
    all
}

/// The name of a method in this study, or the paper's.
fn title(study: &Study, method: &str) -> String {
    let here = study.row(method).map(|r| r.title.clone());
    here.or_else(|| paper::of(method).map(|r| r.title.into()))
        .unwrap_or_else(|| method.into())
}

/// A step by the names of its methods: `Prefix-tuning → Adaptive`.
fn words(study: &Study, step: &Step<'_>) -> String {
    let name = |method: &str| {
        let row = study.row(method);
        row.map_or_else(|| parameters::title(method).to_owned(), |r| r.title.clone())
    };
    format!("{} → {}", name(step.lower), name(step.upper))
}

/// A number by step.
type StepCurve = Vec<(usize, f64)>;

/// A method's curve over its runs.
fn mean_curve(row: &Row, curve: fn(&Run) -> &StepCurve) -> Vec<(usize, Summary)> {
    let points = || row.runs.iter().flat_map(curve);
    let at = |step: usize| -> Vec<f64> { points().filter(|p| p.0 == step).map(|p| p.1).collect() };
    sorted(points().map(|p| p.0))
        .into_iter()
        .filter_map(|step| Some((step, Summary::of(&at(step))?)))
        .collect()
}

/// The curves of all methods that have one.
fn step_curves(study: &Study, curve: fn(&Run) -> &StepCurve) -> Vec<Curve> {
    let points = |run: &Run| curve(run).iter().map(|p| (p.0 as f64, p.1)).collect();
    Curve::all(&study.rows, points)
}

/// The same as a table, mean ± deviation over seeds.
fn by_step(study: &Study, caption: &str, digits: usize, curve: fn(&Run) -> &StepCurve) -> Table {
    let runs = study.rows.iter().flat_map(|row| &row.runs);
    let steps = sorted(runs.flat_map(curve).map(|p| p.0));
    let means = study.rows.iter().map(|row| (row, mean_curve(row, curve)));
    let mut table = Table::of(caption, means).text("Method", |r| r.0.title.clone());
    for step in steps {
        table = table.number(&format!("step {}", count(step)), |r| {
            let mean = r.1.iter().find(|p| p.0 == step).map(|p| p.1);
            spread(mean, digits)
        });
    }
    table.finish()
}

/// A table with a row for each method.
fn by_method<'a>(caption: &str, rows: &'a [Row]) -> TableOf<&'a Row> {
    Table::of(caption, rows).text("Method", |row| row.title.clone())
}

/// Different values, in order.
fn sorted(values: impl Iterator<Item = usize>) -> Vec<usize> {
    values
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect()
}
