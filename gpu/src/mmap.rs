//! Files mapped into memory.
#![allow(unsafe_code)]

/// Maps a file into memory.
///
/// # Errors
/// The system's.
pub fn map_file(path: &std::path::Path) -> std::io::Result<memmap2::Mmap> {
    let file = std::fs::File::open(path)?;
    // SAFETY: the map is read only. A file that another program truncates meanwhile can end this
    // process; weights are written beside and renamed by every program that writes them, so an open
    // file does not change.
    unsafe { memmap2::Mmap::map(&file) }
}
