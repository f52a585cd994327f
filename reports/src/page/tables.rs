//! The tables of the report, each from the study alone.

use super::measure::Measure;
use super::table::{Cell, Column, Table};
use super::verdict::{self, measure};
use super::words::{NOTHING, count, first_upper, fixed, interval, list, signed, spread};
use crate::stats::{Summary, excludes_zero};
use crate::study::paper::{ABLATIONS, ADDITIONS, FULL_METHOD};
use crate::study::{Row, Run, Study};

/// What the marks of [`main`] mean.
pub const MARKS: &str = "Mean ± sample standard deviation over seeds. Bold: best of its column, \
 the untuned backbone and full fine-tuning aside. † differs from Inducer-tuning over seeds: the 95 \
 % interval of the difference, paired by seed (Student's t), leaves out zero. * differs from it \
 over test inputs: p < 0.05 by approximate randomisation of the outputs of all common seeds; given \
 for the first score of the task. Each test stands for its cell alone, without correction for \
 their number. The validation loss is the lowest of a run, that of the adapter whose outputs are \
 scored. ↓ less is better.";

/// The main table, shaped as the paper's Tables 1 and 3.
pub fn main(study: &Study) -> Table {
    let measures = Measure::main(study.task);
    let mut columns = vec![Column::words("Method"), Column::number("Trained, %")];
    for m in measures {
        columns.push(Column::number(m.title()).under(m.group()));
    }
    columns.push(Column::words("Seeds"));
    let mut table = Table::new("Methods side by side", columns);
    for row in &study.rows {
        let mut cells: Vec<Cell> = vec![row.title.as_str().into(), fixed(row.share, 2).into()];
        cells.extend(measures.iter().map(|m| score_cell(study, row, *m)));
        cells.push(seeds(study, row).into());
        table.rows.push(cells);
    }
    table
}

/// Our means and the paper's figures, pair by pair; none where the paper's are not part of this
/// program.
pub fn beside_paper(study: &Study) -> Option<Table> {
    let printed: Vec<Measure> = printed(study);
    let mut columns = vec![Column::words("Method")];
    for m in &printed {
        columns.push(Column::number("here").under(m.short()));
        columns.push(Column::number("paper").under(m.short()));
    }
    let mut table = Table::new("Means here, and the paper's figures", columns);
    for row in &study.rows {
        let mut cells: Vec<Cell> = vec![row.title.as_str().into()];
        for m in &printed {
            let figure = |x: Option<f64>| -> Cell {
                let text = x.map(|x| fixed(x, m.paper_digits()));
                text.unwrap_or(NOTHING.into()).into()
            };
            cells.push(figure(m.summary(row).map(|s| s.mean)));
            cells.push(figure(m.paper(&row.method)));
        }
        table.rows.push(cells);
    }
    (!printed.is_empty()).then_some(table)
}

/// The measures of the main table that the paper prints.
fn printed(study: &Study) -> Vec<Measure> {
    let all = Measure::main(study.task).iter().copied();
    all.filter(|m| m.paper(FULL_METHOD).is_some()).collect()
}

/// The two ends of the scale, which are not compared.
fn is_end(method: &str) -> bool {
    matches!(method, "none" | "full")
}

fn score_cell(study: &Study, row: &Row, m: Measure) -> Cell {
    let summary = m.summary(row);
    let mut text = spread(summary.as_ref(), m.digits());
    let whole = study.row(FULL_METHOD).filter(|w| w.method != row.method);
    let difference = whole.and_then(|w| m.difference(w, row));
    if difference.is_some_and(|d| excludes_zero(&d)) {
        text += " †";
    }
    if m == measure(study) && row.p_value.is_some_and(|p| p < 0.05) {
        text += " *";
    }
    let best = summary.is_some_and(|s| is_best(study, row, m, s.mean));
    Cell { text, best }
}

fn is_best(study: &Study, row: &Row, m: Measure, mean: f64) -> bool {
    let rivals = study.rows.iter().filter(|r| !is_end(&r.method));
    let mut means = rivals.filter_map(|r| m.summary(r));
    !is_end(&row.method) && !means.any(|s| m.better(s.mean, mean))
}

/// `3`, or `2, missing: 3`.
fn seeds(study: &Study, row: &Row) -> String {
    let missing: Vec<String> = study.missing(row).iter().map(u64::to_string).collect();
    if missing.is_empty() {
        return row.runs.len().to_string();
    }
    format!("{}, missing: seed {}", row.runs.len(), list(&missing))
}

/// The first score by seed, with mean and interval: what the ladder draws.
pub fn ladder(study: &Study) -> Table {
    let mut columns = vec![Column::words("Method")];
    let seeds = all_seeds(study);
    for s in &seeds {
        columns.push(Column::number(&format!("seed {s}")));
    }
    columns.extend(["mean", "95 % interval"].map(Column::number));
    let caption = format!("{}, run by run", first_upper(measure(study).words()));
    let mut table = Table::new(&caption, columns);
    for row in &study.rows {
        let summary = measure(study).summary(row);
        let mut cells: Vec<Cell> = vec![row.title.as_str().into()];
        for s in &seeds {
            let x = row.run(*s).and_then(|r| measure(study).of(r));
            cells.push(x.map_or("missing".into(), |x| fixed(x, 2)).into());
        }
        cells.push(summary.map_or(NOTHING.into(), |s| fixed(s.mean, 2)).into());
        cells.push(
            summary
                .map_or(NOTHING.into(), |s| plain_interval(&s))
                .into(),
        );
        table.rows.push(cells);
    }
    table
}

