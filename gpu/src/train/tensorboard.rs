//! TensorBoard event files: the scalars of `metrics.jsonl` in the form that `tensorboard --logdir`
//! opens.
//!
//! A file is a row of records, each
//! `length: u64, masked CRC-32C of it, bytes, masked CRC-32C of those`; the bytes are an `Event`
//! protocol buffer of which three fields are needed: `wall_time` (1, double), `step` (2, varint),
//! `summary` (5) with values of `tag` (1) and `simple_value` (2, float). So small a part of the
//! format is written out here rather than generated.

use crate::error::{Error, Result};
use crate::files::create_dir;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// An event file that is being written.
pub struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// Starts a file anew.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        if let Some(parent) = path.parent() {
            create_dir(parent)?;
        }
        let file = File::create(path).map_err(|e| Error::io(path, e))?;
        let mut all = Self {
            file,
            path: path.to_path_buf(),
        };
        all.record(&bytes(3, b"brain.Event:2"))?;
        Ok(all)
    }

    /// Adds scalars of a step; `wall_time` in seconds since 1970.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn scalars(&mut self, step: usize, wall_time: f64, values: &[(&str, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut one = bytes(1, tag.as_bytes());
            one.push(2 << 3 | 5);
            one.extend((*value as f32).to_le_bytes());
            summary.extend(bytes(1, &one));
        }
        let mut event = double(1, wall_time);
        event.push(2 << 3);
        event.extend(varint(step as u64));
        event.extend(bytes(5, &summary));
        self.record(&event)
    }

    fn record(&mut self, data: &[u8]) -> Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let mut all = length.to_vec();
        all.extend(masked(&length).to_le_bytes());
        all.extend(data);
        all.extend(masked(data).to_le_bytes());
        self.file
            .write_all(&all)
            .map_err(|e| Error::io(&self.path, e))
    }
}

/// The checksum of the record format: CRC-32C, rotated and shifted.
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

fn varint(mut x: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while x >= 0x80 {
        out.push(x as u8 | 0x80);
        x >>= 7;
    }
    out.push(x as u8);
    out
}

/// A field of bytes: strings and nested messages.
fn bytes(field: u8, data: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    out.extend(varint(data.len() as u64));
    out.extend(data);
    out
}

fn double(field: u8, x: f64) -> Vec<u8> {
    let mut out = vec![field << 3 | 1];
    out.extend(x.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_that_of_tensorflows_own_writer() {
        // tensorboard 2.21.0, RecordWriter: the bytes of Event(wall_time=1.5, step=300,
        // summary=[loss: 0.25])
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut file = EventFile::create(&path).unwrap();
        file.scalars(300, 1.5, &[("loss", 0.25)]).unwrap();
        let all = std::fs::read(&path).unwrap();
        let second = &all[8 + 4 + 15 + 4..];
        let hex: String = second.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "1b000000000000001a0d9e1309000000000000f83f10ac022a0d0a0b0a046c6f7373150000803e9908deed"
        );
    }
}
