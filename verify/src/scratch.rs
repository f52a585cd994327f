//! Folders for the files that a case writes and reads again.

use std::path::Path;
use std::{env, io};
use tempfile::TempDir;

/// Where Linux keeps files in memory.
const IN_MEMORY: &str = "/dev/shm";

/// A new folder, deleted with the value: in memory where the system offers that and `TMPDIR` asks
/// for no other place. The ledger writes tens of thousands of small files, each flushed to the disk
/// before it gets its name, and a disk took a fifth of the time of `inducer verify --cases 256`.
///
/// # Errors
/// No temporary folder can be made.
pub fn folder() -> io::Result<TempDir> {
    within(
        env::var_os("TMPDIR")
            .is_none()
            .then_some(IN_MEMORY.as_ref()),
    )
}

/// A new folder within `wanted`, or where that cannot be had among the system's temporary files.
fn within(wanted: Option<&Path>) -> io::Result<TempDir> {
    wanted.map_or_else(tempfile::tempdir, |place| {
        tempfile::tempdir_in(place).or_else(|_| tempfile::tempdir())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_where_it_is_wanted_or_among_the_temporary_files() {
        let wanted = tempfile::tempdir().unwrap();
        let found = within(Some(wanted.path())).unwrap();
        assert_eq!(found.path().parent(), Some(wanted.path()));
        let missing = wanted.path().join("missing");
        for place in [Some(missing.as_path()), None] {
            let found = within(place).unwrap();
            assert_eq!(found.path().parent(), Some(env::temp_dir().as_path()));
        }
        assert!(folder().unwrap().path().is_dir());
    }
}
