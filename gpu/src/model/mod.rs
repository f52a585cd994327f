//! A model: a backbone, the parts of a method, and the trained rows of the special tokens.

mod check;
mod insight;
mod loss;

pub use insight::Insight;
pub use loss::{Loss, LossOptions};

use crate::adapter::{AdapterConfig, Attached};
use crate::backbone::heads::{Targets, Tied, positions};
use crate::backbone::{Backbone, Inputs};
use crate::decode::kv_cache::KvCache;
use crate::error::{Error, Origin, Result};
use crate::kernels::held_in;
use crate::kernels::precision::master_dtype;
use crate::ops::argmax::argmax;
use crate::ops::attention::Visible;
use crate::ops::dropout::Dropout;
use crate::parts::observe::Observation;
use crate::parts::{FixedGates, ForwardContext};
use crate::tape::{Parameter, Tape, Value};
use crate::tensors::{Source, Tensors};
use candle_core::{D, DType, Device, Tensor};
use inducer_datasets::batch::Batch;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A backbone with a method attached.
pub struct Model {
    /// The backbone.
    pub backbone: Box<dyn Backbone>,
    /// The method.
    pub config: AdapterConfig,
    attached: Attached,
    /// What stands in the place of λ or μ, while somebody asks what becomes of the model then.
    fixed_gates: Option<FixedGates>,
    dtype: DType,
    device: Device,
}

crate::tensors!(Model: attached, backbone);

impl Model {
    /// A backbone without a method, to be computed in `dtype`. For mixed precision (bf16) give its
    /// tensors in f32: what is trained stays so, the rest is converted where it is used, or once by
    /// [`Model::cast_frozen_weights`].
    pub fn new(backbone: impl Into<Box<dyn Backbone>>, dtype: DType, device: &Device) -> Self {
        let backbone = backbone.into();
        let layers = (0..backbone.spec().layers).map(|_| Vec::new()).collect();
        Self {
            backbone,
            config: AdapterConfig::none(),
            attached: Attached {
                layers,
                ..Attached::default()
            },
            fixed_gates: None,
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
        let source = Source::random(seed, self.master_dtype(), &self.device);
        self.attach_from(config, special, source)?;
        for part in self.attached.layers.iter_mut().flatten() {
            part.begin(self.backbone.as_ref())?;
        }
        Ok(())
    }

    /// Attaches a method with these tensors by name; backbone tensors among them replace the
    /// backbone's.
    ///
    /// # Errors
    /// A tensor is missing or has another shape, or nothing asks for it.
    pub fn install(
        &mut self,
        config: &AdapterConfig,
        tensors: BTreeMap<String, Tensor>,
    ) -> Result<()> {
        self.install_from(config, tensors, Origin::Memory)
    }

    /// The same; errors name where the tensors come from.
    ///
    /// # Errors
    /// As [`Model::install`].
    pub fn install_from(
        &mut self,
        config: &AdapterConfig,
        tensors: BTreeMap<String, Tensor>,
        origin: Origin,
    ) -> Result<()> {
        let special = tensors
            .get(Attached::SPECIAL_TOKENS)
            .map_or(0, |t| t.dims()[0]);
        self.attach_from(config, special, Source::given(tensors, origin))
    }

    fn attach_from(
        &mut self,
        config: &AdapterConfig,
        special: usize,
        source: Source,
    ) -> Result<()> {
        if config.unties() {
            self.backbone.untie();
        }
        let spec = self.backbone.spec();
        let attached = Attached::declare(config, &spec, special, &source.root())?;
        let own = self.backbone.own_parameters().len();
        let has_classifier = self.backbone.head().classifier().is_ok();
        for (i, p) in self.backbone.parameters_mut().into_iter().enumerate() {
            // a classifier is trained with every method
            p.trainable = config.tunes(p) || (i >= own && has_classifier);
            if let Some(given) = source.take(&p.name, p.tensor.dims())? {
                p.tensor = given;
            } else if p.trainable {
                p.tensor = p.tensor.copy()?; // training writes in place
            }
        }
        source.finish()?;
        self.attached = attached;
        self.config = config.clone();
        Ok(())
    }

    /// Makes every tensor of the backbone trainable, without a method: pretraining.
    ///
    /// # Errors
    /// A candle error.
    pub fn tune_backbone(&mut self) -> Result<()> {
        for p in self.backbone.parameters_mut() {
            p.tensor = p.tensor.copy()?; // training writes in place
            p.trainable = true;
        }
        self.config.full = true;
        Ok(())
    }

    /// Converts what is frozen into the type that the model computes in, once and for all: half the
    /// memory in bf16, and no conversion in each step. Call it when no other method will be
    /// attached any more; training does. Without mixed precision it changes nothing, nor where the
    /// CPU's kernels compute in bf16, which round what they read.
    ///
    /// # Errors
    /// The device cannot convert.
    pub fn cast_frozen_weights(&mut self) -> Result<()> {
        let dtype = held_in(self.dtype, &self.device);
        for p in self.backbone.parameters_mut() {
            if !p.trainable {
                p.tensor = p.tensor.to_dtype(dtype)?;
            }
        }
        Ok(())
    }

    /// The trainable parameters, in a fixed order.
    pub fn trainable(&self) -> Vec<&Parameter> {
        let mut all = self.parameters();
        all.retain(|p| p.trainable);
        all
    }

    /// The same, to be changed by the optimiser.
    pub fn trainable_mut(&mut self) -> Vec<&mut Parameter> {
        let mut all = self.parameters_mut();
        all.retain(|p| p.trainable);
        all
    }

    /// The tensors of `adapter_model.safetensors`: a reparametrised prefix as the prefix itself.
    ///
    /// # Errors
    /// A candle error.
    pub fn stored(&self) -> Result<Vec<(String, Tensor)>> {
        let layers = self.attached.layers.parameters().into_iter();
        let special = &self.attached.special_tokens;
        let trained = layers.chain(special).chain(self.backbone.parameters());
        let mut out: Vec<(String, Tensor)> = trained
            .filter(|p| p.trainable)
            .map(|p| (p.name.clone(), p.tensor.clone()))
            .collect();
        if let Some(network) = &self.attached.network {
            out.extend(network.stored()?);
        }
        Ok(out)
    }

    /// Number of special tokens' rows.
    pub fn special(&self) -> usize {
        let rows = self.attached.special_tokens.as_ref();
        rows.map_or(0, |p| p.tensor.dims()[0])
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
        let positions = self.backbone.spec().positions;
        positions.saturating_sub(self.config.position_offset())
    }

    fn tied(&self) -> Tied<'_> {
        Tied {
            tokens: self.backbone.output_embeddings(),
            special: self.attached.special_tokens.as_ref(),
        }
    }

