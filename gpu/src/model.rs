//! A model: a backbone, the parts of a method, and the trained rows of the special tokens.

use crate::backbone::{Backbone, BackboneConfig};
use crate::cache::Cache;
use crate::config::{AdapterConfig, Attention, Ffn, Target};
use crate::error::{Error, Result};
use crate::init;
use crate::kernels::inplace::add_block;
use crate::kernels::precision::{master_dtype, upcast};
use crate::kernels::threads::{map_tasks, single_threaded};
use crate::ops::cross_entropy::{class_loss, cross_entropy};
use crate::ops::dropout::Dropout;
use crate::parts::{Bottleneck, Inducer, LowRank, Part, Pass, Prefix, Reparametrised};
use crate::probe::Observation;
use crate::roberta::Head as Top;
use crate::saved::Saved;
use crate::shapes::{self, Describe};
use crate::tape::{Gradients, Parameter, Tape, Value};
use crate::weights;
use candle_core::{D, DType, Device, Tensor};
use inducer_datasets::batch::{Batch, IGNORE, Labels};
use inducer_datasets::files::write_atomic;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Name of the special tokens' rows in files.
pub const ADDED: &str = "transformer.wte.added";

/// Widest backbone whose batches are divided among threads (see [`Model::gradients`]); above it
/// operations are.
const SHARDED_WIDTH: usize = 256;

/// How a loss is taken.
#[derive(Clone, Copy, Debug)]
pub struct LossOptions {
    /// Label smoothing ε.
    pub smoothing: f64,
    /// Dropout of this step; its key also serves the parts that have a rate of their own (LoRA's
    /// input). `None` in evaluation.
    pub dropout: Option<Dropout>,
}

impl LossOptions {
    /// Plain cross-entropy, no dropout.
    pub const PLAIN: Self = Self {
        smoothing: 0.0,
        dropout: None,
    };
}

/// Masked positions, and for each the index among them with the token that belongs there.
type Masked = (Vec<u32>, Vec<(usize, u32)>);

/// A backbone with a method attached.
pub struct Model {
    /// The backbone.
    pub backbone: Backbone,
    /// The method.
    pub config: AdapterConfig,
    parts: Vec<Vec<Box<dyn Part>>>,
    reparametrised: Option<Reparametrised>,
    added: Option<Parameter>,
    dtype: DType,
    device: Device,
}

impl Model {
    /// The untuned backbone of a Hugging Face directory.
    ///
    /// # Errors
    /// As [`Backbone::load`].
    pub fn load(dir: &Path, dtype: DType, device: &Device) -> Result<Self> {
        Self::load_for(dir, None, 0, dtype, device)
    }

    /// The same; a RoBERTa without a head gets one for `classes`, started from `seed`.
    ///
    /// # Errors
    /// As [`Backbone::load`].
    pub fn load_for(
        dir: &Path,
        classes: Option<usize>,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let backbone = Backbone::load(dir, classes, seed, master_dtype(dtype), device)?;
        Ok(Self::new(backbone, dtype, device))
    }

    /// A backbone without a method, to be computed in `dtype`. For mixed precision (bf16) give its
    /// tensors in f32: what is trained stays so, the rest is converted where it is used, or once by
    /// [`Model::settle`].
    pub fn new(backbone: impl Into<Backbone>, dtype: DType, device: &Device) -> Self {
        let backbone = backbone.into();
        let layers = backbone.describe().layers();
        Self {
            backbone,
            config: AdapterConfig::none(),
            parts: (0..layers).map(|_| Vec::new()).collect(),
            reparametrised: None,
            added: None,
            dtype,
            device: device.clone(),
        }
    }

