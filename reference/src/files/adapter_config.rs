//! `adapter_config.json`: which parts an adapter attaches, and where.
//!
//! Every method of the paper is a combination of four parts: one in attention (`inducer`, `prefix`
//! or `adapter`), LoRA on projections, an adapter beside the FFN, and the backbone's own biases
//! (`bitfit`) or all of it (`full`). A fifth is (IA)³ (Liu et al. 2022).
//!
//! Departure from the written format: none. An unknown field is an error.

use crate::error::Error;
use crate::files::backbone::read_json;
use crate::scalar::Real;
use crate::variants::Variant;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The whole configuration.
///
/// ```
/// use inducer_reference::AdapterConfig;
/// let config: AdapterConfig = serde_json::from_str(r#"{
///     "peft_type": "INDUCER", "task_type": "CAUSAL_LM", "base_model_name_or_path": "gpt2",
///     "attention": {"kind": "inducer", "variant": "inducer",
///                   "key_bottleneck": 10, "value_bottleneck": 15}
/// }"#).unwrap();
/// assert!(config.validate("here").is_ok());
/// let misspelt = r#"{"peft_type": "INDUCER", "atention": {}}"#;
/// assert!(serde_json::from_str::<AdapterConfig>(misspelt).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterConfig {
    /// Always `INDUCER` in this format.
    pub peft_type: String,
    /// `CAUSAL_LM` or `SEQ_CLS`, as PEFT writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// The backbone that the adapter was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model_name_or_path: Option<String>,
    /// The part in the attention sub-layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<AttentionConfig>,
    /// Low-rank updates of projections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// (IA)³'s scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ia3: Option<Ia3Config>,
    /// The part beside the FFN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ffn: Option<FfnConfig>,
    /// Every bias of the backbone is the adapter's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bitfit: bool,
    /// Every tensor of the backbone is the adapter's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
}

/// The part in the attention sub-layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum AttentionConfig {
    /// Inducers: one virtual token for each query.
    Inducer {
        /// Which step of the ladder.
        variant: Variant,
        /// r_k, for variants with a key network.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_bottleneck: Option<usize>,
        /// r_v.
        value_bottleneck: usize,
    },
    /// A prefix shared by all queries.
    Prefix {
        /// l.
        length: usize,
        /// Whether the text's position ids start at l.
        #[serde(default = "yes")]
        offset_positions: bool,
        /// The network that makes the prefix while it trains.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reparametrisation: Option<Reparametrisation>,
    },
    /// A bottleneck adapter on the sub-layer's output.
    Adapter {
        /// r.
        bottleneck: usize,
        /// Whether a LayerNorm stands before it.
        #[serde(default)]
        layer_norm: bool,
    },
}

/// `{"width": 512}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reparametrisation {
    /// The hidden width of the prefix network.
    pub width: usize,
}

/// A projection that LoRA can update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Projection {
    /// W^q.
    Q,
    /// W^k.
    K,
    /// W^v.
    V,
}

impl Projection {
    /// The letter in tensor names.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Q => 'q',
            Self::K => 'k',
            Self::V => 'v',
        }
    }
}

/// Low-rank updates (Eq. 10).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Which projections.
    pub targets: Vec<Projection>,
    /// r.
    pub rank: usize,
    /// α.
    pub alpha: f64,
    /// Dropout on LoRA's input while training; no concern of a forward pass without dropout.
    #[serde(default)]
    pub dropout: f64,
    /// Whether b_lora exists.
    #[serde(default)]
    pub bias: bool,
    /// Whether the update is scaled by α/√r (rsLoRA) instead of α/r.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub use_rslora: bool,
}

