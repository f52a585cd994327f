//! The errors: each names the file, the tensor or field, what was expected and what was found.

use std::path::PathBuf;

/// What can be wrong with a file, a tensor, a configuration or an input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file is not the JSON that it should be.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser found, with line and column.
        source: serde_json::Error,
    },
    /// A field of a configuration has a value that is not supported or not consistent.
    #[error("{file}: field `{field}`: expected {expected}, found {found}")]
    Field {
        /// The file, or "configuration" for one given in memory.
        file: String,
        /// The field's name.
        field: String,
        /// What would have been right.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A tensor file that is cut short or whose header contradicts its data.
    #[error("{}: {what}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The part of the file, or the tensor.
        what: String,
        /// What would have been right.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A tensor that has to be there is not.
    #[error("{file}: tensor `{tensor}` is missing: expected shape {expected:?}")]
    MissingTensor {
        /// The file or the origin of the tensors.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        expected: Vec<usize>,
    },
    /// A tensor that nothing asks for.
    #[error("{file}: tensor `{tensor}` of shape {found:?} is not expected")]
    UnexpectedTensor {
        /// The file or the origin of the tensors.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor of the wrong shape.
    #[error("{file}: tensor `{tensor}`: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// The file or the origin of the tensors.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A tensor with an infinity or a NaN in it.
    #[error("{file}: tensor `{tensor}`: expected finite values, found {found} at index {index}")]
    NonFinite {
        /// The file or the origin of the tensors.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// The position in row-major order.
        index: usize,
        /// The value.
        found: f64,
    },
    /// An input of a model that does not fit it.
    #[error("{input} at position {position}: expected {expected}, found {found}")]
    Input {
        /// Which input: token ids, segment ids, positions, labels.
        input: &'static str,
        /// The index within the row.
        position: usize,
        /// What would have been right.
        expected: String,
        /// What was given.
        found: String,
    },
    /// Two inputs whose lengths or shapes differ.
    #[error("{what}: expected {expected}, found {found}")]
    Length {
        /// What was counted.
        what: &'static str,
        /// The right number.
        expected: usize,
        /// The number found.
        found: usize,
    },
    /// A matrix computation of the kernel side failed (a matrix that is not positive definite,
    /// say).
    #[error("{what}: {reason}")]
    Linalg {
        /// The computation.
        what: &'static str,
        /// Why it failed.
        reason: String,
    },
}
