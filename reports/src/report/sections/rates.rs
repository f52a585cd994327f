//! How the learning rates were chosen.

use super::{title, words};
use crate::document::format::{counted, list, optional, signed};
use crate::document::table::{Cell, Mark, Table};
use crate::document::{Block, Section};
use crate::study::paper::{STEPS, Step};
use crate::study::rates::{Found, Tried, chooser};
use crate::study::{Row, Study};

/// The section; none where the rates are the methods' own or were given.
pub fn section(study: &Study) -> Option<Section> {
    let found = study.rates.as_ref()?;
    let mut blocks = vec![
        Block::body(format!(
            "Each method takes the learning rate of its lowest validation loss in a search with \
             seed {}, which no run of this report has, over {} a candidate. The test part was not \
             looked at.",
            found.seed,
            counted(found.steps, "step")
        )),
        Block::Table(candidates(study, found)),
    ];
    blocks.extend(edges(study, found).map(Block::body));
    blocks.push(Block::Table(steps(study, found)));
    let long = study.long.as_ref();
    if let Some((long, found)) = long.and_then(|long| Some((long, long.rates.as_ref()?))) {
        blocks.push(Block::heading("On long inputs"));
        blocks.push(Block::Table(candidates(study, found)));
        blocks.extend(shared(&long.rows, found).map(Block::body));
    }
    let heading = "Learning rates, chosen on the development part";
    Some(Section::new("rates", "Rates", heading, blocks))
}

/// The methods whose rate another one's candidates chose.
fn shared(rows: &[Row], found: &Found) -> Option<String> {
    let without = |row: &&Row| {
        let (own, chooser) = (&*row.method, chooser(&row.method));
        own != chooser && found.of(own).is_none() && found.of(chooser).is_some()
    };
    let row = rows.iter().find(without)?;
    let other = rows.iter().find(|r| r.method == chooser(&row.method))?;
    let (title, other) = (&row.title, &other.title);
    Some(format!("{title} has the learning rate of {other}."))
}

fn candidates(study: &Study, found: &Found) -> Table {
    let caption = "Validation loss by learning rate, nats a token; bold: chosen";
    let mut table = Table::of(caption, &found.methods).text("Method", |t| title(study, &t.method));
    for rate in found.rates() {
        table = table.number(&format!("{rate:e}"), move |t| {
            let text = match t.candidates.iter().find(|c| c.learning_rate == rate) {
                Some(c) if c.validation_loss.is_none() => "diverged".into(),
                _ => optional(t.loss(rate), 3),
            };
            Cell::marked_if(t.chosen == rate, Mark::Best, text)
        });
    }
    table.finish()
}

/// Methods for which a better rate may lie beyond those that were tried.
fn edges(study: &Study, found: &Found) -> Option<String> {
    let edge = found.methods.iter().filter(|t| t.at_the_edge());
    let edge: Vec<String> = edge.map(|t| title(study, &t.method)).collect();
    (!edge.is_empty()).then(|| {
        format!(
            "The best rate is the least or the greatest that was tried for {}: a better one may \
             lie beyond.",
            list(&edge)
        )
    })
}

/// The paper's steps and one's own.
fn all_steps(study: &Study) -> Vec<Step<'_>> {
    STEPS.into_iter().chain(study.own_steps()).collect()
}

/// The steps with both methods at one rate.
fn steps(study: &Study, found: &Found) -> Table {
    let caption = "The paper's steps at equal rates: validation loss of the upper method minus \
                   that of the lower";
    let mut table = Table::of(caption, all_steps(study)).text("Step", |s| words(study, s));
    for rate in found.rates() {
        table = table.number(&format!("{rate:e}"), move |s| {
            let all = found.differences(s.lower, s.upper);
            let here = all.iter().find(|d| d.0 == rate);
            here.map_or("–".into(), |d| signed(d.1, 3))
        });
    }
    let chosen = |t: Option<&Tried>| t.and_then(|t| t.loss(t.chosen));
    let best = |s: &Step<'_>| Some(chosen(found.of(s.upper))? - chosen(found.of(s.lower))?);
    table
        .number("each at its own", |s| {
            best(s).map_or("–".into(), |d| signed(d, 3))
        })
        .text("sign", |s| match found.turns(s.lower, s.upper) {
            true => "turns with the rate".to_string(),
            false => "the same at both best rates".to_string(),
        })
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{self, Document, Text};
    use crate::report::testing;
    use crate::study::paper::NO_OFFSET;

    #[test]
    fn a_rate_that_another_methods_candidates_chose_is_said() {
        let study = testing::study();
        let found = study.rates.clone().unwrap();
        let of = |method: &str| study.rows.iter().find(|r| r.method == method).unwrap();
        let mut rows = vec![of("prefix").clone(), of("inducer").clone()];
        assert_eq!(shared(&rows, &found), None);
        rows.push(Row {
            method: NO_OFFSET.into(),
            title: "Prefix, no offset".into(),
            ..of("prefix").clone()
        });
        let said = shared(&rows, &found).unwrap();
        assert_eq!(
            said,
            "Prefix, no offset has the learning rate of Prefix-tuning."
        );
    }

    #[test]
    fn chosen_diverged_and_turning_rates_are_shown() {
        let study = testing::study();
        let section = section(&study).unwrap();
        let page = document::markdown::render(&Document {
            title: String::new(),
            kind: "",
            what: String::new(),
            skip: "",
            sections: vec![section],
            foot: Text::default(),
        });
        assert!(
            page.contains("**1.650**") && page.contains("diverged"),
            "{page}"
        );
        assert!(page.contains("turns with the rate"), "{page}");
        assert!(page.contains("least or the greatest that was tried for Prefix-tuning"));
    }
}