    /// Attaches a method with its initial values (section 5) and `special` trained token rows.
    ///
    /// # Errors
    /// A configuration that contradicts itself or the backbone.
    pub fn attach(&mut self, config: &AdapterConfig, special: usize, seed: u64) -> Result<()> {
        config.check("adapter configuration")?;
        let backbone = self.backbone.describe();
        let wanted = shapes::trained_tensors(config, backbone);
        let own: Vec<String> = self
            .backbone
            .parameters()
            .iter()
            .map(|p| p.name.clone())
            .collect();
        let mut tensors = BTreeMap::new();
        for (name, shape) in wanted.into_iter().filter(|(n, _)| !own.contains(n)) {
            let start = init::of(&name, &shape, backbone.hidden(), backbone.range());
            tensors.insert(
                name.clone(),
                init::tensor(
                    start,
                    seed,
                    &name,
                    &shape,
                    self.master_dtype(),
                    &self.device,
                )?,
            );
        }
        if special > 0 {
            let start = init::Init::Normal(backbone.range());
            tensors.insert(
                ADDED.into(),
                init::tensor(
                    start,
                    seed,
                    ADDED,
                    &[special, backbone.hidden()],
                    self.master_dtype(),
                    &self.device,
                )?,
            );
        }
        self.install(config, tensors)
    }

    /// Attaches a saved adapter: `adapter_config.json` and `adapter_model.safetensors`, of this
    /// project or of PEFT.
    ///
    /// # Errors
    /// A missing or broken file; a missing, extra, wrongly shaped or non-finite tensor.
    pub fn attach_saved(&mut self, dir: &Path) -> Result<()> {
        let saved = Saved::read(
            dir,
            &self.backbone.config(),
            self.master_dtype(),
            &self.device,
        )?;
        self.install(&saved.config, saved.tensors)
    }

