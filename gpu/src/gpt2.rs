//! GPT-2 (pre-norm): `x ← x + drop(attention(LN(x)))`,
//! `x ← x + drop(FFN(LN(x)) + parts beside it)`.

use crate::config::Gpt2Config;
use crate::error::Result;
use crate::ops::activation::Activation;
use crate::ops::attention::{Heads, attention};
use crate::ops::cross_entropy::Head;
use crate::ops::dropout::residual;
use crate::ops::embedding::{Tables, embedding};
use crate::ops::layer_norm::norm;
use crate::ops::linear::Linear;
use crate::parts::{Attended, Part, Pass, Site};
use crate::shapes::Shape;
use crate::tape::{Pair, Parameter, Tape, Value};
use crate::weights::Weights;
use candle_core::{DType, Device};
use std::path::Path;

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

/// The backbone.
pub struct Gpt2 {
    /// Its configuration.
    pub config: Gpt2Config,
    /// Token embeddings [vocabulary, d], also the head.
    pub wte: Parameter,
    /// Position embeddings [positions, d].
    pub wpe: Parameter,
    /// Layers.
    pub blocks: Vec<Block>,
    /// Last LayerNorm.
    pub ln_f: Pair,
}

/// Every tensor by its Hugging Face name with its shape, embeddings first.
pub fn shapes(c: &Gpt2Config) -> Vec<Shape> {
    let (d, inner) = (c.n_embd, c.inner());
    let mut out = vec![
        ("transformer.wte.weight".to_string(), vec![c.vocab_size, d]),
        ("transformer.wpe.weight".to_string(), vec![c.n_positions, d]),
    ];
    for i in 0..c.n_layer {
        for (name, shape) in [
            ("ln_1.weight", vec![d]),
            ("ln_1.bias", vec![d]),
            ("attn.c_attn.weight", vec![d, 3 * d]),
            ("attn.c_attn.bias", vec![3 * d]),
            ("attn.c_proj.weight", vec![d, d]),
            ("attn.c_proj.bias", vec![d]),
            ("ln_2.weight", vec![d]),
            ("ln_2.bias", vec![d]),
            ("mlp.c_fc.weight", vec![d, inner]),
            ("mlp.c_fc.bias", vec![inner]),
            ("mlp.c_proj.weight", vec![inner, d]),
            ("mlp.c_proj.bias", vec![d]),
        ] {
            out.push((format!("transformer.h.{i}.{name}"), shape));
        }
    }
    out.push(("transformer.ln_f.weight".to_string(), vec![d]));
    out.push(("transformer.ln_f.bias".to_string(), vec![d]));
    out
}

impl Gpt2 {
    /// Reads a Hugging Face directory.
    ///
    /// # Errors
    /// A missing, extra, wrongly shaped or non-finite tensor; a configuration this engine does not
    /// compute.
    pub fn load(dir: &Path, dtype: DType, device: &Device) -> Result<Self> {
        let config = Gpt2Config::read(dir)?;
        let weights = Weights::open_backbone(dir)?;
        let shapes = shapes(&config);
        let mut expected: Vec<(Vec<String>, Vec<usize>)> = shapes
            .iter()
            .map(|(n, s)| {
                (
                    vec![n.clone(), n.trim_start_matches("transformer.").to_string()],
                    s.clone(),
                )
            })
            .collect();
        let head = weights.names().any(|n| n == "lm_head.weight");
        if head {
            expected.push((
                vec!["lm_head.weight".into()],
                vec![config.vocab_size, config.n_embd],
            ));
        }
        weights.refuse_others(&expected, |name| {
            name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")
        })?;
        let mut tensors = weights.read(&expected, dtype, device)?;
        if head && let Some(lm) = tensors.pop() {
            let apart = (lm - &tensors[0])?
                .abs()?
                .max_all()?
                .to_dtype(DType::F64)?
                .to_scalar::<f64>()?;
            if apart != 0.0 {
                return Err(crate::Error::config(
                    weights.path(),
                    "lm_head.weight",
                    format!(
                        "expected the tied head, equal to wte.weight; found a difference of \
                         {apart:e}"
                    ),
                ));
            }
        }
        let names = shapes.into_iter().map(|(n, _)| n);
        Ok(Self::assemble(
            config,
            names
                .zip(tensors)
                .map(|(n, t)| Parameter::new(n, t, false))
                .collect(),
        ))
    }

    /// A new GPT-2 with initial values as in transformers: N(0, range²), residual projections
    /// divided by √(2L).
    ///
    /// # Errors
    /// A candle error.
    pub fn random(config: Gpt2Config, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        use crate::init::{Init, tensor};
        let mut parameters = Vec::new();
        for (name, shape) in shapes(&config) {
            let init = if name.contains(".ln_") {
                Init::Constant(if name.ends_with("weight") { 1.0 } else { 0.0 })
            } else if name.ends_with(".bias") {
                Init::Constant(0.0)
            } else if name.ends_with("c_proj.weight") {
                Init::Normal(config.initializer_range / (2.0 * config.n_layer as f64).sqrt())
            } else {
                Init::Normal(config.initializer_range)
            };
            let t = tensor(init, seed, &name, &shape, dtype, device)?;
            parameters.push(Parameter::new(name, t, false));
        }
        Ok(Self::assemble(config, parameters))
    }

