//! A document as Markdown: the same sentences and tables as [`super::html`]; of a figure the table.

use super::table::{Cell, Kind, Mark, Table};
use super::{Block, Document, ListStyle, Role, Section, Span, Text};

/// The file of a document.
pub fn render(document: &Document) -> String {
    let head = [
        heading(1, &document.title),
        paragraph(&escape(&document.what)),
    ];
    let sections = document.sections.iter().map(section);
    let foot = format!("---\n\n{}\n", text(&document.foot));
    head.into_iter().chain(sections).chain([foot]).collect()
}

/// Text as it may stand in Markdown, in table cells too.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '|' | '[' | ']' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

fn heading(level: usize, text: &str) -> String {
    format!("{} {}\n\n", "#".repeat(level), escape(text))
}

/// A paragraph of text that is Markdown already.
fn paragraph(text: &str) -> String {
    format!("{text}\n\n")
}

fn section(section: &Section) -> String {
    heading(2, section.heading) + &blocks(&section.blocks)
}

fn blocks(blocks: &[Block]) -> String {
    blocks.iter().map(block).collect()
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(level, text) => heading(*level, text),
        Block::Paragraph(Role::Lead, content) => paragraph(&format!("**{}**", text(content))),
        Block::Paragraph(_, content) => paragraph(&text(content)),
        Block::List(style, items) => list(*style, items),
        Block::Definitions(names, entries) => {
            let rows = entries
                .iter()
                .map(|(name, content)| [escape(name), text(content)]);
            paragraph(&grid(&names.map(|name| (name.into(), Kind::Text)), rows))
        }
        Block::Code(lines) => paragraph(&format!("```sh\n{}\n```", lines.replace("```", ""))),
        Block::Table(content) => table(content),
        Block::Figure(figure) if figure.meaning.is_empty() => table(&figure.table),
        Block::Figure(figure) => paragraph(&escape(figure.meaning)) + &table(&figure.table),
        Block::Details {
            summary, blocks: b, ..
        } => heading(3, summary) + &blocks(b),
        Block::Group(_, content) => blocks(content),
    }
}

fn text(text: &Text) -> String {
    text.0.iter().map(span).collect()
}

fn span(span: &Span) -> String {
    match span {
        Span::Plain(content) => escape(content),
        Span::Bold(content) | Span::Marked(content) => format!("**{}**", escape(content)),
        Span::Emphasis(content) | Span::Title(content) => format!("*{}*", escape(content)),
        Span::Code(content) => format!("`{content}`"),
        Span::Link(content, file) => format!("[{}]({file})", escape(content)),
    }
}

fn list(style: ListStyle, items: &[Text]) -> String {
    let item = |(i, item): (usize, &Text)| match style {
        ListStyle::Steps | ListStyle::Numbered => format!("{}. {}\n", i + 1, text(item)),
        ListStyle::Triples => format!("- {}\n", text(item)),
    };
    items.iter().enumerate().map(item).collect::<String>() + "\n"
}

/// A table, its caption in bold above.
pub fn table(table: &Table) -> String {
    let columns: Vec<(String, Kind)> = table
        .columns
        .iter()
        .map(|c| (escape(format!("{} {}", c.group, c.title).trim()), c.kind))
        .collect();
    let rows = table.rows.iter().map(|row| row.iter().map(cell));
    paragraph(&format!("**{}**", escape(&table.caption))) + &paragraph(&grid(&columns, rows))
}

/// A head, the alignment of the columns, and rows.
fn grid<R: IntoIterator<Item = String>>(
    columns: &[(String, Kind)],
    rows: impl Iterator<Item = R>,
) -> String {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let align = |(_, kind): &(String, Kind)| match kind {
        Kind::Number => "---:".into(),
        Kind::Text | Kind::Sentence => "---".into(),
    };
    let head = [
        line(columns.iter().map(|c| c.0.clone()).collect()),
        line(columns.iter().map(align).collect()),
    ];
    let rows = rows.map(|row| line(row.into_iter().collect()));
    head.into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

fn cell(cell: &Cell) -> String {
    let text = escape(&cell.text);
    match cell.mark {
        Mark::Best | Mark::Strong => format!("**{text}**"),
        Mark::None | Mark::Link => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("a|b\n*c* <x>"), "a\\|b \\*c\\* &lt;x&gt;");
    }
}
