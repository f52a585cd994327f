//! Texts and JSON on disk.

use crate::error::{Error, Result};
use inducer_datasets::files::write_atomic;
use serde_json::Value;
use std::path::Path;

/// The text of a file.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::io(path, e))
}

/// The JSON of a file.
///
/// # Errors
/// It cannot be read or is no JSON.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    serde_json::from_str(&read(path)?).map_err(|e| Error::json(path, e))
}

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, bytes).map_err(|e| Error::io(path, std::io::Error::other(e.to_string())))
}

/// Makes a directory and those above it.
pub(crate) fn create_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))
}

/// Writes pretty JSON, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| Error::json(path, e))?;
    text.push('\n');
    write(path, text.as_bytes())
}
