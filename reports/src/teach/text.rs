//! The chapters' text: formulas written as LaTeX between dollar signs become MathML, names of
//! claims become their statements.

use crate::document::html::escape;
use anyhow::{Context, Result, anyhow, ensure};
use inducer_verify::Ledger;
use inducer_verify::ledger::{Kind, Row};
use pulldown_latex::config::DisplayMode;
use pulldown_latex::{Parser, RenderConfig, Storage, push_mathml};

/// A chapter's text as HTML.
///
/// # Errors
/// A formula that is no LaTeX, an odd number of dollar signs, a claim that is not in the ledger.
pub fn render(text: &str, ledger: &Ledger) -> Result<String> {
    claims(&formulas(text)?, ledger)
}

/// `$…$` and `$$…$$` to MathML.
fn formulas(text: &str) -> Result<String> {
    let mut out = String::with_capacity(2 * text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        out.push_str(&rest[..start]);
        let fence = if rest[start..].starts_with("$$") {
            "$$"
        } else {
            "$"
        };
        let after = &rest[start + fence.len()..];
        let end = after
            .find(fence)
            .ok_or_else(|| anyhow!("a formula does not end: {after:.40}"))?;
        out.push_str(&mathml(&after[..end], fence == "$$")?);
        rest = &after[end + fence.len()..];
    }
    out.push_str(rest);
    Ok(out)
}

/// One formula.
fn mathml(latex: &str, block: bool) -> Result<String> {
    let storage = Storage::new();
    let mode = if block {
        DisplayMode::Block
    } else {
        DisplayMode::Inline
    };
    let config = RenderConfig {
        display_mode: mode,
        ..RenderConfig::default()
    };
    let parser = Parser::new(latex, &storage);
    let mut out = String::new();
    push_mathml(&mut out, parser, config).with_context(|| format!("formula `{latex}`"))?;
    // The renderer marks what it could not read instead of failing.
    ensure!(!out.contains("<merror"), "formula `{latex}`: {out}");
    // \mu comes as the micro sign, which no font sets in italics like the Greek letter.
    Ok(out.replace('\u{b5}', "\u{3bc}"))
}

/// `[[claims a b]]` to a list of the claims' statements.
fn claims(text: &str, ledger: &Ledger) -> Result<String> {
    const MARK: &str = "[[claims ";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(MARK) {
        out.push_str(&rest[..start]);
        let after = &rest[start + MARK.len()..];
        let end = after.find("]]").context("a list of claims does not end")?;
        let rows = after[..end].split_whitespace().map(|id| row(ledger, id));
        let items = rows.collect::<Result<Vec<_>>>()?.into_iter().map(item);
        out.push_str(&format!(
            "<details class=\"claims\"><summary>Why this is so: claims of the \
             ledger</summary><ul>{}</ul><p><code>inducer verify --claim NAME</code> checks what \
             can be proved, each with a control that must fail.</p></details>",
            items.collect::<String>()
        ));
        rest = &after[end + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

fn row<'a>(ledger: &'a Ledger, id: &str) -> Result<&'a Row> {
    let found = ledger.claim.iter().find(|row| row.id == id);
    found.with_context(|| format!("claim `{id}` is not in verify/claims.toml"))
}

/// A claim in words; one that no formula can prove says so.
fn item(row: &Row) -> String {
    let open = if row.kind() == Kind::Empirical {
        "; not a matter of formulas: the report measures it"
    } else {
        ""
    };
    format!(
        "<li data-claim=\"{}\"><code>{}</code> {} <span class=\"place\">{}{open}</span></li>",
        escape(&row.id),
        escape(&row.id),
        escape(&row.statement),
        escape(&row.citation)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_become_mathml_and_a_bad_formula_is_an_error() {
        let text = formulas("the gate $\\lambda$ of $$a+b$$ end").unwrap();
        assert!(text.starts_with("the gate <math"), "{text}");
        assert!(
            text.contains("display=\"block\"") && text.ends_with(" end"),
            "{text}"
        );
        assert!(formulas("an open $ formula").is_err());
        assert!(formulas("$\\frac{1}$").is_err());
    }

    #[test]
    fn a_claim_is_quoted_from_the_ledger_and_an_unknown_one_is_an_error() {
        let ledger = Ledger::read().unwrap();
        let text = claims("a [[claims nw-hull eq07-eq08]] b", &ledger).unwrap();
        assert!(
            text.contains("data-claim=\"nw-hull\"") && text.contains("Every output coordinate")
        );
        assert!(claims("[[claims no-such-claim]]", &ledger).is_err());
        let measured = claims("[[claims near-inducers]]", &ledger).unwrap();
        assert!(measured.contains("the report measures it") && !text.contains("measures it"));
    }
}
