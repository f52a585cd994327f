//! Every method that a program knows by name: the paper's, and those of one's own that it
//! registered.

use crate::adapter::AdapterConfig;
use crate::config::BackboneConfig;
use crate::counts;
use crate::error::{Error, Result};
use crate::methods::{Method, nearest};
use crate::parts::custom::{self, CustomConfig, CustomMethod};
use std::fmt;

/// A method by name.
#[derive(Clone, Copy)]
pub enum Named {
    /// The paper's, or (IA)³.
    Paper(Method),
    /// One's own.
    Custom(&'static dyn CustomMethod),
}

/// Gives this program a method of one's own. Do it first of all: files that name it can be read
/// from then on. A second time it changes nothing.
///
/// # Errors
/// A name that another method has, or that is no name of a directory.
pub fn register(method: &'static dyn CustomMethod) -> Result<()> {
    let name = method.name();
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let refused = match Method::named(name) {
        Some(_) => Err("a method of the paper has this name".into()),
        None if !name.starts_with(|c: char| c.is_ascii_lowercase())
            || !name.chars().all(letters) =>
        {
            Err("expected a-z, 0-9 and -, a letter first".into())
        }
        None if name.starts_with("long-") => Err("runs on long inputs are called long-…".into()),
        None => custom::add(method),
    };
    refused.map_err(|message: String| {
        Error::config(
            "the registration of a method",
            "name",
            format!("`{name}`: {message}"),
        )
    })
}

impl Named {
    /// All of them, the paper's first.
    pub fn all() -> Vec<Self> {
        let papers = Method::ALL.into_iter().map(Self::Paper);
        let own = custom::registered().into_iter().map(Self::Custom);
        papers.chain(own).collect()
    }

    /// The method of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|m| m.name() == name)
    }

    /// All names, in one line.
    pub fn names() -> String {
        let names: Vec<&str> = Self::all().into_iter().map(Self::name).collect();
        names.join(", ")
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper(method) => method.name(),
            Self::Custom(method) => method.name(),
        }
    }

    /// The name in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Paper(method) => method.title(),
            Self::Custom(method) => method.title(),
        }
    }

    /// The learning rate of section 6 for generation; one's own has that of Inducer-tuning.
    pub fn learning_rate(self) -> f64 {
        match self {
            Self::Paper(method) => method.learning_rate(),
            Self::Custom(_) => Method::Inducer.learning_rate(),
        }
    }

    /// The configuration for a backbone: as [`Method::on`]; one's own has the size that it asks
    /// for, else that which comes nearest to the stored count of Inducer-tuning there.
    pub fn on(self, backbone: &BackboneConfig) -> AdapterConfig {
        let method = match self {
            Self::Paper(method) => return method.on(backbone),
            Self::Custom(method) => method,
        };
        let inducer = Method::Inducer.on(backbone);
        let sized = |size| AdapterConfig {
            task_type: inducer.task_type.clone(),
            custom: Some(CustomConfig::new(method, size)),
            ..AdapterConfig::none()
        };
        let spec = backbone.spec();
        sized(method.size(&spec).unwrap_or_else(|| {
            let count = |config: &AdapterConfig| counts::stored(config, backbone);
            nearest(4 * spec.hidden, count(&inducer), |size| count(&sized(size)))
        }))
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
