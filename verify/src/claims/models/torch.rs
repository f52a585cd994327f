//! PyTorch's archives as `torch.save` makes them: a zip, nothing of it deflated, of a pickle (of
//! protocol 2) of names and places, and of a file for each storage.
//!
//! ```text
//! state dict  OrderedDict of name → tensor, with `_metadata` as an attribute
//! tensor      _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, OrderedDict())
//! storage     ("storage", torch.FloatStorage, "0", "cpu", count), outside of the pickle
//! ```

use crate::Result;
use crate::engines::candle::nearest_bf16;
use half::{bf16, f16};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// A type of storages.
#[derive(Clone, Copy)]
pub(super) struct Type {
    /// torch's class of them.
    class: &'static str,
    /// The nearest number that it holds, of one that f32 holds.
    pub(super) held: fn(f64) -> f64,
    bytes: fn(f64) -> Vec<u8>,
}

pub(super) const FLOAT: Type = Type {
    class: "FloatStorage",
    held: |x| f64::from(x as f32),
    bytes: |x| (x as f32).to_le_bytes().to_vec(),
};
pub(super) const DOUBLE: Type = Type {
    class: "DoubleStorage",
    held: |x| x,
    bytes: |x| x.to_le_bytes().to_vec(),
};
pub(super) const HALF: Type = Type {
    class: "HalfStorage",
    held: |x| f16::from_f32(x as f32).to_f64(),
    bytes: |x| f16::from_f32(x as f32).to_le_bytes().to_vec(),
};
pub(super) const BFLOAT16: Type = Type {
    class: "BFloat16Storage",
    held: nearest_bf16,
    bytes: |x| bf16::from_f32(x as f32).to_le_bytes().to_vec(),
};
pub(super) const LONG: Type = Type {
    class: "LongStorage",
    held: f64::trunc,
    bytes: |x| (x as i64).to_le_bytes().to_vec(),
};
pub(super) const BYTE: Type = Type {
    class: "ByteStorage",
    held: f64::trunc,
    bytes: |x| vec![x as u8],
};
pub(super) const BOOL: Type = Type {
    class: "BoolStorage",
    ..BYTE
};

/// Numbers that lie one behind the other in a file of their own.
pub(super) struct Storage {
    pub(super) kind: Type,
    pub(super) numbers: Vec<f64>,
}

/// A tensor: where in which storage its elements lie.
#[derive(Clone)]
pub(super) struct View {
    pub(super) storage: usize,
    /// The place of its first element.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    /// From one element to the next along each axis.
    pub(super) stride: Vec<usize>,
    /// Whether it was saved as a parameter, which holds a tensor.
    pub(super) parameter: bool,
}

/// Writes an archive whose files lie in `folder`.
pub(super) fn save(
    path: &Path,
    folder: &str,
    tensors: &[(String, View)],
    storages: &[Storage],
) -> Result<()> {
    let mut files = vec![
        ("data.pkl".to_owned(), pickled(tensors, storages)),
        ("byteorder".to_owned(), b"little".to_vec()),
    ];
    for (at, storage) in storages.iter().enumerate() {
        if tensors.iter().any(|(_, view)| view.storage == at) {
            let bytes = storage
                .numbers
                .iter()
                .flat_map(|x| (storage.kind.bytes)(*x));
            files.push((format!("data/{at}"), bytes.collect()));
        }
    }
    files.push(("version".to_owned(), b"3\n".to_vec()));
    files.push((".data/serialization_id".to_owned(), b"0".repeat(40)));
    zipped(path, folder, &files).map_err(io::Error::other)?;
    Ok(())
}

fn zipped(path: &Path, folder: &str, files: &[(String, Vec<u8>)]) -> zip::result::ZipResult<()> {
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut archive = zip::ZipWriter::new(File::create(path)?);
    for (name, bytes) in files {
        archive.start_file(format!("{folder}/{name}"), stored)?;
        archive.write_all(bytes)?;
    }
    archive.finish()?;
    Ok(())
}

/// The pickle of a state dict.
fn pickled(tensors: &[(String, View)], storages: &[Storage]) -> Vec<u8> {
    let mut pickle = Pickle {
        bytes: vec![0x80, 2],
        places: HashMap::new(),
        notes: 0,
    };
    pickle.ordered_dict();
    pickle.put(b"(");
    for (name, view) in tensors {
        pickle.text(name);
        pickle.tensor(view, &storages[view.storage]);
    }
    // all pairs into the dictionary, then its attributes
    pickle.put(b"u}");
    pickle.note();
    pickle.text("_metadata");
    pickle.ordered_dict();
    pickle.text("");
    pickle.put(b"}");
    pickle.note();
    pickle.text("version");
    pickle.number(1);
    pickle.put(b"sssb.");
    pickle.bytes
}

