//! PyTorch's checkpoints (`pytorch_model.bin`, `adapter_model.bin`): a zip archive with a pickle of
//! names and places and a file for each storage. Reading the pickle builds values and runs no code.

use super::unpickle::{Id, Object, Pickle};
use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Longest pickle that is read: names and places of some hundred thousand tensors.
const LONGEST: u64 = 64 << 20;
/// Most elements of a tensor that has more of them than its storage: such are one number, or some,
/// repeated.
const MOST_REPEATED: usize = 1 << 20;

/// A tensor of a checkpoint, without its elements.
pub(super) struct TensorInfo {
    name: String,
    /// The type of its elements.
    pub dtype: DType,
    /// Its shape.
    pub dims: Vec<usize>,
    /// From one element to the next along each axis.
    stride: Vec<usize>,
    /// The place of its first element.
    offset: usize,
    /// The file of its storage.
    path: String,
}

type Archive = zip::ZipArchive<std::io::BufReader<std::fs::File>>;

fn open(path: &Path) -> Result<Archive> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|e| {
        let advice = "expected PyTorch's zip format; a file of torch before 1.6 has to be loaded \
                      and saved once with a newer one";
        wrong(path, format!("{advice} ({e})"))
    })
}

fn wrong(path: &Path, message: impl ToString) -> Error {
    Error::Pickle {
        path: path.to_path_buf(),
        message: message.to_string(),
    }
}

/// The tensors of a checkpoint by name, without their elements.
///
/// # Errors
/// A missing or broken file; an entry that is no tensor of numbers.
pub(super) fn tensors(path: &Path) -> Result<BTreeMap<String, TensorInfo>> {
    let mut archive = open(path)?;
    let names = archive
        .file_names()
        .map(|name| name.map(std::borrow::Cow::into_owned));
    let names = names.collect::<std::result::Result<Vec<String>, _>>();
    let names = names.map_err(|e| wrong(path, e))?;
    let Some(name) = names.iter().find(|n| n.ends_with("data.pkl")) else {
        return Err(wrong(path, "expected an archive with data.pkl"));
    };
    let entry = archive.by_name(name).map_err(|e| wrong(path, e))?;
    let mut bytes = Vec::new();
    let read = entry.take(LONGEST + 1).read_to_end(&mut bytes);
    read.map_err(|e| wrong(path, e))?;
    if bytes.len() as u64 > LONGEST {
        return Err(wrong(
            path,
            format!("expected a pickle of at most {LONGEST} bytes"),
        ));
    }
    let folder = name.trim_end_matches(".pkl").to_string();
    infos(&bytes, &folder).map_err(|message| wrong(path, message))
}

/// Whether a tensor that cannot be read may be left out: older files hold mask buffers of booleans,
/// and no model asks for them. A bias that is asked for is missing then.
pub fn may_be_left_out(name: &str) -> bool {
    name.ends_with(".bias") || name.ends_with("position_ids")
}

fn infos(bytes: &[u8], folder: &str) -> std::result::Result<BTreeMap<String, TensorInfo>, String> {
    let pickle = Pickle::read(bytes)?;
    let Object::Dict(entries) = pickle.top() else {
        return Err("expected tensors by name, found another object".into());
    };
    let mut found = BTreeMap::new();
    for (key, value) in entries {
        let Some(name) = pickle.text(*key) else {
            continue;
        };
        match info(&pickle, name, *value, folder) {
            Ok(Some(info)) => {
                found.insert(name.to_owned(), info);
            }
            Err(_) if may_be_left_out(name) => {}
            // versions of modules
            Ok(None) if name == "_metadata" => {}
            Ok(None) => return Err(format!("`{name}`: expected a tensor")),
            Err(reason) => return Err(format!("tensor `{name}`: expected numbers ({reason})")),
        }
    }
    Ok(found)
}

