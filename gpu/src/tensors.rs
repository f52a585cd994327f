//! The declaration of a tensor: name, shape, initial value and role in one expression, where the
//! code stands that computes with it.
//!
//! A part or backbone asks a [`Declare`] for each of its tensors. What comes back depends on the
//! [`Source`] behind it: initial values drawn from a seed, tensors that a file held, or an outline
//! that has shapes and no elements. So the code that trains a model is also the code that counts
//! its parameters, starts it, and says what its files contain.
//!
//! ```
//! use inducer_gpu::tensors::{Init, Source};
//! let outline = Source::outline();
//! let layer = outline.root().within("layer");
//! let weight = layer.weight("up", [3, 2], Init::Normal(0.02))?;
//! assert_eq!((weight.name.as_str(), weight.tensor.dims()), ("layer.up", &[3, 2][..]));
//! # Ok::<(), inducer_gpu::Error>(())
//! ```

use crate::error::{Error, Origin, Result};
use crate::ops::dropout::mix;
use crate::tape::{Pair, Parameter, Role};
use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, StandardNormal, Uniform};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

/// How a tensor starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f64),
    /// N(0, σ²).
    Normal(f64),
    /// fmod(N(0,1), 2) · σ: the authors' truncation at two deviations.
    TruncatedNormal(f64),
    /// U(−a, a).
    Uniform(f64),
}

impl Init {
    /// All zero.
    pub const ZERO: Self = Self::Constant(0.0);

    /// PyTorch's start of a linear map with so many inputs (Kaiming-uniform with a = √5):
    /// U(±1/√inputs).
    pub fn kaiming(inputs: usize) -> Self {
        Self::Uniform(1.0 / (inputs as f64).sqrt())
    }

    /// A tensor with these initial values. It has a generator of its own: seed and name decide,
    /// not the order of creation.
    ///
    /// # Errors
    /// A candle error.
    pub fn tensor(
        self,
        seed: u64,
        name: &str,
        shape: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let mut rng = generator(seed, name);
        let mut draw = || -> f64 {
            match self {
                Self::Constant(c) => c,
                Self::Normal(sigma) => sigma * rng.sample::<f64, _>(StandardNormal),
                Self::TruncatedNormal(sigma) => {
                    sigma * (rng.sample::<f64, _>(StandardNormal) % 2.0)
                }
                Self::Uniform(a) => {
                    Uniform::new_inclusive(-a, a).map_or(0.0, |u| u.sample(&mut rng))
                }
            }
        };
        let count = shape.iter().product();
        let data: Vec<f32> = (0..count).map(|_| draw() as f32).collect();
        Ok(Tensor::from_vec(data, shape, &Device::Cpu)?
            .to_dtype(dtype)?
            .to_device(device)?)
    }
}

/// A generator for one purpose of a run.
pub fn generator(seed: u64, purpose: &str) -> ChaCha12Rng {
    let mut key = mix(seed);
    for b in purpose.bytes() {
        key = mix(key ^ u64::from(b));
    }
    ChaCha12Rng::seed_from_u64(key)
}

/// Where declared tensors get their elements from.
pub struct Source(Kind);

enum Kind {
    Outline,
    Random(u64, DType, Device),
    Given(RefCell<BTreeMap<String, Tensor>>, Origin),
}

impl Source {
    /// Shapes without elements: every tensor is one zero, repeated.
    pub fn outline() -> Self {
        Self(Kind::Outline)
    }

    /// Initial values, drawn from `seed` and the tensor's name.
    pub fn random(seed: u64, dtype: DType, device: &Device) -> Self {
        Self(Kind::Random(seed, dtype, device.clone()))
    }

    /// These tensors by name; errors name `origin`.
    pub fn given(tensors: BTreeMap<String, Tensor>, origin: Origin) -> Self {
        Self(Kind::Given(tensors.into(), origin))
    }

