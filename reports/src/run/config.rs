//! What decides a run's result, put together at this one place for every command.

use super::knobs::{Knobs, Rates};
use super::prepared::{Prepared, VALIDATION_ENTRIES};
use crate::compute::{Device, Precision};
use crate::files::read_json;
use anyhow::{Result, bail, ensure};
use inducer_datasets::{Reading, Surface, Task, fingerprint};
use inducer_gpu::adapter::Attention;
use inducer_gpu::train::{Schedule, TrainConfig};
use inducer_gpu::{AdapterConfig, BackboneConfig, Method, Named, hub, ranges};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Everything that decides a run's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Version of this program.
    pub version: String,
    /// Task.
    pub task: Task,
    /// Data directory.
    pub data: PathBuf,
    /// SHA-256 of the data files.
    pub data_fingerprint: String,
    /// Backbone directory.
    pub backbone: PathBuf,
    /// SHA-256 of the backbone's files.
    pub backbone_fingerprint: String,
    /// Name of the method.
    pub method: String,
    /// Its parts.
    pub adapter: AdapterConfig,
    /// Training.
    pub train: TrainConfig,
    /// Rows a batch.
    pub batch_size: usize,
    /// How the pieces of an input are written.
    pub surface: Surface,
    /// How the files are read, where that is not the usual way.
    #[serde(default, skip_serializing_if = "Reading::is_usual")]
    pub reading: Reading,
    /// The names of the classes of data of one's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Validation entries used.
    pub validation_entries: usize,
    /// Most new tokens in decoding.
    pub max_new_tokens: usize,
    /// Test entries scored; none for all, 0 for a candidate of a search that looks at the
    /// development part alone.
    pub test_limit: Option<usize>,
    /// Whether the test part is scored by its loss alone: nothing is decoded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loss_only: bool,
    /// Device.
    pub device: Device,
    /// Scalar type of the computation.
    #[serde(default)]
    pub dtype: Precision,
    /// The numbers of steps that it was finished with before it went on to this one: each time the
    /// learning rate went to its end, so it is not the run that had all steps from the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub continued_from: Vec<usize>,
}

/// Steps, rows a step and scored test entries where none are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Optimiser steps.
    pub steps: usize,
    /// Rows a step.
    pub batch_size: usize,
    /// Test entries scored; none for all.
    pub test_limit: Option<usize>,
}

/// A number of steps, itself or by what it is a share of.
#[derive(Clone, Copy, Debug)]
pub enum Steps {
    /// So many steps.
    Count(usize),
    /// Passes over the training data.
    Epochs(usize),
    /// A share of the run's steps, 0 to 1.
    Share(f64),
}

/// What a run is asked for; where nothing is, the paper's section on training decides.
#[derive(Clone, Debug)]
pub struct Hyperparameters {
    /// How long to train.
    pub steps: Option<Steps>,
    /// Rows a step.
    pub batch_size: Option<usize>,
    /// Highest learning rate, of all methods or of some.
    pub learning_rate: Rates,
    /// Warm-up.
    pub warmup: Option<Steps>,
    /// Steps between two validations.
    pub validate_every: Option<Steps>,
    /// The learning rate after the warm-up.
    pub schedule: Schedule,
    /// Adam: the decay is in the gradient. AdamW: it is not.
    pub coupled: bool,
    /// Weight decay of matrices.
    pub weight_decay: Option<f64>,
    /// Validations without a new best.
    pub patience: Option<usize>,
    /// Dropout rate.
    pub dropout: Option<f64>,
    /// Label smoothing.
    pub label_smoothing: Option<f64>,
    /// Batches whose gradients make one step.
    pub accumulation: usize,
    /// Clip after every one of them.
    pub clip_micro_batches: bool,
    /// They weigh alike, however many labels each has.
    pub equal_micro_batches: bool,
    /// Steps between two checkpoints.
    pub checkpoint_every: usize,
    /// Most new tokens in decoding.
    pub max_new_tokens: Option<usize>,
    /// Test entries scored.
    pub test_limit: Option<usize>,
    /// Device.
    pub device: Device,
    /// Scalar type of the computation.
    pub dtype: Precision,
}

/// A method by one of its names, or the parts in an `adapter_config.json`.
#[derive(Clone, Debug)]
pub struct MethodSpec {
    /// The method's name, or the file's.
    pub name: String,
    /// Its parts on the backbone.
    pub adapter: AdapterConfig,
    named: bool,
    /// Options of [`Knobs`] that found no place in it.
    unused: Vec<String>,
}

/// What is read of a backbone's directory once for all runs on it.
#[derive(Clone, Debug)]
pub struct BackboneFacts {
    /// SHA-256 of its files.
    pub fingerprint: String,
    /// The dropout rate that its configuration asks for.
    pub dropout: f64,
}

