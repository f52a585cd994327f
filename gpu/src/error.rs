//! One error type; every message names the file, the tensor or field, what was expected and what
//! was found.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where tensors come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// A map in memory.
    Memory,
}

impl From<&Path> for Origin {
    fn from(path: &Path) -> Self {
        Self::File(path.to_path_buf())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Memory => f.write_str("the given tensors"),
        }
    }
}

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
    /// A checkpoint of PyTorch's is damaged.
    #[error("{path}: not a readable PyTorch checkpoint: {message}")]
    Pickle {
        /// The file.
        path: PathBuf,
        /// The reason.
        message: String,
    },
    /// A tensor is missing.
    #[error("{origin}: tensor `{name}` is missing (expected shape {expected:?})")]
    MissingTensor {
        /// Where it was looked for.
        origin: Origin,
        /// The tensor.
        name: String,
        /// Its shape according to the configuration.
        expected: Vec<usize>,
    },
    /// A tensor that the configuration does not know.
    #[error("{origin}: tensor `{name}` (shape {found:?}) is not part of this configuration")]
    ExtraTensor {
        /// Where it was looked for.
        origin: Origin,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor has the wrong shape.
    #[error("{origin}: tensor `{name}`: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// Where it was looked for.
        origin: Origin,
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
    /// There are no data to train or validate on.
    #[error("no {0} data")]
    NoData(&'static str),
    /// A model of this kind cannot do what was asked.
    #[error("{what} needs {needs}, found {found}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// What can do it.
        needs: &'static str,
        /// What the model is.
        found: &'static str,
    },
    /// Gradients of a loss that depends on no trainable tensor.
    #[error("the loss depends on nothing trainable")]
    NothingTrainable,
    /// A trainable parameter that the loss does not depend on.
    #[error("parameter `{0}` is trainable but the loss does not depend on it")]
    NoGradient(String),
    /// Training left the finite numbers.
    #[error(
        "step {step}: {what} is {value} at a learning rate of {learning_rate:e}; {}; try a tenth \
         of the learning rate or a longer warm-up",
        kept_words(kept)
    )]
    Diverged {
        /// The step, from 1; 0 is the validation before training.
        step: usize,
        /// What is not finite.
        what: String,
        /// Its value.
        value: f64,
        /// The learning rate of the step.
        learning_rate: f64,
        /// What of the run is still good: its checkpoint and its best adapter, where there are any.
        kept: Vec<String>,
    },
    /// The process was asked to stop, and the run did so behind a step.
    #[error("stopped at step {step} of {steps}")]
    Stopped {
        /// Steps done, all of them in the checkpoint.
        step: usize,
        /// Steps of the whole run.
        steps: usize,
    },
    /// candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

fn kept_words(kept: &[String]) -> String {
    match kept {
        [] => "nothing was saved before it".into(),
        kept => format!("what was good is kept: {}", kept.join(", ")),
    }
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

    /// A JSON error with its file.
    pub fn json(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::Json {
            path: path.into(),
            message: reason.to_string(),
        }
    }

    /// A broken safetensors file.
    pub fn format(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::Format {
            path: path.into(),
            message: reason.to_string(),
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
