//! How the bytes of one input become files and choices: the fuzz targets of all crates have this
//! file as a module.

use std::path::Path;

/// Between the files of an input that stands for several.
const BETWEEN: &[u8] = b"\n=====\n";

/// Calls `read` with a directory that holds these files.
pub fn with_files(files: &[(&str, &[u8])], read: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    read(dir.path());
}

/// So many files out of one input; the last ones are empty where it has fewer.
pub fn files<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut rest = Some(data);
    std::array::from_fn(|i| {
        let all = rest.take().unwrap_or_default();
        let mut windows = all.windows(BETWEEN.len());
        match windows.position(|w| w == BETWEEN).filter(|_| i + 1 < N) {
            Some(at) => {
                rest = Some(&all[at + BETWEEN.len()..]);
                &all[..at]
            }
            None => all,
        }
    })
}

/// The first byte, which chooses something, and the rest.
#[allow(dead_code)] // not every crate's targets choose
pub fn choice(data: &[u8]) -> (usize, &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    (usize::from(*first), rest)
}
