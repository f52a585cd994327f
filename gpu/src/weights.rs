//! Reading and writing safetensors: one file or a sharded index, any float type, every tensor
//! checked.

use crate::error::{Error, Result};
use crate::mmap::map_file;
use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The tensors of a directory or file, mapped into memory.
pub struct Weights {
    files: Vec<(PathBuf, memmap2::Mmap)>,
    entries: BTreeMap<String, usize>,
    /// What to name in an error about a missing tensor.
    home: PathBuf,
}

impl Weights {
    /// `model.safetensors` of a Hugging Face directory, or the files of
    /// `model.safetensors.index.json`.
    ///
    /// # Errors
    /// A missing, truncated or broken file.
    pub fn open_backbone(dir: &Path) -> Result<Self> {
        let (single, index) = (
            dir.join("model.safetensors"),
            dir.join("model.safetensors.index.json"),
        );
        if single.exists() || !index.exists() {
            return Self::open(&single);
        }
        let bad = |message: String| Error::Json {
            path: index.clone(),
            message,
        };
        let value: serde_json::Value =
            serde_json::from_str(&crate::config::read(&index)?).map_err(|e| bad(e.to_string()))?;
        let map = value
            .get("weight_map")
            .and_then(|m| m.as_object())
            .ok_or_else(|| bad("field `weight_map`: missing (expected an object)".into()))?;
        let mut names: Vec<&str> = Vec::new();
        for (tensor, file) in map {
            names.push(file.as_str().ok_or_else(|| {
                bad(format!(
                    "field `weight_map.{tensor}`: expected a file name, found {file}"
                ))
            })?);
        }
        names.sort_unstable();
        names.dedup();
        let mut all = Self {
            files: Vec::new(),
            entries: BTreeMap::new(),
            home: index.clone(),
        };
        for name in names {
            all.add(&dir.join(name))?;
        }
        if let Some(missing) = map.keys().find(|k| !all.entries.contains_key(*k)) {
            return Err(bad(format!(
                "field `weight_map.{missing}`: the file {} has no such tensor",
                map[missing]
            )));
        }
        Ok(all)
    }

    /// One safetensors file.
    ///
    /// # Errors
    /// A missing, truncated or broken file.
    pub fn open(path: &Path) -> Result<Self> {
        let mut all = Self {
            files: Vec::new(),
            entries: BTreeMap::new(),
            home: path.to_path_buf(),
        };
        all.add(path)?;
        Ok(all)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let map = map_file(path).map_err(|e| Error::io(path, e))?;
        let parsed = parse(path, &map)?;
        let index = self.files.len();
        for name in parsed.names() {
            self.entries.insert(name.to_string(), index);
        }
        self.files.push((path.to_path_buf(), map));
        Ok(())
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The file that the tensors came from (the index of a sharded one).
    pub fn path(&self) -> &Path {
        &self.home
    }

    /// Shape of a tensor, if it is there.
    ///
    /// # Errors
    /// A broken file.
    pub fn shape(&self, name: &str) -> Result<Option<Vec<usize>>> {
        let Some(i) = self.entries.get(name) else {
            return Ok(None);
        };
        let (path, map) = &self.files[*i];
        Ok(parse(path, map)?
            .tensor(name)
            .ok()
            .map(|v| v.shape().to_vec()))
    }

    /// Reads all the named tensors, `expected` giving for each the names it may have and its shape.
    ///
    /// # Errors
    /// One is missing, has another shape, or holds a number that is not finite.
    pub fn read(
        &self,
        expected: &[(Vec<String>, Vec<usize>)],
        dtype: DType,
        device: &Device,
    ) -> Result<Vec<Tensor>> {
        let parsed = self
            .files
            .iter()
            .map(|(p, m)| parse(p, m))
            .collect::<Result<Vec<_>>>()?;
        let mut out = Vec::new();
        for (names, shape) in expected {
            let Some((name, i)) = names
                .iter()
                .find_map(|n| self.entries.get(n).map(|i| (n, *i)))
            else {
                return Err(Error::MissingTensor {
                    path: self.home.clone(),
                    name: names[0].clone(),
                    expected: shape.clone(),
                });
            };
            let path = &self.files[i].0;
            let view = parsed[i].tensor(name).map_err(|e| Error::Format {
                path: path.clone(),
                message: e.to_string(),
            })?;
            if view.shape() != shape {
                return Err(Error::Shape {
                    path: path.clone(),
                    name: name.clone(),
                    expected: shape.clone(),
                    found: view.shape().to_vec(),
                });
            }
            out.push(load(path, name, &view, dtype, device)?);
        }
        Ok(out)
    }

    /// Names that are neither in `known` nor accepted by `ignore`.
    ///
    /// # Errors
    /// There is one.
    pub fn refuse_others(
        &self,
        known: &[(Vec<String>, Vec<usize>)],
        ignore: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let known: std::collections::HashSet<&str> = known
            .iter()
            .flat_map(|(n, _)| n.iter().map(String::as_str))
            .collect();
        for (name, i) in &self.entries {
            if !known.contains(name.as_str()) && !ignore(name) {
                let found = self.shape(name)?.unwrap_or_default();
                return Err(Error::ExtraTensor {
                    path: self.files[*i].0.clone(),
                    name: name.clone(),
                    found,
                });
            }
        }
        Ok(())
    }
}

fn parse<'a>(path: &Path, map: &'a [u8]) -> Result<SafeTensors<'a>> {
    SafeTensors::deserialize(map).map_err(|e| Error::Format {
        path: path.to_path_buf(),
        message: e.to_string(),
    })
}

