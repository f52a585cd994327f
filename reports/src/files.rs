//! Files with their names in the errors.

use crate::progress::say;
use anyhow::{Context, Result};
use inducer_datasets::files::write_atomic;
use serde::Deserializer;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Puts the name of a file before an error.
pub trait At<T, E>: Context<T, E> + Sized {
    /// The error says which file it is about.
    ///
    /// # Errors
    /// What went wrong before, with the path.
    fn at(self, path: &Path) -> Result<T> {
        self.with_context(|| path.display().to_string())
    }
}

impl<T, E, R: Context<T, E>> At<T, E> for R {}

/// Reads a text.
///
/// # Errors
/// A missing file, or one that is not UTF-8.
pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).at(path)
}

/// Reads a JSON file.
///
/// # Errors
/// A missing or broken file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = read(path)?;
    let mut json = serde_json::Deserializer::from_str(&text);
    let value = typed(&mut json, path)?;
    json.end().at(path)?;
    Ok(value)
}

/// A value of JSON; errors name the file that it is from, and the field.
///
/// # Errors
/// Another form than the type's.
pub fn typed<'d, T: DeserializeOwned>(
    json: impl Deserializer<'d, Error = serde_json::Error>,
    path: &Path,
) -> Result<T> {
    let value = serde_path_to_error::deserialize(json);
    let value = value.map_err(|e| match e.path().to_string().as_str() {
        "." => anyhow::anyhow!("{}", e.inner()),
        field => anyhow::anyhow!("field `{field}`: {}", e.inner()),
    });
    value.at(path)
}

/// Writes a file whole or not at all.
///
/// # Errors
/// The system's.
pub fn write(path: &Path, text: &str) -> Result<()> {
    write_atomic(path, text.as_bytes()).at(path)
}

/// Writes a page for people, and says where it is.
///
/// # Errors
/// The system's.
pub fn write_page(path: &Path, page: &str) -> Result<()> {
    let unwritten = || format!("{}: cannot be written", path.display());
    write_atomic(path, page.as_bytes()).with_context(unwritten)?;
    say(format_args!("{}: open it in a browser", path.display()));
    Ok(())
}

/// Makes a directory and those above it.
///
/// # Errors
/// The system's.
pub fn create_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).at(dir)
}

/// Where what can be made again is kept.
pub fn cache() -> PathBuf {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    from("INDUCER_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|d| d.join("inducer")))
        .or_else(|| from("HOME").map(|d| d.join(".cache/inducer")))
        .unwrap_or_else(|| PathBuf::from(".inducer-cache"))
}
