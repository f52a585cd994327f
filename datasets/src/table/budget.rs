//! How much a file may hold for its size. A few bytes can stand for a billion rows, of nothing or
//! of one text again and again; no table of texts is written so.

use std::path::Path;

use crate::{Error, Result};

/// Bytes of a file that is smaller.
const LEAST: u64 = 4096;
/// Values of a file for each of its bytes. A text of a table takes some tens of bytes.
const VALUES: u64 = 16;
/// Bytes of texts for each byte of the file: the most by which deflate shortens anything.
const BYTES: u64 = 1032;

/// What may still be read of a file.
pub(super) struct Budget<'a> {
    path: &'a Path,
    values: u64,
    bytes: u64,
}

impl<'a> Budget<'a> {
    /// That of a file of some size.
    pub fn of(path: &'a Path, size: u64) -> Self {
        let size = size.max(LEAST);
        Self {
            path,
            values: size.saturating_mul(VALUES),
            bytes: size.saturating_mul(BYTES),
        }
    }

    /// Takes so many values and bytes of text; the place is for the message.
    ///
    /// # Errors
    /// There are more than the size of the file allows.
    pub fn take(&mut self, values: u64, bytes: u64, column: &str) -> Result<()> {
        let left = self.values.checked_sub(values);
        let left = left.zip(self.bytes.checked_sub(bytes));
        let left = left.ok_or_else(|| Error::Table {
            path: self.path.to_owned(),
            message: format!(
                "field `{column}`: expected at most {VALUES} values and {BYTES} bytes of text for \
                 each byte of the file, found more"
            ),
        })?;
        (self.values, self.bytes) = left;
        Ok(())
    }
}
