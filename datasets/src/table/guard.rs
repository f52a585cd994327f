//! Libraries that read tables.

use std::path::Path;

use crate::guard::caught;
use crate::{Error, Result};

/// Calls a library that reads a file.
///
/// # Errors
/// It panics: the file is damaged.
pub(super) fn guarded<T>(path: &Path, read: impl FnOnce() -> T) -> Result<T> {
    caught(read).ok_or_else(|| Error::Table {
        path: path.to_owned(),
        message: "the file is damaged: its library gave up".into(),
    })
}
