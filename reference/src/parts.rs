//! Where a method acts: the parts of one layer.
//!
//! A backbone knows methods only by four places: on q, k, v (LoRA, (IA)³), in and after attention,
//! between the FFN's products ((IA)³), beside the FFN.

use crate::adapter::BottleneckAdapter;
use crate::dropout::Masks;
use crate::ia3::Ia3;
use crate::lora::Lora;
use crate::prefix::Prefix;
use crate::variants::Inducer;

/// The part in the attention sub-layer.
#[derive(Clone, Debug, PartialEq)]
pub enum AttentionPart<T> {
    /// The frozen model's attention.
    None,
    /// Inducers (Eqs. 5–9, 11).
    Inducer(Inducer<T>),
    /// A prefix (§4.2).
    Prefix(Prefix<T>),
    /// An adapter on the output (Eq. 1).
    Adapter(BottleneckAdapter<T>),
}

/// The part beside the FFN: FFN(x) + s · Adapter(x).
#[derive(Clone, Debug, PartialEq)]
pub struct FfnPart<T> {
    /// The adapter.
    pub adapter: BottleneckAdapter<T>,
    /// s.
    pub scale: T,
}

/// Everything that acts in one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerParts<T> {
    /// In attention.
    pub attention: AttentionPart<T>,
    /// On W^q.
    pub q: Option<Lora<T>>,
    /// On W^k.
    pub k: Option<Lora<T>>,
    /// On W^v.
    pub v: Option<Lora<T>>,
    /// Scales of keys, values and the FFN's hidden units.
    pub ia3: Ia3<T>,
    /// Beside the FFN.
    pub ffn: Option<FfnPart<T>>,
    /// Dropout's factors.
    pub dropout: Masks<T>,
}

impl<T> LayerParts<T> {
    /// Nothing: the frozen layer.
    #[must_use]
    pub fn none() -> Self {
        Self {
            attention: AttentionPart::None,
            q: None,
            k: None,
            v: None,
            ia3: Ia3::none(),
            ffn: None,
            dropout: Masks::none(),
        }
    }
}
