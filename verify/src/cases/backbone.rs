//! The configuration of a random backbone: a GPT-2 or a RoBERTa.

use super::{Corner, Draw};
use crate::error::{Error, Result};
use inducer_reference::{Backbone, Gpt2Config, Layout, RobertaConfig};

/// The configuration of either backbone.
#[derive(Clone, Debug)]
pub enum BackboneConfig {
    /// A language model: causal, with a tied head.
    Gpt2(Gpt2Config),
    /// A classifier.
    Roberta(RobertaConfig),
}

/// Which backbone a claim is about: [`gpt2`] or [`roberta`].
pub type Family = fn(&mut Draw) -> BackboneConfig;

/// A random small GPT-2.
pub fn gpt2(draw: &mut Draw) -> BackboneConfig {
    let heads = heads(draw, 4);
    let d = heads * width(draw, heads);
    let mut config = Gpt2Config::new(draw.size(9, 23), 24, d, draw.size(1, 2), heads);
    config.n_inner = draw.chance(0.5).then(|| draw.size(3, 20));
    BackboneConfig::Gpt2(config)
}

/// A random small RoBERTa with two or three classes.
pub fn roberta(draw: &mut Draw) -> BackboneConfig {
    let heads = heads(draw, 3);
    let d = heads * width(draw, heads);
    let classes = draw.size(2, 3);
    let mut config = RobertaConfig::new(draw.size(9, 23), 24, d, draw.size(1, 2), heads, classes);
    config.intermediate_size = draw.size(3, 20);
    BackboneConfig::Roberta(config)
}

fn heads(draw: &mut Draw, most: usize) -> usize {
    match draw.corner() {
        Corner::OneHead => 1,
        _ => draw.size(1, most),
    }
}

/// The width of a head, such that d lies between 4 and 12.
fn width(draw: &mut Draw, heads: usize) -> usize {
    draw.size(4_usize.div_ceil(heads), 12 / heads)
}

impl BackboneConfig {
    /// The configuration of a GPT-2.
    ///
    /// # Errors
    /// It is a RoBERTa.
    pub fn gpt2(&self) -> Result<&Gpt2Config> {
        match self {
            Self::Gpt2(config) => Ok(config),
            Self::Roberta(_) => Err(Error::Missing("a GPT-2; found a RoBERTa".into())),
        }
    }

    /// L, H and d.
    pub(crate) fn sizes(&self) -> [usize; 3] {
        match self {
            Self::Gpt2(c) => [c.n_layer, c.n_head, c.n_embd],
            Self::Roberta(c) => [c.num_hidden_layers, c.num_attention_heads, c.hidden_size],
        }
    }

    /// L.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.sizes()[0]
    }

    /// H.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.sizes()[1]
    }

    /// d.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.sizes()[2]
    }

    /// p = d/H.
    #[must_use]
    pub fn head_width(&self) -> usize {
        self.hidden() / self.heads()
    }

    /// Number of token ids, special tokens aside.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Gpt2(c) => c.vocab_size,
            Self::Roberta(c) => c.vocab_size,
        }
    }

    /// Whether a text has one class, and not a label for each token.
    #[must_use]
    pub fn classifies(&self) -> bool {
        matches!(self, Self::Roberta(_))
    }

    /// The padding token, which no text contains; a GPT-2 has none.
    #[must_use]
    pub fn padding(&self) -> Option<u32> {
        match self {
            Self::Gpt2(_) => None,
            Self::Roberta(c) => Some(c.pad_token_id),
        }
    }

    /// This token id, and 0 for the padding token.
    #[must_use]
    pub fn no_padding(&self, id: u32) -> u32 {
        match self.padding() == Some(id) {
            true => 0,
            false => id,
        }
    }

    /// ε of the layer normalisations.
    pub fn epsilon_mut(&mut self) -> &mut f64 {
        match self {
            Self::Gpt2(c) => &mut c.layer_norm_epsilon,
            Self::Roberta(c) => &mut c.layer_norm_eps,
        }
    }
}

impl Backbone for BackboneConfig {
    fn layout(&self) -> Layout {
        match self {
            Self::Gpt2(c) => c.layout(),
            Self::Roberta(c) => c.layout(),
        }
    }
}
