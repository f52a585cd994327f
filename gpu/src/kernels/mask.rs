//! Dropout's masks from a counter: whether an element is dropped is a hash of a key and the
//! element's index.
//!
//! Nothing has to be stored for the backward pass, the result does not depend on the number of
//! threads, a mask of the same rows is the same on every device, and a resumed run draws the same
//! masks, since the key comes from the run's seed, the step and the site in the model
//! ([`Dropout::at`]).

use super::elem::Elem;
use super::last_dim;
use super::threads::for_rows;
use crate::error::Result;
use candle_core::Tensor;

/// Dropout at one site of one step.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Share of elements dropped, in [0, 1).
    pub rate: f64,
    /// Key of the mask.
    pub key: u64,
    /// The row of the whole batch's mask with which this one begins: rows that are computed apart
    /// from others have the masks that they have among them.
    pub first: u64,
}

/// Mixes 64 bits (the finaliser of SplitMix64).
pub fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl Dropout {
    /// No dropout.
    pub const OFF: Self = Self::new(0.0, 0);

    /// Dropout of a whole batch.
    pub const fn new(rate: f64, key: u64) -> Self {
        Self {
            rate,
            key,
            first: 0,
        }
    }

    /// The masks of the rows from this one of the batch on.
    pub fn from_row(self, row: usize) -> Self {
        Self {
            first: self.first + row as u64,
            ..self
        }
    }

    /// The same for masks that have `count` rows for each of the batch's.
    pub(crate) fn rows_each(self, count: usize) -> Self {
        Self {
            first: self.first * count as u64,
            ..self
        }
    }

    /// The same rate at another site.
    pub fn at(self, site: u64) -> Self {
        Self {
            key: mix(self.key ^ mix(site)),
            ..self
        }
    }

    /// Whether nothing is ever dropped.
    pub fn is_off(&self) -> bool {
        self.rate <= 0.0
    }

    /// Elements whose hash is below it are dropped: the rate times 2³².
    pub(crate) fn threshold(&self) -> u32 {
        (self.rate * 4_294_967_296.0) as u32
    }

    /// A generator of keep factors along one row: 0 or 1 / (1 − rate) for each index.
    #[inline(always)]
    pub fn row<T: Elem>(&self, row: u64) -> KeepRow<T> {
        let key = mix(self.key ^ mix(self.first + row));
        KeepRow {
            first: key as u32,
            second: (key >> 32) as u32,
            threshold: self.threshold(),
            keep: T::of(1.0 / (1.0 - self.rate)),
        }
    }

    /// The factors of a whole matrix [rows, width] whose i-th row is the `row(i)`-th of the mask.
    pub fn mask<T: Elem>(
        &self,
        rows: usize,
        width: usize,
        row: impl Fn(usize) -> u64 + Sync + Send,
    ) -> Vec<T> {
        let mut mask = vec![T::zero(); rows * width];
        for_rows(
            &mut mask,
            width,
            #[inline(always)]
            |i, out| {
                let keep = self.row::<T>(row(i));
                for (j, m) in out.iter_mut().enumerate() {
                    *m = keep.factor(j as u32);
                }
            },
        );
        mask
    }

    /// Multiplies the rows of a matrix by their factors.
    pub(crate) fn thin<T: Elem>(&self, matrix: &mut [T], width: usize) {
        for_rows(
            matrix,
            width,
            #[inline(always)]
            |i, row| {
                let keep = self.row::<T>(i as u64);
                for (j, y) in row.iter_mut().enumerate() {
                    *y *= keep.factor(j as u32);
                }
            },
        );
    }

    /// The factors of a whole matrix as a tensor like `like`.
    ///
    /// # Errors
    /// A candle error.
    pub fn mask_like(&self, like: &Tensor) -> Result<Tensor> {
        let width = last_dim(like);
        let rows = like.elem_count() / width.max(1);
        let mask = Tensor::from_vec(
            self.mask::<f64>(rows, width, |i| i as u64),
            like.shape().clone(),
            &candle_core::Device::Cpu,
        )?;
        Ok(mask.to_device(like.device())?.to_dtype(like.dtype())?)
    }
}

