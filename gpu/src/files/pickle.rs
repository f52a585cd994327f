//! PyTorch's checkpoints (`pytorch_model.bin`, `adapter_model.bin`): a zip archive with a pickle of
//! names and places and a file for each storage. The pickle is read by candle's reader, which
//! builds values and runs no code.

use crate::error::{Error, Result};
use candle_core::pickle::{Object, Stack, TensorInfo};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Longest pickle that is read: names and places of some hundred thousand tensors.
const LONGEST: u64 = 64 << 20;

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
    // the reader takes lists of arguments apart without looking at their lengths
    let found = std::panic::catch_unwind(|| infos(&bytes, &folder));
    match found {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(message)) => Err(wrong(path, message)),
        Err(_) => Err(wrong(path, "expected a pickle of tensors by name")),
    }
}

fn infos(bytes: &[u8], folder: &str) -> std::result::Result<BTreeMap<String, TensorInfo>, String> {
    let mut stack = Stack::empty();
    stack
        .read_loop(&mut &bytes[..])
        .map_err(|e| e.to_string())?;
    let mut all = stack.finalize().map_err(|e| e.to_string())?;
    if let Object::Build { callable, .. } = all {
        all = *callable; // an OrderedDict with attributes
    }
    let Object::Dict(entries) = all else {
        return Err("expected tensors by name, found another object".into());
    };
    let mut found = BTreeMap::new();
    for (name, value) in entries {
        let Object::Unicode(text) = &name else {
            continue;
        };
        let text = text.clone();
        match value.into_tensor_info(name, folder.as_ref()) {
            Ok(Some(info)) => {
                found.insert(text, info);
            }
            // older files hold mask buffers of booleans, which are not read
            Err(_) if text.ends_with(".bias") || text.ends_with("position_ids") => {}
            // versions of modules, which PyTorch keeps as an attribute of the dictionary
            Ok(None) if text == "_metadata" => {}
            Ok(None) => return Err(format!("`{text}`: expected a tensor")),
            Err(e) => {
                let reason = e.to_string();
                let reason = reason.lines().next().unwrap_or_default().to_string();
                return Err(format!("tensor `{text}`: expected numbers ({reason})"));
            }
        }
    }
    Ok(found)
}

/// A tensor of a checkpoint on the CPU, in its own type.
pub(super) fn read(path: &Path, info: &TensorInfo) -> Result<Tensor> {
    let bad = |message: &str| wrong(path, format!("tensor `{}`: {message}", info.name));
    let mut archive = open(path)?;
    let entry = archive.by_name(&info.path).map_err(|e| wrong(path, e))?;
    let (layout, width) = (&info.layout, info.dtype.size_in_bytes());
    let (dims, stride) = (layout.dims().to_vec(), layout.stride().to_vec());
    let count = dims.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
    let count = count.ok_or_else(|| bad("its shape is too large"))?;
    // candle has the offset in bytes
    let from = layout.start_offset();
    let last = dims.iter().zip(&stride).try_fold(0_usize, |at, (d, s)| {
        at.checked_add(d.saturating_sub(1).checked_mul(*s)?)
    });
    let end = last.and_then(|last| last.checked_add(1)?.checked_mul(width)?.checked_add(from));
    let end = end.filter(|end| count == 0 || *end as u64 <= entry.size());
    let end = end.ok_or_else(|| bad("its storage ends before it does"))?;
    let mut bytes = Vec::new();
    let read = entry.take(end as u64).read_to_end(&mut bytes);
    read.map_err(|e| wrong(path, e))?;
    if count > 0 && bytes.len() < end {
        return Err(bad("its storage ends before it does"));
    }
    let plain = layout.is_contiguous();
    let data = match plain {
        true => bytes
            .get(from..from + count * width)
            .unwrap_or_default()
            .to_vec(),
        false => gathered(&bytes, from, width, &dims, &stride),
    };
    Ok(Tensor::from_raw_buffer(
        &data,
        info.dtype,
        &dims,
        &Device::Cpu,
    )?)
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