    /// The outermost place: names start here, and tensors are trained.
    pub fn root(&self) -> Declare<'_> {
        Declare {
            source: self,
            path: String::new(),
            trainable: true,
        }
    }

    /// A tensor that replaces another of this name and shape, where one was given.
    ///
    /// # Errors
    /// The given one has another shape.
    pub fn take(&self, name: &str, shape: &[usize]) -> Result<Option<Tensor>> {
        match &self.0 {
            Kind::Given(tensors, _) if tensors.borrow().contains_key(name) => {
                self.tensor(name, shape, Init::ZERO).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// It is not among those given, or has another shape.
    pub fn tensor(&self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
        match &self.0 {
            Kind::Outline => Ok(Tensor::zeros((), DType::F32, &Device::Cpu)?.broadcast_as(shape)?),
            Kind::Random(seed, dtype, device) => init.tensor(*seed, name, shape, *dtype, device),
            Kind::Given(tensors, origin) => match tensors.borrow_mut().remove(name) {
                Some(t) if t.dims() == shape => Ok(t),
                Some(t) => Err(Error::Shape {
                    origin: origin.clone(),
                    name: name.into(),
                    expected: shape.to_vec(),
                    found: t.dims().to_vec(),
                }),
                None => Err(Error::MissingTensor {
                    origin: origin.clone(),
                    name: name.into(),
                    expected: shape.to_vec(),
                }),
            },
        }
    }

    /// Ends the declaration.
    ///
    /// # Errors
    /// A tensor was given that nobody has declared.
    pub fn finish(self) -> Result<()> {
        if let Kind::Given(tensors, origin) = self.0
            && let Some((name, t)) = tensors.into_inner().pop_first()
        {
            return Err(Error::ExtraTensor {
                origin,
                name,
                found: t.dims().to_vec(),
            });
        }
        Ok(())
    }
}

/// A place in the tree of names at which tensors are declared.
#[derive(Clone)]
pub struct Declare<'a> {
    source: &'a Source,
    path: String,
    trainable: bool,
}

impl Declare<'_> {
    /// The place `name` below this one.
    pub fn within(&self, name: impl Display) -> Self {
        Self {
            path: self.name(name),
            ..self.clone()
        }
    }

    /// The same place for tensors that are not trained.
    pub fn frozen(&self) -> Self {
        Self {
            trainable: false,
            ..self.clone()
        }
    }

    fn name(&self, name: impl Display) -> String {
        match self.path.as_str() {
            "" => name.to_string(),
            path => format!("{path}.{name}"),
        }
    }

    fn tensor(&self, name: &str, shape: &[usize], init: Init, role: Role) -> Result<Parameter> {
        let name = self.name(name);
        let tensor = self.source.tensor(&name, shape, init)?;
        let mut parameter = Parameter::new(name, tensor, self.trainable);
        parameter.role = role;
        Ok(parameter)
    }

    /// A weight: weight decay acts on it.
    ///
    /// # Errors
    /// As [`Source::tensor`].
    pub fn weight(&self, name: &str, shape: impl AsRef<[usize]>, init: Init) -> Result<Parameter> {
        self.tensor(name, shape.as_ref(), init, Role::Weight)
    }

    /// A bias: no weight decay, and BitFit trains a backbone's.
    ///
    /// # Errors
    /// As [`Source::tensor`].
    pub fn bias(&self, name: &str, shape: impl AsRef<[usize]>, init: Init) -> Result<Parameter> {
        self.tensor(name, shape.as_ref(), init, Role::Bias)
    }

    /// A vector of factors: no weight decay.
    ///
    /// # Errors
    /// As [`Source::tensor`].
    pub fn scale(&self, name: &str, width: usize, init: Init) -> Result<Parameter> {
        self.tensor(name, &[width], init, Role::Scale)
    }

    /// `weight` and `bias` of a LayerNorm, which starts as the identity after normalisation.
    ///
    /// # Errors
    /// As [`Source::tensor`].
    pub fn norm(&self, name: &str, width: usize) -> Result<Pair> {
        let at = self.within(name);
        Ok([
            at.scale("weight", width, Init::Constant(1.0))?,
            at.bias("bias", [width], Init::ZERO)?,
        ])
    }

    /// `weight` [inputs, outputs], as GPT-2's files have it, and `bias`, which starts at 0.
    ///
    /// # Errors
    /// As [`Source::tensor`].
    pub fn conv1d(&self, name: &str, inputs: usize, outputs: usize, init: Init) -> Result<Pair> {
        let at = self.within(name);
        Ok([
            at.weight("weight", [inputs, outputs], init)?,
            at.bias("bias", [outputs], Init::ZERO)?,
        ])
    }

    /// `weight` [outputs, inputs], as PyTorch's linear maps have it, and `bias`.
    ///
    /// # Errors
    /// As [`Source::tensor`].
    pub fn linear(
        &self,
        name: &str,
        [outputs, inputs]: [usize; 2],
        [weight, bias]: [Init; 2],
    ) -> Result<Pair> {
        let at = self.within(name);
        Ok([
            at.weight("weight", [outputs, inputs], weight)?,
            at.bias("bias", [outputs], bias)?,
        ])
    }
}

