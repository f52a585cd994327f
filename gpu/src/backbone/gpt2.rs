//! GPT-2 (pre-norm): `x ← x + drop(attention(LN(x)))`,
//! `x ← x + drop(FFN(LN(x)) + parts beside it)`.

use super::sublayer::{Layer, through};
use super::{Backbone, Head, Inputs};
use crate::config::{BackboneConfig, Gpt2Config};
use crate::error::Result;
use crate::ops::activation::Activation;
use crate::ops::dropout::{Dropout, residual};
use crate::ops::embedding::{Tables, embedding};
use crate::ops::layer_norm::{norm, norm_for_products};
use crate::ops::linear::Layout;
use crate::parts::{Change, DropoutSite, FoldTarget, ForwardContext, Part, Target};
use crate::tape::{Pair, Parameter, Value};
use crate::tensors::{Declare, Init, Source};
use candle_core::{DType, Device, Tensor};

/// One layer.
pub struct Block {
    /// LayerNorm before the attention.
    pub ln_1: Pair,
    /// Fused projection [d, 3d].
    pub c_attn: Pair,
    /// W^o [d, d].
    pub c_proj: Pair,
    /// LayerNorm before the FFN.
    pub ln_2: Pair,
    /// [d, inner].
    pub c_fc: Pair,
    /// [inner, d].
    pub mlp_proj: Pair,
}

crate::tensors!(Block: ln_1, c_attn, c_proj, ln_2, c_fc, mlp_proj);

/// The backbone.
pub struct Gpt2 {
    /// Its configuration.
    pub config: Gpt2Config,
    /// Token embeddings [vocabulary, d], also the head where it has none of its own.
    pub wte: Parameter,
    /// Position embeddings [positions, d].
    pub wpe: Parameter,
    /// Layers.
    pub blocks: Vec<Block>,
    /// Last LayerNorm.
    pub ln_f: Pair,
    /// A head of its own [vocabulary, d].
    pub lm_head: Option<Parameter>,
}

crate::tensors!(Gpt2: wte, wpe, blocks, ln_f, lm_head);

impl Gpt2 {
    /// Name of an untied head.
    pub const LM_HEAD: &'static str = "lm_head.weight";

    /// Declares every tensor; initial values as in transformers: N(0, range²), residual projections
    /// divided by √(2L).
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn declare(config: Gpt2Config, from: &Declare<'_>) -> Result<Self> {
        let (d, inner, range) = (config.n_embd, config.inner(), config.initializer_range);
        let start = Init::Normal(range);
        let residual = Init::Normal(range / (2.0 * config.n_layer as f64).sqrt());
        let frozen = from.frozen();
        let at = frozen.within("transformer");
        let block = |i: usize| {
            let at = at.within("h").within(i);
            Ok(Block {
                ln_1: at.norm("ln_1", d)?,
                c_attn: at.conv1d("attn.c_attn", d, 3 * d, start)?,
                c_proj: at.conv1d("attn.c_proj", d, d, residual)?,
                ln_2: at.norm("ln_2", d)?,
                c_fc: at.conv1d("mlp.c_fc", d, inner, start)?,
                mlp_proj: at.conv1d("mlp.c_proj", inner, d, residual)?,
            })
        };
        Ok(Self {
            wte: at.weight("wte.weight", [config.vocab_size, d], start)?,
            wpe: at.weight("wpe.weight", [config.n_positions, d], start)?,
            blocks: (0..config.n_layer).map(block).collect::<Result<_>>()?,
            ln_f: at.norm("ln_f", d)?,
            lm_head: match config.tie_word_embeddings {
                true => None,
                false => Some(frozen.weight(Self::LM_HEAD, [config.vocab_size, d], start)?),
            },
            config,
        })
    }

    /// A new GPT-2 with initial values.
    ///
    /// # Errors
    /// A candle error.
    pub fn random(config: Gpt2Config, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        Self::declare(config, &Source::random(seed, dtype, device).root())
    }
}

impl Backbone for Gpt2 {
    fn config(&self) -> BackboneConfig {
        BackboneConfig::Gpt2(self.config.clone())
    }

    fn json(&self) -> serde_json::Value {
        self.config.to_json()
    }

    fn head(&self) -> &Head {
        &Head::LanguageModel
    }

    fn token_embeddings(&self) -> &Parameter {
        &self.wte
    }

    fn output_embeddings(&self) -> &Parameter {
        self.lm_head.as_ref().unwrap_or(&self.wte)
    }

    fn untie(&mut self) {
        if self.lm_head.is_none() {
            let rows = self.wte.tensor.clone();
            self.lm_head = Some(Parameter::new(Self::LM_HEAD, rows, false));
            self.config.tie_word_embeddings = false;
        }
    }

