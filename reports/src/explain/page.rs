//! The page: the teaching page's parts around an explanation's numbers.

use super::heads::Heads;
use super::{Explanation, Kind, Side};
use crate::document::html::{escape, page};
use crate::teach::{self, text};
use anyhow::{Context, Result};
use inducer_verify::Ledger;

/// The script after [`teach::SHARED`], in order of use.
const SCRIPTS: [&str; 10] = [
    include_str!("js/numbers.js"),
    include_str!("js/head.js"),
    include_str!("js/view.js"),
    include_str!("js/tokens.js"),
    include_str!("js/map.js"),
    include_str!("js/weights.js"),
    include_str!("js/plane.js"),
    include_str!("js/output.js"),
    include_str!("js/layers.js"),
    include_str!("js/start.js"),
];

const STYLE: &str = include_str!("style.css");
const BODY: &str = include_str!("html/page.html");

/// Most characters of the text that the title has.
const TITLE: usize = 60;

/// The page of an explanation, one file without network.
///
/// # Errors
/// A claim that the page names is not in the ledger.
pub fn html(explanation: &Explanation) -> Result<String> {
    let ledger = Ledger::read().context("verify/claims.toml")?;
    // What stands in the page from here on is not looked through for formulas.
    let body = text::render(BODY, &ledger)?;
    let title = title(explanation);
    let filled = [
        ("[[title]]", escape(&title)),
        ("[[what]]", escape(&what(explanation))),
        ("[[symbol]]", symbol(&explanation.sides).into()),
        ("[[error]]", escape(&error(explanation))),
        ("[[version]]", explanation.version.into()),
    ];
    let body = filled
        .iter()
        .fold(body, |body, (mark, content)| body.replace(mark, content));
    let data = teach::data(&explanation.view(Heads::text))?;
    let (shared, own) = (teach::SHARED.concat(), SCRIPTS.concat());
    let whole = format!(
        "{body}<script type=\"application/json\" id=\"witnesses\">{data}</script>\n\
         <script>\n(() => {{\n'use strict';\n{shared}{own}}})();\n</script>\n"
    );
    Ok(page(&title, &[teach::STYLE, STYLE].concat(), &whole))
}

/// The methods and the beginning of the text: of an entry, of its target.
fn title(explanation: &Explanation) -> String {
    let names: Vec<&str> = explanation.sides.iter().map(|s| s.name.as_str()).collect();
    let first = explanation
        .target
        .from
        .filter(|from| *from > 1)
        .unwrap_or(0);
    let text = explanation.tokens[first..].iter().filter(|t| !t.special);
    let text: String = text.map(|t| t.run.as_str()).collect();
    let text = text.trim();
    let short: String = text.chars().take(TITLE).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{}: “{}{dots}”", names.join(" beside "), short.trim_end())
}

/// One sentence on what is looked at.
fn what(explanation: &Explanation) -> String {
    let side = |s: &Side| format!("{} ({})", s.name, s.method);
    let sides: Vec<String> = explanation.sides.iter().map(side).collect();
    format!(
        "{}: {} tokens through {}, {} layers of {} heads with p = {}, tuned by {}.",
        explanation.source,
        explanation.tokens.len(),
        explanation.backbone,
        explanation.layers,
        explanation.heads,
        explanation.width,
        sides.join(" and by ")
    )
}

/// λ, μ, or both, as the adapters have them.
fn symbol(sides: &[Side]) -> &'static str {
    let has = |kind| sides.iter().any(|s| s.kind == kind);
    match (has(Kind::Prefix), has(Kind::Inducer)) {
        (true, true) => "μ and λ",
        (true, false) => "μ",
        (false, true) => "λ",
        (false, false) => "the gate",
    }
}

/// What the 16 bits cost.
fn error(explanation: &Explanation) -> String {
    let errors = explanation.sides.iter().map(|s| s.heads.error());
    let worst = errors.fold(0.0, f64::max);
    format!(
        "a coordinate of a query or a key is at most {worst:.1e} from the engine’s, half a step of \
         the head with the greatest numbers"
    )
}
