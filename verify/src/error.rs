//! What can keep a check from being made at all (a claim that is false is an outcome, not an
//! error).

/// A check could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reference refused an input.
    #[error("reference: {0}")]
    Reference(#[from] inducer_reference::Error),
    /// The engine refused an input.
    #[error("engine: {0}")]
    Engine(#[from] inducer_gpu::Error),
    /// candle refused an operation.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
    /// A configuration does not pass from one crate's type to the other's.
    #[error("configuration: {0}")]
    Json(#[from] serde_json::Error),
    /// An array has not the shape that it was made with.
    #[error("shape: {0}")]
    Shape(#[from] ndarray::ShapeError),
    /// A temporary directory could not be made or written.
    #[error("temporary files: {0}")]
    Io(#[from] std::io::Error),
    /// The ledger is not the TOML that it should be.
    #[error("claims.toml: {0}")]
    Ledger(#[from] toml::de::Error),
    /// A program that speaks the protocol of engines did not keep to it.
    #[error("{0}")]
    External(String),
    /// A program that speaks the protocol does not say that it can do this.
    #[error("the engine does not do `{0}`")]
    Unsupported(String),
    /// The index of theorems is not the TOML that it should be.
    #[error("theorems.toml: {0}")]
    Theorems(toml::de::Error),
    /// Something that the check needs is absent.
    #[error("{0}")]
    Missing(String),
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;
