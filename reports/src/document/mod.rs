//! A page as data: a [`Document`] is a list of sections, a section a list of [`Block`]s.
//!
//! [`html::render`] and [`markdown::render`] write the same document, so what one of them says the
//! other says too. A picture is the exception: Markdown has only the table behind it.

pub mod export;
pub mod format;
pub mod html;
pub mod markdown;
pub mod palette;
pub mod picture;
pub mod table;

use table::Table;

/// The style of documents.
const STYLE: &str = include_str!("style.css");

/// A picture as PNG, in the browser: what every page that saves one has in its script.
pub(crate) const RASTER: &str = include_str!("js/raster.js");

/// A page.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// What kind of page it is, above the title.
    pub kind: &'static str,
    /// One sentence below the title.
    pub what: String,
    /// Text of the link that skips the contents.
    pub skip: &'static str,
    /// Sections, in order.
    pub sections: Vec<Section>,
    /// The last line.
    pub foot: Text,
}

/// A section.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Unique in the page.
    pub id: &'static str,
    /// Its name in the contents; none where it is not listed there.
    pub name: Option<&'static str>,
    /// Its heading.
    pub heading: &'static str,
    /// What it says.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// A heading below that of the section; level 3 or 4.
    Heading(usize, String),
    /// A paragraph.
    Paragraph(Role, Text),
    /// A list.
    List(ListStyle, Vec<Text>),
    /// Names with what belongs to each; Markdown writes a table with this head.
    Definitions([&'static str; 2], Vec<(String, Text)>),
    /// Lines to type.
    Code(String),
    /// A table.
    Table(Table),
    /// A picture with the table behind it.
    Figure(Figure),
    /// Blocks that HTML folds away; a link to the id unfolds them.
    Details {
        /// Unique in the page; empty where nothing refers to it.
        id: String,
        /// What is folded away.
        summary: String,
        /// The blocks.
        blocks: Vec<Block>,
    },
    /// Blocks that HTML arranges together.
    Group(Layout, Vec<Block>),
}

/// What a paragraph is to the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The answer that the page leads with.
    Lead,
    /// Ordinary text.
    Body,
    /// How to read what stands beside it.
    Note,
}

/// How a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListStyle {
    /// Numbered, each item a bold verdict and a sentence.
    Steps,
    /// Numbered.
    Numbered,
    /// With bullets: the triples of an input.
    Triples,
}

/// How blocks of a group are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One sample of a study.
    Sample,
    /// Columns, side by side where there is room.
    Columns,
    /// One of such columns.
    Column,
}

/// A picture with the table behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it shows.
    pub title: &'static str,
    /// What the numbers are; Markdown says it too.
    pub meaning: &'static str,
    /// What the signs of the picture are.
    pub signs: String,
    /// SVG.
    pub picture: String,
    /// The same numbers.
    pub table: Table,
}

/// Text of a paragraph, a list item or a definition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text(pub Vec<Span>);

/// A stretch of text.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    /// As it is.
    Plain(String),
    /// In bold type.
    Bold(String),
    /// In italics: what no method wrote.
    Emphasis(String),
    /// Marked: words that are in no reference.
    Marked(String),
    /// What one types.
    Code(String),
    /// The title of a work.
    Title(String),
    /// A page beside this one: its name, and its file.
    Link(String, String),
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self(vec![Span::Plain(text.into())])
    }
}

impl Section {
    /// A section that the contents list by `name`.
    pub fn new(
        id: &'static str,
        name: &'static str,
        heading: &'static str,
        blocks: Vec<Block>,
    ) -> Self {
        let name = Some(name);
        Self {
            id,
            name,
            heading,
            blocks,
        }
    }
}

impl Block {
    /// A heading of level 3.
    pub fn heading(text: impl Into<String>) -> Self {
        Self::Heading(3, text.into())
    }

    /// A paragraph of ordinary text.
    pub fn body(text: impl Into<Text>) -> Self {
        Self::Paragraph(Role::Body, text.into())
    }

    /// A paragraph on how to read what stands beside it.
    pub fn note(text: impl Into<Text>) -> Self {
        Self::Paragraph(Role::Note, text.into())
    }

    /// Blocks that HTML folds away and nothing refers to.
    pub fn details(summary: &str, blocks: Vec<Self>) -> Self {
        Self::Details {
            id: String::new(),
            summary: summary.into(),
            blocks,
        }
    }
}

impl Figure {
    /// The figure as a block, or what is said where there is no picture.
    pub fn block_or(self, said: &str) -> Block {
        match self.picture.is_empty() {
            true => Block::body(said),
            false => Block::Figure(self),
        }
    }

    /// The figure as a block; its table alone where there is no picture, and nothing where that has
    /// no rows either.
    pub fn block(self) -> Option<Block> {
        match (self.picture.is_empty(), self.table.rows.is_empty()) {
            (false, _) => Some(Block::Figure(self)),
            (true, false) => Some(Block::Table(self.table)),
            (true, true) => None,
        }
    }
}