/// What a value says of a tensor; none where it is no tensor. A parameter, or a tensor of a class
/// of one's own, is the tensor that it holds.
fn info(
    pickle: &Pickle,
    name: &str,
    value: Id,
    folder: &str,
) -> std::result::Result<Option<TensorInfo>, String> {
    let call = |id: Id| match pickle.at(id) {
        Object::Call(callable, arguments) => {
            Some((pickle.class(*callable)?, pickle.items(*arguments)?))
        }
        _ => None,
    };
    let made = match call(value) {
        Some((("torch._tensor", "_rebuild_from_type_v2"), [function, _, arguments, ..])) => {
            pickle.class(*function).zip(pickle.items(*arguments))
        }
        Some((("torch._utils", "_rebuild_parameter"), [data, ..])) => call(*data),
        other => other,
    };
    let Some((("torch._utils", "_rebuild_tensor_v2"), arguments)) = made else {
        return Ok(None);
    };
    let [storage, offset, size, stride, ..] = arguments else {
        return Err("expected storage, offset, size and stride".into());
    };
    let sizes = |id: Id| -> Option<Vec<usize>> {
        let items = pickle.items(id)?.iter();
        items.map(|item| pickle.size(*item)).collect()
    };
    let storage = match pickle.at(*storage) {
        Object::Outside(id) => pickle.items(*id),
        _ => None,
    };
    let storage = storage.and_then(|items| match items {
        [_, class, path, ..] => pickle.class(*class).zip(pickle.text(*path)),
        _ => None,
    });
    let ((_, class), path) = storage.ok_or("expected a storage by its class and file")?;
    let dtype = match class {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "ByteStorage" => DType::U8,
        "LongStorage" => DType::I64,
        other => return Err(format!("unsupported storage type {other}")),
    };
    let (dims, stride) = (sizes(*size), sizes(*stride));
    let dims = dims
        .zip(stride)
        .filter(|(dims, stride)| dims.len() == stride.len());
    let (dims, stride) = dims.ok_or("expected a size and a stride for each axis")?;
    Ok(Some(TensorInfo {
        name: name.to_owned(),
        dtype,
        dims,
        stride,
        offset: pickle.size(*offset).ok_or("expected an offset")?,
        path: format!("{folder}/{path}"),
    }))
}

/// A tensor of a checkpoint on the CPU, in its own type.
pub(super) fn read(path: &Path, info: &TensorInfo) -> Result<Tensor> {
    let bad = |message: &str| wrong(path, format!("tensor `{}`: {message}", info.name));
    let mut archive = open(path)?;
    let entry = archive.by_name(&info.path).map_err(|e| wrong(path, e))?;
    let (dims, stride, width) = (&info.dims, &info.stride, info.dtype.size_in_bytes());
    let count = elements(dims).ok_or_else(|| bad("its shape is too large"))?;
    let last = dims.iter().zip(stride).try_fold(0_usize, |at, (d, s)| {
        at.checked_add(d.saturating_sub(1).checked_mul(*s)?)
    });
    let end = last.and_then(|last| {
        let end = last.checked_add(1)?.checked_add(info.offset)?;
        end.checked_mul(width)
    });
    let end = end.filter(|end| count == 0 || *end as u64 <= entry.size());
    let end = end.ok_or_else(|| bad("its storage ends before it does"))?;
    if count > (end / width).max(MOST_REPEATED) {
        return Err(bad("its shape has more elements than its storage"));
    }
    let mut bytes = Vec::new();
    let needed = if count > 0 { end } else { 0 };
    let read = entry.take(needed as u64).read_to_end(&mut bytes);
    read.map_err(|e| wrong(path, e))?;
    if count > 0 && bytes.len() < end {
        return Err(bad("its storage ends before it does"));
    }
    let from = info.offset.saturating_mul(width);
    let data = match is_contiguous(dims, stride) {
        true => bytes
            .get(from..from.saturating_add(count * width))
            .unwrap_or_default()
            .to_vec(),
        false => gathered(&bytes, from, width, dims, stride),
    };
    Ok(Tensor::from_raw_buffer(
        &data,
        info.dtype,
        dims,
        &Device::Cpu,
    )?)
}

/// Number of elements of a shape; none where the product of its sizes, those that are 0 left out,
/// has no room in a word.
pub(super) fn elements(dims: &[usize]) -> Option<usize> {
    let size = |n: usize, d: &usize| n.checked_mul((*d).max(1));
    let whole = dims.iter().try_fold(1, size);
    whole.filter(|n| isize::try_from(*n).is_ok())?;
    Some(dims.iter().product())
}

