//! Seeded random inputs that reach the corners. The same draw gives the same numbers to every
//! scalar and engine.
//!
//! Every value is exact in `f32`, so that no engine starts from rounded inputs. Nothing is left at
//! a special value by habit: biases, B and α/r are random like everything else; zeros, ties and
//! repetitions appear only as [`Corner`]s.

pub mod backbone;
pub mod head;
pub mod masks;
pub mod method;
pub mod model;
pub mod sample;

pub use backbone::{BackboneConfig, Family, gpt2, roberta};
pub use head::Head;
pub use masks::Dropping;
pub use model::{ModelCase, TextRow};
pub use sample::Sample;

use inducer_reference::attention::Linear;
use ndarray::{Array, ArrayD, Dimension, IxDyn, ShapeBuilder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Where in the space of inputs a case lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corner {
    /// Anywhere.
    Plain,
    /// One support point.
    OneKey,
    /// One query (a row of one token).
    OneQuery,
    /// One head.
    OneHead,
    /// Scores up to ±80, where exp overflows `f32` a little further on.
    Extreme,
    /// All scores of a row are equal.
    Tied,
    /// A support point stands there several times.
    Repeated,
    /// Some keys are hidden, and some rows see few.
    Padded,
    /// Bottlenecks of one unit.
    Tiny,
    /// Bottlenecks wider than the model.
    Wide,
}

impl Corner {
    /// All of them, in the order in which cases visit them.
    pub const ALL: [Self; 10] = [
        Self::Plain,
        Self::Extreme,
        Self::OneKey,
        Self::Tied,
        Self::Padded,
        Self::OneHead,
        Self::Repeated,
        Self::OneQuery,
        Self::Tiny,
        Self::Wide,
    ];
}

/// A stream of random numbers for one case of one claim.
#[derive(Clone, Debug)]
pub struct Draw {
    rng: ChaCha8Rng,
    /// The case's number.
    pub index: usize,
    /// The corner, where it is not the case's own.
    forced: Option<Corner>,
}

impl Draw {
    /// The stream of case `index` of the claim `id`: the same for every engine, for the check and
    /// for its control.
    #[must_use]
    pub fn new(seed: u64, id: &str, index: usize) -> Self {
        let mut key = [0_u8; 32];
        // FNV-1a over everything that names the case
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for (place, slot) in key.chunks_exact_mut(8).enumerate() {
            let words = [seed, index as u64, place as u64];
            let bytes = words
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .chain(id.bytes());
            for byte in bytes {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
            slot.copy_from_slice(&hash.to_le_bytes());
        }
        Self {
            rng: ChaCha8Rng::from_seed(key),
            index,
            forced: None,
        }
    }

    /// The corner of this case: ten cases in a row visit all ten.
    #[must_use]
    pub fn corner(&self) -> Corner {
        self.forced
            .unwrap_or(Corner::ALL[self.index % Corner::ALL.len()])
    }

    /// From here on in this corner, for claims that are not about all of them.
    pub fn force(&mut self, corner: Corner) {
        self.forced = Some(corner);
    }

    /// An integer in `from..=to`.
    pub fn size(&mut self, from: usize, to: usize) -> usize {
        self.rng.random_range(from..=to)
    }

    /// Integers in these ranges, drawn in their order.
    pub fn sizes<const N: usize>(&mut self, ranges: [(usize, usize); N]) -> [usize; N] {
        ranges.map(|(from, to)| self.size(from, to))
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.random_range(0..from.len())]
    }

    /// A number in ±`scale`, exact in `f32` and not zero.
    pub fn number(&mut self, scale: f64) -> f64 {
        loop {
            let x = f64::from((self.rng.random_range(-1.0..=1.0_f64) * scale) as f32);
            if x != 0.0 {
                return x;
            }
        }
    }

    /// A number between `from` and `to`, exact in `f32`.
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        f64::from(self.rng.random_range(from..=to) as f32)
    }

    /// An array of numbers in ±`scale`.
    pub fn array<D: Dimension, Sh: ShapeBuilder<Dim = D>>(
        &mut self,
        shape: Sh,
        scale: f64,
    ) -> Array<f64, D> {
        Array::from_shape_simple_fn(shape, || self.number(scale))
    }

    /// An array of ±1.
    pub fn signs(&mut self, shape: &[usize]) -> ArrayD<f64> {
        ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            if self.rng.random_bool(0.5) { 1.0 } else { -1.0 }
        })
    }

    /// An array of free elements of a field.
    pub fn elements<F: Sample, D: Dimension, Sh: ShapeBuilder<Dim = D>>(
        &mut self,
        shape: Sh,
    ) -> Array<F, D> {
        Array::from_shape_simple_fn(shape, || F::any(self))
    }

    /// An array of kernel values: positive, or any element of a field that has no order.
    pub fn kernels<F: Sample, D: Dimension, Sh: ShapeBuilder<Dim = D>>(
        &mut self,
        shape: Sh,
    ) -> Array<F, D> {
        Array::from_shape_simple_fn(shape, || F::positive(self))
    }

    /// A linear map of free elements of a field.
    pub fn linear<F: Sample>(&mut self, from: usize, to: usize) -> Linear<F> {
        Linear {
            weight: self.elements((from, to)),
            bias: self.elements(to),
        }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.rng.random()
    }
}
