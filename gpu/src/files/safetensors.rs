//! Reading and writing tensors: safetensors or PyTorch's archives, one file or a sharded index, any
//! float type, every tensor checked.

use super::io::{read_json, write};
use super::mmap::map_file;
use super::pickle::{self, TensorInfo};
use crate::counts::Shape;
use crate::error::{Error, Result};
use crate::kernels::{cpu, dispatch};
use candle_core::{DType, Device, Tensor};
use num_traits::ToPrimitive as _;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The tensors of a directory or file, mapped into memory or read from PyTorch's archives.
pub struct Weights {
    files: Vec<File>,
    entries: BTreeMap<String, usize>,
    /// What to name in an error about a missing tensor.
    home: PathBuf,
}

/// One file.
struct File {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Safetensors(memmap2::Mmap),
    Pickle(BTreeMap<String, TensorInfo>),
}

/// The files that a directory's tensors may lie in, in transformers' order, and PyTorch's that is
/// said to lie there when none of these does.
struct Places {
    single: [&'static str; 2],
    sharded: &'static [&'static str],
}

const BACKBONE: Places = Places {
    single: ["model.safetensors", "pytorch_model.bin"],
    sharded: &[
        "model.safetensors.index.json",
        "pytorch_model.bin.index.json",
    ],
};
const ADAPTER: Places = Places {
    single: ["adapter_model.safetensors", "adapter_model.bin"],
    sharded: &[],
};

impl Weights {
    /// The tensors of a Hugging Face directory: `model.safetensors`, or the files of
    /// `model.safetensors.index.json`, or the same of `pytorch_model.bin`.
    ///
    /// # Errors
    /// A missing, truncated or broken file.
    pub fn open_backbone(dir: &Path) -> Result<Self> {
        Self::open_first(dir, &BACKBONE)
    }

    /// The tensors of an adapter's directory: `adapter_model.safetensors` or `adapter_model.bin`.
    ///
    /// # Errors
    /// A missing, truncated or broken file.
    pub fn open_adapter(dir: &Path) -> Result<Self> {
        Self::open_first(dir, &ADAPTER)
    }

    fn open_first(dir: &Path, places: &Places) -> Result<Self> {
        for (i, single) in places.single.iter().enumerate() {
            let single = dir.join(single);
            if single.exists() {
                return Self::open(&single);
            }
            if let Some(index) = places.sharded.get(i).map(|name| dir.join(name))
                && index.exists()
            {
                return Self::open_sharded(dir, &index);
            }
        }
        let all: Vec<&str> = places
            .single
            .iter()
            .chain(places.sharded)
            .copied()
            .collect();
        let message = format!("expected one of {}", all.join(", "));
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, message);
        Err(Error::io(dir, missing))
    }

    fn open_sharded(dir: &Path, index: &Path) -> Result<Self> {
        let bad = |message: String| Error::json(index, message);
        let value = read_json(index)?;
        let map = value
            .get("weight_map")
            .and_then(|m| m.as_object())
            .ok_or_else(|| bad("field `weight_map`: missing (expected an object)".into()))?;
        let mut names: Vec<&str> = Vec::new();
        for (tensor, file) in map {
            let plain = |name: &&str| !name.contains(['/', '\\']) && *name != "..";
            names.push(file.as_str().filter(plain).ok_or_else(|| {
                bad(format!(
                    "field `weight_map.{tensor}`: expected a file name, found {file}"
                ))
            })?);
        }
        names.sort_unstable();
        names.dedup();
        let mut all = Self::empty(index);
        for name in names {
            all.add(&dir.join(name))?;
        }
        let is_missing = |(name, file): &(&String, &serde_json::Value)| {
            let file = Path::new(file.as_str().unwrap_or_default());
            let left_out = is_pickle(file) && pickle::may_be_left_out(name);
            !left_out && !all.entries.contains_key(*name)
        };
        if let Some((missing, _)) = map.iter().find(is_missing) {
            return Err(bad(format!(
                "field `weight_map.{missing}`: the file {} has no such tensor",
                map[missing]
            )));
        }
        Ok(all)
    }

    /// One safetensors file, or one of PyTorch's where its name ends in `.bin` or `.pt`.
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
        let index = self.files.len();
        let kind = if is_pickle(path) {
            let found = pickle::tensors(path)?;
            self.entries
                .extend(found.keys().map(|name| (name.clone(), index)));
            Kind::Pickle(found)
        } else {
            let map = map_file(path).map_err(|e| Error::io(path, e))?;
            let parsed = parse(path, &map)?;
            let names = parsed.names().into_iter();
            self.entries
                .extend(names.map(|name| (name.to_string(), index)));
            Kind::Safetensors(map)
        };
        let path = path.to_path_buf();
        self.files.push(File { path, kind });
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
        self.files[*i].shape(name)
    }

    /// The float type of the tensors, where all have one.
    ///
    /// # Errors
    /// A broken file.
    pub fn dtype(&self) -> Result<Option<DType>> {
        let mut found = BTreeSet::new();
        for file in &self.files {
            match &file.kind {
                Kind::Pickle(all) => found.extend(all.values().map(|i| format!("{:?}", i.dtype))),
                Kind::Safetensors(map) => {
                    let parsed = parse(&file.path, map)?;
                    found.extend(parsed.iter().map(|(_, view)| format!("{:?}", view.dtype())));
                }
            }
        }
        found.retain(|name| name.contains('F'));
        Ok(match found.into_iter().collect::<Vec<_>>().as_slice() {
            [one] => match one.as_str() {
                "F16" => Some(DType::F16),
                "BF16" => Some(DType::BF16),
                "F32" => Some(DType::F32),
                "F64" => Some(DType::F64),
                _ => None,
            },
            _ => None,
        })
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
            let file = &self.files[i];
            let found = file.shape(stored)?.unwrap_or_default();
            if found != *shape {
                return Err(Error::Shape {
                    origin: file.path.as_path().into(),
                    name: stored.clone(),
                    expected: shape.clone(),
                    found,
                });
            }
            let tensor = file.load(stored)?;
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
                    origin: self.files[*i].path.as_path().into(),
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

/// Whether a file's name is one that PyTorch's checkpoints have.
fn is_pickle(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|e| e == "bin" || e == "pt" || e == "pth")
}

