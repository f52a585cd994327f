//! What can be wrong with data: every message names the file, the line in it, what was expected
//! and what was found.

use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between a file and a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is not the JSON that it should be.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser met.
        message: String,
    },
    /// A file is not the XML that it should be.
    #[error("{}:{line}: {message}", path.display())]
    Xml {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser met.
        message: String,
    },
    /// An entry lacks a field or has the wrong thing in it.
    #[error(
        "{}:{line}: entry {entry}: field `{field}`: expected {expected}, found {found}",
        path.display()
    )]
    Field {
        /// The file.
        path: PathBuf,
        /// Line on which the entry starts, from 1.
        line: usize,
        /// The entry's position in the file, from 1.
        entry: usize,
        /// The field, with its path inside the entry.
        field: String,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A line of a text file lacks a field or has the wrong thing in it.
    #[error("{}:{line}: field `{field}`: expected {expected}, found {found}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The field.
        field: String,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A row of a table lacks a column or has the wrong thing in it.
    #[error("{}{place}: field `{field}`: expected {expected}, found {found}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// The row in it.
        place: Place,
        /// The column.
        field: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A file is not the table that it should be.
    #[error("{}: {message}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The reason.
        message: String,
    },
    /// A metric's resources.
    #[error("{}: {message}", path.display())]
    Resource {
        /// The file.
        path: PathBuf,
        /// The reason.
        message: String,
    },
    /// The tokenizer's files or settings.
    #[error("{}: {message}", path.display())]
    Tokenizer {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        message: String,
    },
    /// A text could not be turned into tokens.
    #[error("tokenizing {text:?}: {message}")]
    Encode {
        /// The beginning of the text.
        text: String,
        /// The reason.
        message: String,
    },
    /// The tokenizer knows more tokens than the backbone has embeddings.
    #[error(
        "the tokenizer has {tokenizer} tokens, the backbone only {backbone}: do they belong \
         together?"
    )]
    Vocabulary {
        /// Ids that the tokenizer can give.
        tokenizer: usize,
        /// Rows of the backbone's embedding.
        backbone: usize,
    },
    /// A layout needs a token that the tokenizer lacks.
    #[error("task {task} needs the token {token:?}, which the tokenizer lacks")]
    MissingToken {
        /// The task.
        task: crate::Task,
        /// The token.
        token: &'static str,
    },
    /// An encoded example is longer than the backbone can take.
    #[error("entry {entry}: {tokens} tokens, but the backbone takes at most {limit}")]
    TooLong {
        /// The example's position in its file, from 1.
        entry: usize,
        /// Its length.
        tokens: usize,
        /// The backbone's positions.
        limit: usize,
    },
    /// An example of another kind than the task's.
    #[error("entry {entry}: task {task} needs {expected}")]
    WrongInput {
        /// The example's position in its file, from 1.
        entry: usize,
        /// The task.
        task: crate::Task,
        /// What the task's layout takes.
        expected: &'static str,
    },
    /// Two lists that belong together have different lengths.
    #[error("{hypotheses} hypotheses but {references} sets of references")]
    Unpaired {
        /// Number of hypotheses.
        hypotheses: usize,
        /// Number of sets of references.
        references: usize,
    },
    /// A name that is none of the known ones.
    #[error("unknown {what} {name:?}: expected one of {expected}")]
    Unknown {
        /// What kind of name.
        what: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        expected: &'static str,
    },
    /// A request that cannot be fulfilled.
    #[error("{0}")]
    Invalid(String),
}

/// Where a row is in its file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The line on which it starts.
    Line(usize),
    /// Its number, where a file has no lines.
    Row(usize),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(n) => write!(f, ":{n}"),
            Self::Row(n) => write!(f, ": row {n}"),
        }
    }
}

impl Error {
    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Reads a whole file; the error names it.
pub(crate) fn read(path: &std::path::Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(path, e))
}

/// What a JSON value is, in words.
pub(crate) fn describe(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(_) => "a boolean".into(),
        Value::Number(_) => "a number".into(),
        Value::String(s) if s.trim().is_empty() => "an empty text".into(),
        Value::String(_) => "a text".into(),
        Value::Array(a) if a.is_empty() => "an empty list".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(o) => format!("an object of {} keys", o.len()),
    }
}