/// A pickle that is being written.
struct Pickle {
    bytes: Vec<u8>,
    /// Under which number it noted what comes again.
    places: HashMap<String, u32>,
    notes: u32,
}

impl Pickle {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// An instruction about a number: one byte of it, or four by the longer instruction.
    fn about(&mut self, [short, long]: [u8; 2], number: u32) {
        match u8::try_from(number) {
            Ok(number) => self.put(&[short, number]),
            Err(_) => {
                self.put(&[long]);
                self.put(&number.to_le_bytes());
            }
        }
    }

    /// Notes the last value under the next number, as Python notes every one.
    fn note(&mut self) {
        self.about([b'q', b'r'], self.notes);
        self.notes += 1;
    }

    /// A value that was noted before, or what makes it.
    fn once(&mut self, make: &[u8]) {
        let key = String::from_utf8_lossy(make).into_owned();
        if let Some(place) = self.places.get(&key).copied() {
            return self.about([b'h', b'j'], place);
        }
        self.places.insert(key, self.notes);
        self.put(make);
        self.note();
    }

    fn class(&mut self, module: &str, name: &str) {
        self.once(format!("c{module}\n{name}\n").as_bytes());
    }

    fn made_of(text: &str) -> Vec<u8> {
        let length = (text.len() as u32).to_le_bytes();
        [b"X", &length[..], text.as_bytes()].concat()
    }

    fn text(&mut self, text: &str) {
        self.put(&Self::made_of(text));
        self.note();
    }

    /// A text that is one object wherever it stands.
    fn word(&mut self, text: &str) {
        self.once(&Self::made_of(text));
    }

    fn number(&mut self, number: usize) {
        match (u8::try_from(number), u16::try_from(number)) {
            (Ok(number), _) => self.put(&[b'K', number]),
            (_, Ok(number)) => {
                self.put(b"M");
                self.put(&number.to_le_bytes());
            }
            _ => {
                self.put(b"J");
                self.put(&(number as i32).to_le_bytes());
            }
        }
    }

    /// A tuple of numbers.
    fn sizes(&mut self, sizes: &[usize]) {
        let is_long = sizes.len() > 3;
        if is_long {
            self.put(b"(");
        }
        sizes.iter().for_each(|size| self.number(*size));
        match sizes.len() {
            0 => return self.put(b")"),
            _ if is_long => self.put(b"t"),
            count => self.put(&[0x84 + count as u8]),
        }
        self.note();
    }

    fn ordered_dict(&mut self) {
        self.class("collections", "OrderedDict");
        self.put(b")R");
        self.note();
    }

    /// A tuple that was begun, and what a function makes of it.
    fn call(&mut self) {
        self.put(b"t");
        self.note();
        self.put(b"R");
        self.note();
    }

    fn tensor(&mut self, view: &View, storage: &Storage) {
        if view.parameter {
            self.class("torch._utils", "_rebuild_parameter");
            self.put(b"(");
        }
        self.class("torch._utils", "_rebuild_tensor_v2");
        self.put(b"((");
        self.word("storage");
        self.class("torch", storage.kind.class);
        self.text(&view.storage.to_string());
        self.word("cpu");
        self.number(storage.numbers.len());
        self.put(b"t");
        self.note();
        self.put(b"Q");
        self.number(view.offset);
        self.sizes(&view.shape);
        self.sizes(&view.stride);
        // without a gradient
        self.put(&[0x89]);
        self.ordered_dict();
        self.call();
        if view.parameter {
            // with one
            self.put(&[0x88]);
            self.ordered_dict();
            self.call();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of PyTorch's own pickle of a view [2, 3] of ten numbers, from its first tensor on.
    #[test]
    fn a_tensor_is_written_as_pytorch_writes_it() {
        let storage = Storage {
            kind: FLOAT,
            numbers: vec![0.0; 10],
        };
        let view = View {
            storage: 0,
            offset: 1,
            shape: vec![2, 3],
            stride: vec![3, 1],
            parameter: false,
        };
        let mut pickle = Pickle {
            bytes: Vec::new(),
            places: HashMap::new(),
            notes: 1,
        };
        pickle.text("a");
        pickle.tensor(&view, &storage);
        let expected = b"X\x01\x00\x00\x00aq\x01ctorch._utils\n_rebuild_tensor_v2\n\
            q\x02((X\x07\x00\x00\x00storageq\x03ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05\
            X\x03\x00\x00\x00cpuq\x06K\x0atq\x07QK\x01K\
            \x02K\x03\x86q\x08K\x03K\x01\x86q\t\x89ccollections\nOrderedDict\nq\n)R\
            q\x0btq\x0cRq\r";
        assert_eq!(pickle.bytes, expected);
    }
}
