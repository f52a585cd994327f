//! One writer a directory: a lock that names its process and host.
//!
//! The system holds the lock (`flock`), so it ends with its process however that ends, and a file
//! that was left behind by a killed one locks nobody out. The file's text is for people. On a
//! network file system that keeps no locks between hosts, two hosts are not kept apart.

use crate::files::{At, create_dir};
use anyhow::Result;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// The lock's file in the directory.
pub const FILE: &str = "run.lock";

/// A directory that this process alone writes to, until this is dropped.
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// Another process writes to the directory.
#[derive(Debug)]
pub struct Busy {
    /// The directory.
    pub dir: PathBuf,
    /// `process 123 on host x`.
    pub holder: String,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dir, holder) = (self.dir.display(), &self.holder);
        write!(
            f,
            "{dir}: {holder} writes there now; wait until it has ended, or give another --out"
        )
    }
}

impl std::error::Error for Busy {}

/// What the lock of this process says.
fn mine() -> String {
    format!("process {} on host {}", std::process::id(), host())
}

/// The name of this machine.
fn host() -> String {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .map(|name| name.trim().to_string())
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "unknown".into())
}

impl Lock {
    /// Locks a directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`Busy`] when another process (or another run of this one) has it; the system's.
    pub fn take(dir: &Path) -> Result<Self> {
        create_dir(dir)?;
        let path = dir.join(FILE);
        loop {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).read(true).write(true);
            let mut file = options.open(&path).at(&path)?;
            let mut text = String::new();
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let _ = file.read_to_string(&mut text);
                    let named = Some(text.trim().to_string()).filter(|t| !t.is_empty());
                    return Err(Busy {
                        dir: dir.to_path_buf(),
                        holder: named.unwrap_or_else(|| "another process".into()),
                    }
                    .into());
                }
                Err(TryLockError::Error(error)) => return Err(error).at(&path),
            }
            // who held it before may have removed the file between our opening and locking it
            if !still_there(&file, &path) {
                continue;
            }
            file.set_len(0).at(&path)?;
            file.rewind().at(&path)?;
            writeln!(file, "{}", mine()).at(&path)?;
            return Ok(Self { file, path });
        }
    }
}

#[cfg(unix)]
fn still_there(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |m: std::io::Result<std::fs::Metadata>| m.map(|m| (m.ino(), m.dev())).ok();
    let ours = id(file.metadata());
    ours.is_some() && ours == id(std::fs::metadata(path))
}

#[cfg(not(unix))]
fn still_there(_: &File, path: &Path) -> bool {
    path.exists()
}

impl Drop for Lock {
    fn drop(&mut self) {
        // removed while it is still held, so that nobody else's is
        let _ = std::fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_with_the_name_of_the_first_and_taken_when_that_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        let error = Lock::take(dir.path()).err().unwrap();
        let message = error.to_string();
        assert!(
            message.contains(&mine()) && message.contains(&*host()),
            "{message}"
        );
        assert!(error.downcast_ref::<Busy>().is_some());
        drop(first);
        assert!(!dir.path().join(FILE).exists());
        assert!(Lock::take(dir.path()).is_ok());
    }

    #[test]
    fn a_lock_of_a_process_that_is_gone_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "process 1 on host elsewhere\n").unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(text.trim(), mine());
        drop(lock);
    }

    #[test]
    fn of_many_threads_one_at_a_time_has_it() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = loop {
                            match Lock::take(dir.path()) {
                                Ok(lock) => break lock,
                                Err(e) => assert!(e.downcast_ref::<Busy>().is_some(), "{e:#}"),
                            }
                            std::thread::yield_now();
                        };
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }
}