impl MethodSpec {
    /// What a method is called in tables and directories: its name, or that of its file; an
    /// `adapter_config.json` is called as its folder.
    ///
    /// # Errors
    /// Neither a name nor a file.
    pub fn name_of(given: &str) -> Result<String> {
        let path = Path::new(given);
        if let Some(method) = Named::find(given) {
            return Ok(method.name().into());
        }
        ensure!(
            path.is_file(),
            "--method {given}: expected an adapter_config.json or one of {}",
            Named::names()
        );
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        let folder = path.parent().and_then(Path::file_name);
        let name = match folder {
            Some(folder) if stem == "adapter_config" => folder,
            _ => stem,
        };
        Ok(name.to_string_lossy().into_owned())
    }

    /// A method by name, or an adapter_config.json, with the sizes that are asked for.
    ///
    /// # Errors
    /// Neither a name nor a readable file; a size that the method does not have.
    pub fn find(given: &str, backbone: &BackboneConfig, knobs: &Knobs) -> Result<Self> {
        let name = Self::name_of(given)?;
        let (adapter, named) = match Named::find(given) {
            Some(m) => (m.on(backbone), true),
            None => (AdapterConfig::read(given.as_ref(), backbone)?, false),
        };
        let (adapter, unused) = match *knobs == Knobs::default() {
            true => (adapter, Vec::new()),
            false => knobs.turn(&adapter, &name)?,
        };
        Ok(Self {
            name,
            adapter,
            named,
            unused,
        })
    }

    /// The same method as another one: a prefix beside which the text keeps its positions.
    pub fn without_offset(mut self, name: &str) -> Self {
        if let Some(Attention::Prefix(prefix)) = &mut self.adapter.attention {
            prefix.offset_positions = false;
        }
        self.name = name.into();
        self
    }

    /// Every size that was asked for is one of one of the methods.
    ///
    /// # Errors
    /// The options of sizes that no method has.
    pub fn check_sizes(methods: &[Self]) -> Result<()> {
        Knobs::check(
            methods
                .iter()
                .map(|m| (m.name.as_str(), m.unused.as_slice())),
        )
    }

    /// The learning rate where none is given: section 6's, but fine-tuning's small one only for
    /// GPT-2's own sizes.
    fn learning_rate(&self, backbone: &BackboneConfig) -> f64 {
        let large = backbone.spec().hidden >= 768;
        match (backbone, Named::find(&self.name)) {
            (BackboneConfig::Roberta(_), _) if large => 2e-4,
            (BackboneConfig::Gpt2(_), Some(m)) if large => m.learning_rate(),
            _ => Method::Inducer.learning_rate(),
        }
    }

    /// Whether it trains anything: of an untuned backbone, whatever it is for, nothing is.
    pub(crate) fn trains(&self) -> bool {
        let none = AdapterConfig::none();
        AdapterConfig {
            task_type: none.task_type.clone(),
            ..self.adapter.clone()
        } != none
    }

    /// Its parts in a run. A named method gets the backbone's name, and LoRA's dropout at the run's
    /// rate (one switch for the paper's four places); a file's parts stay as they are.
    fn resolved(&self, backbone: &Path, dropout: f64) -> AdapterConfig {
        let mut adapter = self.adapter.clone();
        if self.named {
            adapter.base_model_name_or_path = hub::name(backbone);
            if let Some(lora) = &mut adapter.lora {
                lora.dropout = dropout;
            }
        }
        adapter
    }
}

impl BackboneFacts {
    /// Reads them.
    ///
    /// # Errors
    /// A missing or broken file.
    pub fn read(dir: &Path) -> Result<Self> {
        Ok(Self {
            fingerprint: backbone_fingerprint(dir)?,
            dropout: backbone_dropout(dir)?,
        })
    }
}

impl RunConfig {
    /// The configuration of a run of `method` on prepared data; `budget` stands for what `hyper`
    /// leaves open.
    ///
    /// # Errors
    /// Numbers that do not go together: warm-up beyond the steps, tokens beyond the positions.
    pub fn resolve(
        prepared: &Prepared,
        backbone: &BackboneFacts,
        method: &MethodSpec,
        hyper: &Hyperparameters,
        budget: Budget,
        seed: u64,
    ) -> Result<Self> {
        let source = &prepared.source;
        let batch_size = hyper.batch_size.unwrap_or(budget.batch_size);
        let epoch = prepared.train.len().div_ceil(batch_size);
        let train = TrainConfig {
            seed,
            ..hyper.training(prepared, backbone, method, [budget.steps, epoch])
        };
        let config = Self {
            version: env!("CARGO_PKG_VERSION").into(),
            task: source.task,
            data: source.data.clone(),
            data_fingerprint: prepared.splits.fingerprint.clone(),
            backbone: source.backbone.clone(),
            backbone_fingerprint: backbone.fingerprint.clone(),
            method: method.name.clone(),
            adapter: method.resolved(&source.backbone, train.dropout),
            batch_size,
            surface: source.surface,
            reading: source.reading.clone(),
            classes: match source.task.is_own() {
                true => prepared.splits.classes.clone(),
                false => Vec::new(),
            },
            validation_entries: VALIDATION_ENTRIES,
            max_new_tokens: prepared.new_tokens(hyper.max_new_tokens)?,
            test_limit: hyper.test_limit.or(budget.test_limit),
            loss_only: false,
            device: hyper.device,
            dtype: hyper.dtype,
            continued_from: Vec::new(),
            train,
        };
        config.check("these options".as_ref())?;
        Ok(config)
    }

