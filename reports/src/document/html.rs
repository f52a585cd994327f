//! A document as one HTML file: no font, no request; readable on a phone, on paper, and by ear. Its
//! only script adds the buttons that save figures as PNG, and nothing else needs one.

use super::export::{csv, latex, slug};
use super::picture::{ground, standalone};
use super::table::{Cell, Column, Kind, Mark, Table};
use super::{
    Block, Document, Figure, Layout, ListStyle, RASTER, Role, STYLE, Section, Span, Text, palette,
};

/// The buttons that save figures as PNG.
const SAVE: &str = include_str!("js/save.js");

/// The page of a document.
pub fn render(document: &Document) -> String {
    let mut writer = Writer::default();
    let sections = document.sections.iter().map(|s| writer.section(s));
    let sections: String = sections.collect();
    let links: String = document.sections.iter().filter_map(contents_link).collect();
    let body = format!(
        r##"<a class="skip" href="#main">{skip}</a>
<header>
<p class="kind">{kind}</p>
<h1>{title}</h1>
<p class="what">{what}</p>
<nav aria-label="Contents"><ul>{links}</ul></nav>
</header>
<main id="main" tabindex="-1">
{sections}</main>
<footer><p>{foot}</p></footer>
{script}"##,
        skip = escape(document.skip),
        kind = escape(document.kind),
        title = escape(&document.title),
        what = escape(&document.what),
        foot = text(&document.foot),
        script = if writer.figures > 0 {
            script()
        } else {
            String::new()
        },
    );
    page(&document.title, STYLE, &body)
}

/// The script of a page with figures, whose pictures are in the light scheme's colours.
fn script() -> String {
    format!(
        "<script data-ground=\"{}\">\n(() => {{\n'use strict';\n{RASTER}{SAVE}}})();\n</script>\n",
        ground()
    )
}

/// A whole file: the head with the colours and a style, and a body.
pub fn page(title: &str, style: &str, body: &str) -> String {
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{}</title>
<link rel="icon" href="data:,">
<style>
{}{style}</style>
</head>
<body>
{body}</body>
</html>
"#,
        escape(title),
        palette::css()
    )
}

/// Text as it may stand in HTML, in attributes too; a number stays with its per-cent sign and its
/// ±.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let unbroken = text
        .replace(" %", "\u{a0}%")
        .replace(" ± ", "\u{a0}±\u{a0}");
    for c in unbroken.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn contents_link(section: &Section) -> Option<String> {
    let (id, name) = (section.id, section.name?);
    Some(format!("<li><a href=\"#{id}\">{}</a></li>", escape(name)))
}

/// Writes blocks and numbers the figures.
#[derive(Default)]
struct Writer {
    figures: usize,
}

impl Writer {
    fn section(&mut self, section: &Section) -> String {
        format!(
            "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{}</h2>\n\
             {}</section>\n",
            escape(section.heading),
            self.blocks(&section.blocks),
            id = section.id,
        )
    }

    fn blocks(&mut self, blocks: &[Block]) -> String {
        blocks.iter().map(|block| self.block(block)).collect()
    }

    fn block(&mut self, block: &Block) -> String {
        match block {
            Block::Heading(level, heading) => element(&format!("h{level}"), "", &escape(heading)),
            Block::Paragraph(role, content) => {
                let class = match role {
                    Role::Lead => "lead",
                    Role::Body => "",
                    Role::Note => "note",
                };
                element("p", class, &text(content))
            }
            Block::List(style, items) => list(*style, items),
            Block::Definitions(_, entries) => definitions(entries),
            Block::Code(lines) => format!(
                "<pre tabindex=\"0\" role=\"group\" aria-label=\"Code\"><code>{}</code></pre>\n",
                escape(lines)
            ),
            Block::Table(content) => table(content) + &links(content),
            Block::Figure(content) => self.figure(content),
            Block::Details {
                id,
                summary,
                blocks,
            } => {
                let mut body = self.blocks(blocks);
                if !id.is_empty() {
                    // a link opens what its target lies in, so the id stands inside
                    body = format!("<div id=\"{}\">\n{body}</div>", escape(id));
                }
                folded(summary, &body)
            }
            Block::Group(layout, blocks) => {
                let (tag, class) = match layout {
                    Layout::Sample => ("article", "sample"),
                    Layout::Columns => ("div", "given"),
                    Layout::Column => ("div", ""),
                };
                element(tag, class, &self.blocks(blocks))
            }
        }
    }

