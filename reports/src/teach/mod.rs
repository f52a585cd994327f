//! The teaching page: the paper's kernel view in seven interactive chapters, one file without
//! network.
//!
//! Text is in `html/`, one file a chapter, formulas as LaTeX that [`text`] turns into MathML; the
//! script is in `js/`, the formulas of all figures in `js/maths.js`. [`figures`] evaluates the same
//! formulas with `inducer-reference` at the starting state of each figure and at seeded other
//! states, with the rounding bound of each value ([`quantity`]); the page carries them, computes
//! them again when it opens, and says in a badge how far it is from the reference.
//!
//! Checked in a browser by `tests/teach.rs`, where a formula changed in the script must turn the
//! badge red.

pub mod draw;
pub mod figures;
pub mod network;
pub mod quantity;
pub mod text;

use crate::document;
use anyhow::{Context, Result};
use inducer_verify::Ledger;

/// Chapters in order: id, name in the contents, text.
#[rustfmt::skip]
const CHAPTERS: [(&str, &str, &str); 7] = [
    ("smoother", "Smoothing", include_str!("html/1-smoother.html")),
    ("attention", "Attention", include_str!("html/2-attention.html")),
    ("prefix", "Prefixes", include_str!("html/3-prefix.html")),
    ("growth", "Long inputs", include_str!("html/4-growth.html")),
    ("inducer", "Inducers", include_str!("html/5-inducer.html")),
    ("process", "Inducing variables", include_str!("html/6-process.html")),
    ("ladder", "Ablations", include_str!("html/7-ladder.html")),
];

/// What other interactive pages use of the script too, in order of use: formulas, panels, figures,
/// pictures to save, the self-check.
pub(crate) const SHARED: [&str; 6] = [
    document::RASTER,
    include_str!("js/maths.js"),
    include_str!("js/draw.js"),
    include_str!("js/figure.js"),
    include_str!("js/save.js"),
    include_str!("js/check.js"),
];

/// The rest of the script, in order of use.
const SCRIPTS: [&str; 10] = [
    include_str!("js/process.js"),
    include_str!("js/1-smoother.js"),
    include_str!("js/2-attention.js"),
    include_str!("js/3-prefix.js"),
    include_str!("js/4-growth.js"),
    include_str!("js/5-inducer.js"),
    include_str!("js/6-process.js"),
    include_str!("js/7-ladder.js"),
    include_str!("js/class.js"),
    include_str!("js/start.js"),
];

const TITLE: &str = "Attention as a kernel estimator: prefixes, inducers, ablations";
/// The style of the interactive pages.
pub(crate) const STYLE: &str = include_str!("style.css");
const HEAD: &str = include_str!("html/head.html");
const FOOT: &str = include_str!("html/foot.html");

/// The page.
///
/// # Errors
/// A formula of the text is no LaTeX, a claim it names is not in the ledger, or the reference
/// cannot evaluate a state.
pub fn page() -> Result<String> {
    let ledger = Ledger::read().context("verify/claims.toml")?;
    let (mut chapters, mut solutions) = (String::new(), String::new());
    for (i, (id, _, text)) in CHAPTERS.iter().enumerate() {
        let body = text::render(text, &ledger).with_context(|| format!("chapter {id}"))?;
        solutions += &text::solutions(&body, i + 1);
        let number = format!("<p class=\"number\">Chapter {}</p>\n<h2 ", i + 1);
        chapters += &format!(
            "<section id=\"{id}\" class=\"chapter\" aria-labelledby=\"{id}-h\">\n{}</section>\n",
            body.replacen("<h2 ", &number, 1)
        );
    }
    let data = data(&figures::all()?)?;
    let head = text::render(HEAD, &ledger)?.replace("[[contents]]", &contents());
    let foot = FOOT
        .replace("[[solutions]]", &solutions)
        .replace("[[version]]", env!("CARGO_PKG_VERSION"));
    let scripts = SHARED.concat() + &SCRIPTS.concat();
    let body = format!(
        r#"{head}<main id="main" tabindex="-1">
{chapters}</main>
{foot}<script type="application/json" id="witnesses">{data}</script>
<script>
(() => {{
'use strict';
{scripts}}})();
</script>
"#
    );
    Ok(document::html::page(TITLE, STYLE, &body))
}

/// The contents' links.
fn contents() -> String {
    let link =
        |(id, name, _): &(&str, &str, &str)| format!("<li><a href=\"#{id}\">{name}</a></li>");
    CHAPTERS.iter().map(link).collect()
}

/// Data as JSON that may stand inside a script element, whatever texts are in it.
///
/// # Errors
/// A value that JSON cannot hold.
pub(crate) fn data(of: &impl serde::Serialize) -> Result<String> {
    Ok(serde_json::to_string(of)?.replace('<', "\\u003c"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_claim_that_the_page_names_is_in_the_ledger_and_every_chapter_names_one() {
        let page = page().unwrap();
        let ledger = Ledger::read().unwrap();
        let named = page.split("data-claim=\"").skip(1);
        let ids: Vec<&str> = named.filter_map(|rest| rest.split('"').next()).collect();
        assert!(ids.len() >= CHAPTERS.len(), "{ids:?}");
        for id in &ids {
            assert!(ledger.claim.iter().any(|row| row.id == *id), "{id}");
        }
        for chapter in page.split("<section id=").skip(1) {
            assert!(chapter.contains("data-claim="), "{chapter:.60}");
        }
    }

    #[test]
    fn the_page_asks_for_nothing() {
        let page = page().unwrap();
        for word in [
            "src=\"http",
            "<link rel=\"stylesheet",
            "@import",
            "url(",
            "fetch(",
            "import(",
        ] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn every_state_of_every_figure_has_finite_values_and_bounds_far_below_them() {
        for figure in figures::all().unwrap() {
            let states = figure["states"].as_array().unwrap();
            assert_eq!(states.len() as u64, 1 + figures::OTHER_STATES);
            for state in states {
                for (name, witness) in state["expected"].as_object().unwrap() {
                    let numbers = |key: &str| -> Vec<f64> {
                        let all = witness[key].as_array().unwrap().iter();
                        all.map(|x| x.as_f64().unwrap()).collect()
                    };
                    let (value, bound) = (numbers("value"), numbers("bound"));
                    assert_eq!(value.len(), bound.len(), "{name}");
                    let scale = value.iter().fold(0.1_f64, |s, x| s.max(x.abs()));
                    for (x, b) in value.iter().zip(bound) {
                        assert!(x.is_finite() && b >= 0.0, "{} {name}", figure["name"]);
                        // A change of a formula moves a value by far more than this.
                        assert!(b < 1e-6 * scale, "{} {name}: {b:e}", figure["name"]);
                    }
                }
            }
        }
    }
}
