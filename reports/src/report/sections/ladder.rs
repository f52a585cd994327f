//! The ablation ladder, and what each part of the method is worth.

use super::by_method;
use super::title;
use super::verdict::measure;
use crate::document::format::{
    capitalised, fixed, interval, optional, or_dash, signed, signed_interval, spread,
};
use crate::document::table::Table;
use crate::document::{Block, Figure, Section};
use crate::report::figures::intervals::{Intervals, Lane};
use crate::stats::{Summary, differences, paired};
use crate::study::measure::Measure;
use crate::study::paper::{ABLATIONS, ADDITIONS, FULL_METHOD};
use crate::study::{Row, Study};

/// The section.
pub fn section(study: &Study) -> Section {
    let ladder = Figure {
        title: "The ablation ladder",
        meaning: "",
        signs: "Small dots: one run each. Large sign: their mean. Line: 95 % interval of the mean \
                (Student's t); an arrow where it goes on beyond the picture."
            .into(),
        picture: ladder(study).draw(),
        table: ladder_table(study),
    };
    let costs = Figure {
        title: "What each ablation costs and each addition brings",
        meaning: "",
        signs: "Left of zero the change is worse than Inducer-tuning. Small dots: one seed each. \
                Large sign: their mean. Line: 95 % interval. Open diamond below: the paper's \
                difference, on GPT-2 small and WebNLG."
            .into(),
        picture: costs(study).draw(),
        table: costs_table(study),
    };
    Section::new(
        "ladder",
        "Ladder",
        "The ladder, and what each part is worth",
        vec![Block::Figure(ladder), Block::Figure(costs)],
    )
}

/// The first score by method, from the untuned backbone to full fine-tuning.
fn ladder(study: &Study) -> Intervals {
    let measure = measure(study);
    let mut rows: Vec<&Row> = study.rows.iter().collect();
    rows.sort_by_key(|r| r.method == "full");
    let lane = |row: &Row| {
        let summary = measure.summary(row);
        Lane {
            method: row.method.clone(),
            title: row.title.clone(),
            value: spread(summary, 2),
            dots: measure.by_seed(row),
            summary,
            paper: None,
        }
    };
    Intervals {
        id: "ladder",
        title: format!("{} by method", capitalised(measure.named().sentence)),
        axis: capitalised(measure.named().sentence),
        digits: [measure.named().digits, measure.named().paper_digits],
        signed: false,
        band: None,
        lanes: rows.into_iter().map(lane).collect(),
    }
}

/// The first score by seed, with mean and interval.
fn ladder_table(study: &Study) -> Table {
    let measure = measure(study);
    let caption = format!("{}, run by run", capitalised(measure.named().sentence));
    let mut table = by_method(&caption, &study.rows);
    for seed in all_seeds(study) {
        table = table.number(&format!("seed {seed}"), |row| {
            let x = row.run(seed).and_then(|r| measure.of(r));
            x.map_or("missing".into(), |x| fixed(x, 2))
        });
    }
    let mean = |row: &&Row| optional(measure.summary(row).map(|s| s.mean), 2);
    let interval = |row: &&Row| or_dash(interval(measure.summary(row), 2));
    let table = table.number("mean", mean);
    table.number("95 % interval", interval).finish()
}

/// Every seed that was asked for or has a run with a score.
fn all_seeds(study: &Study) -> Vec<u64> {
    let (mut seeds, measure) = (study.provenance.settings.seeds.clone(), measure(study));
    for run in study.rows.iter().flat_map(|r| &r.runs) {
        if !seeds.contains(&run.seed) && measure.of(run).is_some() {
            seeds.push(run.seed);
        }
    }
    seeds
}

/// Every method that is compared with the whole, and what is taken from it or added to it; steps of
/// one's own from it among them.
fn changes(study: &Study) -> impl Iterator<Item = (&str, String)> {
    let taken = ABLATIONS.map(|(m, part)| (m, format!("without {part}")));
    let added = ADDITIONS.map(|(m, part)| (m, format!("with {part}")));
    let own = study.own_steps().into_iter();
    let own = own.filter(|step| step.lower == FULL_METHOD);
    let own = own.map(|step| (step.upper, format!("with {}", step.change)));
    taken.into_iter().chain(added).chain(own)
}

/// The difference of each ablation and addition to the whole method.
fn costs(study: &Study) -> Intervals {
    let measure = measure(study);
    let by_seed = |method: &str| {
        let row = study.row(method);
        row.map(|r| measure.by_seed(r)).unwrap_or_default()
    };
    let whole = by_seed(FULL_METHOD);
    let lane = |(method, _): (&str, String)| {
        let row = by_seed(method);
        let summary = paired(&whole, &row);
        Lane {
            method: method.into(),
            title: title(study, method),
            value: summary.map_or("not measured".into(), |s| signed(s.mean, 2)),
            dots: differences(&whole, &row),
            summary,
            paper: measure.beside().paper_difference(FULL_METHOD, method),
        }
    };
    // a phone's width holds the short name
    let score = capitalised(measure.named().short);
    Intervals {
        id: "costs",
        title: "Difference of each change to Inducer-tuning".into(),
        axis: format!("{score}: minus Inducer-tuning, same seed"),
        digits: [measure.named().digits, measure.named().paper_digits],
        signed: true,
        band: None,
        lanes: changes(study).map(lane).collect(),
    }
}

/// What each ablation costs.
fn costs_table(study: &Study) -> Table {
    let first = measure(study);
    let of = |m: Measure, method| m.difference(study.row(FULL_METHOD)?, study.row(method)?);
    let score = |method| of(first, method);
    let loss = |method| of(Measure::Loss, method);
    let mean = |d: Option<Summary>, n| or_dash(d.map(|d| signed(d.mean, n)));
    let interval = |d: Option<Summary>, n| or_dash(signed_interval(d, n));
    let paper = |method| {
        let difference = first.beside().paper_difference(FULL_METHOD, method);
        or_dash(difference.map(|p| signed(p, first.named().paper_digits)))
    };
    let (unit, digits) = (first.named().unit, first.named().digits);
    let caption = "What each ablation costs and each addition brings, against Inducer-tuning, \
                   paired by seed";
    Table::of(caption, changes(study))
        .text("Method", |c| title(study, c.0))
        .text("Change", |c| c.1.clone())
        .under(unit, "difference", |c| mean(score(c.0), digits))
        .under(unit, "95 % interval", |c| interval(score(c.0), digits))
        .under(unit, "in the paper", |c| paper(c.0))
        .under("Validation loss", "difference", |c| mean(loss(c.0), 3))
        .under("Validation loss", "95 % interval", |c| {
            interval(loss(c.0), 3)
        })
        .number("Common seeds", |c| {
            score(c.0).map_or(0, |d| d.n).to_string()
        })
        .finish()
}