    /// A tape that records nothing, in the model's type.
    fn tape_off(&self) -> Tape {
        Tape::off().computing_in(self.dtype)
    }

    fn context<'a>(
        &'a self,
        tape: &'a Tape,
        batch: &'a Batch,
        dropout: Option<Dropout>,
    ) -> Result<ForwardContext<'a>> {
        tape.convert(self.trainable())?;
        let (network, spec) = (self.attached.network.as_ref(), self.backbone.spec());
        Ok(ForwardContext {
            training: dropout.is_some(),
            dropout: dropout.unwrap_or(Dropout::OFF),
            tape,
            heads: spec.heads,
            offsets: &batch.offsets,
            visible: spec.visible,
            cache: None,
            prefix: network.map_or(Ok(Vec::new()), |n| n.apply(tape))?,
            observed: None,
            seen: None,
            fixed_gates: self.fixed_gates.as_ref(),
            maps: Some(self.backbone.as_ref()),
        })
    }

    /// Rows of the position table for new tokens after so many of each row: as given, or counted
    /// without padding tokens.
    fn positions(&self, batch: &Batch, before: &[usize]) -> Vec<u32> {
        if let Some(given) = &batch.positions {
            return given.clone();
        }
        let spec = self.backbone.spec();
        let offset = spec.first_position + self.config.position_offset();
        let mut positions = Vec::with_capacity(batch.tokens());
        for (w, before) in batch.offsets.windows(2).zip(before) {
            let mut at = offset + before;
            for id in &batch.ids[w[0]..w[1]] {
                if spec.padding == Some(*id) {
                    positions.push(spec.first_position as u32 - 1);
                } else {
                    positions.push(at as u32);
                    at += 1;
                }
            }
        }
        positions
    }

    /// The last hidden states [tokens, d] of new tokens after so many of each row.
    fn hidden(&self, ctx: &ForwardContext<'_>, batch: &Batch, before: &[usize]) -> Result<Value> {
        let positions = self.positions(batch, before);
        let special = self.attached.special_tokens.as_ref();
        let special = special.map(|p| ctx.tape.parameter(p)).transpose()?;
        let inputs = Inputs {
            ids: &batch.ids,
            segments: batch.segments.as_deref(),
            positions: &positions,
            special: special.as_ref(),
        };
        self.backbone.hidden(ctx, &self.attached.layers, inputs)
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
        let head = self.backbone.head();
        let (logits, observed) =
            self.observe(batch, |ctx, hidden| head.logits(ctx, hidden, self.tied()))?;
        Ok((logits, observed.into_iter().map(|o| o.gate).collect()))
    }

    /// The class with the highest score of each row; ties go to the lowest.
    ///
    /// # Errors
    /// As [`Model::logits`]; the backbone has no classification head.
    pub fn predict(&self, batch: &Batch) -> Result<Vec<u32>> {
        self.backbone.head().classifier()?;
        argmax(&self.logits(batch)?)
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
        let targets = self.targets(batch)?;
        let of = |ctx: &ForwardContext<'_>, hidden: &Value| {
            self.log_probabilities_of(ctx, hidden, &targets)
        };
        Ok(self.observe(batch, of)?.0)
    }

    /// The same for some of the targets; a classifier's rows are all asked for, in order, or a part
    /// of them.
    fn log_probabilities_of(
        &self,
        ctx: &ForwardContext<'_>,
        hidden: &Value,
        targets: &[(usize, u32)],
    ) -> Result<Tensor> {
        let head = self.backbone.head();
        let logits = match head.labels_rows() {
            false => head.logits_at(ctx, hidden, self.tied(), &positions(targets))?,
            true => {
                let all = head.logits_at(ctx, hidden, self.tied(), &[])?;
                let rows: Vec<u32> = positions(targets);
                all.index_select(&Tensor::new(rows, all.device())?, 0)?
            }
        };
        let top = logits.max_keepdim(D::Minus1)?;
        let shifted = logits.broadcast_sub(&top)?;
        let total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
        Ok(shifted.broadcast_sub(&total)?)
    }

    /// What `of` makes of the last hidden states [tokens, d], and what the parts show.
    fn observe<T>(
        &self,
        batch: &Batch,
        of: impl FnOnce(&ForwardContext<'_>, &Value) -> Result<T>,
    ) -> Result<(T, Vec<Observation>)> {
        self.check(batch)?;
        let tape = self.tape_off();
        let ctx = ForwardContext {
            observed: Some(RefCell::default()),
            ..self.context(&tape, batch, None)?
        };
        let hidden = self.hidden(&ctx, batch, &vec![0; batch.sequences()])?;
        let result = of(&ctx, &hidden)?;
        let observed = ctx.observed.map(RefCell::into_inner);
        Ok((result, observed.unwrap_or_default()))
    }

    /// An empty cache for decoding.
    pub fn cache(&self, rows: usize) -> KvCache {
        let heads = self.backbone.spec().heads;
        KvCache::new(
            self.attached.layers.len(),
            rows,
            heads,
            self.dtype,
            &self.device,
        )
    }

    /// Logits [rows, ids] after the newest token of each row, which come from the cache and
    /// `batch`'s new tokens.
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn decode(&self, batch: &Batch, cache: &mut KvCache) -> Result<Tensor> {
        if self.backbone.spec().visible != Visible::Causal {
            return Err(Error::Unsupported {
                what: "decoding",
                needs: "a GPT-2",
                found: "a RoBERTa",
            });
        }
        self.check(batch)?;
        let before = cache.lengths.clone();
        let new = || batch.offsets.windows(2).map(|w| w[1] - w[0]);
        let longest = before.iter().zip(new()).map(|(b, n)| b + n).max();
        self.check_decoded(longest.unwrap_or(0))?;
        let last: Vec<u32> = batch.offsets[1..].iter().map(|s| *s as u32 - 1).collect();
        let tape = self.tape_off();
        let logits = {
            let ctx = ForwardContext {
                cache: Some(RefCell::new(cache)),
                ..self.context(&tape, batch, None)?
            };
            let hidden = self.hidden(&ctx, batch, &before)?;
            let head = self.backbone.head();
            head.logits_at(&ctx, &hidden, self.tied(), &last)?
        };
        for (length, new) in cache.lengths.iter_mut().zip(new()) {
            *length += new;
        }
        Ok(logits)
    }

    /// What the loss of a batch is the mean over: (position, token) pairs, the token being the next
    /// one of the row or the masked one, or (row, class) pairs.
    ///
    /// # Errors
    /// Labels that do not fit.
    pub fn targets(&self, batch: &Batch) -> Result<Targets> {
        self.backbone.head().targets(batch, self.ids())
    }
}