    /// Attaches a method with these tensors by name; backbone tensors among them replace the
    /// backbone's.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn install(
        &mut self,
        config: &AdapterConfig,
        mut tensors: BTreeMap<String, Tensor>,
    ) -> Result<()> {
        let backbone = self.backbone.describe();
        let through: Vec<_> = shapes::reparametrisation(config, backbone);
        let lookup: HashMap<String, Vec<usize>> = shapes::adapter(config, backbone)
            .into_iter()
            .chain(through.clone())
            .collect();
        let mut take = |name: String| -> Result<Parameter> {
            let expected = lookup.get(&name).cloned().unwrap_or_default();
            let Some(t) = tensors.remove(&name) else {
                return Err(Error::MissingTensor {
                    path: "adapter".into(),
                    name,
                    expected,
                });
            };
            if t.dims() != expected {
                return Err(Error::Shape {
                    path: "adapter".into(),
                    name,
                    expected,
                    found: t.dims().to_vec(),
                });
            }
            Ok(Parameter::new(name, t, true))
        };
        let mut parts = Vec::new();
        for i in 0..backbone.layers() {
            parts.push(layer_parts(
                config,
                i,
                backbone,
                through.is_empty(),
                &mut take,
            )?);
        }
        let reparametrised = match through.as_slice() {
            [] => None,
            [e, w1, b1, w2, b2] => Some(Reparametrised {
                tensors: [
                    take(e.0.clone())?,
                    take(w1.0.clone())?,
                    take(b1.0.clone())?,
                    take(w2.0.clone())?,
                    take(b2.0.clone())?,
                ],
            }),
            _ => unreachable!("a reparametrisation has five tensors"),
        };
        self.added = tensors
            .remove(ADDED)
            .map(|t| Parameter::new(ADDED, t, true));
        for p in self.backbone.parameters_mut() {
            p.trainable = config.full
                || (config.bitfit && p.name.ends_with(".bias"))
                || p.name.starts_with("classifier.");
            if let Some(t) = tensors.remove(&p.name) {
                p.tensor = t;
            } else if p.trainable {
                // an own copy: training writes in place
                p.tensor = p.tensor.copy()?;
            }
        }
        if let Some((name, t)) = tensors.into_iter().next() {
            return Err(Error::ExtraTensor {
                path: "adapter".into(),
                name,
                found: t.dims().to_vec(),
            });
        }
        self.parts = parts;
        self.reparametrised = reparametrised;
        self.config = config.clone();
        Ok(())
    }

    /// Converts what is frozen into the type that the model computes in, once and for all: half the
    /// memory in bf16, and no conversion in each step. Call it when no other method will be
    /// attached any more; training does. Without mixed precision it changes nothing.
    ///
    /// # Errors
    /// The device cannot convert.
    pub fn settle(&mut self) -> Result<()> {
        let dtype = self.dtype;
        for p in self.backbone.parameters_mut() {
            if !p.trainable {
                p.tensor = p.tensor.to_dtype(dtype)?;
            }
        }
        Ok(())
    }

    /// Appends a part of one's own to every layer; `make` gets the layer's index. This is the door
    /// for new variants.
    pub fn push_parts(&mut self, mut make: impl FnMut(usize) -> Box<dyn Part>) {
        for (i, parts) in self.parts.iter_mut().enumerate() {
            parts.push(make(i));
        }
    }

    /// The trainable parameters, in a fixed order.
    pub fn trainable(&self) -> Vec<&Parameter> {
        let parts = self.parts.iter().flatten().flat_map(|p| p.parameters());
        let through = self.reparametrised.iter().flat_map(|r| &r.tensors);
        parts
            .chain(through)
            .chain(&self.added)
            .chain(self.backbone.parameters())
            .filter(|p| p.trainable)
            .collect()
    }

    /// The same, to be changed by the optimiser.
    pub fn trainable_mut(&mut self) -> Vec<&mut Parameter> {
        let parts = self
            .parts
            .iter_mut()
            .flatten()
            .flat_map(|p| p.parameters_mut());
        let through = self.reparametrised.iter_mut().flat_map(|r| &mut r.tensors);
        parts
            .chain(through)
            .chain(&mut self.added)
            .chain(self.backbone.parameters_mut())
            .filter(|p| p.trainable)
            .collect()
    }

    /// Number of special tokens' rows.
    pub fn special(&self) -> usize {
        self.added.as_ref().map_or(0, |p| p.tensor.dims()[0])
    }

    /// Ids that the model knows: the vocabulary and the special tokens.
    pub fn ids(&self) -> usize {
        self.backbone.vocabulary() + self.special()
    }

    /// The scalar type it computes in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The type that its trained tensors are kept in: f32 where it computes in bf16.
    pub fn master_dtype(&self) -> DType {
        master_dtype(self.dtype)
    }

    /// The device it computes on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The longest row it takes.
    pub fn longest(&self) -> usize {
        self.backbone
            .config()
            .positions()
            .saturating_sub(self.config.position_offset())
    }

    fn check(&self, batch: &Batch) -> Result<()> {
        let all = self.ids() as u32;
        let types = self.backbone.segment_types().map_or(all, |n| n as u32);
        for (field, ids, limit) in [
            ("input_ids", Some(&batch.ids), all),
            ("segment_ids", batch.segments.as_ref(), types),
        ] {
            if let Some(ids) = ids {
                if ids.len() != batch.tokens() {
                    return Err(Error::Batch(format!(
                        "{field}: expected {} ids, found {}",
                        batch.tokens(),
                        ids.len()
                    )));
                }
                if let Some(i) = ids.iter().position(|id| *id >= limit) {
                    return Err(Error::Batch(format!(
                        "{field}: id {} at position {i}; expected ids below {limit} (vocabulary \
                         and special tokens, or segment types)",
                        ids[i]
                    )));
                }
            }
        }
        if batch.longest() > self.longest() {
            return Err(Error::Batch(format!(
                "a row of {} tokens; expected at most {} (n_positions less the prefix's offset)",
                batch.longest(),
                self.longest()
            )));
        }
        if batch.starts.windows(2).any(|w| w[0] >= w[1]) {
            return Err(Error::Batch("input_ids: an empty row".into()));
        }
        Ok(())
    }

    fn run<'a>(&'a self, pass: &mut Pass<'a>, batch: &Batch, seen: &[usize]) -> Result<Value> {
        if let Some(r) = &self.reparametrised {
            pass.prefix = r.apply(pass.tape, self.parts.len(), pass.heads.count)?;
        }
        let offset = self.backbone.first_position() + self.config.position_offset();
        let mut positions = Vec::with_capacity(batch.tokens());
        for (w, seen) in batch.starts.windows(2).zip(seen) {
            positions.extend((0..w[1] - w[0]).map(|i| (offset + seen + i) as u32));
        }
        let added = self
            .added
            .as_ref()
            .map(|p| pass.tape.parameter(p))
            .transpose()?;
        self.backbone.hidden(
            pass,
            &self.parts,
            added.as_ref(),
            &batch.ids,
            batch.segments.as_deref(),
            &positions,
        )
    }

    fn pass<'a>(&self, tape: &'a Tape, starts: &'a [usize], dropout: Option<Dropout>) -> Pass<'a> {
        Pass {
            training: dropout.is_some(),
            dropout: dropout.unwrap_or(Dropout::OFF),
            tape,
            heads: self.backbone.heads(),
            starts,
            visible: self.backbone.visible(),
            cache: None,
            prefix: Vec::new(),
            observed: None,
        }
    }

    /// Logits in evaluation: [tokens, ids] of a packed batch, or [rows, classes] of a classifier;
    /// f32 where the model computes in bf16.
    ///
    /// # Errors
    /// Ids or rows that do not fit the model.
    pub fn logits(&self, batch: &Batch) -> Result<Tensor> {
        Ok(self.logits_and_gates(batch)?.0)
    }

    /// Logits, and λ (or the prefix's μ) [tokens, H] of each layer.
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn logits_and_gates(&self, batch: &Batch) -> Result<(Tensor, Vec<Tensor>)> {
        let (logits, observed) = self.observe(batch, |pass, hidden| match &self.backbone {
            Backbone::Gpt2(_) => self.project(&hidden.tensor),
            Backbone::Roberta(b) => Ok(upcast(&b.classify(pass, hidden)?.tensor)?),
        })?;
        Ok((logits, observed.into_iter().map(|o| o.gate).collect()))
    }

    /// The class with the highest score of each row; ties go to the lowest.
    ///
    /// # Errors
    /// As [`Model::logits`]; the backbone has no classification head.
    pub fn predict(&self, batch: &Batch) -> Result<Vec<u32>> {
        self.backbone.roberta("classification")?;
        crate::ops::argmax::argmax(&self.logits(batch)?)
    }

    /// What the attention part of each layer does with a batch: weight and distance of what it
    /// adds.
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn observations(&self, batch: &Batch) -> Result<Vec<Observation>> {
        Ok(self.observe(batch, |_, _| Ok(()))?.1)
    }

    /// Log-probabilities where the loss looks: [labelled positions, ids] of a language model,
    /// [rows, classes] of a classifier.
    ///
    /// # Errors
    /// As [`Model::logits`]; labels that do not fit.
    pub fn log_probabilities(&self, batch: &Batch) -> Result<Tensor> {
        let (logits, _) = self.observe(batch, |pass, hidden| match &self.backbone {
            Backbone::Gpt2(_) => {
                let positions: Vec<u32> = self
                    .targets(batch)?
                    .iter()
                    .map(|(t, _)| *t as u32)
                    .collect();
                let positions = Tensor::new(positions, &Device::Cpu)?.to_device(&self.device)?;
                self.project(&hidden.tensor.index_select(&positions, 0)?)
            }
            Backbone::Roberta(b) => Ok(upcast(&b.classify(pass, hidden)?.tensor)?),
        })?;
        let top = logits.max_keepdim(D::Minus1)?;
        let shifted = logits.broadcast_sub(&top)?;
        let total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
        Ok(shifted.broadcast_sub(&total)?)
    }

    /// What `of` makes of the last hidden states [tokens, d], and what the parts show.
    fn observe<T>(
        &self,
        batch: &Batch,
        of: impl FnOnce(&Pass<'_>, &Value) -> Result<T>,
    ) -> Result<(T, Vec<Observation>)> {
        self.check(batch)?;
        let tape = self.tape_off();
        let mut pass = Pass {
            observed: Some(RefCell::default()),
            ..self.pass(&tape, &batch.starts, None)
        };
        let hidden = self.run(&mut pass, batch, &vec![0; batch.rows()])?;
        let result = of(&pass, &hidden)?;
        let observed = pass.observed.take().map(RefCell::into_inner);
        Ok((result, observed.unwrap_or_default()))
    }

    /// A tape that records nothing, in the model's type.
    fn tape_off(&self) -> Tape {
        Tape::off().computing_in(self.dtype)
    }

    fn project(&self, hidden: &Tensor) -> Result<Tensor> {
        let tape = self.tape_off();
        let tokens = tape.parameter(self.backbone.tokens())?;
        let added = self.added.as_ref().map(|p| tape.parameter(p)).transpose()?;
        self.backbone.head(&tokens, added.as_ref()).logits(hidden)
    }

    /// Logits [rows, ids] after the newest token of each row, which come from the cache and
    /// `batch`'s new tokens.
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn decode(&self, batch: &Batch, cache: &mut Cache) -> Result<Tensor> {
        self.backbone.gpt2("decoding")?;
        let tape = self.tape_off();
        let seen = cache.seen.clone();
        self.check(batch)?;
        let total = seen
            .iter()
            .zip(batch.starts.windows(2))
            .map(|(s, w)| s + w[1] - w[0])
            .max()
            .unwrap_or(0);
        if total > self.longest() {
            return Err(Error::Batch(format!(
                "a row of {total} tokens while decoding; expected at most {}",
                self.longest()
            )));
        }
        let hidden = {
            let mut pass = Pass {
                cache: Some(RefCell::new(cache)),
                ..self.pass(&tape, &batch.starts, None)
            };
            self.run(&mut pass, batch, &seen)?
        };
        for (seen, w) in cache.seen.iter_mut().zip(batch.starts.windows(2)) {
            *seen += w[1] - w[0];
        }
        let last: Vec<u32> = batch.starts[1..].iter().map(|s| *s as u32 - 1).collect();
        let rows = last.len();
        let last = Tensor::from_vec(last, rows, &Device::Cpu)?.to_device(&self.device)?;
        self.project(&hidden.tensor.index_select(&last, 0)?)
    }

    /// An empty cache for decoding.
    pub fn cache(&self, rows: usize) -> Cache {
        Cache::new(self.parts.len(), rows, self.dtype, &self.device)
    }

    /// The (position, label) pairs of a batch's loss: the label of the next token of the row.
    ///
    /// # Errors
    /// Labels that do not fit.
    pub fn targets(&self, batch: &Batch) -> Result<Vec<(usize, u32)>> {
        let labels = token_labels(batch)?;
        let mut out = Vec::new();
        for w in batch.starts.windows(2) {
            for t in w[0] + 1..w[1] {
                if let Some(label) = self.label(labels[t], t)? {
                    out.push((t - 1, label));
                }
            }
        }
        Ok(out)
    }

    /// A label as a token id; none for "no loss".
    fn label(&self, label: i64, position: usize) -> Result<Option<u32>> {
        if label == IGNORE {
            return Ok(None);
        }
        let known = u32::try_from(label)
            .ok()
            .filter(|y| (*y as usize) < self.ids());
        known.map(Some).ok_or_else(|| {
            Error::Batch(format!(
                "labels: {label} at position {position}; expected -100 or an id below {}",
                self.ids()
            ))
        })
    }

    /// Mean loss over the labelled positions.
    ///
    /// # Errors
    /// Ids, rows or labels that do not fit the model.
    pub fn loss(&self, batch: &Batch, options: LossOptions) -> Result<f64> {
        let tape = self.tape_off();
        scalar(&self.loss_on(&tape, batch, options)?.tensor)
    }

    /// Mean loss and the gradient of every trainable tensor.
    ///
    /// # Errors
    /// As [`Model::loss`]; nothing is trainable.
    pub fn gradients(&self, batch: &Batch, options: LossOptions) -> Result<(f64, Gradients)> {
        self.check(batch)?;
        self.labelled(batch)?;
        let shards = self.shards(batch);
        if shards.len() < 2 {
            return self.gradients_of(batch, options);
        }
        let counts: Vec<usize> = shards
            .iter()
            .map(|s| self.labelled(s))
            .collect::<Result<_>>()?;
        let total = counts.iter().sum::<usize>() as f64;
        // a shard without a label adds nothing; without any label the whole batch says so
        if total == 0.0 {
            return self.gradients_of(batch, options);
        }
        let work: Vec<usize> = (0..shards.len()).filter(|i| counts[*i] > 0).collect();
        let parts = map_tasks(work.len(), |i| {
            let options = LossOptions {
                dropout: options.dropout.map(|d| d.at(i as u64)),
                ..options
            };
            single_threaded(|| self.gradients_of(&shards[work[i]], options))
        });
        let (mut loss, mut sum) = (0.0, Gradients::new());
        for (i, part) in work.into_iter().zip(parts) {
            let (value, gradients) = part?;
            let share = counts[i] as f64 / total;
            loss += share * value;
            for (name, g) in gradients {
                let g = (g * share)?;
                let g = match sum.remove(&name) {
                    Some(before) => add_block(before, &g, 0)?,
                    None => g,
                };
                sum.insert(name, g);
            }
        }
        Ok((loss, sum))
    }

    fn gradients_of(&self, batch: &Batch, options: LossOptions) -> Result<(f64, Gradients)> {
        let tape = Tape::new().computing_in(self.dtype);
        let loss = self.loss_on(&tape, batch, options)?;
        let value = scalar(&loss.tensor)?;
        Ok((value, tape.backward(&loss, self.trainable())?))
    }

    /// A batch in two halves of nearly the same number of tokens, where that is faster: on the CPU,
    /// where each half goes through the whole model on one thread without waiting for the other at
    /// every operation. That pays as long as a layer's weights stay in a core's own cache. The
    /// division depends on the batch alone, not on the number of threads, so results do not either.
    fn shards(&self, batch: &Batch) -> Vec<Batch> {
        let (rows, d) = (batch.rows(), self.backbone.describe().hidden());
        let small = self.device.is_cpu() && d <= SHARDED_WIDTH && !self.config.full;
        if !small || rows < 4 {
            return Vec::new();
        }
        let half = batch.tokens() / 2;
        let middle = (1..rows)
            .min_by_key(|r| batch.starts[*r].abs_diff(half))
            .unwrap_or(1);
        vec![batch.slice(0..middle), batch.slice(middle..rows)]
    }

    /// How many positions (rows of a classifier) the loss of a batch is the mean over.
    ///
    /// # Errors
    /// Labels that do not fit.
    pub fn labelled(&self, batch: &Batch) -> Result<usize> {
        match &self.backbone {
            Backbone::Gpt2(_) => Ok(self.targets(batch)?.len()),
            Backbone::Roberta(b) => match &b.head {
                Top::Classes(_) => Ok(self.classes(batch)?.len()),
                Top::Words(_) => Ok(self.masked(batch)?.0.len()),
            },
        }
    }

    /// The masked positions of a batch and the tokens that belong there.
    fn masked(&self, batch: &Batch) -> Result<Masked> {
        let (mut positions, mut targets) = (Vec::new(), Vec::new());
        for (t, label) in token_labels(batch)?.iter().enumerate() {
            if let Some(label) = self.label(*label, t)? {
                targets.push((positions.len(), label));
                positions.push(t as u32);
            }
        }
        Ok((positions, targets))
    }

    /// Makes every tensor of the backbone trainable, without a method: pretraining.
    ///
    /// # Errors
    /// A candle error.
    pub fn tune_backbone(&mut self) -> Result<()> {
        for p in self.backbone.parameters_mut() {
            p.tensor = p.tensor.copy()?; // an own copy: training writes in place
            p.trainable = true;
        }
        self.config.full = true;
        Ok(())
    }

    /// The class of each row.
    fn classes<'a>(&self, batch: &'a Batch) -> Result<&'a [u32]> {
        let known = self
            .backbone
            .roberta("a class for each row")?
            .config
            .classes();
        let Labels::Classes(classes) = &batch.labels else {
            return Err(Error::Batch("labels: expected one class a row".into()));
        };
        if classes.len() != batch.rows() {
            return Err(Error::Batch(format!(
                "labels: expected {} classes, one a row, found {}",
                batch.rows(),
                classes.len()
            )));
        }
        match classes.iter().position(|c| *c as usize >= known) {
            Some(i) => Err(Error::Batch(format!(
                "labels: class {} of row {i}; expected one below {known}",
                classes[i]
            ))),
            None => Ok(classes),
        }
    }

    fn loss_on(&self, tape: &Tape, batch: &Batch, options: LossOptions) -> Result<Value> {
        self.check(batch)?;
        let mut pass = self.pass(tape, &batch.starts, options.dropout);
        let seen = vec![0; batch.rows()];
        match &self.backbone {
            Backbone::Gpt2(_) => {
                let targets = self.targets(batch)?;
                let hidden = self.run(&mut pass, batch, &seen)?;
                let tokens = tape.parameter(self.backbone.tokens())?;
                let added = self.added.as_ref().map(|p| tape.parameter(p)).transpose()?;
                let head = self.backbone.head(&tokens, added.as_ref());
                cross_entropy(tape, &hidden, head, &targets, options.smoothing)
            }
            Backbone::Roberta(b) if matches!(b.head, Top::Words(_)) => {
                let (positions, targets) = self.masked(batch)?;
                let hidden = self.run(&mut pass, batch, &seen)?;
                let words = b.words(&pass, &hidden, &positions)?;
                let tokens = tape.parameter(self.backbone.tokens())?;
                let head = self.backbone.head(&tokens, None);
                cross_entropy(tape, &words, head, &targets, options.smoothing)
            }
            Backbone::Roberta(b) => {
                let classes = self.classes(batch)?;
                let hidden = self.run(&mut pass, batch, &seen)?;
                let scores = b.classify(&pass, &hidden)?;
                class_loss(tape, &scores, classes, options.smoothing)
            }
        }
    }

    /// The tensors of `adapter_model.safetensors`: a reparametrised prefix as the prefix itself.
    ///
    /// # Errors
    /// A candle error.
    pub fn stored(&self) -> Result<Vec<(String, Tensor)>> {
        let mut out: Vec<(String, Tensor)> = self
            .trainable()
            .iter()
            .filter(|p| !p.name.starts_with("transformer.prefix."))
            .map(|p| (p.name.clone(), p.tensor.clone()))
            .collect();
        if let Some(r) = &self.reparametrised {
            for (i, (k, v)) in r
                .stored(self.parts.len(), self.backbone.heads().count)?
                .into_iter()
                .enumerate()
            {
                let at = self.backbone.describe().attention(i);
                out.push((format!("{at}.prefix.key"), k));
                out.push((format!("{at}.prefix.value"), v));
            }
        }
        Ok(out)
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn save_adapter(&self, dir: &Path) -> Result<()> {
        let saved = Saved {
            config: self.config.clone(),
            tensors: self.stored()?.into_iter().collect(),
        };
        saved.write(dir)
    }

    /// Writes the backbone as a Hugging Face directory's `config.json` and `model.safetensors`.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn save_backbone(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        let mut tensors: Vec<(String, Tensor)> = self
            .backbone
            .parameters()
            .iter()
            .map(|p| (p.name.clone(), p.tensor.clone()))
            .collect();
        let masked =
            matches!(&self.backbone, Backbone::Roberta(b) if matches!(b.head, Top::Words(_)));
        if masked {
            let zeros = Tensor::zeros(self.backbone.vocabulary(), DType::F32, &Device::Cpu)?;
            tensors.push(("lm_head.bias".into(), zeros));
        }
        write(
            &dir.join("model.safetensors"),
            &weights::serialize(&tensors, HashMap::from([("format".into(), "pt".into())]))?,
        )?;
        let json = match self.backbone.config() {
            BackboneConfig::Gpt2(c) => serde_json::json!({
                "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.0, "bos_token_id": c.eos_token_id, "embd_pdrop": 0.0,
                "eos_token_id": c.eos_token_id, "initializer_range": c.initializer_range, "layer_norm_epsilon": c.layer_norm_epsilon, "model_type": "gpt2",
                "n_embd": c.n_embd, "n_head": c.n_head, "n_inner": c.n_inner, "n_layer": c.n_layer, "n_positions": c.n_positions, "resid_pdrop": 0.0,
                "scale_attn_weights": true, "tie_word_embeddings": true, "torch_dtype": "float32", "vocab_size": c.vocab_size,
            }),
            BackboneConfig::Roberta(c) => serde_json::json!({
                "architectures": [if masked { "RobertaForMaskedLM" } else { "RobertaForSequenceClassification" }], "attention_probs_dropout_prob": c.hidden_dropout_prob, "bos_token_id": 0,
                "eos_token_id": 2, "hidden_act": "gelu", "hidden_dropout_prob": c.hidden_dropout_prob, "hidden_size": c.hidden_size,
                "id2label": (0..c.classes()).map(|i| (i.to_string(), format!("LABEL_{i}"))).collect::<BTreeMap<_, _>>(),
                "label2id": (0..c.classes()).map(|i| (format!("LABEL_{i}"), i)).collect::<BTreeMap<_, _>>(),
                "initializer_range": c.initializer_range, "intermediate_size": c.intermediate_size, "layer_norm_eps": c.layer_norm_eps,
                "max_position_embeddings": c.max_position_embeddings, "model_type": "roberta", "num_attention_heads": c.num_attention_heads,
                "num_hidden_layers": c.num_hidden_layers, "pad_token_id": c.pad_token_id, "position_embedding_type": "absolute",
                "torch_dtype": "float32", "type_vocab_size": c.type_vocab_size, "vocab_size": c.vocab_size,
            }),
        };
        write_json(&dir.join("config.json"), &json)
    }
}

