//! Dropout's masks from what the engine documents of them, written once more: a number is dropped
//! where a hash of key, row and column lies below the rate.
//!
//! ```text
//! key(layer, site) = mix(key ⊕ mix(16 layer + site))          LoRA: mix(key ⊕ mix(place))
//! row(i)           = mix(key ⊕ mix(i)),   its low half a, its high half b
//! x(j)             = finish((finish'(j · φ ⊕ a)) ⊕ b),        dropped where x(j) < rate · 2³²
//! ```
//!
//! Rows are counted over the whole batch; attention has one for each head of each token. So equal
//! masks at two sites, or in two micro-batches, are a difference here.

use super::{ModelCase, TextRow};
use inducer_reference::dropout::Masks;
use inducer_reference::{AttentionConfig, Projection, Real};
use ndarray::{Array2, Array3};

/// Dropout in a training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropping {
    /// The share that is dropped.
    pub rate: f64,
    /// The key of the batch's masks.
    pub key: u64,
    /// A site that is left out, for a control.
    pub without: Option<Site>,
}

/// Where numbers are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// Attention's weights.
    Attention,
    /// The weights over a prefix.
    Prefix,
    /// λ.
    Gate,
    /// The attention's residual branch.
    AttentionBranch,
    /// The FFN's residual branch.
    FfnBranch,
    /// LoRA's input.
    Lora,
}

/// The finaliser of SplitMix64.
#[must_use]
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The factor of one number: 0 or 1/(1 − rate).
#[must_use]
pub fn factor(key: u64, rate: f64, row: u64, column: u32) -> f64 {
    let both = mix(key ^ mix(row));
    let (low, high) = (both as u32, (both >> 32) as u32);
    let x = column.wrapping_mul(0x9E37_79B9) ^ low;
    let x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    let x = (x ^ (x >> 15) ^ high).wrapping_mul(0x846C_A68B);
    let x = x ^ (x >> 16);
    match f64::from(x) < (rate * 4_294_967_296.0).floor() {
        true => 0.0,
        false => 1.0 / (1.0 - rate),
    }
}

impl Dropping {
    /// The key of a site of a layer.
    #[must_use]
    pub fn at(self, layer: usize, site: Site) -> u64 {
        mix(self.key ^ mix(16 * layer as u64 + site as u64))
    }

    /// The factors in every layer of a text whose first token is the `first` of its batch.
    #[must_use]
    pub fn masks<T: Real>(self, case: &ModelCase, row: &TextRow, first: usize) -> Vec<Masks<T>> {
        let text = Text {
            dropping: self,
            case,
            first: first as u64,
            tokens: row.ids.len(),
        };
        (0..case.backbone.layers()).map(|i| text.layer(i)).collect()
    }
}

/// A text of a batch.
struct Text<'a> {
    dropping: Dropping,
    case: &'a ModelCase,
    first: u64,
    tokens: usize,
}

impl Text<'_> {
    fn layer<T: Real>(&self, layer: usize) -> Masks<T> {
        let (n, d) = (self.tokens, self.case.backbone.hidden());
        let heads = self.case.backbone.heads();
        let key = |site| self.dropping.at(layer, site);
        let prefix = match &self.case.method.attention {
            Some(AttentionConfig::Prefix { length, .. }) => *length,
            _ => 0,
        };
        let rate = |site| match self.dropping.without == Some(site) {
            true => 0.0,
            false => self.dropping.rate,
        };
        let matrix = |site, width| self.matrix(key(site), rate(site), width);
        let by_head = |site, width| {
            let (key, rate) = (key(site), rate(site));
            (rate > 0.0).then(|| {
                Array3::from_shape_fn((heads, n, width), |(h, i, j)| {
                    let row = (self.first + i as u64) * heads as u64 + h as u64;
                    T::from_f64(factor(key, rate, row, j as u32))
                })
            })
        };
        Masks {
            attention: by_head(Site::Attention, n),
            prefix: by_head(Site::Prefix, prefix),
            gate: matrix(Site::Gate, heads),
            attention_branch: matrix(Site::AttentionBranch, d),
            ffn_branch: matrix(Site::FfnBranch, d),
            lora: [Projection::Q, Projection::K, Projection::V].map(|of| {
                let lora = self.case.method.lora.as_ref()?;
                let place = lora.targets.iter().position(|target| *target == of)?;
                let key = mix(key(Site::Lora) ^ mix(place as u64));
                let own = match self.dropping.without == Some(Site::Lora) {
                    true => 0.0,
                    false => lora.dropout,
                };
                self.matrix(key, own, d)
            }),
        }
    }

    fn matrix<T: Real>(&self, key: u64, rate: f64, width: usize) -> Option<Array2<T>> {
        (rate > 0.0).then(|| {
            Array2::from_shape_fn((self.tokens, width), |(i, j)| {
                T::from_f64(factor(key, rate, self.first + i as u64, j as u32))
            })
        })
    }
}
