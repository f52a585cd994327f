//! Encoded rows kept on disk between runs: read only when they are provably those that would be
//! made again.
//!
//! ```text
//! file = "INDUROW1" ‖ key ‖ SHA-256(payload) ‖ payload
//! key  = SHA-256(examples ‖ tokenizer ‖ layout ‖ version of this crate)
//! ```
//!
//! The key holds the fingerprint of the examples as loaded, so any change in the data file that
//! matters changes it, as does any change in the tokenizer or the layout. A file that is missing,
//! has another key, is cut off, or has one bit changed is not read: the rows are made and the file
//! is written anew. A cache that cannot be written costs time, never a result. Tests:
//! `tests/cache.rs`.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::files::write_atomic;
use crate::{Encoded, Example, Layout, Result, fingerprint};

const MAGIC: &[u8; 8] = b"INDUROW1";
const DIGEST: usize = 32;

/// Where the rows came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the cache.
    Read,
    /// Made: there was no file.
    Made,
    /// Made: the file was of other data, or damaged.
    Rebuilt,
}

/// A directory of encoded rows.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// A cache in a directory, which is made when the first file is written.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The file for some examples under a layout.
    pub fn path(&self, layout: &Layout, examples: &[Example]) -> PathBuf {
        self.file(&key(layout, examples))
    }

    fn file(&self, key: &[u8; DIGEST]) -> PathBuf {
        let name: String = key[..8].iter().map(|b| format!("{b:02x}")).collect();
        self.dir.join(format!("{name}.rows"))
    }

    /// The training rows of all examples, in their order.
    ///
    /// # Errors
    /// As [`Layout::training_rows`]. What is wrong with the cache is no error.
    pub fn rows(&self, layout: &Layout, examples: &[Example]) -> Result<(Vec<Encoded>, Origin)> {
        let key = key(layout, examples);
        let path = self.file(&key);
        let found = std::fs::read(&path);
        if let Some(rows) = found.as_ref().ok().and_then(|bytes| open(bytes, &key)) {
            return Ok((rows, Origin::Read));
        }
        let rows = training_rows(layout, examples)?;
        // a disk that is full or read-only must not stop a run
        let _ = keep(&path, &key, &rows);
        let origin = match found {
            Ok(_) => Origin::Rebuilt,
            Err(_) => Origin::Made,
        };
        Ok((rows, origin))
    }
}

/// The training rows of all examples, made.
///
/// # Errors
/// As [`Layout::training_rows`].
pub fn training_rows(layout: &Layout, examples: &[Example]) -> Result<Vec<Encoded>> {
    let mut rows = Vec::with_capacity(examples.len());
    for example in examples {
        rows.extend(layout.training_rows(example)?);
    }
    Ok(rows)
}

fn key(layout: &Layout, examples: &[Example]) -> [u8; DIGEST] {
    let mut sum = Sha256::new();
    for part in [
        fingerprint::of_examples([examples]),
        layout.fingerprint(),
        env!("CARGO_PKG_VERSION").to_owned(),
    ] {
        sum.update((part.len() as u64).to_le_bytes());
        sum.update(part);
    }
    sum.finalize().into()
}

fn keep(path: &Path, key: &[u8; DIGEST], rows: &[Encoded]) -> std::io::Result<()> {
    let mut payload = Vec::new();
    number(&mut payload, rows.len());
    rows.iter().for_each(|row| write(&mut payload, row));
    let bytes = [MAGIC, &key[..], &Sha256::digest(&payload), &payload].concat();
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    write_atomic(path, &bytes)
}

/// The rows of a file, if it is whole and of this key.
fn open(bytes: &[u8], key: &[u8; DIGEST]) -> Option<Vec<Encoded>> {
    let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(key)?;
    let (digest, payload) = rest.split_at_checked(DIGEST)?;
    if digest != &Sha256::digest(payload)[..] {
        return None;
    }
    let mut left = payload;
    let count = take(&mut left)?;
    let rows = (0..count).map(|_| row(&mut left)).collect::<Option<_>>()?;
    left.is_empty().then_some(rows)
}

fn number(out: &mut Vec<u8>, n: usize) {
    out.extend((n as u64).to_le_bytes());
}

fn write(out: &mut Vec<u8>, row: &Encoded) {
    number(out, row.ids.len());
    out.extend(row.ids.iter().flat_map(|id| id.to_le_bytes()));
    number(out, row.segments.as_ref().map_or(0, |s| s.len() + 1));
    out.extend(
        row.segments
            .iter()
            .flatten()
            .flat_map(|id| id.to_le_bytes()),
    );
    number(out, row.labels.len());
    out.extend(row.labels.iter().flat_map(|l| l.to_le_bytes()));
    number(out, row.class.map_or(0, |c| c as usize + 1));
    number(out, row.prompt_len);
    number(out, row.cut);
}

fn bytes<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = left.split_first_chunk()?;
    *left = tail;
    Some(*head)
}

fn take(left: &mut &[u8]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes(left)?)).ok()
}

fn ids(left: &mut &[u8], count: usize) -> Option<Vec<u32>> {
    (0..count)
        .map(|_| bytes(left).map(u32::from_le_bytes))
        .collect()
}

fn row(left: &mut &[u8]) -> Option<Encoded> {
    let count = take(left)?;
    let token_ids = ids(left, count)?;
    let segments = match take(left)? {
        0 => None,
        count => Some(ids(left, count - 1)?),
    };
    let count = take(left)?;
    let labels = (0..count)
        .map(|_| bytes(left).map(i64::from_le_bytes))
        .collect::<Option<_>>()?;
    let class = match take(left)? {
        0 => None,
        class => Some(u32::try_from(class - 1).ok()?),
    };
    Some(Encoded {
        ids: token_ids,
        segments,
        labels,
        class,
        prompt_len: take(left)?,
        cut: take(left)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows() -> impl Strategy<Value = Vec<Encoded>> {
        let ids = || prop::collection::vec(any::<u32>(), 0..9);
        let one = (
            ids(),
            prop::option::of(ids()),
            prop::collection::vec(any::<i64>(), 0..9),
            prop::option::of(any::<u32>()),
            any::<(u32, u32)>(),
        );
        let one = one.prop_map(
            |(ids, segments, labels, class, (prompt_len, cut))| Encoded {
                ids,
                segments,
                labels,
                class,
                prompt_len: prompt_len as usize,
                cut: cut as usize,
            },
        );
        prop::collection::vec(one, 0..5)
    }

    proptest! {
        #[test]
        fn any_rows_come_back(rows in rows(), key: [u8; 32]) {
            let dir = tempfile::tempdir()?;
            let path = dir.path().join("x/y.rows");
            keep(&path, &key, &rows)?;
            prop_assert_eq!(open(&std::fs::read(&path)?, &key), Some(rows));
        }

        #[test]
        fn arbitrary_bytes_behind_a_valid_digest_are_refused_or_read(
            payload in any::<Vec<u8>>(),
            key: [u8; 32],
        ) {
            let bytes = [MAGIC, &key[..], &Sha256::digest(&payload), &payload].concat();
            let _ = open(&bytes, &key);
            prop_assert_eq!(open(&payload, &key), None);
        }
    }
}
