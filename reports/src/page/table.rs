//! A table as data, and as HTML or Markdown. The first column names the row.

use super::words;

/// A column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    /// What it shares with its neighbours: `BLEU`.
    pub group: &'static str,
    /// Its name.
    pub title: String,
    /// Whether it holds words, which are set ragged right and may wrap.
    pub words: bool,
}

impl Column {
    /// A column of numbers.
    pub fn number(title: &str) -> Self {
        Self {
            title: title.into(),
            ..Self::default()
        }
    }

    /// A column of words.
    pub fn words(title: &str) -> Self {
        Self {
            words: true,
            ..Self::number(title)
        }
    }

    /// The same in a group.
    pub fn under(self, group: &'static str) -> Self {
        Self { group, ..self }
    }
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// The best of its column.
    pub best: bool,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            best: false,
        }
    }
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows of as many cells.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(caption: &str, columns: Vec<Column>) -> Self {
        Self {
            caption: caption.into(),
            columns,
            rows: Vec::new(),
        }
    }

    /// Two columns of words: a name and what belongs to it.
    pub fn pairs(caption: &str, names: [&str; 2], rows: Vec<(String, String)>) -> Self {
        let mut table = Self::new(caption, names.map(Column::words).to_vec());
        for (name, value) in rows {
            table.rows.push(vec![name.into(), value.into()]);
        }
        table
    }

    /// HTML, in a group (not a landmark: a report has dozens) that scrolls by itself when the page
    /// is narrow.
    pub fn html(&self) -> String {
        let caption = words::html(&self.caption);
        let mut out = format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" \
             aria-label=\"{caption}\"><table><caption>{caption}</caption>\n<thead>"
        );
        out.push_str(&self.html_head());
        out.push_str("</thead>\n<tbody>\n");
        for row in &self.rows {
            out.push_str("<tr>");
            for (i, (cell, column)) in row.iter().zip(&self.columns).enumerate() {
                out.push_str(&html_cell(cell, column, i == 0));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>\n");
        out
    }

    /// One header row, or two when columns have groups.
    fn html_head(&self) -> String {
        let th = |c: &Column, rows: usize| {
            let class = if c.words { " class=\"w\"" } else { "" };
            format!(
                "<th scope=\"col\" rowspan=\"{rows}\"{class}>{}</th>",
                words::html(&c.title)
            )
        };
        if self.columns.iter().all(|c| c.group.is_empty()) {
            let cells: String = self.columns.iter().map(|c| th(c, 1)).collect();
            return format!("<tr>{cells}</tr>");
        }
        let (mut first, mut second) = (String::new(), String::new());
        for run in self.columns.chunk_by(|a, b| a.group == b.group) {
            if run[0].group.is_empty() {
                first.extend(run.iter().map(|c| th(c, 2)));
            } else {
                let (span, group) = (run.len(), words::html(run[0].group));
                first +=
                    &format!("<th scope=\"colgroup\" colspan=\"{span}\" class=\"g\">{group}</th>");
                second.extend(run.iter().map(|c| th(c, 1)));
            }
        }
        format!("<tr>{first}</tr><tr>{second}</tr>")
    }

    /// Markdown, the caption in bold above.
    pub fn markdown(&self) -> String {
        let mut out = format!("**{}**\n\n|", words::markdown(&self.caption));
        for c in &self.columns {
            let title = format!("{} {}", c.group, c.title);
            out += &format!(" {} |", words::markdown(title.trim()));
        }
        out += "\n|";
        for c in &self.columns {
            out += if c.words { " --- |" } else { " ---: |" };
        }
        for row in &self.rows {
            out += "\n|";
            for cell in row {
                let text = words::markdown(&cell.text);
                out += &if cell.best {
                    format!(" **{text}** |")
                } else {
                    format!(" {text} |")
                };
            }
        }
        out += "\n\n";
        out
    }
}

fn html_cell(cell: &Cell, column: &Column, first: bool) -> String {
    let text = words::html(&cell.text);
    let text = if cell.best {
        format!("<strong>{text}<span class=\"sr\"> (best)</span></strong>")
    } else {
        text
    };
    let class = if column.words { " class=\"w\"" } else { "" };
    if first {
        format!("<th scope=\"row\"{class}>{text}</th>")
    } else {
        format!("<td{class}>{text}</td>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Table {
        let columns = vec![
            Column::words("Method"),
            Column::number("seen").under("BLEU"),
            Column::number("all").under("BLEU"),
        ];
        let mut t = Table::new("A <caption>", columns);
        let best = Cell {
            text: "2.00".into(),
            best: true,
        };
        t.rows.push(vec!["a|b".into(), "1.00".into(), best]);
        t
    }

    #[test]
    fn html_has_caption_scopes_and_groups() {
        let html = small().html();
        for part in [
            "<caption>A &lt;caption&gt;</caption>",
            "<th scope=\"colgroup\" colspan=\"2\" class=\"g\">BLEU</th>",
            "<th scope=\"row\" class=\"w\">a|b</th>",
            "<strong>2.00<span class=\"sr\"> (best)</span></strong>",
        ] {
            assert!(html.contains(part), "{part} not in {html}");
        }
    }

    #[test]
    fn markdown_has_as_many_cells_in_every_line() {
        let text = small().markdown();
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with('|')).collect();
        assert_eq!(lines.len(), 3);
        for line in lines {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 4, "{line}");
        }
        assert!(text.contains("**2.00**") && text.contains("BLEU seen"));
    }
}
