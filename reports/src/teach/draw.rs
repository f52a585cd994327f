//! Seeded random states: the page checks itself away from its starting states too.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers with two decimals, as the page's own points have.
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in `[low, high]`, rounded to two decimals.
    pub fn number(&mut self, low: f64, high: f64) -> f64 {
        (self.0.random_range(low..=high) * 100.0).round() / 100.0
    }

    /// As many of them.
    pub fn numbers(&mut self, n: usize, low: f64, high: f64) -> Vec<f64> {
        (0..n).map(|_| self.number(low, high)).collect()
    }

    /// Points in a square (or on a line, or in a cube) of half-width `size`.
    pub fn points<const P: usize>(&mut self, n: usize, size: f64) -> Vec<[f64; P]> {
        (0..n).map(|_| self.point(size)).collect()
    }

    /// One such point.
    pub fn point<const P: usize>(&mut self, size: f64) -> [f64; P] {
        std::array::from_fn(|_| self.number(-size, size))
    }

    /// An index below `n`.
    pub fn index(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }
}
