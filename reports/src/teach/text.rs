//! The chapters' text: formulas written as LaTeX between dollar signs become MathML, names of
//! claims become their statements, each with the text of its proofs.

use crate::document::html::escape;
use anyhow::{Context, Result, ensure};
use inducer_verify::Ledger;
use inducer_verify::ledger::{Kind, Row};
use inducer_verify::proofs::{self, Index};
use pulldown_latex::config::DisplayMode;
use pulldown_latex::{Parser, RenderConfig, Storage, push_mathml};

/// A chapter's text as HTML.
///
/// # Errors
/// A formula that is no LaTeX, an odd number of dollar signs, a claim that is not in the ledger.
pub fn render(text: &str, ledger: &Ledger) -> Result<String> {
    Ok(answers(&claims(&formulas(text)?, ledger)?))
}

/// Folds the answer of every exercise, `<li>Do this. <span>Answer</span></li>`, away.
fn answers(text: &str) -> String {
    let Some((before, list)) = text.split_once("<ol class=\"try\">") else {
        return text.into();
    };
    let (list, after) = list.split_once("</ol>").unwrap_or((list, ""));
    let folded = list
        .replace(
            "<span>",
            "<details class=\"answer\"><summary>Answer</summary><span>",
        )
        .replace("</span></li>", "</span></details></li>");
    format!("{before}<ol class=\"try\">{folded}</ol>{after}")
}

/// The answers of a chapter, rendered by [`render`], as a numbered list.
pub fn solutions(chapter: &str, number: usize) -> String {
    let answers = chapter.split("<summary>Answer</summary><span>").skip(1);
    let items = answers.filter_map(|rest| rest.split_once("</span></details>"));
    let items: String = items.map(|(text, _)| format!("<li>{text}</li>")).collect();
    match items.is_empty() {
        true => String::new(),
        false => format!("<h3>Chapter {number}</h3><ol>{items}</ol>"),
    }
}

/// A text with every stretch between two marks replaced by what `with` makes of it.
fn replaced(
    text: &str,
    [open, close]: [&str; 2],
    with: impl Fn(&str) -> Result<String>,
) -> Result<String> {
    let mut out = String::with_capacity(2 * text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open) {
        let (inside, behind) = after
            .split_once(close)
            .with_context(|| format!("`{open}` does not end: {after:.40}"))?;
        out += before;
        out += &with(inside)?;
        rest = behind;
    }
    Ok(out + rest)
}

/// `$…$` and `$$…$$` to MathML.
fn formulas(text: &str) -> Result<String> {
    let blocks = replaced(text, ["$$", "$$"], |latex| mathml(latex, true))?;
    replaced(&blocks, ["$", "$"], |latex| mathml(latex, false))
}

/// One formula.
fn mathml(latex: &str, block: bool) -> Result<String> {
    let storage = Storage::new();
    let config = RenderConfig {
        display_mode: if block {
            DisplayMode::Block
        } else {
            DisplayMode::Inline
        },
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
    replaced(text, ["[[claims ", "]]"], |ids| {
        let rows = ids.split_whitespace().map(|id| row(ledger, id));
        let items = rows.collect::<Result<Vec<_>>>()?.into_iter().map(item);
        Ok(format!(
            "<details class=\"claims\"><summary>Why this is so: claims of the \
             ledger</summary><ul>{}</ul><p><code>inducer verify --claim NAME</code> checks what \
             can be proved, each with a control that must fail.</p></details>",
            items.collect::<String>()
        ))
    })
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
        "<li data-claim=\"{}\"><code>{}</code> {} <span class=\"place\">{}{open}</span>{}</li>",
        escape(&row.id),
        escape(&row.id),
        escape(&row.statement),
        escape(&row.citation),
        proof(&row.id)
    )
}

/// The text of every theorem that proves a claim, folded away; nothing where there is none.
fn proof(claim: &str) -> String {
    let index = Index::read().ok();
    let theorems = index.iter().flat_map(|index| index.theorems(claim));
    let texts = theorems.filter_map(|theorem| {
        let text = proofs::text(&theorem.file, &theorem.name)?;
        Some(format!(
            "<details class=\"proof\"><summary>Proved for all inputs: <code>{name}</code>\
             </summary><pre tabindex=\"0\" role=\"group\" aria-label=\"{name}\"><code>{}</code>\
             </pre></details>",
            escape(text),
            name = escape(&theorem.name),
        ))
    });
    texts.collect()
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
    fn answers_are_folded_and_stand_together_as_solutions() {
        let text = "<p>a</p><ol class=\"try\"><li>Do. <span>It moves.</span></li></ol><p>b</p>";
        let folded = answers(text);
        assert!(folded.contains("<li>Do. <details class=\"answer\"><summary>"));
        assert!(
            folded.ends_with("</span></details></li></ol><p>b</p>"),
            "{folded}"
        );
        let all = solutions(&folded, 2);
        assert_eq!(all, "<h3>Chapter 2</h3><ol><li>It moves.</li></ol>");
        assert_eq!(solutions("<p>none</p>", 1), "");
    }

    #[test]
    fn a_claim_is_quoted_from_the_ledger_and_an_unknown_one_is_an_error() {
        let ledger = Ledger::read().unwrap();
        let text = claims("a [[claims nw-hull eq07-eq08]] b", &ledger).unwrap();
        assert!(
            text.contains("data-claim=\"nw-hull\"") && text.contains("Every output coordinate")
        );
        assert!(text.contains("Theorem eq07_eq08") && text.contains("Proved for all inputs"));
        assert!(claims("[[claims no-such-claim]]", &ledger).is_err());
        let measured = claims("[[claims near-inducers]]", &ledger).unwrap();
        assert!(measured.contains("the report measures it") && !text.contains("measures it"));
    }
}
