//! A table as CSV and as LaTeX with booktabs, and the name of its file.

use super::table::{Cell, Column, Kind, Mark, Table};
use crate::csv::text;

/// The first words of a caption as the name of a file.
pub fn slug(caption: &str) -> String {
    let lower = caption.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|w| !w.is_empty()).take(6).collect();
    words.join("-")
}

/// A table as CSV: its column headings, with what they share in front, and its cells as shown, but
/// for a number's minus sign, which is a hyphen.
pub fn csv(table: &Table) -> String {
    let heading = |c: &Column| match c.group {
        "" => c.title.clone(),
        group => format!("{group} {}", c.title).trim().to_string(),
    };
    let cell = |(cell, column): (&Cell, &Column)| match column.kind {
        Kind::Number => cell.text.replace('−', "-"),
        Kind::Text | Kind::Sentence => cell.text.clone(),
    };
    let rows = table.rows.iter();
    let rows = rows.map(|row| row.iter().zip(&table.columns).map(cell).collect());
    text(table.columns.iter().map(heading).collect(), rows)
}

/// A table as a LaTeX float; it needs the package booktabs.
pub fn latex(table: &Table) -> String {
    let align = |c: &Column| match c.kind {
        Kind::Number => "r".into(),
        Kind::Text => "l".into(),
        Kind::Sentence => "p{0.5\\linewidth}".to_string(),
    };
    let columns: String = table.columns.iter().map(align).collect();
    let mut out = format!(
        "% needs \\usepackage{{booktabs}}\n\\begin{{table}}\n\\centering\n\\caption{{{}}}\n\
         \\begin{{tabular}}{{{columns}}}\n\\toprule\n{}",
        escaped(&table.caption),
        groups(&table.columns)
    );
    let titles = table.columns.iter().map(|c| escaped(&c.title));
    out += &row(titles);
    out += "\\midrule\n";
    for cells in &table.rows {
        out += &row(cells.iter().map(|cell| match cell.mark {
            Mark::Best | Mark::Strong => format!("\\textbf{{{}}}", escaped(&cell.text)),
            Mark::None | Mark::Link => escaped(&cell.text),
        }));
    }
    out + "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
}

fn row(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(" & ") + " \\\\\n"
}

/// The line above the headings that names what neighbours share, and the rules below it.
fn groups(columns: &[Column]) -> String {
    if columns.iter().all(|c| c.group.is_empty()) {
        return String::new();
    }
    let (mut cells, mut rules, mut at) = (Vec::new(), String::new(), 1);
    for same in columns.chunk_by(|a, b| a.group == b.group) {
        let (group, n) = (same[0].group, same.len());
        if group.is_empty() {
            cells.extend(std::iter::repeat_n(String::new(), n));
        } else {
            cells.push(format!("\\multicolumn{{{n}}}{{c}}{{{}}}", escaped(group)));
            rules += &format!("\\cmidrule(lr){{{at}-{}}}", at + n - 1);
        }
        at += n;
    }
    format!("{}{rules}\n", row(cells.into_iter()))
}

/// A text in LaTeX's alphabet of pdflatex.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(c);
            }
            '\\' => out += "\\textbackslash{}",
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            '±' => out += "$\\pm$",
            '−' => out += "$-$",
            '×' => out += "$\\times$",
            '†' => out += "$^\\dagger$",
            '*' => out += "$^\\ast$",
            '↓' => out += "$\\downarrow$",
            '↑' => out += "$\\uparrow$",
            '→' => out += "$\\rightarrow$",
            '≥' => out += "$\\geq$",
            '≤' => out += "$\\leq$",
            'λ' => out += "$\\lambda$",
            'μ' => out += "$\\mu$",
            'Δ' => out += "$\\Delta$",
            '³' => out += "$^3$",
            '²' => out += "$^2$",
            '₀'..='₉' => out += &format!("$_{}$", c as u32 - '₀' as u32),
            '–' => out += "--",
            '\u{a0}' | '\u{202f}' => out.push('~'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_has_groups_in_its_headings_quotes_and_a_hyphen_for_a_minus() {
        let table = Table::of("Caption", ["x", "a−b,\"c\""])
            .text("Method", |m| m.to_string())
            .under("BLEU", "all", |_| "−45.7 ± 0.3")
            .finish();
        assert_eq!(
            csv(&table),
            "Method,BLEU all\nx,-45.7 ± 0.3\n\"a−b,\"\"c\"\"\",-45.7 ± 0.3\n"
        );
    }

    #[test]
    fn latex_has_rules_groups_and_no_special_character_left() {
        let table = Table::of("Per cent", [("a_b", "1 ± 2")])
            .text("Name", |r| r.0)
            .under("BLEU", "all", |r| r.1)
            .finish();
        let text = latex(&table);
        for part in [
            "\\toprule\n & \\multicolumn{1}{c}{BLEU} \\\\\n\\cmidrule(lr){2-2}\n",
            "Name & all \\\\\n\\midrule\na\\_b & 1 $\\pm$ 2 \\\\\n\\bottomrule",
            "\\begin{tabular}{lr}",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
