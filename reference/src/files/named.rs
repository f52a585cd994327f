//! Tensors that are taken out by name and shape, so that nothing is missing, misshapen or left
//! over.

use crate::attention::Linear;
use crate::error::Error;
use crate::files::tensors::TensorMap;
use crate::layer_norm::LayerNorm;
use crate::scalar::Field;
use ndarray::{Array1, Array2, Array3, ArrayD, Dimension, IntoDimension};

/// A set of tensors on the way into a model, with the name of where it came from.
#[derive(Clone, Debug)]
pub struct Named<T> {
    origin: String,
    tensors: TensorMap<T>,
}

impl<T: Field> Named<T> {
    /// A set from `origin` (a file's path, or "given tensors").
    pub fn new(origin: impl Into<String>, tensors: TensorMap<T>) -> Self {
        Self {
            origin: origin.into(),
            tensors,
        }
    }

    /// Whether a tensor of this name is (still) there.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Takes the tensor `name` of exactly this shape.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub fn take<S>(&mut self, name: &str, shape: S) -> Result<ndarray::Array<T, S::Dim>, Error>
    where
        S: IntoDimension,
    {
        let dim = shape.into_dimension();
        let expected = || dim.slice().to_vec();
        let tensor = self
            .tensors
            .remove(name)
            .ok_or_else(|| Error::MissingTensor {
                file: self.origin.clone(),
                tensor: name.to_owned(),
                expected: expected(),
            })?;
        let found = tensor.shape().to_vec();
        let wrong = || Error::Shape {
            file: self.origin.clone(),
            tensor: name.to_owned(),
            expected: expected(),
            found: found.clone(),
        };
        if found != dim.slice() {
            return Err(wrong());
        }
        tensor.into_dimensionality::<S::Dim>().map_err(|_| wrong())
    }

    /// A vector `[n]`.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn vector(&mut self, name: &str, n: usize) -> Result<Array1<T>, Error> {
        self.take(name, [n])
    }

    /// A matrix `[rows, columns]`.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn matrix(&mut self, name: &str, shape: [usize; 2]) -> Result<Array2<T>, Error> {
        self.take(name, shape)
    }

    /// A tensor of three axes.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn cube(&mut self, name: &str, shape: [usize; 3]) -> Result<Array3<T>, Error> {
        self.take(name, shape)
    }

    /// `name.weight` `[in, out]` and `name.bias`: GPT-2's Conv1D.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn conv1d(&mut self, name: &str, [d_in, d_out]: [usize; 2]) -> Result<Linear<T>, Error> {
        Ok(Linear {
            weight: self.matrix(&format!("{name}.weight"), [d_in, d_out])?,
            bias: self.vector(&format!("{name}.bias"), d_out)?,
        })
    }

    /// `name.weight` `[out, in]` and `name.bias`: PyTorch's Linear, transposed on the way to
    /// `[in, out]`.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn linear(&mut self, name: &str, [d_in, d_out]: [usize; 2]) -> Result<Linear<T>, Error> {
        let weight = self.matrix(&format!("{name}.weight"), [d_out, d_in])?;
        Ok(Linear {
            weight: weight.t().to_owned(),
            bias: self.vector(&format!("{name}.bias"), d_out)?,
        })
    }

    /// `name.weight` and `name.bias` of a layer normalisation.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn layer_norm(
        &mut self,
        name: &str,
        d: usize,
        epsilon: f64,
    ) -> Result<LayerNorm<T>, Error> {
        Ok(LayerNorm {
            weight: self.vector(&format!("{name}.weight"), d)?,
            bias: self.vector(&format!("{name}.bias"), d)?,
            epsilon,
        })
    }

    /// That nothing is left over.
    ///
    /// # Errors
    /// When a tensor was not asked for.
    pub fn finish(self) -> Result<(), Error> {
        match self.tensors.into_iter().next() {
            None => Ok(()),
            Some((tensor, value)) => Err(Error::UnexpectedTensor {
                file: self.origin,
                tensor,
                found: value.shape().to_vec(),
            }),
        }
    }

    /// Puts a tensor in, replacing one of the same name.
    pub fn insert(&mut self, name: String, tensor: ArrayD<T>) {
        self.tensors.insert(name, tensor);
    }

    /// Where the tensors came from.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }
}