fn load(
    path: &Path,
    name: &str,
    view: &TensorView<'_>,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let data = view.data();
    let shape = view.shape();
    let nonfinite = |index: usize, value: f64| Error::NonFinite {
        path: path.to_path_buf(),
        name: name.to_string(),
        index,
        value,
    };
    let t = match view.dtype() {
        Dtype::F32 => {
            let v: Vec<f32> = data
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            if let Some(i) = v.iter().position(|x| !x.is_finite()) {
                return Err(nonfinite(i, f64::from(v[i])));
            }
            Tensor::from_vec(v, shape, &Device::Cpu)?
        }
        Dtype::F64 => {
            let v: Vec<f64> = data
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
                .collect();
            if let Some(i) = v.iter().position(|x| !x.is_finite()) {
                return Err(nonfinite(i, v[i]));
            }
            Tensor::from_vec(v, shape, &Device::Cpu)?
        }
        Dtype::F16 | Dtype::BF16 => {
            let brain = view.dtype() == Dtype::BF16;
            let widen = |b: &[u8]| {
                let bits = u16::from_le_bytes([b[0], b[1]]);
                if brain {
                    half::bf16::from_bits(bits).to_f32()
                } else {
                    half::f16::from_bits(bits).to_f32()
                }
            };
            let v: Vec<f32> = data.chunks_exact(2).map(widen).collect();
            if let Some(i) = v.iter().position(|x| !x.is_finite()) {
                return Err(nonfinite(i, f64::from(v[i])));
            }
            Tensor::from_vec(v, shape, &Device::Cpu)?
        }
        other => {
            return Err(Error::Format {
                path: path.to_path_buf(),
                message: format!("tensor `{name}`: expected a float type, found {other:?}"),
            });
        }
    };
    Ok(t.to_dtype(dtype)?.to_device(device)?)
}

/// The bytes of a safetensors file with these tensors, in their own types, names sorted, with
/// metadata.
///
/// # Errors
/// A candle error.
pub fn serialize(
    tensors: &[(String, Tensor)],
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>> {
    let mut data: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, t) in tensors {
        let t = t.to_device(&Device::Cpu)?.flatten_all()?;
        let (dtype, bytes) = match t.dtype() {
            DType::F64 => (
                Dtype::F64,
                t.to_vec1::<f64>()?
                    .iter()
                    .flat_map(|x| x.to_le_bytes())
                    .collect(),
            ),
            _ => (
                Dtype::F32,
                t.to_dtype(DType::F32)?
                    .to_vec1::<f32>()?
                    .iter()
                    .flat_map(|x| x.to_le_bytes())
                    .collect(),
            ),
        };
        data.push((
            name.clone(),
            dtype,
            tensors
                .iter()
                .find(|(n, _)| n == name)
                .map_or_else(Vec::new, |(_, t)| t.dims().to_vec()),
            bytes,
        ));
    }
    data.sort_by(|a, b| a.0.cmp(&b.0));
    let format = |e: safetensors::SafeTensorError| candle_core::Error::Msg(e.to_string());
    let mut views = Vec::new();
    for (name, dtype, shape, bytes) in &data {
        views.push((
            name.clone(),
            TensorView::new(*dtype, shape.clone(), bytes).map_err(format)?,
        ));
    }
    let metadata = if metadata.is_empty() {
        None
    } else {
        Some(metadata)
    };
    Ok(safetensors::serialize(views, metadata).map_err(format)?)
}

/// The metadata of a safetensors file.
///
/// # Errors
/// A missing or broken file.
pub fn metadata(path: &Path) -> Result<HashMap<String, String>> {
    let map = map_file(path).map_err(|e| Error::io(path, e))?;
    let (_, meta) = SafeTensors::read_metadata(&map).map_err(|e| Error::Format {
        path: path.to_path_buf(),
        message: e.to_string(),
    })?;
    Ok(meta.metadata().clone().unwrap_or_default())
}
