//! A look inside: a trained adapter on one text, as numbers ([`Explanation`]) and as a
//! self-contained page ([`page`](mod@page)).
//!
//! The numbers are the engine's, from the pass that training uses
//! ([`inducer_gpu::Model::insight`]): queries, keys, the keys that the method adds, log-sum-exp, λ
//! or μ, log-probabilities. The page carries queries and keys in 16 bits, computes weights, gates,
//! distances and shares of variance from them again, and says how far it is from what the engine
//! found; every difference has a bound that comes from the 16 bits and the engine's rounding.
//!
//! *Frozen* is the backbone with the adapter's rows for special tokens or its classification head,
//! which the backbone has none of, and without everything else of the method.

mod heads;
mod input;
mod limit;
mod numbers;
mod outputs;
pub mod page;
mod pieces;
mod side;

pub use heads::Heads;
pub use input::{Input, Target};
pub use limit::Chosen;
pub use numbers::{Floats, Sixteen};
pub use outputs::{Candidate, Output};
pub use pieces::Token;
pub use side::{Files, Kind, Side, Switches};

use anyhow::Result;
use candle_core::Device;
use inducer_gpu::BackboneConfig;
use inducer_gpu::ops::attention::Visible;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Version of the layout of `--json`.
pub const SCHEMA: u32 = 1;

/// What is looked into.
#[derive(Clone, Debug)]
pub struct Request {
    /// Hugging Face directory.
    pub backbone: PathBuf,
    /// One adapter, or two to be compared.
    pub adapters: Vec<PathBuf>,
    /// Layers whose queries and keys are carried, from 1; all where none are given.
    pub layers: Vec<usize>,
    /// Heads, likewise.
    pub heads: Vec<usize>,
    /// Where the layers are too many for a page, take so many of them as fit, at even distances.
    pub thin: bool,
    /// Where it is computed.
    pub device: Device,
}

/// All that is known of one text under one adapter or two.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the program.
    pub version: &'static str,
    /// The backbone's directory, its last part.
    pub backbone: String,
    /// Its layers.
    pub layers: usize,
    /// Its heads.
    pub heads: usize,
    /// p, the width of a head.
    pub width: usize,
    /// Whether a query sees only the keys up to its own.
    pub causal: bool,
    /// Where the text is from.
    pub source: String,
    /// The tokens of the row.
    pub tokens: Vec<Token>,
    /// What the loss is of.
    pub target: Target,
    /// Layers and heads whose queries and keys are carried.
    pub chosen: Chosen,
    /// A query that the added keys give less weight than this is not reached.
    pub reached: f64,
    /// The adapters.
    #[serde(skip)]
    pub sides: Vec<Side>,
}

/// An explanation with its heads' numbers in a form of its own.
#[derive(Serialize)]
struct View<'a, H> {
    #[serde(flatten)]
    explanation: &'a Explanation,
    sides: Vec<SideView<'a, H>>,
}

#[derive(Serialize)]
struct SideView<'a, H> {
    #[serde(flatten)]
    side: &'a Side,
    #[serde(flatten)]
    heads: H,
}

impl Explanation {
    fn view<H>(&self, of: impl Fn(&Heads) -> H) -> View<'_, H> {
        let side = |side| SideView {
            side,
            heads: of(&side.heads),
        };
        View {
            explanation: self,
            sides: self.sides.iter().map(side).collect(),
        }
    }

    /// The numbers as JSON: arrays are flat, `shape` says how they are read; those in 16 bits are
    /// whole numbers, to be multiplied by the head's `scale`.
    ///
    /// # Errors
    /// A number that JSON cannot hold.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string(&self.view(Heads::open))? + "\n")
    }
}

/// Looks into adapters on a text.
///
/// # Errors
/// Files that are missing or do not fit each other; a text that is too long for the backbone or for
/// a page.
pub fn explain(request: &Request, mut input: Input) -> Result<Explanation> {
    let spec = BackboneConfig::read(&request.backbone)?.spec();
    let chosen = Chosen::of(request, &spec, &input)?;
    let mut sides = Vec::new();
    for adapter in &request.adapters {
        sides.push(side::of(request, adapter, &mut input, &chosen)?);
    }
    Ok(Explanation {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        backbone: last_parts(&request.backbone, 1),
        layers: spec.layers,
        heads: spec.heads.count,
        width: spec.heads.width,
        causal: spec.visible == Visible::Causal,
        source: input.source,
        tokens: input.tokens,
        target: input.target,
        chosen,
        reached: crate::run::REACHED,
        sides,
    })
}

/// The last parts of a path: enough to tell two apart, and nothing of the machine.
fn last_parts(path: &Path, count: usize) -> String {
    let parts: Vec<String> = path
        .components()
        .filter_map(|c| match c {
            std::path::Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    parts[parts.len().saturating_sub(count)..].join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_by_its_last_parts() {
        assert_eq!(last_parts(Path::new("/a/b/run/best/"), 2), "run/best");
        assert_eq!(last_parts(Path::new("best"), 2), "best");
    }
}
