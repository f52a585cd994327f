//! A Hugging Face directory: `config.json` and `model.safetensors`, or its shards and their index.
//!
//! Checked by `files_sharded_and_single_backbones_are_the_same_model` and the error tests in
//! `tests/files.rs`.

use crate::error::Error;
use crate::files::tensors::{TensorMap, read_tensors};
use crate::scalar::Real;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Reads a JSON file.
///
/// # Errors
/// When it cannot be read or is not what `C` asks for; the error names the file, line, column and
/// field.
pub fn read_json<C: DeserializeOwned>(path: &Path) -> Result<C, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The tensors of a directory, from `model.safetensors` or from the shards that
/// `model.safetensors.index.json` lists, and the name of the file that they are reported under.
///
/// # Errors
/// When a file is missing or broken, when a shard lacks a tensor that the index places in it, or
/// has one more.
pub fn read_backbone_tensors<T: Real>(
    dir: &Path,
    skip: impl Fn(&str) -> bool,
) -> Result<(String, TensorMap<T>), Error> {
    let single = dir.join("model.safetensors");
    let index_path = dir.join("model.safetensors.index.json");
    if single.exists() || !index_path.exists() {
        let tensors = read_tensors(&single, skip)?;
        return Ok((single.display().to_string(), tensors));
    }
    let index: Index = read_json(&index_path)?;
    let shards: BTreeSet<&String> = index.weight_map.values().collect();
    let mut all = TensorMap::new();
    for shard in shards {
        let path = dir.join(shard);
        for (name, tensor) in read_tensors(&path, &skip)? {
            if index.weight_map.get(&name) != Some(shard) {
                return Err(Error::UnexpectedTensor {
                    file: path.display().to_string(),
                    tensor: name,
                    found: tensor.shape().to_vec(),
                });
            }
            all.insert(name, tensor);
        }
    }
    let absent = index
        .weight_map
        .iter()
        .find(|(name, _)| !all.contains_key(*name) && !skip(name));
    if let Some((name, shard)) = absent {
        return Err(Error::Malformed {
            path: dir.join(shard),
            what: format!("tensor `{name}`"),
            expected: "in this shard, as model.safetensors.index.json says".into(),
            found: "no such tensor".into(),
        });
    }
    Ok((index_path.display().to_string(), all))
}
