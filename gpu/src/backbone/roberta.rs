//! RoBERTa (post-norm) with a head for classes or for masked tokens:
//!
//! ```text
//! x = LN(word[token] + position[padding_idx + 1 + i] + type[segment])
//! y = LN(drop(heads W^o + b^o + parts) + x);   x = LN(drop(FFN(y)) + parts beside it + y)
//! ```
//!
//! Rows are packed without padding, so that no output depends on it.

use super::heads::{Classifier, MaskedLm};
use super::sublayer::{Layer, through};
use super::{Backbone, Head, Inputs};
use crate::config::{BackboneConfig, RobertaConfig};
use crate::error::Result;
use crate::ops::activation::Activation;
use crate::ops::dropout::{Dropout, residual};
use crate::ops::embedding::{Tables, embedding};
use crate::ops::gather::{concatenate, gather_rows};
use crate::ops::layer_norm::norm;
use crate::ops::linear::Layout;
use crate::parts::{Change, DropoutSite, FoldTarget, ForwardContext, Part, Target};
use crate::tape::{Pair, Parameter, Value};
use crate::tensors::{Declare, Init, Source};
use candle_core::{DType, Device, Tensor};

/// One layer.
pub struct EncoderLayer {
    /// W^q, W^k, W^v, each [d, d].
    pub qkv: [Pair; 3],
    /// W^o.
    pub output: Pair,
    /// LayerNorm after the attention.
    pub attention_norm: Pair,
    /// [inner, d].
    pub intermediate: Pair,
    /// [d, inner].
    pub down: Pair,
    /// LayerNorm after the FFN.
    pub norm: Pair,
}

crate::tensors!(EncoderLayer: qkv, output, attention_norm, intermediate, down, norm);

/// The backbone and its head.
pub struct Roberta {
    /// Its configuration.
    pub config: RobertaConfig,
    /// Token embeddings [vocabulary, d].
    pub word_embeddings: Parameter,
    /// Position embeddings [positions, d].
    pub position_embeddings: Parameter,
    /// Segment embeddings [types, d].
    pub token_type_embeddings: Parameter,
    /// LayerNorm of the embeddings.
    pub norm: Pair,
    /// Layers.
    pub layers: Vec<EncoderLayer>,
    /// What stands on top.
    pub head: Head,
}

crate::tensors!(Roberta:
    word_embeddings, position_embeddings, token_type_embeddings, norm, layers, head);

impl Roberta {
    /// Declares every tensor of the encoder; initial values as in transformers: N(0, range²),
    /// biases 0.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn declare(config: RobertaConfig, head: Head, from: &Declare<'_>) -> Result<Self> {
        let (d, inner) = (config.hidden_size, config.intermediate_size);
        let start = Init::Normal(config.initializer_range);
        let dense =
            |at: &Declare<'_>, name: &str, shape| at.linear(name, shape, [start, Init::ZERO]);
        let at = from.frozen().within("roberta");
        let layer = |i: usize| {
            let at = at.within("encoder.layer").within(i);
            let projection = |name: &str| dense(&at, &format!("attention.self.{name}"), [d, d]);
            Ok(EncoderLayer {
                qkv: [
                    projection("query")?,
                    projection("key")?,
                    projection("value")?,
                ],
                output: dense(&at, "attention.output.dense", [d, d])?,
                attention_norm: at.norm("attention.output.LayerNorm", d)?,
                intermediate: dense(&at, "intermediate.dense", [inner, d])?,
                down: dense(&at, "output.dense", [d, inner])?,
                norm: at.norm("output.LayerNorm", d)?,
            })
        };
        let embeddings = at.within("embeddings");
        let table = |name: &str, rows| {
            embeddings.weight(&format!("{name}_embeddings.weight"), [rows, d], start)
        };
        Ok(Self {
            word_embeddings: table("word", config.vocab_size)?,
            position_embeddings: table("position", config.max_position_embeddings)?,
            token_type_embeddings: table("token_type", config.type_vocab_size)?,
            norm: embeddings.norm("LayerNorm", d)?,
            layers: (0..config.num_hidden_layers)
                .map(layer)
                .collect::<Result<_>>()?,
            head,
            config,
        })
    }

    /// Declares a classification head for the configuration's classes.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn classifier(config: &RobertaConfig, from: &Declare<'_>) -> Result<Head> {
        Ok(Head::Classifier(Classifier::declare(
            config,
            &from.frozen(),
        )?))
    }

    /// A new RoBERTa with initial values and a classification head.
    ///
    /// # Errors
    /// A candle error.
    pub fn random(config: RobertaConfig, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let source = Source::random(seed, dtype, device);
        let head = Self::classifier(&config, &source.root())?;
        Self::declare(config, head, &source.root())
    }

    /// The same with the head of a masked language model.
    ///
    /// # Errors
    /// A candle error.
    pub fn random_masked(
        config: RobertaConfig,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let source = Source::random(seed, dtype, device);
        let head = MaskedLm::declare(&config, &source.root().frozen())?;
        Self::declare(config, Head::MaskedLm(head), &source.root())
    }
}