impl LoraConfig {
    /// α/r, or α/√r.
    ///
    /// ```
    /// use inducer_reference::LoraConfig;
    /// let text = r#"{"targets": ["q"], "rank": 4, "alpha": 6.0, "use_rslora": true}"#;
    /// let lora: LoraConfig = serde_json::from_str(text).unwrap();
    /// assert_eq!(lora.scale::<f64>(), 3.0); // 6/√4
    /// ```
    #[must_use]
    pub fn scale<T: Real>(&self) -> T {
        let rank = T::from_usize(self.rank);
        T::from_f64(self.alpha) / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

/// What (IA)³ rescales.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ia3Config {
    /// Which of k, v, ffn; the paper's method has all three.
    pub targets: Vec<Ia3Target>,
}

/// A vector of (IA)³.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ia3Target {
    /// l_k, on the keys.
    K,
    /// l_v, on the values.
    V,
    /// l_ff, on the FFN's hidden units.
    Ffn,
}

impl Ia3Target {
    /// The three of the paper's method.
    pub const ALL: [Self; 3] = [Self::K, Self::V, Self::Ffn];
}

/// The part beside the FFN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum FfnConfig {
    /// A bottleneck adapter (MAM).
    Adapter {
        /// Where it stands.
        placement: Placement,
        /// r.
        bottleneck: usize,
        /// Whether a LayerNorm stands before it.
        #[serde(default)]
        layer_norm: bool,
        /// s.
        #[serde(default = "one")]
        scale: f64,
    },
}

/// Where an FFN adapter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// FFN(x) + s · Adapter(x), x the FFN's input.
    Parallel,
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

impl AdapterConfig {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// When it cannot be read, has an unknown or missing field, or is inconsistent.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let config: Self = read_json(path)?;
        config.validate(&path.display().to_string())?;
        Ok(config)
    }

    /// That the fields fit together. `file` is named in the error.
    ///
    /// # Errors
    /// When a field has a value that no method has.
    pub fn validate(&self, file: &str) -> Result<(), Error> {
        let wrong = |field: &str, expected: &str, found: String| {
            Err(Error::Field {
                file: file.to_owned(),
                field: field.to_owned(),
                expected: expected.to_owned(),
                found,
            })
        };
        if self.peft_type != "INDUCER" {
            return wrong("peft_type", "INDUCER", self.peft_type.clone());
        }
        match self.attention {
            Some(AttentionConfig::Inducer {
                variant,
                key_bottleneck,
                ..
            }) if variant.has_key_network() != (key_bottleneck.unwrap_or(0) > 0) => {
                let expected = if variant.has_key_network() {
                    "a positive number (gating and inducer have a key network)"
                } else {
                    "no such field (adaptive and extension have no key network)"
                };
                return wrong(
                    "attention.key_bottleneck",
                    expected,
                    format!("{key_bottleneck:?}"),
                );
            }
            Some(AttentionConfig::Inducer {
                value_bottleneck: 0,
                ..
            }) => {
                return wrong(
                    "attention.value_bottleneck",
                    "a positive number",
                    "0".into(),
                );
            }
            Some(AttentionConfig::Adapter { bottleneck: 0, .. }) => {
                return wrong("attention.bottleneck", "a positive number", "0".into());
            }
            _ => {}
        }
        if let Some(lora) = &self.lora {
            if lora.rank == 0 {
                return wrong("lora.rank", "a positive number", "0".into());
            }
            if !each_once(&lora.targets) {
                return wrong(
                    "lora.targets",
                    "q, k, v, each at most once, one at least",
                    format!("{:?}", lora.targets),
                );
            }
        }
        if let Some(ia3) = self.ia3.as_ref().filter(|ia3| !each_once(&ia3.targets)) {
            let expected = "k, v, ffn, each at most once, one at least";
            return wrong("ia3.targets", expected, format!("{:?}", ia3.targets));
        }
        if let Some(FfnConfig::Adapter { bottleneck: 0, .. }) = self.ffn {
            return wrong("ffn.bottleneck", "a positive number", "0".into());
        }
        Ok(())
    }
}

/// Whether a list names something, and nothing twice.
fn each_once<T: PartialEq>(targets: &[T]) -> bool {
    let repeated = |(i, target)| targets[..i].contains(target);
    !targets.is_empty() && !targets.iter().enumerate().any(repeated)
}