/// What holds parameters. Write it with [`tensors!`](crate::tensors!), which names the fields once.
pub trait Tensors {
    /// Appends every parameter, in a fixed order.
    fn collect<'a>(&'a self, out: &mut Vec<&'a Parameter>);

    /// The same, to be changed.
    fn collect_mut<'a>(&'a mut self, out: &mut Vec<&'a mut Parameter>);

    /// Every parameter, in a fixed order.
    fn parameters(&self) -> Vec<&Parameter> {
        let mut out = Vec::new();
        self.collect(&mut out);
        out
    }

    /// The same, to be changed by the optimiser.
    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let mut out = Vec::new();
        self.collect_mut(&mut out);
        out
    }
}

impl Tensors for Parameter {
    fn collect<'a>(&'a self, out: &mut Vec<&'a Parameter>) {
        out.push(self);
    }

    fn collect_mut<'a>(&'a mut self, out: &mut Vec<&'a mut Parameter>) {
        out.push(self);
    }
}

macro_rules! of_each {
    ($([$($size:tt)*] $container:ty),*) => {$(
        impl<T: Tensors, $($size)*> Tensors for $container {
            fn collect<'a>(&'a self, out: &mut Vec<&'a Parameter>) {
                self.iter().for_each(|t| t.collect(out));
            }

            fn collect_mut<'a>(&'a mut self, out: &mut Vec<&'a mut Parameter>) {
                self.iter_mut().for_each(|t| t.collect_mut(out));
            }
        }
    )*};
}

of_each!([] Option<T>, [] Vec<T>, [const N: usize] [T; N]);

impl<T: Tensors + ?Sized> Tensors for Box<T> {
    fn collect<'a>(&'a self, out: &mut Vec<&'a Parameter>) {
        (**self).collect(out);
    }

    fn collect_mut<'a>(&'a mut self, out: &mut Vec<&'a mut Parameter>) {
        (**self).collect_mut(out);
    }
}

/// Implements [`Tensors`](crate::tensors::Tensors) from the list of the fields that hold any.
///
/// ```
/// use inducer_gpu::tensors::{Init, Source, Tensors as _};
/// struct Map {
///     weight: inducer_gpu::Parameter,
/// }
/// inducer_gpu::tensors!(Map: weight);
/// let source = Source::outline();
/// let map = Map { weight: source.root().weight("w", [2, 3], Init::ZERO)? };
/// assert_eq!(map.parameters().len(), 1);
/// # Ok::<(), inducer_gpu::Error>(())
/// ```
#[macro_export]
macro_rules! tensors {
    ($type:ty: $($field:ident),+) => {
        impl $crate::tensors::Tensors for $type {
            fn collect<'a>(&'a self, out: &mut Vec<&'a $crate::Parameter>) {
                $($crate::tensors::Tensors::collect(&self.$field, out);)+
            }

            fn collect_mut<'a>(&'a mut self, out: &mut Vec<&'a mut $crate::Parameter>) {
                $($crate::tensors::Tensors::collect_mut(&mut self.$field, out);)+
            }
        }
    };
}