impl Backbone for Roberta {
    fn config(&self) -> BackboneConfig {
        BackboneConfig::Roberta(self.config.clone())
    }

    fn json(&self) -> serde_json::Value {
        self.config.to_json(match self.head {
            Head::MaskedLm(_) => "ForMaskedLM",
            _ => "ForSequenceClassification",
        })
    }

    fn head(&self) -> &Head {
        &self.head
    }

    fn token_embeddings(&self) -> &Parameter {
        &self.word_embeddings
    }

    fn hidden(
        &self,
        ctx: &ForwardContext<'_>,
        parts: &[Vec<Box<dyn Part>>],
        inputs: Inputs<'_>,
    ) -> Result<Value> {
        let (tape, eps) = (ctx.tape, self.config.layer_norm_eps);
        let tokens = tape.parameter(&self.word_embeddings)?;
        let positions = tape.parameter(&self.position_embeddings)?;
        let tables = Tables {
            tokens: &tokens,
            added: None,
            positions: &positions,
        };
        let x = embedding(tape, tables, inputs.ids, None, inputs.positions)?;
        let zeros = vec![0; inputs.ids.len()];
        let segments = inputs.segments.unwrap_or(&zeros);
        let types = gather_rows(
            tape,
            &tape.parameter(&self.token_type_embeddings)?,
            segments,
        )?;
        let x = residual(tape, &x, &types, Dropout::OFF)?;
        let x = norm(tape, &self.norm, &x, eps)?;
        let gelu = self.config.hidden_act.activation();
        let forward =
            |layer: &EncoderLayer, at: Layer<'_, '_>, x: &Value| layer.forward(at, x, eps, gelu);
        through(ctx, Layout::OutIn, &self.layers, parts, x, forward)
    }
}

impl FoldTarget for Roberta {
    fn parameters_of(&self, layer: usize, target: Target) -> (&Pair, usize) {
        let layer = &self.layers[layer];
        let pair = match target {
            Target::Q | Target::K | Target::V => &layer.qkv[target as usize],
            Target::O => &layer.output,
            Target::Up => &layer.intermediate,
            Target::Down => &layer.down,
        };
        (pair, 0)
    }

    fn map(&self, layer: usize, target: Target) -> Result<(Tensor, Tensor)> {
        let ([weight, bias], _) = self.parameters_of(layer, target);
        let wide = |p: &Parameter| p.tensor.to_dtype(DType::F64);
        Ok((wide(weight)?, wide(bias)?))
    }

    fn replace(&mut self, layer: usize, target: Target, change: &mut Change<'_>) -> Result<()> {
        let (w, b) = self.map(layer, target)?;
        let (w, b) = change(w, b)?;
        let layer = &mut self.layers[layer];
        let [weight, bias] = match target {
            Target::Q | Target::K | Target::V => &mut layer.qkv[target as usize],
            Target::O => &mut layer.output,
            Target::Up => &mut layer.intermediate,
            Target::Down => &mut layer.down,
        };
        weight.tensor = w.to_dtype(weight.tensor.dtype())?;
        bias.tensor = b.to_dtype(bias.tensor.dtype())?;
        Ok(())
    }
}

impl EncoderLayer {
    fn forward(
        &self,
        layer: Layer<'_, '_>,
        x: &Value,
        eps: f64,
        gelu: Activation,
    ) -> Result<Value> {
        let tape = layer.ctx.tape;
        let [q, k, v] = &self.qkv;
        let project = |pair| layer.affine(pair, x, None);
        let qkv = concatenate(tape, &[project(q)?, project(k)?, project(v)?])?;
        let y = layer.attention(x, qkv, &self.output)?;
        let y = residual(tape, x, &y, layer.dropout(DropoutSite::AttentionBranch))?;
        let y = norm(tape, &self.attention_norm, &y, eps)?;

        let maps = [&self.intermediate, &self.down];
        let drop = layer.dropout(DropoutSite::FfnBranch);
        let z = layer.feed_forward(&y, maps, gelu, drop)?;
        let z = residual(tape, &y, &z, Dropout::OFF)?;
        norm(tape, &self.norm, &z, eps)
    }
}
