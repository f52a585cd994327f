//! What a program says that it is and can do.

use crate::bounds::{UNIT_ROUNDOFF_F32, UNIT_ROUNDOFF_F64};
use crate::cases::ModelCase;
use crate::cases::model::{ADDED, REPARAMETRISATION};
use crate::error::{Error, Result};
use inducer_reference::{AttentionConfig, Projection, Variant};
use serde::Deserialize;
use std::collections::BTreeSet;

/// The version of the protocol.
pub const PROTOCOL: u64 = 1;

/// What a case may need of a program, by the names of the protocol's page.
pub const FEATURES: [&str; 23] = [
    "gpt2",
    "roberta",
    "adaptive",
    "extension",
    "gating",
    "inducer",
    "prefix",
    "prefix-in-place",
    "prefix-network",
    "adapter",
    "lora",
    "lora-bias",
    "lora-key",
    "rslora",
    "ia3",
    "ffn-adapter",
    "bitfit",
    "full",
    "special-tokens",
    "segments",
    "label-smoothing",
    "padding",
    "custom",
];

/// What a program can be asked for.
pub const ANSWERS: [&str; 6] = ["logits", "loss", "gates", "gradients", "tokens", "step"];

/// The module of a variant's own tensors in the attention of a layer.
pub(crate) const CUSTOM: &str = "attn.custom.";

/// The program's scalar type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scalar {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl Scalar {
    /// Its unit round-off.
    #[must_use]
    pub fn roundoff(self) -> f64 {
        match self {
            Self::F32 => UNIT_ROUNDOFF_F32,
            Self::F64 => UNIT_ROUNDOFF_F64,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

/// The answer to `hello`.
#[derive(Clone, Debug, Deserialize)]
pub struct About {
    /// The program's name.
    pub name: String,
    /// Its scalar type.
    pub dtype: Scalar,
    /// What it can do, of [`FEATURES`].
    pub features: BTreeSet<String>,
    /// What it can be asked for, of [`ANSWERS`].
    pub answers: BTreeSet<String>,
}

impl About {
    /// From the answer to `hello`.
    ///
    /// # Errors
    /// A field is missing, of another type, or has a name that the protocol does not know.
    pub(super) fn read(answer: &serde_json::Value) -> Result<Self> {
        let about: Self = serde_json::from_value(answer.clone())
            .map_err(|error| Error::External(format!("answer to `hello`: {error}")))?;
        let unknown = |field: &str, names: &BTreeSet<String>, known: &[&str]| {
            let mut unknown = names.iter().filter(|name| !known.contains(&name.as_str()));
            unknown.next().map(|name| {
                let known = known.join(", ");
                Error::External(format!(
                    "answer to `hello`: field `{field}`: unknown name `{name}`; known: {known}"
                ))
            })
        };
        let features = unknown("features", &about.features, &FEATURES);
        let answers = unknown("answers", &about.answers, &ANSWERS);
        match features.or(answers) {
            Some(error) => Err(error),
            None => Ok(about),
        }
    }

    /// Everything that a case needs and an answer that it is asked for.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with the first thing that the program cannot do.
    pub(super) fn able(&self, case: &ModelCase, padded: bool, answer: &str) -> Result<()> {
        if !self.answers.contains(answer) {
            return Err(Error::Unsupported(answer.into()));
        }
        let mut needed = needs(case);
        if padded {
            needed.push("padding");
        }
        match needed
            .into_iter()
            .find(|name| !self.features.contains(*name))
        {
            Some(missing) => Err(Error::Unsupported(missing.into())),
            None => Ok(()),
        }
    }
}

/// The features that a case needs, padding aside.
fn needs(case: &ModelCase) -> Vec<&'static str> {
    let method = &case.method;
    let mut needed = vec![match case.backbone.classifies() {
        true => "roberta",
        false => "gpt2",
    }];
    let mut add = |name: &'static str, wanted: bool| {
        if wanted {
            needed.push(name);
        }
    };
    match &method.attention {
        Some(AttentionConfig::Inducer { variant, .. }) => add(
            match variant {
                Variant::Adaptive => "adaptive",
                Variant::Extension => "extension",
                Variant::Gating => "gating",
                Variant::Inducer => "inducer",
            },
            true,
        ),
        Some(AttentionConfig::Prefix {
            offset_positions, ..
        }) => {
            add("prefix", true);
            add("prefix-in-place", !offset_positions);
            add(
                "prefix-network",
                case.adapter.contains_key(REPARAMETRISATION[0]),
            );
        }
        Some(AttentionConfig::Adapter { .. }) => add("adapter", true),
        None => {}
    }
    if let Some(lora) = &method.lora {
        add("lora", true);
        add("lora-bias", lora.bias);
        add("lora-key", lora.targets.contains(&Projection::K));
        add("rslora", lora.use_rslora);
    }
    add("ia3", method.ia3.is_some());
    add("ffn-adapter", method.ffn.is_some());
    add("bitfit", method.bitfit);
    add("full", method.full);
    add("special-tokens", case.adapter.contains_key(ADDED));
    add(
        "segments",
        case.rows.iter().any(|row| row.segments.is_some()),
    );
    add("label-smoothing", case.smoothing > 0.0);
    let own = case.adapter.keys().any(|name| name.contains(CUSTOM));
    add("custom", own);
    needed
}