    /// From the parameters in the order of [`shapes`].
    fn assemble(config: Gpt2Config, parameters: Vec<Parameter>) -> Self {
        let mut all = parameters.into_iter();
        let mut next = || {
            all.next()
                .unwrap_or_else(|| unreachable!("as many parameters as shapes"))
        };
        let (wte, wpe) = (next(), next());
        let mut pair = || [next(), next()];
        let blocks = (0..config.n_layer)
            .map(|_| Block {
                ln_1: pair(),
                c_attn: pair(),
                c_proj: pair(),
                ln_2: pair(),
                c_fc: pair(),
                mlp_proj: pair(),
            })
            .collect();
        let ln_f = pair();
        Self {
            config,
            wte,
            wpe,
            blocks,
            ln_f,
        }
    }

    /// H and p.
    pub fn heads(&self) -> Heads {
        Heads {
            count: self.config.n_head,
            width: self.config.head_width(),
        }
    }

    /// All parameters in the order of [`shapes`].
    pub fn parameters(&self) -> Vec<&Parameter> {
        let mut out = vec![&self.wte, &self.wpe];
        for b in &self.blocks {
            for pair in [&b.ln_1, &b.c_attn, &b.c_proj, &b.ln_2, &b.c_fc, &b.mlp_proj] {
                out.extend(pair);
            }
        }
        out.extend(&self.ln_f);
        out
    }

    /// The same, to be changed.
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let mut out = vec![&mut self.wte, &mut self.wpe];
        for b in &mut self.blocks {
            for pair in [
                &mut b.ln_1,
                &mut b.c_attn,
                &mut b.c_proj,
                &mut b.ln_2,
                &mut b.c_fc,
                &mut b.mlp_proj,
            ] {
                out.extend(pair);
            }
        }
        out.extend(&mut self.ln_f);
        out
    }

    /// Hidden states after the last LayerNorm [tokens, d].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn hidden(
        &self,
        pass: &Pass<'_>,
        parts: &[Vec<Box<dyn Part>>],
        added: Option<&Value>,
        ids: &[u32],
        segments: Option<&[u32]>,
        positions: &[u32],
    ) -> Result<Value> {
        let tape = pass.tape;
        let (tokens, places) = (tape.parameter(&self.wte)?, tape.parameter(&self.wpe)?);
        let mut x = embedding(
            tape,
            Tables {
                tokens: &tokens,
                added,
                positions: &places,
            },
            ids,
            segments,
            positions,
        )?;
        for (layer, (block, parts)) in self.blocks.iter().zip(parts).enumerate() {
            x = block.forward(pass, layer, parts, &x, self.config.layer_norm_epsilon)?;
        }
        norm(tape, &self.ln_f, &x, self.config.layer_norm_epsilon)
    }

    /// The tied head.
    pub fn head<'a>(&self, tokens: &'a Value, added: Option<&'a Value>) -> Head<'a> {
        Head { tokens, added }
    }
}

fn linear(tape: &Tape, pair: &Pair, x: &Value, onto: Option<&Value>) -> Result<Value> {
    let [w, b] = tape.parameters(pair)?;
    let map = Linear::conv1d(&w, &b);
    match onto {
        Some(v) => map.onto(v, 0).apply(tape, x),
        None => map.apply(tape, x),
    }
}

impl Block {
    fn forward(
        &self,
        pass: &Pass<'_>,
        layer: usize,
        parts: &[Box<dyn Part>],
        x: &Value,
        eps: f64,
    ) -> Result<Value> {
        let tape = pass.tape;
        let input = norm(tape, &self.ln_1, x, eps)?;
        let mut qkv = linear(tape, &self.c_attn, &input, None)?;
        for part in parts {
            qkv = part.on_qkv(pass, &input, qkv)?;
        }
        let (f, lse) = match &pass.cache {
            None => attention(
                tape,
                &qkv,
                pass.heads,
                pass.starts,
                pass.visible,
                pass.drop(layer, Site::Attention),
            )?,
            Some(cache) => {
                let (f, lse) = cache.borrow_mut().attend(
                    layer,
                    &qkv.tensor,
                    pass.heads,
                    pass.starts,
                    pass.visible,
                )?;
                (Value::constant(f), Value::constant(lse))
            }
        };
        let mut attended = Attended {
            f,
            lse,
            update: None,
        };
        for part in parts {
            attended = part.on_heads(pass, &qkv, attended)?;
        }
        let mut y = linear(tape, &self.c_proj, &attended.f, attended.update.as_ref())?;
        for part in parts {
            y = part.on_output(pass, y)?;
        }
        let x = residual(tape, x, &y, pass.drop(layer, Site::AttentionBranch))?;

        let input = norm(tape, &self.ln_2, &x, eps)?;
        let inner = Activation::GeluTanh.apply(tape, &linear(tape, &self.c_fc, &input, None)?)?;
        let mut y = linear(tape, &self.mlp_proj, &inner, None)?;
        for part in parts {
            y = part.beside_ffn(pass, &input, y)?;
        }
        residual(tape, &x, &y, pass.drop(layer, Site::FfnBranch))
    }
}