    fn hidden(
        &self,
        ctx: &ForwardContext<'_>,
        parts: &[Vec<Box<dyn Part>>],
        inputs: Inputs<'_>,
    ) -> Result<Value> {
        let (tape, eps) = (ctx.tape, self.config.layer_norm_epsilon);
        let (tokens, positions) = (tape.parameter(&self.wte)?, tape.parameter(&self.wpe)?);
        let tables = Tables {
            tokens: &tokens,
            added: inputs.special,
            positions: &positions,
        };
        let x = embedding(tape, tables, inputs.ids, inputs.segments, inputs.positions)?;
        let gelu = self.config.activation_function.activation();
        let forward = |block: &Block, at: Layer<'_, '_>, x: &Value| block.forward(at, x, eps, gelu);
        let x = through(ctx, Layout::InOut, &self.blocks, parts, x, forward)?;
        norm(tape, &self.ln_f, &x, eps)
    }

    fn append_tokens(&mut self, rows: &Tensor) -> Result<()> {
        let rows = rows.to_dtype(self.wte.tensor.dtype())?;
        self.config.vocab_size += rows.dim(0)?;
        for table in [Some(&mut self.wte), self.lm_head.as_mut()]
            .into_iter()
            .flatten()
        {
            table.tensor = Tensor::cat(&[&table.tensor, &rows], 0)?;
        }
        Ok(())
    }
}

impl Gpt2 {
    /// Where a map begins in the columns of its weight.
    fn column(&self, target: Target) -> usize {
        match target.is_projection() {
            true => target as usize * self.config.n_embd,
            false => 0,
        }
    }
}

impl FoldTarget for Gpt2 {
    fn parameters_of(&self, layer: usize, target: Target) -> (&Pair, usize) {
        let block = &self.blocks[layer];
        let pair = match target {
            Target::Q | Target::K | Target::V => &block.c_attn,
            Target::O => &block.c_proj,
            Target::Up => &block.c_fc,
            Target::Down => &block.mlp_proj,
        };
        (pair, self.column(target))
    }

    fn map(&self, layer: usize, target: Target) -> Result<(Tensor, Tensor)> {
        let ([weight, bias], from) = self.parameters_of(layer, target);
        let [_, width] = target.sizes(&self.spec());
        let w = weight.tensor.narrow(1, from, width)?.t()?.contiguous()?;
        let b = bias.tensor.narrow(0, from, width)?;
        Ok((w.to_dtype(DType::F64)?, b.to_dtype(DType::F64)?))
    }

    /// One matrix [d in, 3 d out] and one bias [3 d] hold q, k and v.
    fn replace(&mut self, layer: usize, target: Target, change: &mut Change<'_>) -> Result<()> {
        let (before, b_before) = self.map(layer, target)?;
        let (new, new_bias) = change(before, b_before)?;
        let (from, width) = (self.column(target), new_bias.dim(0)?);
        let [weight, bias] = match target {
            Target::Q | Target::K | Target::V => &mut self.blocks[layer].c_attn,
            Target::O => &mut self.blocks[layer].c_proj,
            Target::Up => &mut self.blocks[layer].c_fc,
            Target::Down => &mut self.blocks[layer].mlp_proj,
        };
        let (w, b) = (
            weight.tensor.to_dtype(DType::F64)?,
            bias.tensor.to_dtype(DType::F64)?,
        );
        let columns = [0..w.dim(0)?, from..from + width];
        let w = w.slice_assign(&columns, &new.t()?.contiguous()?)?;
        let b = b.slice_assign(&columns[1..], &new_bias.contiguous()?)?;
        weight.tensor = w.to_dtype(weight.tensor.dtype())?;
        bias.tensor = b.to_dtype(bias.tensor.dtype())?;
        Ok(())
    }
}

impl Block {
    fn forward(
        &self,
        layer: Layer<'_, '_>,
        x: &Value,
        eps: f64,
        gelu: Activation,
    ) -> Result<Value> {
        let tape = layer.ctx.tape;
        let input = norm_for_products(tape, &self.ln_1, x, eps)?;
        let qkv = layer.affine(&self.c_attn, &input, None)?;
        let y = layer.attention(&input, qkv, &self.c_proj)?;
        let x = residual(tape, x, &y, layer.dropout(DropoutSite::AttentionBranch))?;

        let input = norm_for_products(tape, &self.ln_2, &x, eps)?;
        let maps = [&self.c_fc, &self.mlp_proj];
        let y = layer.feed_forward(&input, maps, gelu, Dropout::OFF)?;
        residual(tape, &x, &y, layer.dropout(DropoutSite::FfnBranch))
    }
}