    /// Whether it is made to choose a learning rate and not to be reported: the test part is not
    /// looked at.
    pub fn is_candidate(&self) -> bool {
        self.test_limit == Some(0)
    }

    /// Checks every number against its range; errors name `path`.
    ///
    /// # Errors
    /// The field, what it should be, and what it is.
    pub fn check(&self, path: &Path) -> Result<()> {
        self.train.check(path)?;
        self.adapter.check(path)?;
        for (field, range, value) in [
            ("batch_size", ranges::BATCH, Some(self.batch_size)),
            (
                "validation_entries",
                ranges::COUNT,
                Some(self.validation_entries),
            ),
            (
                "max_new_tokens",
                ranges::NEW_TOKENS,
                Some(self.max_new_tokens),
            ),
            ("test_limit", ranges::COUNT_OR_NONE, self.test_limit),
        ] {
            if let Some(Err(message)) = value.map(|n| range.check(n as f64)) {
                bail!("{}: field `{field}`: {message}", path.display());
            }
        }
        Ok(())
    }
}

impl Steps {
    /// In steps, of a run of `whole` steps with `epoch` of them an epoch.
    fn count(self, whole: usize, epoch: usize) -> usize {
        match self {
            Self::Count(n) => n,
            Self::Epochs(n) => n * epoch,
            Self::Share(x) => (x * whole as f64).round() as usize,
        }
    }
}

impl Hyperparameters {
    /// Steps of a run, where that does not depend on its data.
    pub fn counted(&self, budget: Budget) -> Option<usize> {
        match self.steps {
            None => Some(budget.steps),
            Some(Steps::Count(n)) => Some(n),
            Some(_) => None,
        }
    }

    fn training(
        &self,
        prepared: &Prepared,
        backbone: &BackboneFacts,
        method: &MethodSpec,
        [budget, epoch]: [usize; 2],
    ) -> TrainConfig {
        let steps = self.steps.map_or(budget, |s| s.count(budget, epoch));
        let rate = method.learning_rate(&prepared.backbone);
        let rate = self.learning_rate.of(&method.name).unwrap_or(rate);
        let usual = match prepared.source.task.generates() {
            true => TrainConfig::generation(rate, steps),
            false => TrainConfig::classification(rate, steps),
        };
        let mut optimiser = usual.optimiser;
        optimiser.coupled = self.coupled;
        optimiser.weight_decay = self.weight_decay.unwrap_or(optimiser.weight_decay);
        let warmup = self.warmup.map(|w| w.count(steps, epoch));
        let validate_every = self.validate_every.map(|v| v.count(steps, epoch));
        // nothing of an untuned backbone is trained
        let steps = if method.trains() { steps } else { 0 };
        TrainConfig {
            steps,
            warmup: warmup.unwrap_or(usual.warmup),
            schedule: self.schedule,
            optimiser,
            patience: self.patience.or(usual.patience),
            dropout: self.dropout.unwrap_or(backbone.dropout),
            accumulation: self.accumulation,
            clip_micro_batches: self.clip_micro_batches,
            equal_micro_batches: self.equal_micro_batches,
            checkpoint_every: self.checkpoint_every,
            label_smoothing: self.label_smoothing.unwrap_or(usual.label_smoothing),
            validate_every: validate_every.unwrap_or(steps / 4).max(1),
            ..usual
        }
    }
}

/// SHA-256 of a backbone's files.
fn backbone_fingerprint(dir: &Path) -> Result<String> {
    let mut all = String::new();
    for name in [
        "config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
    ] {
        let path = dir.join(name);
        if path.exists() {
            all += &format!("{name} {}\n", fingerprint::of_file(&path)?);
        }
    }
    Ok(fingerprint::of_bytes(all.as_bytes()))
}

/// The dropout rate that a backbone's `config.json` asks for (`resid_pdrop`, RoBERTa's
/// `hidden_dropout_prob`; 0.1 when absent), as in transformers.
fn backbone_dropout(dir: &Path) -> Result<f64> {
    let path = dir.join("config.json");
    let value: serde_json::Value = read_json(&path)?;
    let rate = value
        .get("resid_pdrop")
        .or_else(|| value.get("hidden_dropout_prob"))
        .and_then(serde_json::Value::as_f64)
        .unwrap_or(0.1);
    ensure!(
        (0.0..1.0).contains(&rate),
        "{}: field `resid_pdrop` or `hidden_dropout_prob`: expected a number in [0, 1), found \
         {rate}",
        path.display()
    );
    Ok(rate)
}