/// The labels of a batch that has one a token.
fn token_labels(batch: &Batch) -> Result<&[i64]> {
    match &batch.labels {
        Labels::Tokens(labels) if labels.len() == batch.tokens() => Ok(labels),
        Labels::Tokens(labels) => Err(Error::Batch(format!(
            "labels: expected {}, found {}",
            batch.tokens(),
            labels.len()
        ))),
        _ => Err(Error::Batch("labels: expected one a token".into())),
    }
}

/// The parts of a method in one layer.
fn layer_parts(
    config: &AdapterConfig,
    layer: usize,
    backbone: &dyn Describe,
    direct: bool,
    take: &mut impl FnMut(String) -> Result<Parameter>,
) -> Result<Vec<Box<dyn Part>>> {
    let (at, eps) = (backbone.attention(layer), backbone.epsilon());
    let mut parts: Vec<Box<dyn Part>> = Vec::new();
    if let Some(lora) = &config.lora {
        let mut targets: Vec<(Target, [Parameter; 2], Option<Parameter>)> = Vec::new();
        for t in &lora.targets {
            let name = |n: &str| format!("{at}.lora.{}.{n}", t.letter());
            let bias = if lora.bias {
                Some(take(name("bias"))?)
            } else {
                None
            };
            targets.push((*t, [take(name("a"))?, take(name("b"))?], bias));
        }
        parts.push(Box::new(LowRank {
            layer,
            scale: lora.alpha / lora.rank as f64,
            rate: lora.dropout,
            targets,
        }));
    }
    match &config.attention {
        Some(Attention::Inducer { variant, .. }) => {
            let mut four = |part: &str| -> Result<[Parameter; 4]> {
                let mut name = |n: &str| take(format!("{at}.inducer.{part}.{n}"));
                Ok([
                    name("down")?,
                    name("down_bias")?,
                    name("up")?,
                    name("up_bias")?,
                ])
            };
            let key = if variant.has_key_mlp() {
                Some(four("key")?)
            } else {
                None
            };
            parts.push(Box::new(Inducer {
                layer,
                variant: *variant,
                key,
                value: four("value")?,
            }));
        }
        Some(Attention::Prefix { .. }) => {
            let tensors = if direct {
                Some([
                    take(format!("{at}.prefix.key"))?,
                    take(format!("{at}.prefix.value"))?,
                ])
            } else {
                None
            };
            parts.push(Box::new(Prefix { layer, tensors }));
        }
        Some(Attention::Adapter { layer_norm, .. }) => parts.push(Box::new(bottleneck(
            &format!("{at}.adapter"),
            false,
            1.0,
            *layer_norm,
            eps,
            take,
        )?)),
        None => {}
    }
    if let Some(Ffn::Adapter {
        layer_norm, scale, ..
    }) = &config.ffn
    {
        parts.push(Box::new(bottleneck(
            &backbone.ffn(layer),
            true,
            *scale,
            *layer_norm,
            eps,
            take,
        )?));
    }
    Ok(parts)
}

fn bottleneck(
    at: &str,
    parallel: bool,
    scale: f64,
    layer_norm: bool,
    eps: f64,
    take: &mut impl FnMut(String) -> Result<Parameter>,
) -> Result<Bottleneck> {
    let mut name = |n: &str| take(format!("{at}.{n}"));
    let tensors = [
        name("down.weight")?,
        name("down.bias")?,
        name("up.weight")?,
        name("up.bias")?,
    ];
    let norm = if layer_norm {
        Some([name("layer_norm.weight")?, name("layer_norm.bias")?])
    } else {
        None
    };
    Ok(Bottleneck {
        parallel,
        scale,
        norm,
        tensors,
        eps,
    })
}

fn scalar(t: &Tensor) -> Result<f64> {
    Ok(t.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, bytes).map_err(|e| Error::io(path, std::io::Error::other(e.to_string())))
}

/// Writes pretty JSON, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| Error::Json {
        path: path.to_path_buf(),
        message: e.to_string(),
    })?;
    text.push('\n');
    write(path, text.as_bytes())
}
