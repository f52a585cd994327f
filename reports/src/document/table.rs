//! A table as data. The first column names the row.

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// What it shares with its neighbours: `BLEU`; may be empty.
    pub group: &'static str,
    /// Its name.
    pub title: String,
    /// What it holds.
    pub kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers, set flush right.
    Number,
    /// Words, set ragged right; they may wrap.
    Text,
    /// Sentences, which need width.
    Sentence,
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// What is said of it.
    pub mark: Mark,
}

/// What is said of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// Nothing.
    #[default]
    None,
    /// It is the best of its column.
    Best,
    /// It stands out.
    Strong,
    /// Its text is the id of what it links to.
    Link,
}

impl Cell {
    /// A cell with a mark on a condition.
    pub fn marked_if(condition: bool, mark: Mark, text: String) -> Self {
        let mark = if condition { mark } else { Mark::None };
        Self { text, mark }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        let (text, mark) = (text.into(), Mark::None);
        Self { text, mark }
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
    /// A table with a row for each item and no columns yet.
    pub fn of<T>(caption: impl Into<String>, items: impl IntoIterator<Item = T>) -> TableOf<T> {
        let items: Vec<T> = items.into_iter().collect();
        let table = Self {
            caption: caption.into(),
            columns: Vec::new(),
            rows: vec![Vec::new(); items.len()],
        };
        TableOf { items, table }
    }

    /// A table of names and what belongs to each.
    pub fn pairs<N: ToString>(
        caption: &str,
        [name, value]: [&str; 2],
        rows: impl IntoIterator<Item = (N, String)>,
    ) -> Self {
        let table = Self::of(caption, rows).text(name, |row| row.0.to_string());
        table.text(value, |row| row.1.clone()).finish()
    }
}

/// A table that is being built column by column: a heading and the cells below it are declared
/// together.
pub struct TableOf<T> {
    items: Vec<T>,
    table: Table,
}

impl<T> TableOf<T> {
    fn column<C: Into<Cell>>(
        mut self,
        group: &'static str,
        title: &str,
        kind: Kind,
        cell: impl Fn(&T) -> C,
    ) -> Self {
        let title = title.into();
        self.table.columns.push(Column { group, title, kind });
        for (row, item) in self.table.rows.iter_mut().zip(&self.items) {
            row.push(cell(item).into());
        }
        self
    }

    /// With a column of words.
    pub fn text<C: Into<Cell>>(self, title: &str, cell: impl Fn(&T) -> C) -> Self {
        self.column("", title, Kind::Text, cell)
    }

    /// With a column of sentences.
    pub fn sentence<C: Into<Cell>>(self, title: &str, cell: impl Fn(&T) -> C) -> Self {
        self.column("", title, Kind::Sentence, cell)
    }

    /// With a column of numbers.
    pub fn number<C: Into<Cell>>(self, title: &str, cell: impl Fn(&T) -> C) -> Self {
        self.column("", title, Kind::Number, cell)
    }

    /// With a column of numbers under a heading that it shares with its neighbours.
    pub fn under<C: Into<Cell>>(
        self,
        group: &'static str,
        title: &str,
        cell: impl Fn(&T) -> C,
    ) -> Self {
        self.column(group, title, Kind::Number, cell)
    }

    /// The table.
    pub fn finish(self) -> Table {
        self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{html, markdown};

    fn small() -> Table {
        let best = |_: &()| Cell::marked_if(true, Mark::Best, "2.00".into());
        Table::of("A <caption>", [()])
            .text("Method", |_| "a|b")
            .under("BLEU", "seen", |_| "1.00")
            .under("BLEU", "all", best)
            .finish()
    }

    #[test]
    fn html_has_caption_scopes_and_groups() {
        let html = html::table(&small());
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
        let text = markdown::table(&small());
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with('|')).collect();
        assert_eq!(lines.len(), 3);
        for line in lines {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 4, "{line}");
        }
        assert!(text.contains("**2.00**") && text.contains("BLEU seen"));
    }
}