    /// A figure with its number, and the table behind it.
    fn figure(&mut self, figure: &Figure) -> String {
        self.figures += 1;
        let number = self.figures;
        let parts = [figure.meaning, &figure.signs].into_iter();
        let key: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        format!(
            "<figure>\n{}<figcaption><b>Figure {number}. {}.</b> {}</figcaption>\n{}</figure>\n{}",
            figure.picture,
            escape(figure.title),
            escape(&key.join(" ")),
            picture_links(figure),
            folded(
                &format!("Figure {number} as a table"),
                &(table(&figure.table) + &links(&figure.table))
            )
        )
    }
}

fn folded(summary: &str, body: &str) -> String {
    let summary = escape(summary);
    format!("<details><summary>{summary}</summary>\n{body}</details>\n")
}

fn text(text: &Text) -> String {
    text.0.iter().map(span).collect()
}

fn span(span: &Span) -> String {
    let (tag, content) = match span {
        Span::Plain(content) => return escape(content),
        Span::Bold(content) => ("b", content),
        Span::Emphasis(content) => ("em", content),
        Span::Marked(content) => ("mark", content),
        Span::Code(content) => ("code", content),
        Span::Title(content) => ("cite", content),
        Span::Link(content, file) => {
            return format!("<a href=\"{}\">{}</a>", escape(file), escape(content));
        }
    };
    format!("<{tag}>{}</{tag}>", escape(content))
}

fn list(style: ListStyle, items: &[Text]) -> String {
    let (tag, class) = match style {
        ListStyle::Steps => ("ol", "steps"),
        ListStyle::Numbered => ("ol", ""),
        ListStyle::Triples => ("ul", "triples"),
    };
    let items = items.iter().map(|item| element("li", "", &text(item)));
    element(tag, class, &items.collect::<String>())
}

fn definitions(entries: &[(String, Text)]) -> String {
    let entry = |(name, content): &(String, Text)| {
        element("dt", "", &escape(name)) + &element("dd", "", &text(content))
    };
    element("dl", "", &entries.iter().map(entry).collect::<String>())
}

/// An element on a line of its own.
fn element(tag: &str, class: &str, content: &str) -> String {
    match class {
        "" => format!("<{tag}>{content}</{tag}>\n"),
        _ => format!("<{tag} class=\"{class}\">{content}</{tag}>\n"),
    }
}

/// A table in a group (not a landmark: a report has dozens) that scrolls by itself when the page is
/// narrow.
pub fn table(table: &Table) -> String {
    let row = |row: &Vec<Cell>| {
        let cells = row.iter().zip(&table.columns).enumerate();
        let cells: String = cells
            .map(|(i, (c, column))| cell(c, column, i == 0))
            .collect();
        format!("<tr>{cells}</tr>\n")
    };
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{caption}\"><table>\
         <caption>{caption}</caption>\n<thead>{}</thead>\n<tbody>\n{}</tbody></table></div>\n",
        table_head(&table.columns),
        table.rows.iter().map(row).collect::<String>(),
        caption = escape(&table.caption),
    )
}

/// Links that save a table: the files themselves stand in the addresses, so no script is needed.
fn links(table: &Table) -> String {
    if table.rows.is_empty() {
        return String::new();
    }
    let name = slug(&table.caption);
    let link = |(kind, title, text): (&str, &str, String)| {
        format!(
            "<a download=\"{name}.{kind}\" aria-label=\"{title}: {}\" \
             href=\"data:text/plain;charset=utf-8,{}\">{title}</a>",
            escape(&table.caption),
            percent(&text)
        )
    };
    let files = [("csv", "CSV", csv(table)), ("tex", "LaTeX", latex(table))];
    let links: Vec<String> = files.into_iter().map(link).collect();
    format!("<p class=\"save\">{}</p>\n", links.join(" · "))
}

