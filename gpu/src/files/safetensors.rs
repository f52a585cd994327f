//! Reading and writing safetensors: one file or a sharded index, any float type, every tensor
//! checked.

use super::io::{read_json, write};
use super::mmap::map_file;
use crate::counts::Shape;
use crate::error::{Error, Result};
use crate::kernels::{cpu, dispatch};
use candle_core::{DType, Device, Tensor};
use num_traits::ToPrimitive as _;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::{BTreeMap, HashMap, HashSet};
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
        let bad = |message: String| Error::json(&index, message);
        let value = read_json(&index)?;
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
        let mut all = Self::empty(&index);
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
        let mut all = Self::empty(path);
        all.add(path)?;
        Ok(all)
    }

    fn empty(home: &Path) -> Self {
        Self {
            files: Vec::new(),
            entries: BTreeMap::new(),
            home: home.to_path_buf(),
        }
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

    /// Reads tensors of these names and shapes; `names` gives all that one may have in a file.
    ///
    /// # Errors
    /// One is missing, has another shape, or holds a number that is not finite.
    pub fn read(
        &self,
        expected: &[Shape],
        names: impl Fn(&str) -> Vec<String>,
        dtype: DType,
        device: &Device,
    ) -> Result<BTreeMap<String, Tensor>> {
        let parsed = self
            .files
            .iter()
            .map(|(p, m)| parse(p, m))
            .collect::<Result<Vec<_>>>()?;
        let mut out = BTreeMap::new();
        for (name, shape) in expected {
            let possible = names(name);
            let found = possible
                .iter()
                .find_map(|n| Some((n, *self.entries.get(n)?)));
            let Some((stored, i)) = found else {
                return Err(Error::MissingTensor {
                    origin: self.home.as_path().into(),
                    name: possible[0].clone(),
                    expected: shape.clone(),
                });
            };
            let path = &self.files[i].0;
            let view = parsed[i]
                .tensor(stored)
                .map_err(|e| Error::format(path, e))?;
            if view.shape() != shape {
                return Err(Error::Shape {
                    origin: path.as_path().into(),
                    name: stored.clone(),
                    expected: shape.clone(),
                    found: view.shape().to_vec(),
                });
            }
            let tensor = load(path, stored, &view)?;
            out.insert(name.clone(), tensor.to_dtype(dtype)?.to_device(device)?);
        }
        Ok(out)
    }

    /// Names that are neither in `known` nor accepted by `ignore`.
    ///
    /// # Errors
    /// There is one.
    pub fn refuse_others(
        &self,
        known: &[Shape],
        names: impl Fn(&str) -> Vec<String>,
        ignore: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let known: HashSet<String> = known.iter().flat_map(|(name, _)| names(name)).collect();
        for (name, i) in &self.entries {
            if !known.contains(name.as_str()) && !ignore(name) {
                return Err(Error::ExtraTensor {
                    origin: self.files[*i].0.as_path().into(),
                    name: name.clone(),
                    found: self.shape(name)?.unwrap_or_default(),
                });
            }
        }
        Ok(())
    }
}

/// For files in which a tensor has one name, its own.
pub fn same_name(name: &str) -> Vec<String> {
    vec![name.into()]
}

fn parse<'a>(path: &Path, map: &'a [u8]) -> Result<SafeTensors<'a>> {
    SafeTensors::deserialize(map).map_err(|e| Error::format(path, e))
}

/// A tensor on the CPU; halves as f32.
fn load(path: &Path, name: &str, view: &TensorView<'_>) -> Result<Tensor> {
    let (stored, dtype) = match view.dtype() {
        Dtype::F64 => (DType::F64, DType::F64),
        Dtype::F32 => (DType::F32, DType::F32),
        Dtype::F16 => (DType::F16, DType::F32),
        Dtype::BF16 => (DType::BF16, DType::F32),
        other => {
            let message = format!("tensor `{name}`: expected a float type, found {other:?}");
            return Err(Error::format(path, message));
        }
    };
    let t = Tensor::from_raw_buffer(view.data(), stored, view.shape(), &Device::Cpu)?;
    let t = t.to_dtype(dtype)?;
    let infinite = dispatch!(t, T => {
        let t = cpu(&t)?;
        let t = t.slice::<T>()?;
        t.iter().position(|x| !x.is_finite()).map(|i| (i, t[i].to_f64().unwrap_or(f64::NAN)))
    });
    match infinite {
        Some((index, value)) => Err(Error::NonFinite {
            path: path.to_path_buf(),
            name: name.to_string(),
            index,
            value,
        }),
        None => Ok(t),
    }
}

/// The bytes of a safetensors file with these tensors, f64 as such and the rest as f32, with
/// metadata.
///
/// # Errors
/// A candle error.
pub fn serialize<'a>(
    tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>> {
    let stored = |t: &Tensor| match t.dtype() {
        DType::F64 => t.to_device(&Device::Cpu),
        _ => t.to_device(&Device::Cpu)?.to_dtype(DType::F32),
    };
    let tensors = tensors
        .into_iter()
        .map(|(name, t)| Ok((name, stored(t)?)))
        .collect::<Result<Vec<_>>>()?;
    let metadata = (!metadata.is_empty()).then_some(metadata);
    let bytes = safetensors::serialize(tensors, metadata);
    Ok(bytes.map_err(candle_core::Error::from)?)
}

/// Writes tensors, in whole precision, as transformers and PEFT expect them.
pub(super) fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let metadata = HashMap::from([("format".into(), "pt".into())]);
    write(path, &serialize(tensors, metadata)?)
}

/// The metadata of a safetensors file.
///
/// # Errors
/// A missing or broken file.
pub fn metadata(path: &Path) -> Result<HashMap<String, String>> {
    let map = map_file(path).map_err(|e| Error::io(path, e))?;
    let (_, meta) = SafeTensors::read_metadata(&map).map_err(|e| Error::format(path, e))?;
    Ok(meta.metadata().clone().unwrap_or_default())
}
