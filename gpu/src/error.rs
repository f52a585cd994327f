//! One error type; every message names the file, the tensor or field, what was expected and what
//! was found.

use std::path::PathBuf;

/// What can go wrong in the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A JSON file does not have the documented form.
    #[error("{path}: {message}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Field, line and reason.
        message: String,
    },
    /// A configuration asks for something this engine does not do.
    #[error("{path}: field `{field}`: {message}")]
    Config {
        /// The file, or the name of the configuration.
        path: PathBuf,
        /// The field.
        field: String,
        /// What was expected and found.
        message: String,
    },
    /// A tensor file is damaged.
    #[error("{path}: not a readable safetensors file: {message}")]
    Format {
        /// The file.
        path: PathBuf,
        /// The reason.
        message: String,
    },
    /// A tensor is missing.
    #[error("{path}: tensor `{name}` is missing (expected shape {expected:?})")]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape according to the configuration.
        expected: Vec<usize>,
    },
    /// A tensor that the configuration does not know.
    #[error("{path}: tensor `{name}` (shape {found:?}) is not part of this configuration")]
    ExtraTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor has the wrong shape.
    #[error("{path}: tensor `{name}`: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape according to the configuration.
        expected: Vec<usize>,
        /// Its shape in the file.
        found: Vec<usize>,
    },
    /// A tensor holds a NaN or an infinity.
    #[error("{path}: tensor `{name}`: element {index} is {value}, expected finite numbers")]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Flat index of the first such element.
        index: usize,
        /// The element.
        value: f64,
    },
    /// A batch does not fit the model.
    #[error("batch: {0}")]
    Batch(String),
    /// The loss left the finite numbers.
    #[error("step {step}: the loss is {loss}; the last good checkpoint is kept in {checkpoint}")]
    Diverged {
        /// The step, from 1.
        step: usize,
        /// The loss.
        loss: f64,
        /// The checkpoint's directory.
        checkpoint: PathBuf,
    },
    /// A run's directory belongs to another configuration.
    #[error("{path}: {message}")]
    Run {
        /// The directory or file.
        path: PathBuf,
        /// The reason.
        message: String,
    },
    /// candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An I/O error with its file.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }

    /// A configuration error.
    pub fn config(
        path: impl Into<PathBuf>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::Config {
            path: path.into(),
            field: field.into(),
            message: message.into(),
        }
    }
}