/// Links that save a figure's pictures as SVG, in the light scheme's colours.
fn picture_links(figure: &Figure) -> String {
    let pictures = standalone(&figure.picture);
    let name = slug(figure.title);
    let link = |(i, picture): (usize, &String)| {
        let (own, title) = match pictures.len() {
            1 => (String::new(), "SVG".to_string()),
            _ => (format!("-{}", i + 1), format!("SVG {}", i + 1)),
        };
        format!(
            "<a download=\"{name}{own}.svg\" aria-label=\"{title}: {}\" \
             href=\"data:image/svg+xml;charset=utf-8,{}\">{title}</a>",
            escape(figure.title),
            percent(picture)
        )
    };
    let links: Vec<String> = pictures.iter().enumerate().map(link).collect();
    match links.is_empty() {
        true => String::new(),
        false => format!("<p class=\"save\">{}</p>\n", links.join(" · ")),
    }
}

/// A text as part of an address.
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() {
            true => out.push(char::from(byte)),
            false => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// One header row, or two when columns have groups.
fn table_head(columns: &[Column]) -> String {
    let th = |c: &Column, rows: usize| {
        let (class, title) = (class(c), escape(&c.title));
        format!("<th scope=\"col\" rowspan=\"{rows}\"{class}>{title}</th>")
    };
    if columns.iter().all(|c| c.group.is_empty()) {
        let cells: String = columns.iter().map(|c| th(c, 1)).collect();
        return format!("<tr>{cells}</tr>");
    }
    let (mut first, mut second) = (String::new(), String::new());
    for run in columns.chunk_by(|a, b| a.group == b.group) {
        if run[0].group.is_empty() {
            first.extend(run.iter().map(|c| th(c, 2)));
        } else {
            let (span, group) = (run.len(), escape(run[0].group));
            first += &format!("<th scope=\"colgroup\" colspan=\"{span}\" class=\"g\">{group}</th>");
            second.extend(run.iter().map(|c| th(c, 1)));
        }
    }
    format!("<tr>{first}</tr><tr>{second}</tr>")
}

fn class(column: &Column) -> &'static str {
    match column.kind {
        Kind::Number => "",
        Kind::Text => " class=\"w\"",
        Kind::Sentence => " class=\"w says\"",
    }
}

fn cell(cell: &Cell, column: &Column, first: bool) -> String {
    let text = escape(&cell.text);
    let text = match cell.mark {
        Mark::None => text,
        Mark::Best => format!("<strong>{text}<span class=\"sr\"> (best)</span></strong>"),
        Mark::Strong => format!("<strong>{text}</strong>"),
        Mark::Link => format!("<a href=\"#{text}\">{text}</a>"),
    };
    let class = class(column);
    if first {
        format!("<th scope=\"row\"{class}>{text}</th>")
    } else {
        format!("<td{class}>{text}</td>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_a_number_stays_with_its_sign() {
        let escaped = "&lt;b a=&quot;1&quot;&gt;&amp;&#39;";
        assert_eq!(escape(r#"<b a="1">&'"#), escaped);
        assert_eq!(escape("95 % of 1 ± 2"), "95\u{a0}% of 1\u{a0}±\u{a0}2");
    }

    #[test]
    fn figures_are_numbered_in_order_also_where_they_are_folded_away() {
        let figure = || {
            Block::Figure(Figure {
                title: "Title",
                meaning: "Meaning.",
                signs: String::new(),
                picture: "<svg></svg>".into(),
                table: Table::default(),
            })
        };
        let folded = Block::details("folded", vec![figure()]);
        let page = Writer::default().blocks(&[figure(), folded, figure()]);
        for number in 1..=3 {
            let caption = format!("<b>Figure {number}. Title.</b> Meaning.</figcaption>");
            assert_eq!(page.matches(&caption).count(), 1, "{page}");
        }
    }

    #[test]
    fn a_link_holds_the_whole_file() {
        let table = Table::of("A & b", [("x", "1")])
            .text("Name", |r| r.0)
            .number("N", |r| r.1)
            .finish();
        let html = links(&table);
        assert!(
            html.contains("download=\"a-b.csv\"") && html.contains("A &amp; b"),
            "{html}"
        );
        assert!(html.contains("Name%2CN%0Ax%2C1%0A"), "{html}");
        assert_eq!(links(&Table::default()), "");
    }
}
