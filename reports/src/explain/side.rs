//! One adapter on the row: its heads, its outputs beside the frozen model's, and passes in which it
//! acts in some layers only.

use super::outputs::{self, Candidate, Output, candidates, divergence, log_probabilities};
use super::{Chosen, Heads, Input, Request, last_parts};
use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use inducer_gpu::adapter::{Attached, Attention, Ffn};
use inducer_gpu::files::adapter::head_classes;
use inducer_gpu::{AdapterConfig, LossOptions, Model};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What the method puts beside the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A prefix, with the gate μ.
    Prefix,
    /// Inducers, with the gate λ.
    Inducer,
    /// Nothing.
    None,
}

/// An adapter on the row.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// The last parts of its path.
    pub name: String,
    /// Its parts, in words.
    pub method: String,
    /// What it puts beside the keys.
    pub kind: Kind,
    /// The backbone without the method.
    pub frozen: Output,
    /// The tuned model.
    pub tuned: Output,
    /// KL(frozen ‖ tuned) at each position, in nats.
    pub kl: Vec<f64>,
    /// What may come next at each position; or the classes.
    pub next: Vec<Vec<Candidate>>,
    /// Losses with the method in some layers only; none where it has no part in a layer.
    pub switches: Option<Switches>,
    /// Its heads.
    #[serde(skip)]
    pub heads: Heads,
}

/// The loss of the target with the method in some layers only.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Switches {
    /// Without each layer's parts.
    pub without: Vec<f64>,
    /// With each layer's parts alone.
    pub only: Vec<f64>,
    /// Without any layer's parts; a prefix's positions stay.
    pub none: f64,
}

/// Looks into one adapter.
///
/// # Errors
/// Files that do not fit; a row that does not fit the model.
pub(super) fn of(
    request: &Request,
    adapter: &Path,
    input: &mut Input,
    chosen: &Chosen,
) -> Result<Side> {
    let files = Files {
        backbone: &request.backbone,
        adapter,
    };
    let mut tuned = files.tuned(&request.device)?;
    if let Some(special) = input.special {
        ensure!(
            tuned.special() == special,
            "{}: tensor `{}` has {} rows; the task on this backbone needs {special}",
            adapter.display(),
            Attached::SPECIAL_TOKENS,
            tuned.special()
        );
    }
    let config = tuned.config.clone();
    let mut seen = tuned.insight(&input.batch)?;
    if config.custom.is_some() {
        // the page computes gates again, by the formulas of a prefix and of an inducer
        seen.gates.clear();
        seen.layers.iter_mut().for_each(|layer| layer.added = None);
    }
    let says = log_probabilities(&seen.logits)?;
    if let Some(class) = says.first().and_then(|row| greatest(row)) {
        input.decide(class);
    }
    let after = outputs::output(&tuned, input, &says)?;
    let switches = config
        .has_parts()
        .then(|| switches(&mut tuned, input))
        .transpose()?;
    let frozen = files.frozen(tuned, &request.device)?;
    let before = log_probabilities(&frozen.logits(&input.batch)?)?;
    let name = last_parts(adapter, 2);
    Ok(Side {
        name: name
            .strip_suffix("/best")
            .map_or(name.clone(), str::to_string),
        method: words(&config),
        kind: match &config.attention {
            Some(Attention::Prefix(_)) => Kind::Prefix,
            Some(Attention::Inducer(_)) => Kind::Inducer,
            _ => Kind::None,
        },
        frozen: outputs::output(&frozen, input, &before)?,
        tuned: after,
        kl: divergence(&before, &says),
        next: candidates(input, &before, &says),
        switches,
        heads: Heads::of(&seen, chosen)?,
    })
}

fn greatest(row: &[f64]) -> Option<u32> {
    let places = (0..).zip(row).max_by(|a, b| a.1.total_cmp(b.1));
    places.map(|(i, _)| i)
}

/// A backbone and an adapter of it.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// Hugging Face directory.
    pub backbone: &'a Path,
    /// Adapter directory.
    pub adapter: &'a Path,
}

impl Files<'_> {
    /// The tuned model.
    ///
    /// # Errors
    /// Files that are missing or do not fit each other.
    pub fn tuned(&self, device: &Device) -> Result<Model> {
        let mut model = self.plain(device)?;
        model.attach_saved(self.adapter)?;
        Ok(model)
    }

    /// The backbone with only what it has nothing of itself: the tuned model's rows for special
    /// tokens and its classification head. It is read again only where the method has tuned it.
    ///
    /// # Errors
    /// As [`Files::tuned`].
    pub fn frozen(&self, tuned: Model, device: &Device) -> Result<Model> {
        let taken = |n: &str| n == Attached::SPECIAL_TOKENS || n.starts_with("classifier.");
        let stored = tuned.stored()?.into_iter().filter(|(name, _)| taken(name));
        let stored: BTreeMap<String, Tensor> = stored.collect();
        let mut model = match tuned.config.tunes_any() {
            true => self.plain(device)?,
            false => tuned,
        };
        model.install(&AdapterConfig::none(), stored)?;
        Ok(model)
    }

    /// The backbone, with a random head where it has none.
    fn plain(&self, device: &Device) -> Result<Model> {
        let classes = head_classes(self.adapter)?;
        Ok(Model::load_for(
            self.backbone,
            classes,
            0,
            DType::F32,
            device,
        )?)
    }
}

fn switches(model: &mut Model, input: &Input) -> Result<Switches> {
    let loss = |m: &Model| m.loss(&input.batch, LossOptions::PLAIN);
    let layers = model.backbone.spec().layers;
    let (mut without, mut only) = (Vec::new(), Vec::new());
    for layer in 0..layers {
        without.push(model.with_parts_in(|i| i != layer, loss)?);
        only.push(model.with_parts_in(|i| i == layer, loss)?);
    }
    let none = model.with_parts_in(|_| false, loss)?;
    Ok(Switches {
        without,
        only,
        none,
    })
}

/// A method in words: `prefix of length 16, LoRA of rank 8`.
fn words(config: &AdapterConfig) -> String {
    let mut parts = Vec::new();
    match &config.attention {
        Some(Attention::Prefix(prefix)) => {
            parts.push(format!("prefix of length {}", prefix.length));
        }
        Some(Attention::Inducer(inducer)) => {
            let variant = format!("{:?}", inducer.variant).to_lowercase();
            let keys = match inducer.key_bottleneck {
                0 => String::new(),
                r => format!("r_k = {r}, "),
            };
            parts.push(format!(
                "{variant} ({keys}r_v = {})",
                inducer.value_bottleneck
            ));
        }
        Some(Attention::Adapter(_)) => parts.push("adapter".into()),
        None => {}
    }
    if let Some(custom) = &config.custom {
        let title = custom.method().title();
        parts.push(format!("{title} of size {}", custom.size));
    }
    if let Some(lora) = &config.lora {
        parts.push(format!("LoRA of rank {}", lora.rank));
    }
    if config.ia3.is_some() {
        parts.push("(IA)³".into());
    }
    if let Some(Ffn::Adapter(_)) = &config.ffn {
        parts.push("adapter beside the FFN".into());
    }
    match (config.full, config.bitfit, config.tuned.len()) {
        (true, ..) => parts.push("all parameters tuned".into()),
        (_, true, _) => parts.push("biases tuned".into()),
        (_, _, 1..) => parts.push("some of the backbone tuned".into()),
        _ => {}
    }
    match parts.is_empty() {
        true => "no part".into(),
        false => parts.join(", "),
    }
}
