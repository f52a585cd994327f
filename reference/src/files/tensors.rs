//! The safetensors container, read from its bytes.
//!
//! ```text
//! 8 bytes: length N of the header, little-endian | N bytes of JSON | data
//! header: {"name": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, …,
//!          "__metadata__": {..}}
//! ```
//!
//! The header's `data_offsets` count from the first byte after the header. Values are row-major and
//! little-endian.
//!
//! Checked by `files_every_dtype_reads_as_its_value`,
//! `files_a_truncated_or_corrupt_file_is_an_error_at_every_length`.

use crate::error::Error;
use crate::scalar::Real;
use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Tensors by name.
pub type TensorMap<T> = BTreeMap<String, ArrayD<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// All tensors of a safetensors file: F16, BF16, F32 or F64, every value finite.
///
/// Tensors whose name `skip` accepts are not read (integer mask buffers, say).
///
/// # Errors
/// When the file cannot be read, is cut short, contradicts itself, holds another dtype or a value
/// that is not finite. The error names the file and the tensor.
pub fn read_tensors<T: Real>(
    path: &Path,
    skip: impl Fn(&str) -> bool,
) -> Result<TensorMap<T>, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    let (header, data) = split_header(path, &bytes)?;
    let entries: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(|source| json(path, source))?;
    let mut tensors = TensorMap::new();
    let mut end_of_data = 0;
    for (name, value) in entries {
        if name == "__metadata__" {
            continue;
        }
        let entry: Entry = serde_json::from_value(value).map_err(|source| {
            malformed(
                path,
                format!("entry of `{name}`"),
                "dtype, shape and data_offsets",
                source,
            )
        })?;
        end_of_data = end_of_data.max(entry.data_offsets[1]);
        if !skip(&name) {
            let tensor = read_entry(path, &name, &entry, data)?;
            tensors.insert(name, tensor);
        }
    }
    if end_of_data != data.len() {
        return Err(malformed(
            path,
            "data".into(),
            format!("{end_of_data} bytes"),
            data.len(),
        ));
    }
    Ok(tensors)
}

fn json(path: &Path, source: serde_json::Error) -> Error {
    Error::Json {
        path: path.to_owned(),
        source,
    }
}

fn malformed(path: &Path, what: String, expected: impl ToString, found: impl ToString) -> Error {
    Error::Malformed {
        path: path.to_owned(),
        what,
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

fn split_header<'a>(path: &Path, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Error> {
    let found = format!("{} bytes in all", bytes.len());
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(malformed(path, "header length".into(), "8 bytes", found));
    };
    let length = u64::from_le_bytes(*length);
    usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or_else(|| malformed(path, "header".into(), format!("{length} bytes"), found))
}

fn read_entry<T: Real>(
    path: &Path,
    name: &str,
    entry: &Entry,
    data: &[u8],
) -> Result<ArrayD<T>, Error> {
    let of_tensor = || format!("tensor `{name}`");
    let width = match entry.dtype.as_str() {
        "F16" | "BF16" => 2,
        "F32" => 4,
        "F64" => 8,
        other => {
            return Err(malformed(
                path,
                of_tensor(),
                "dtype F16, BF16, F32 or F64",
                other,
            ));
        }
    };
    let [begin, end] = entry.data_offsets;
    let found = format!("bytes {begin}..{end} of {}", data.len());
    let expected_length = entry
        .shape
        .iter()
        .try_fold(width, |product: usize, &extent| product.checked_mul(extent));
    let bytes = data
        .get(begin..end)
        .filter(|bytes| Some(bytes.len()) == expected_length)
        .ok_or_else(|| {
            let expected = format!(
                "data of a {} tensor of shape {:?}",
                entry.dtype, entry.shape
            );
            malformed(path, of_tensor(), expected, found)
        })?;
    let values: Vec<f64> = bytes
        .chunks_exact(width)
        .map(|chunk| decode(&entry.dtype, chunk))
        .collect();
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(Error::NonFinite {
            file: path.display().to_string(),
            tensor: name.to_owned(),
            index,
            found: values[index],
        });
    }
    let values = values.into_iter().map(T::from_f64).collect();
    ArrayD::from_shape_vec(IxDyn(&entry.shape), values)
        .map_err(|source| malformed(path, of_tensor(), "a shape that fits memory", source))
}

/// One value, little-endian. Every dtype here is exact in `f64`.
fn decode(dtype: &str, bytes: &[u8]) -> f64 {
    let mut word = [0_u8; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(word);
    match dtype {
        "F16" => f16::from_bits(bits as u16).to_f64(),
        "BF16" => bf16::from_bits(bits as u16).to_f64(),
        "F32" => f64::from(f32::from_bits(bits as u32)),
        _ => f64::from_bits(bits),
    }
}