/// Whether the elements lie one behind the other, the last axis innermost.
fn is_contiguous(dims: &[usize], stride: &[usize]) -> bool {
    let mut next = 1;
    dims.iter().zip(stride).rev().all(|(d, s)| {
        let fits = *d <= 1 || *s == next;
        next *= d;
        fits
    })
}

/// The elements of a strided view, one behind the other.
fn gathered(bytes: &[u8], from: usize, width: usize, dims: &[usize], stride: &[usize]) -> Vec<u8> {
    let count: usize = dims.iter().product();
    let mut out = Vec::with_capacity((count * width).min(bytes.len().max(1) * 4));
    for i in 0..count {
        let (mut rest, mut at) = (i, 0);
        for (d, s) in dims.iter().zip(stride).rev() {
            at += (rest % d) * s;
            rest /= d;
        }
        let at = from + at * width;
        out.extend_from_slice(bytes.get(at..at + width).unwrap_or_default());
    }
    out
}

/// Whether a type is one of floats.
pub(super) fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// `torch.save` of a view [2, 3] of ten numbers and its transpose (PyTorch 2.15), with another
    /// shape where one is given.
    fn saved(rows: u8) -> Vec<u8> {
        let first = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01ctorch._utils\n_rebuild_tensor_v2\n\
            q\x02((X\x07\x00\x00\x00storageq\x03ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05\
            X\x03\x00\x00\x00cpuq\x06K\x0atq\x07QK\x01K";
        let second = b"K\x03\x86q\x08K\x03K\x01\x86q\t\x89ccollections\nOrderedDict\nq\n)R\
            q\x0btq\x0cRq\rX\x01\x00\x00\x00bq\x0eh\x02((h\x03h\x04h\x05h\x06K\x0atq\x0fQK\x01\
            K\x03K\x02\x86q\x10K\x01K\x03\x86q\x11\x89h\n)Rq\x12tq\x13Rq\x14u.";
        [&first[..], &[rows], second].concat()
    }

    fn read_all(pickle: &[u8]) -> Result<Vec<Vec<f32>>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.bin");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        let numbers: Vec<u8> = (0_u8..10)
            .flat_map(|n| f32::from(n).to_le_bytes())
            .collect();
        for (name, bytes) in [("x/data.pkl", pickle), ("x/data/0", &numbers[..])] {
            zip.start_file(name, zip::write::SimpleFileOptions::default())
                .unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
        let found = tensors(&path)?;
        let values = |info| Ok(read(&path, info)?.flatten_all()?.to_vec1()?);
        found.values().map(values).collect()
    }

    #[test]
    fn views_have_the_elements_that_pytorch_says() {
        let plain = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let turned = vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0];
        assert_eq!(read_all(&saved(2)).unwrap(), [plain, turned]);
    }

    #[test]
    fn a_shape_beyond_the_storage_is_refused() {
        let e = read_all(&saved(4)).unwrap_err().to_string();
        assert!(
            e.contains("tensor `a`: its storage ends before it does"),
            "{e}"
        );
        // the same row 2^31 − 1 times: a storage of ten numbers stands for eight gigabytes
        let repeated = saved(2);
        let text = [
            &b"K\x02K\x03\x86q\x08K\x03K\x01"[..],
            b"J\xff\xff\xff\x7fK\x01\x86q\x08K\x00K\x01",
        ];
        let at = repeated
            .windows(text[0].len())
            .position(|w| w == text[0])
            .unwrap();
        let bytes = [&repeated[..at], text[1], &repeated[at + text[0].len()..]].concat();
        let e = read_all(&bytes).unwrap_err().to_string();
        assert!(
            e.contains("tensor `a`: its shape has more elements than its storage"),
            "{e}"
        );
    }

    #[test]
    fn shapes_without_room_in_a_word_have_no_number_of_elements() {
        assert_eq!(elements(&[2, 3]), Some(6));
        assert_eq!(elements(&[]), Some(1));
        assert_eq!(elements(&[0, 3]), Some(0));
        assert_eq!(elements(&[0, 1 << 40, 1 << 40]), None);
    }
}
