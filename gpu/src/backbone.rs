//! The backbones under one interface: what a model, its parts, the trainer and the files need to
//! know of them.

use crate::config::{Gpt2Config, RobertaConfig, model_type};
use crate::error::{Error, Result};
use crate::gpt2::Gpt2;
use crate::ops::attention::{Heads, Visible};
use crate::ops::cross_entropy::Head;
use crate::parts::{Part, Pass};
use crate::roberta::Roberta;
use crate::shapes::Describe;
use crate::tape::{Parameter, Value};
use candle_core::{DType, Device};
use std::path::Path;

/// A backbone.
pub enum Backbone {
    /// Pre-norm, causal, with a tied language-model head.
    Gpt2(Box<Gpt2>),
    /// Post-norm, with a classification head.
    Roberta(Box<Roberta>),
}

/// A backbone's configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum BackboneConfig {
    /// GPT-2.
    Gpt2(Gpt2Config),
    /// RoBERTa.
    Roberta(RobertaConfig),
}

impl BackboneConfig {
    /// Reads `config.json` of a Hugging Face directory.
    ///
    /// # Errors
    /// A missing or broken file; a model type that this engine does not compute.
    pub fn read(dir: &Path) -> Result<Self> {
        match model_type(dir)?.as_str() {
            "gpt2" => Ok(Self::Gpt2(Gpt2Config::read(dir)?)),
            "roberta" => Ok(Self::Roberta(RobertaConfig::read(dir)?)),
            other => Err(Error::config(
                dir.join("config.json"),
                "model_type",
                format!("expected \"gpt2\" or \"roberta\", found \"{other}\""),
            )),
        }
    }

    /// What methods need to know.
    pub fn describe(&self) -> &dyn Describe {
        match self {
            Self::Gpt2(c) => c,
            Self::Roberta(c) => c,
        }
    }

    /// Token ids.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Gpt2(c) => c.vocab_size,
            Self::Roberta(c) => c.vocab_size,
        }
    }

    /// Positions for a text.
    pub fn positions(&self) -> usize {
        match self {
            Self::Gpt2(c) => c.n_positions,
            Self::Roberta(c) => c
                .max_position_embeddings
                .saturating_sub(c.pad_token_id as usize + 1),
        }
    }
}

impl Backbone {
    /// Reads a Hugging Face directory of either kind; a RoBERTa without a head gets one for
    /// `classes`, started from `seed`.
    ///
    /// # Errors
    /// A missing or broken file; a missing, extra, wrongly shaped or non-finite tensor.
    pub fn load(
        dir: &Path,
        classes: Option<usize>,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        Ok(match BackboneConfig::read(dir)? {
            BackboneConfig::Gpt2(_) => Gpt2::load(dir, dtype, device)?.into(),
            BackboneConfig::Roberta(_) => Roberta::load(dir, classes, seed, dtype, device)?.into(),
        })
    }

    /// Its configuration.
    pub fn config(&self) -> BackboneConfig {
        match self {
            Self::Gpt2(b) => BackboneConfig::Gpt2(b.config.clone()),
            Self::Roberta(b) => BackboneConfig::Roberta(b.config.clone()),
        }
    }

    /// What methods need to know.
    pub fn describe(&self) -> &dyn Describe {
        match self {
            Self::Gpt2(b) => &b.config,
            Self::Roberta(b) => &b.config,
        }
    }

    /// The GPT-2 inside.
    ///
    /// # Errors
    /// It is another backbone; the message says what needs a GPT-2.
    pub fn gpt2(&self, what: &str) -> Result<&Gpt2> {
        match self {
            Self::Gpt2(b) => Ok(b),
            Self::Roberta(_) => Err(Error::Batch(format!(
                "{what} needs a GPT-2, found a RoBERTa"
            ))),
        }
    }

    /// The RoBERTa inside.
    ///
    /// # Errors
    /// It is another backbone; the message says what needs a RoBERTa.
    pub fn roberta(&self, what: &str) -> Result<&Roberta> {
        match self {
            Self::Roberta(b) => Ok(b),
            Self::Gpt2(_) => Err(Error::Batch(format!(
                "{what} needs a RoBERTa, found a GPT-2"
            ))),
        }
    }

    /// H and p.
    pub fn heads(&self) -> Heads {
        match self {
            Self::Gpt2(b) => b.heads(),
            Self::Roberta(b) => b.heads(),
        }
    }

    /// Token ids of the backbone itself.
    pub fn vocabulary(&self) -> usize {
        self.tokens().tensor.dims()[0]
    }

    /// Token embeddings [vocabulary, d].
    pub fn tokens(&self) -> &Parameter {
        match self {
            Self::Gpt2(b) => &b.wte,
            Self::Roberta(b) => &b.word,
        }
    }

    /// Which keys a query sees.
    pub fn visible(&self) -> Visible {
        match self {
            Self::Gpt2(_) => Visible::Causal,
            Self::Roberta(_) => Visible::All,
        }
    }

    /// The row of the position table that a text's first token has.
    pub fn first_position(&self) -> usize {
        match self {
            Self::Gpt2(_) => 0,
            Self::Roberta(b) => b.config.pad_token_id as usize + 1,
        }
    }

    /// Number of segment ids, where segments have a table of their own.
    pub fn segment_types(&self) -> Option<usize> {
        match self {
            Self::Gpt2(_) => None,
            Self::Roberta(b) => Some(b.config.type_vocab_size),
        }
    }

    /// Every parameter.
    pub fn parameters(&self) -> Vec<&Parameter> {
        match self {
            Self::Gpt2(b) => b.parameters(),
            Self::Roberta(b) => b.parameters(),
        }
    }

    /// The same, to be changed.
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        match self {
            Self::Gpt2(b) => b.parameters_mut(),
            Self::Roberta(b) => b.parameters_mut(),
        }
    }

    /// The last hidden states [tokens, d].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn hidden(
        &self,
        pass: &Pass<'_>,
        parts: &[Vec<Box<dyn Part>>],
        added: Option<&Value>,
        ids: &[u32],
        segments: Option<&[u32]>,
        positions: &[u32],
    ) -> Result<Value> {
        match self {
            Self::Gpt2(b) => b.hidden(pass, parts, added, ids, segments, positions),
            Self::Roberta(b) => b.hidden(pass, parts, ids, segments, positions),
        }
    }

    /// The tied language-model head.
    pub fn head<'a>(&self, tokens: &'a Value, added: Option<&'a Value>) -> Head<'a> {
        Head { tokens, added }
    }
}

impl From<Gpt2> for Backbone {
    fn from(b: Gpt2) -> Self {
        Self::Gpt2(Box::new(b))
    }
}

impl From<Roberta> for Backbone {
    fn from(b: Roberta) -> Self {
        Self::Roberta(Box::new(b))
    }
}