/// Keep factors along one row.
#[derive(Clone, Copy)]
pub struct KeepRow<T> {
    first: u32,
    second: u32,
    threshold: u32,
    keep: T,
}

impl<T: Elem> KeepRow<T> {
    /// 0 for a dropped index, 1 / (1 − rate) for a kept one.
    #[inline(always)]
    pub fn factor(&self, index: u32) -> T {
        let mut x = index.wrapping_mul(0x9E37_79B9) ^ self.first;
        x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
        x = (x ^ (x >> 15) ^ self.second).wrapping_mul(0x846C_A68B);
        x ^= x >> 16;
        if x < self.threshold {
            T::zero()
        } else {
            self.keep
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn mask_keeps_its_share_and_its_mean_and_depends_on_key_row_and_place() {
        let d = Dropout::new(0.1, 7);
        let mask = d.mask::<f64>(300, 200, |i| i as u64);
        let kept = mask.iter().filter(|m| **m > 0.0).count() as f64 / 60_000.0;
        // standard deviation of the share: √(0.1 · 0.9 / 60 000) = 0.00122; five of them
        assert_abs_diff_eq!(kept, 0.9, epsilon = 0.0062);
        assert!(
            mask.iter()
                .all(|m| *m == 0.0 || (*m - 1.0 / 0.9).abs() < 1e-15)
        );
        assert_ne!(mask[..200], mask[200..400]);
        assert_ne!(mask, d.at(1).mask::<f64>(300, 200, |i| i as u64));
        assert_eq!(mask, d.mask::<f64>(300, 200, |i| i as u64));
        // neighbours are independent: the share of pairs both dropped is 0.01 ± 5 · √(0.01 · 0.99 /
        // 59 999)
        let pairs = mask
            .windows(2)
            .filter(|w| w[0] == 0.0 && w[1] == 0.0)
            .count() as f64
            / 59_999.0;
        assert_abs_diff_eq!(pairs, 0.01, epsilon = 0.0021);
    }
    /// A run resumed by a later version must draw the masks of the version that it began with.
    #[test]
    fn masks_are_those_of_every_version() {
        // SplitMix64's first outputs for the seeds 0 and 1
        assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF);
        assert_eq!(mix(1), 0x910A_2DEC_8902_5CC1);
        // computed in Python from the formulas above
        let place = Dropout::new(0.5, 7).at(3);
        assert_eq!(place.key, 0xE880_A903_BCFF_6547);
        let rows = [
            "0101101010110001011111010010110111111010011101001001110100100011",
            "0100010100100001011101111110010011001011111010101011000110010010",
            "0001100001111010000000010010111111100111110111000000110110001000",
        ];
        let expected: Vec<f32> = rows
            .concat()
            .bytes()
            .map(|bit| if bit == b'1' { 2.0 } else { 0.0 })
            .collect();
        assert_eq!(place.mask::<f32>(3, 64, |i| i as u64), expected);
        // every bit of the hash: an element is dropped from the rate on that is just above its own
        for (index, hash) in [0x286D_E5C5_u32, 0x8C44_53DA, 0x2A62_5452, 0x87B2_333A]
            .into_iter()
            .enumerate()
        {
            let dropped_at = |threshold: u32| {
                let rate = f64::from(threshold) / 4_294_967_296.0;
                let row = Dropout { rate, ..place }.row::<f64>(0);
                row.factor(index as u32) == 0.0
            };
            assert!(!dropped_at(hash) && dropped_at(hash + 1));
        }
    }

    #[test]
    fn nothing_is_dropped_at_rate_zero() {
        assert!(Dropout::OFF.is_off());
        assert!(!Dropout::new(0.1, 0).is_off());
    }
}
