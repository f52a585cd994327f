//! The backbones behind one interface: what a model, its parts, the trainer and the files need to
//! know of them.

mod gpt2;
pub mod heads;
mod roberta;
pub mod sublayer;

pub use gpt2::{Block, Gpt2};
pub use heads::Head;
pub use roberta::{EncoderLayer, Roberta};

use crate::config::{BackboneConfig, Spec};
use crate::error::{Error, Result};
use crate::parts::{FoldTarget, ForwardContext, Part};
use crate::tape::{Parameter, Value};
use crate::tensors::{Declare, Tensors};
use candle_core::Tensor;

/// What the embeddings of a batch are looked up by.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Token ids.
    pub ids: &'a [u32],
    /// Segment ids.
    pub segments: Option<&'a [u32]>,
    /// Rows of the position table.
    pub positions: &'a [u32],
    /// Rows of the special tokens [count, d].
    pub special: Option<&'a Value>,
}

/// A backbone with the head that stands on it.
pub trait Backbone: Tensors + FoldTarget + Send + Sync {
    /// Its configuration.
    fn config(&self) -> BackboneConfig;

    /// Its `config.json` for transformers.
    fn json(&self) -> serde_json::Value;

    /// What stands on it.
    fn head(&self) -> &Head;

    /// Token embeddings [vocabulary, d].
    fn token_embeddings(&self) -> &Parameter;

    /// What scores the next token [vocabulary, d]: the token embeddings unless it is untied.
    fn output_embeddings(&self) -> &Parameter {
        self.token_embeddings()
    }

    /// Gives it a head of its own, which starts as a copy of the token embeddings; a backbone
    /// whose head is none of embeddings stays as it is.
    fn untie(&mut self) {}

    /// The last hidden states [tokens, d].
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn hidden(
        &self,
        ctx: &ForwardContext<'_>,
        parts: &[Vec<Box<dyn Part>>],
        inputs: Inputs<'_>,
    ) -> Result<Value>;

    /// Makes trained rows of special tokens [count, d] the last ones of the vocabulary.
    ///
    /// # Errors
    /// Its vocabulary is fixed; shapes that do not fit.
    fn append_tokens(&mut self, _rows: &Tensor) -> Result<()> {
        Err(Error::Unsupported {
            what: "a longer vocabulary",
            needs: "a GPT-2",
            found: "a RoBERTa",
        })
    }

    /// What methods and models need to know.
    fn spec(&self) -> Spec {
        self.config().spec()
    }

    /// Token ids of the backbone itself.
    fn vocabulary(&self) -> usize {
        self.token_embeddings().tensor.dims()[0]
    }

    /// Its parameters without those of the head.
    fn own_parameters(&self) -> Vec<&Parameter> {
        let mut all = self.parameters();
        all.truncate(all.len() - self.head().parameters().len());
        all
    }
}

/// The head that a configuration has with every method.
///
/// # Errors
/// A tensor that is missing or has another shape.
pub fn declare_head(config: &BackboneConfig, from: &Declare<'_>) -> Result<Head> {
    match config {
        BackboneConfig::Gpt2(_) => Ok(Head::LanguageModel),
        BackboneConfig::Roberta(c) => Roberta::classifier(c, from),
    }
}

/// The backbone of a configuration with that head.
///
/// # Errors
/// A tensor that is missing or has another shape.
pub fn declare(config: &BackboneConfig, from: &Declare<'_>) -> Result<Box<dyn Backbone>> {
    Ok(match config {
        BackboneConfig::Gpt2(c) => Gpt2::declare(c.clone(), from)?.into(),
        BackboneConfig::Roberta(c) => {
            Roberta::declare(c.clone(), declare_head(config, from)?, from)?.into()
        }
    })
}

impl From<Gpt2> for Box<dyn Backbone> {
    fn from(backbone: Gpt2) -> Self {
        Box::new(backbone)
    }
}

impl From<Roberta> for Box<dyn Backbone> {
    fn from(backbone: Roberta) -> Self {
        Box::new(backbone)
    }
}
