//! A method of one's own, which is no part of this crate: a program registers it under a name
//! ([`register`](crate::register)), and from then on it is a field of `adapter_config.json` and is
//! counted, trained, decoded, saved and loaded as the others are.

use super::{Part, PartConfig, Wrong, sized};
use crate::config::Spec;
use crate::error::Result;
use crate::notes;
use crate::tensors::Declare;
use inducer_datasets::fingerprint;
use serde::{Deserialize, Serialize};
use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{PoisonError, RwLock};

/// A method of one's own: what it is called, and the part that it puts into each layer.
pub trait CustomMethod: Any + Send + Sync {
    /// Its name on the command line, in directories and files: `two-inducers`.
    fn name(&self) -> &'static str;

    /// Its name in tables: `Two inducers`.
    fn title(&self) -> &'static str;

    /// The text of the file that it is in, `include_str!("two_inducers.rs")`. Its hash stands in
    /// every configuration, so that a run which another text of it has trained is not taken for one
    /// of this.
    fn source(&self) -> &'static str;

    /// Declares the tensors of one layer (name, shape, initial value and role in one expression)
    /// and makes the part of them. `size` is the one size that is left free, such as a bottleneck;
    /// names are below `at`.
    ///
    /// # Errors
    /// Those of `at`.
    fn declare(&self, size: usize, layer: Layer<'_>, at: &Declare<'_>) -> Result<Box<dyn Part>>;

    /// The size on a backbone, 1 or more; none for the one whose count of parameters is nearest to
    /// that of Inducer-tuning, as for the paper's own methods.
    fn size(&self, _spec: &Spec) -> Option<usize> {
        None
    }

    /// The method that it is a step from, by its name, and what it changes there, in words:
    /// `("inducer", "a second inducer for each query")`. Reports judge the step.
    fn step(&self) -> Option<(&'static str, &'static str)> {
        None
    }
}

/// One layer of a backbone.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Its index.
    pub index: usize,
    /// The backbone.
    pub spec: &'a Spec,
}

static REGISTERED: RwLock<Vec<&'static dyn CustomMethod>> = RwLock::new(Vec::new());

/// The methods of one's own that this program has, in the order in which they were registered.
pub fn registered() -> Vec<&'static dyn CustomMethod> {
    let all = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    all.clone()
}

/// Adds a method, whose name nobody has, or which is there already.
pub(crate) fn add(method: &'static dyn CustomMethod) -> std::result::Result<(), String> {
    let mut all = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    let kind = |m: &'static dyn CustomMethod| -> TypeId {
        let any: &dyn Any = m;
        any.type_id()
    };
    match all.iter().find(|m| m.name() == method.name()) {
        Some(other) if kind(*other) == kind(method) => {}
        Some(_) => return Err("another method of this program has this name".into()),
        None => all.push(method),
    }
    Ok(())
}

/// A method of one's own as `adapter_config.json` has it: name, size, and the hash of the text that
/// trained it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct CustomConfig {
    method: &'static dyn CustomMethod,
    /// The size that it leaves free.
    pub size: usize,
    source: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    name: String,
    size: usize,
    /// None in a file that a person wrote.
    source: Option<String>,
}

/// The hash of a method's text, its first 16 digits.
fn hash(method: &dyn CustomMethod) -> String {
    let mut hash = fingerprint::of_bytes(method.source().as_bytes());
    hash.truncate(16);
    hash
}

impl CustomConfig {
    /// The method with this size, as this program has it.
    pub fn new(method: &'static dyn CustomMethod, size: usize) -> Self {
        Self {
            method,
            size,
            source: hash(method),
        }
    }

    /// The method.
    pub fn method(&self) -> &'static dyn CustomMethod {
        self.method
    }
}

impl TryFrom<Fields> for CustomConfig {
    type Error = String;

    fn try_from(fields: Fields) -> std::result::Result<Self, String> {
        let all = registered();
        let Some(method) = all.iter().find(|m| m.name() == fields.name) else {
            let here: Vec<&str> = all.iter().map(|m| m.name()).collect();
            return Err(format!(
                "`name`: expected a method that this program has registered ({}), found `{}`; the \
                 program that trained it has it",
                match here.is_empty() {
                    true => "it has none of one's own".into(),
                    false => here.join(", "),
                },
                fields.name
            ));
        };
        let now = Self::new(*method, fields.size);
        let source = fields.source.unwrap_or_else(|| now.source.clone());
        if source != now.source {
            notes::tell(format!(
                "another text of {} has trained an adapter that is read here ({source}, now {})",
                fields.name, now.source
            ));
        }
        Ok(Self { source, ..now })
    }
}

impl From<CustomConfig> for Fields {
    fn from(config: CustomConfig) -> Self {
        Self {
            name: config.method.name().into(),
            size: config.size,
            source: Some(config.source),
        }
    }
}

impl PartialEq for CustomConfig {
    fn eq(&self, other: &Self) -> bool {
        let key = |c: &Self| (c.method.name(), c.size, c.source.clone());
        key(self) == key(other)
    }
}

impl fmt::Debug for CustomConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of size {}", self.method.name(), self.size)
    }
}

impl PartConfig for CustomConfig {
    fn check(&self) -> std::result::Result<(), Wrong> {
        sized("size", self.size)
    }

    fn declare(&self, layer: usize, spec: &Spec, from: &Declare<'_>) -> Result<Box<dyn Part>> {
        let at = from.within(spec.attention_name(layer)).within("custom");
        self.method
            .declare(self.size, Layer { index: layer, spec }, &at)
    }
}
