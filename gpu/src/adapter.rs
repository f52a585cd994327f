//! A method as a composition of parts: its configuration (`adapter_config.json`) and what it puts
//! into a model.

use crate::backbone::Gpt2;
use crate::config::Spec;
use crate::error::{Error, Result};
use crate::parts::{
    AttentionAdapterConfig, CustomConfig, FfnAdapterConfig, Ia3Config, InducerConfig, LoraConfig,
    Part, PartConfig, PrefixConfig, PrefixNetwork,
};
use crate::tape::Parameter;
use crate::tensors::{Declare, Init};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What acts in the attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Attention {
    /// Inducers (Eqs. 5–11).
    Inducer(InducerConfig),
    /// A learned prefix.
    Prefix(PrefixConfig),
    /// An adapter on the sub-layer's output (Eq. 1).
    Adapter(AttentionAdapterConfig),
}

/// What acts beside the FFN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Ffn {
    /// An adapter (MAM).
    Adapter(FfnAdapterConfig),
}

fn is_false(x: &bool) -> bool {
    !*x
}

/// `adapter_config.json`: a method as a composition of parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterConfig {
    /// Always `INDUCER`.
    pub peft_type: String,
    /// `CAUSAL_LM` or `SEQ_CLS`.
    pub task_type: String,
    /// The backbone it was trained on.
    #[serde(default)]
    pub base_model_name_or_path: String,
    /// Attention part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<Attention>,
    /// LoRA part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// (IA)³ part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ia3: Option<Ia3Config>,
    /// A part of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomConfig>,
    /// FFN part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ffn: Option<Ffn>,
    /// Every bias of the backbone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bitfit: bool,
    /// Every parameter of the backbone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub full: bool,
    /// Further tensors of the backbone, by their names there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tuned: Vec<String>,
}

impl AdapterConfig {
    /// No part at all: the untuned backbone.
    pub fn none() -> Self {
        Self {
            peft_type: "INDUCER".into(),
            task_type: "CAUSAL_LM".into(),
            base_model_name_or_path: String::new(),
            attention: None,
            lora: None,
            ia3: None,
            custom: None,
            ffn: None,
            bitfit: false,
            full: false,
            tuned: Vec::new(),
        }
    }

    /// The parts in the order in which they act, each with the field that it stands in.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &dyn PartConfig)> {
        let attention = self.attention.as_ref().map(|a| -> &dyn PartConfig {
            match a {
                Attention::Inducer(c) => c,
                Attention::Prefix(c) => c,
                Attention::Adapter(c) => c,
            }
        });
        let lora = self.lora.as_ref().map(|c| -> &dyn PartConfig { c });
        let ia3 = self.ia3.as_ref().map(|c| -> &dyn PartConfig { c });
        let custom = self.custom.as_ref().map(|c| -> &dyn PartConfig { c });
        let ffn = self
            .ffn
            .as_ref()
            .map(|Ffn::Adapter(c)| -> &dyn PartConfig { c });
        let all = [
            ("lora", lora),
            ("ia3", ia3),
            ("attention", attention),
            ("custom", custom),
            ("ffn", ffn),
        ];
        all.into_iter()
            .filter_map(|(field, part)| Some((field, part?)))
    }

    /// What is left when every part that can be folded into the backbone has been.
    pub fn after_folding(&self) -> Self {
        Self {
            lora: None,
            ia3: None,
            bitfit: false,
            full: false,
            tuned: Vec::new(),
            ..self.clone()
        }
    }

    /// Whether there is any part; without one, only tensors of the backbone itself are trained.
    pub fn has_parts(&self) -> bool {
        self.parts().next().is_some()
    }

    /// The prefix, where there is one.
    pub fn prefix(&self) -> Option<&PrefixConfig> {
        match &self.attention {
            Some(Attention::Prefix(prefix)) => Some(prefix),
            _ => None,
        }
    }

    /// The method as files hold it: a prefix itself, not the network that makes it.
    pub fn stored(&self) -> Self {
        let mut config = self.clone();
        if let Some(Attention::Prefix(prefix)) = &mut config.attention {
            prefix.reparametrisation = None;
        }
        config
    }

    /// Where the text's positions start.
    pub fn position_offset(&self) -> usize {
        let prefix = self.prefix().filter(|prefix| prefix.offset_positions);
        prefix.map_or(0, |prefix| prefix.length)
    }

    /// Whether a parameter of the backbone is trained.
    pub fn tunes(&self, parameter: &Parameter) -> bool {
        self.full
            || (self.bitfit && parameter.role == crate::tape::Role::Bias)
            || self.tuned.contains(&parameter.name)
    }

    /// Whether it trains any parameter of the backbone.
    pub fn tunes_any(&self) -> bool {
        self.full || self.bitfit || !self.tuned.is_empty()
    }

    /// Whether it brings a head of its own for the next token.
    pub fn unties(&self) -> bool {
        self.tuned.iter().any(|name| name == Gpt2::LM_HEAD)
    }

    /// Checks the values; errors name `path`.
    ///
    /// # Errors
    /// The field and what it should be.
    pub fn check(&self, path: impl Into<PathBuf>) -> Result<()> {
        if self.peft_type != "INDUCER" {
            let message = format!("expected \"INDUCER\", found \"{}\"", self.peft_type);
            return Err(Error::config(path, "peft_type", message));
        }
        if self.lora.as_ref().is_some_and(|l| l.use_dora) && self.attention.is_some() {
            let message = "expected false beside a part in the attention";
            return Err(Error::config(path, "lora.use_dora", message));
        }
        for (section, part) in self.parts() {
            if let Err((field, message)) = part.check() {
                return Err(Error::config(path, format!("{section}.{field}"), message));
            }
        }
        Ok(())
    }
}

/// What a method puts into a model.
#[derive(Default)]
pub struct Attached {
    /// The parts of each layer.
    pub layers: Vec<Vec<Box<dyn Part>>>,
    /// The network that makes the prefixes while it is trained.
    pub network: Option<PrefixNetwork>,
    /// Trained rows of special tokens [count, d].
    pub special_tokens: Option<Parameter>,
}

crate::tensors!(Attached: layers, network, special_tokens);

impl Attached {
    /// Name of the special tokens' rows in files.
    pub const SPECIAL_TOKENS: &'static str = "transformer.wte.added";

    /// Declares every tensor of a method on a backbone, and rows for so many special tokens.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn declare(
        config: &AdapterConfig,
        spec: &Spec,
        special: usize,
        from: &Declare<'_>,
    ) -> Result<Self> {
        let layer = |i| {
            config
                .parts()
                .map(|(_, part)| part.declare(i, spec, from))
                .collect()
        };
        let start = Init::Normal(spec.initializer_std);
        let rows = || from.weight(Self::SPECIAL_TOKENS, [special, spec.hidden], start);
        let prefix = config.prefix();
        Ok(Self {
            layers: (0..spec.layers).map(layer).collect::<Result<_>>()?,
            network: prefix.map(|p| p.network(spec, from)).transpose()?.flatten(),
            special_tokens: (special > 0).then(rows).transpose()?,
        })
    }
}