/// Every seed that was asked for or has a run.
fn all_seeds(study: &Study) -> Vec<u64> {
    let mut seeds = study.provenance.settings.seeds.clone();
    for run in study.rows.iter().flat_map(|r| &r.runs) {
        if !seeds.contains(&run.seed) {
            seeds.push(run.seed);
        }
    }
    seeds
}

/// `low to high` without signs.
pub fn plain_interval(s: &Summary) -> String {
    s.interval.map_or(NOTHING.into(), |(low, high)| {
        format!("{} to {}", fixed(low, 2), fixed(high, 2))
    })
}

/// Every method that is compared with the whole, and what is taken from it or added to it.
pub fn changes() -> Vec<(&'static str, String)> {
    let taken = ABLATIONS
        .iter()
        .map(|(m, what)| (*m, format!("without {what}")));
    let added = ADDITIONS
        .iter()
        .map(|(m, what)| (*m, format!("with {what}")));
    taken.chain(added).collect()
}

/// What each ablation costs.
pub fn costs(study: &Study) -> Table {
    let first = measure(study);
    let columns = vec![
        Column::words("Method"),
        Column::words("Change"),
        Column::number("difference").under(first.unit()),
        Column::number("95 % interval").under(first.unit()),
        Column::number("in the paper").under(first.unit()),
        Column::number("difference").under("Validation loss"),
        Column::number("95 % interval").under("Validation loss"),
        Column::number("Common seeds"),
    ];
    let mut table = Table::new(
        "What each ablation costs and each addition brings, against Inducer-tuning, paired by seed",
        columns,
    );
    for (method, change) in changes() {
        let (whole, row) = (study.row(FULL_METHOD), study.row(method));
        let of = |m: Measure| m.difference(whole?, row?);
        let (score, loss) = (of(first), of(Measure::Loss));
        let paper = first.paper_difference(FULL_METHOD, method);
        let mean = |d: &Option<Summary>, n| d.map_or(NOTHING.into(), |d| signed(d.mean, n));
        let range =
            |d: &Option<Summary>, n| d.and_then(|d| interval(&d, n)).unwrap_or(NOTHING.into());
        table.rows.push(vec![
            verdict::title(study, method).into(),
            change.into(),
            mean(&score, first.digits()).into(),
            range(&score, first.digits()).into(),
            paper
                .map_or(NOTHING.into(), |p| signed(p, first.paper_digits()))
                .into(),
            mean(&loss, 3).into(),
            range(&loss, 3).into(),
            score.map_or(0, |d| d.n).to_string().into(),
        ]);
    }
    table
}

/// Validation loss by step, mean over seeds: what the curves draw.
pub fn curves(study: &Study) -> Table {
    let caption = "Validation loss by step, mean ± sample standard deviation over seeds";
    by_step(study, caption, 3, |r| &r.validation_curve)
}

/// Drift by step, mean over seeds.
pub fn drift(study: &Study) -> Table {
    let caption = "KL(frozen ‖ tuned) by step in nats, mean ± sample standard deviation over seeds";
    by_step(study, caption, 4, |r| &r.drift_curve)
}

fn by_step(study: &Study, caption: &str, digits: usize, of: fn(&Run) -> &Curve) -> Table {
    let rows: Vec<(&Row, Vec<(usize, Summary)>)> =
        study.rows.iter().map(|r| (r, mean_curve(r, of))).collect();
    let mut steps: Vec<usize> = rows
        .iter()
        .flat_map(|(_, c)| c.iter().map(|p| p.0))
        .collect();
    steps.sort_unstable();
    steps.dedup();
    let mut columns = vec![Column::words("Method")];
    let names = steps.iter().map(|s| format!("step {}", count(*s as u64)));
    columns.extend(names.map(|name| Column::number(&name)));
    let mut table = Table::new(caption, columns);
    for (row, curve) in rows {
        let mut cells: Vec<Cell> = vec![row.title.as_str().into()];
        for step in &steps {
            let at = curve.iter().find(|p| p.0 == *step).map(|p| &p.1);
            cells.push(spread(at, digits).into());
        }
        table.rows.push(cells);
    }
    table
}

/// A number by step.
type Curve = Vec<(usize, f64)>;

/// A row's curve over its runs.
pub fn mean_curve(row: &Row, of: fn(&Run) -> &Curve) -> Vec<(usize, Summary)> {
    let points = || row.runs.iter().flat_map(of);
    let mut steps: Vec<usize> = points().map(|p| p.0).collect();
    steps.sort_unstable();
    steps.dedup();
    let at = |s: usize| -> Vec<f64> { points().filter(|p| p.0 == s).map(|p| p.1).collect() };
    steps
        .into_iter()
        .filter_map(|s| Summary::of(&at(s)).map(|x| (s, x)))
        .collect()
}

/// Gates by method and layer, means over seeds: what the strips draw.
pub fn gates(study: &Study) -> Table {
    let mut columns = vec![
        Column::words("Method"),
        Column::number("Layer"),
        Column::number("mean"),
    ];
    columns.extend(
        ["5 %", "25 %", "50 %", "75 %", "95 %"].map(|q| Column::number(q).under("Quantiles")),
    );
    columns.push(Column::words("Mean of each head"));
    let mut table = Table::new(
        "λ of inducers and μ of prefixes by layer, means over seeds",
        columns,
    );
    for row in &study.rows {
        for g in super::gates::over_seeds(row) {
            let mut cells: Vec<Cell> = vec![
                row.title.as_str().into(),
                (g.layer + 1).to_string().into(),
                fixed(g.mean, 3).into(),
            ];
            cells.extend(g.quantiles.map(|q| fixed(q, 3).into()));
            let heads: Vec<String> = g.heads.iter().map(|h| fixed(*h, 3)).collect();
            cells.push(heads.join(", ").into());
            table.rows.push(cells);
        }
    }
    table
}