fn parse<'a>(path: &Path, map: &'a [u8]) -> Result<SafeTensors<'a>> {
    SafeTensors::deserialize(map).map_err(|e| Error::format(path, e))
}

impl File {
    fn shape(&self, name: &str) -> Result<Option<Vec<usize>>> {
        Ok(match &self.kind {
            Kind::Safetensors(map) => parse(&self.path, map)?
                .tensor(name)
                .ok()
                .map(|v| v.shape().to_vec()),
            Kind::Pickle(all) => all.get(name).map(|info| info.dims.clone()),
        })
    }

    /// A tensor on the CPU; halves as f32.
    fn load(&self, name: &str) -> Result<Tensor> {
        let wrong = |found: &str| {
            let message = format!("tensor `{name}`: expected a float type, found {found}");
            Error::format(&self.path, message)
        };
        let t = match &self.kind {
            Kind::Safetensors(map) => {
                let parsed = parse(&self.path, map)?;
                let view = parsed
                    .tensor(name)
                    .map_err(|e| Error::format(&self.path, e))?;
                let stored = match view.dtype() {
                    Dtype::F64 => DType::F64,
                    Dtype::F32 => DType::F32,
                    Dtype::F16 => DType::F16,
                    Dtype::BF16 => DType::BF16,
                    other => return Err(wrong(&format!("{other:?}"))),
                };
                if pickle::elements(view.shape()).is_none() {
                    let message = format!("tensor `{name}`: its shape is too large");
                    return Err(Error::format(&self.path, message));
                }
                Tensor::from_raw_buffer(view.data(), stored, view.shape(), &Device::Cpu)?
            }
            Kind::Pickle(all) => {
                let info = all.get(name).filter(|info| pickle::is_float(info.dtype));
                pickle::read(&self.path, info.ok_or_else(|| wrong("another one"))?)?
            }
        };
        let dtype = match t.dtype() {
            DType::F64 => DType::F64,
            _ => DType::F32,
        };
        self.finite(name, t.to_dtype(dtype)?)
    }

    fn finite(&self, name: &str, t: Tensor) -> Result<Tensor> {
        let infinite = dispatch!(t, T => {
            let t = cpu(&t)?;
            let t = t.slice::<T>()?;
            let at = t.iter().position(|x| !x.is_finite());
            at.map(|i| (i, t[i].to_f64().unwrap_or(f64::NAN)))
        });
        match infinite {
            Some((index, value)) => Err(Error::NonFinite {
                path: self.path.clone(),
                name: name.to_string(),
                index,
                value,
            }),
            None => Ok(t),
        }
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

/// Writes tensors in a type, as transformers expects them.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_tensors_as(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    dtype: DType,
) -> Result<()> {
    let metadata = HashMap::from([("format".into(), "pt".into())]);
    let stored = tensors.iter().map(|(name, t)| {
        Ok((
            name,
            t.to_device(&Device::Cpu)?.to_dtype(dtype)?.contiguous()?,
        ))
    });
    let stored = stored.collect::<Result<Vec<_>>>()?;
    let bytes = safetensors::serialize(stored, Some(metadata));
    write(path, &bytes.map_err(candle_core::Error::from)?)
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
