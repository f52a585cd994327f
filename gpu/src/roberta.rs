//! RoBERTa (post-norm) with its classification head:
//!
//! ```text
//! x = LN(word[token] + position[padding_idx + 1 + i] + type[segment])
//! y = LN(drop(heads W^o + b^o + parts) + x);   x = LN(drop(FFN(y)) + parts beside it + y)
//! logits = tanh(x_<s> W_dense + b) W_out + b
//! ```
//!
//! Rows are packed without padding, so that no output depends on it.

use crate::config::RobertaConfig;
use crate::error::Result;
use crate::init::{self, Init};
use crate::ops::activation::Activation;
use crate::ops::attention::Heads;
use crate::ops::dropout::{dropout, residual};
use crate::ops::embedding::{Tables, embedding};
use crate::ops::gather::{concatenate, gather_rows};
use crate::ops::layer_norm::norm;
use crate::ops::linear::Linear;
use crate::parts::{Attended, Part, Pass, Site};
use crate::shapes::{Describe as _, Shape};
use crate::tape::{Pair, Parameter, Tape, Value};
use crate::weights::Weights;
use candle_core::{DType, Device};
use std::path::Path;

/// One layer.
pub struct Layer {
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

impl Layer {
    fn pairs(&self) -> [&Pair; 8] {
        let [q, k, v] = &self.qkv;
        let (o, n) = (&self.output, &self.attention_norm);
        [q, k, v, o, n, &self.intermediate, &self.down, &self.norm]
    }

    fn pairs_mut(&mut self) -> [&mut Pair; 8] {
        let [q, k, v] = &mut self.qkv;
        let (o, n) = (&mut self.output, &mut self.attention_norm);
        let (i, d) = (&mut self.intermediate, &mut self.down);
        [q, k, v, o, n, i, d, &mut self.norm]
    }
}

/// What stands on the encoder.
pub enum Head {
    /// `classifier.dense`, `classifier.out_proj`: one of several classes for each row.
    Classes([Pair; 2]),
    /// `lm_head.dense`, `lm_head.layer_norm`: the token at each masked position, through the tied
    /// embedding. For pretraining; its bias stays 0.
    Words([Pair; 2]),
}

impl Head {
    fn pairs(&self) -> &[Pair; 2] {
        let (Self::Classes(pairs) | Self::Words(pairs)) = self;
        pairs
    }

    fn pairs_mut(&mut self) -> &mut [Pair; 2] {
        let (Self::Classes(pairs) | Self::Words(pairs)) = self;
        pairs
    }
}

/// The tensors of the masked language model's head.
fn word_shapes(c: &RobertaConfig) -> Vec<Shape> {
    let d = c.hidden_size;
    vec![
        ("lm_head.dense.weight".into(), vec![d, d]),
        ("lm_head.dense.bias".into(), vec![d]),
        ("lm_head.layer_norm.weight".into(), vec![d]),
        ("lm_head.layer_norm.bias".into(), vec![d]),
    ]
}

/// The backbone and its head.
pub struct Roberta {
    /// Its configuration.
    pub config: RobertaConfig,
    /// Token embeddings [vocabulary, d].
    pub word: Parameter,
    /// Position embeddings [positions, d].
    pub position: Parameter,
    /// Segment embeddings [types, d].
    pub kind: Parameter,
    /// LayerNorm of the embeddings.
    pub norm: Pair,
    /// Layers.
    pub layers: Vec<Layer>,
    /// What stands on top.
    pub head: Head,
    /// Whether the directory had no head, so that it has its initial values.
    pub fresh_head: bool,
}

/// Every tensor of the encoder by its Hugging Face name with its shape, embeddings first.
pub fn shapes(c: &RobertaConfig) -> Vec<Shape> {
    let (d, inner) = (c.hidden_size, c.intermediate_size);
    let embeddings = "roberta.embeddings";
    let mut out = vec![
        (
            format!("{embeddings}.word_embeddings.weight"),
            vec![c.vocab_size, d],
        ),
        (
            format!("{embeddings}.position_embeddings.weight"),
            vec![c.max_position_embeddings, d],
        ),
        (
            format!("{embeddings}.token_type_embeddings.weight"),
            vec![c.type_vocab_size, d],
        ),
        (format!("{embeddings}.LayerNorm.weight"), vec![d]),
        (format!("{embeddings}.LayerNorm.bias"), vec![d]),
    ];
    for i in 0..c.num_hidden_layers {
        for (name, weight) in [
            ("attention.self.query", vec![d, d]),
            ("attention.self.key", vec![d, d]),
            ("attention.self.value", vec![d, d]),
            ("attention.output.dense", vec![d, d]),
            ("attention.output.LayerNorm", vec![d]),
            ("intermediate.dense", vec![inner, d]),
            ("output.dense", vec![d, inner]),
            ("output.LayerNorm", vec![d]),
        ] {
            let at = format!("roberta.encoder.layer.{i}.{name}");
            out.push((format!("{at}.bias"), vec![weight[0]]));
            out.push((format!("{at}.weight"), weight));
        }
    }
    // weight before bias, as everywhere
    for pair in out[5..].chunks_mut(2) {
        pair.swap(0, 1);
    }
    out
}

/// The tensors of the classification head.
pub fn head_shapes(c: &RobertaConfig) -> Vec<Shape> {
    let (d, classes) = (c.hidden_size, c.classes());
    vec![
        ("classifier.dense.weight".into(), vec![d, d]),
        ("classifier.dense.bias".into(), vec![d]),
        ("classifier.out_proj.weight".into(), vec![classes, d]),
        ("classifier.out_proj.bias".into(), vec![classes]),
    ]
}

/// The names that a tensor may have in a file: with and without the prefix, and the older names of
/// LayerNorm's tensors.
fn names(name: &str) -> Vec<String> {
    let mut all = vec![name.to_string()];
    for (new, old) in [
        ("LayerNorm.weight", "LayerNorm.gamma"),
        ("LayerNorm.bias", "LayerNorm.beta"),
    ] {
        if name.ends_with(new) {
            all.push(name.replace(new, old));
        }
    }
    let bare: Vec<String> = all
        .iter()
        .filter_map(|n| n.strip_prefix("roberta.").map(str::to_string))
        .collect();
    all.extend(bare);
    all
}

impl Roberta {
    /// Reads a Hugging Face directory. `classes` overrides the configuration's number where the
    /// directory has no head. A missing head starts from `seed`.
    ///
    /// # Errors
    /// A missing, extra, wrongly shaped or non-finite tensor; a configuration this engine does not
    /// compute.
    pub fn load(
        dir: &Path,
        classes: Option<usize>,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let mut config = RobertaConfig::read(dir)?;
        let weights = Weights::open_backbone(dir)?;
        let has_head = weights.names().any(|n| n.starts_with("classifier."));
        if let (false, Some(classes)) = (has_head, classes) {
            config.num_labels = Some(classes);
        }
        let expected = |shapes: Vec<Shape>| -> Vec<(Vec<String>, Vec<usize>)> {
            shapes.into_iter().map(|(n, s)| (names(&n), s)).collect()
        };
        let encoder = expected(shapes(&config));
        let head = expected(head_shapes(&config));
        let known = [encoder.clone(), head.clone()].concat();
        weights.refuse_others(&known, |name| {
            name.contains("pooler.")
                || name.starts_with("lm_head.")
                || name.ends_with("position_ids")
        })?;
        let mut tensors = weights.read(&encoder, dtype, device)?;
        if has_head {
            tensors.extend(weights.read(&head, dtype, device)?);
        } else {
            for (name, shape) in head_shapes(&config) {
                let start = start(&name, &config);
                tensors.push(init::tensor(start, seed, &name, &shape, dtype, device)?);
            }
        }
        let names = shapes(&config).into_iter().chain(head_shapes(&config));
        let parameters = names
            .zip(tensors)
            .map(|((n, _), t)| Parameter::new(n, t, false))
            .collect();
        Ok(Self::assemble(config, parameters, Head::Classes, !has_head))
    }

    /// A new RoBERTa with initial values as in transformers: N(0, range²), biases 0.
    ///
    /// # Errors
    /// A candle error.
    pub fn random(config: RobertaConfig, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let head = head_shapes(&config);
        Self::start_from(config, head, Head::Classes, seed, dtype, device)
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
        let head = word_shapes(&config);
        Self::start_from(config, head, Head::Words, seed, dtype, device)
    }

    fn start_from(
        config: RobertaConfig,
        head: Vec<Shape>,
        kind: fn([Pair; 2]) -> Head,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let mut parameters = Vec::new();
        for (name, shape) in shapes(&config).into_iter().chain(head) {
            let t = init::tensor(start(&name, &config), seed, &name, &shape, dtype, device)?;
            parameters.push(Parameter::new(name, t, false));
        }
        Ok(Self::assemble(config, parameters, kind, true))
    }

    fn assemble(
        config: RobertaConfig,
        parameters: Vec<Parameter>,
        top: fn([Pair; 2]) -> Head,
        fresh_head: bool,
    ) -> Self {
        let mut all = parameters.into_iter();
        let mut next = || {
            all.next()
                .unwrap_or_else(|| unreachable!("as many parameters as shapes"))
        };
        let (word, position, kind) = (next(), next(), next());
        let mut pair = || [next(), next()];
        let norm = pair();
        let layers = (0..config.num_hidden_layers)
            .map(|_| Layer {
                qkv: [pair(), pair(), pair()],
                output: pair(),
                attention_norm: pair(),
                intermediate: pair(),
                down: pair(),
                norm: pair(),
            })
            .collect();
        let head = top([pair(), pair()]);
        Self {
            config,
            word,
            position,
            kind,
            norm,
            layers,
            head,
            fresh_head,
        }
    }

    /// H and p.
    pub fn heads(&self) -> Heads {
        Heads {
            count: self.config.num_attention_heads,
            width: self.config.hidden() / self.config.heads(),
        }
    }

    /// All parameters in the order of [`shapes`], the head last.
    pub fn parameters(&self) -> Vec<&Parameter> {
        let mut out = vec![&self.word, &self.position, &self.kind];
        out.extend(&self.norm);
        for layer in &self.layers {
            out.extend(layer.pairs().into_iter().flatten());
        }
        out.extend(self.head.pairs().iter().flatten());
        out
    }

    /// The same, to be changed.
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let mut out = vec![&mut self.word, &mut self.position, &mut self.kind];
        out.extend(&mut self.norm);
        for layer in &mut self.layers {
            out.extend(layer.pairs_mut().into_iter().flatten());
        }
        out.extend(self.head.pairs_mut().iter_mut().flatten());
        out
    }

    /// The encoder's output [tokens, d]. Positions are rows of the table, `padding_idx + 1` the
    /// first.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn hidden(
        &self,
        pass: &Pass<'_>,
        parts: &[Vec<Box<dyn Part>>],
        ids: &[u32],
        segments: Option<&[u32]>,
        positions: &[u32],
    ) -> Result<Value> {
        let tape = pass.tape;
        let (word, position) = (tape.parameter(&self.word)?, tape.parameter(&self.position)?);
        let tables = Tables {
            tokens: &word,
            added: None,
            positions: &position,
        };
        let x = embedding(tape, tables, ids, None, positions)?;
        let zeros;
        let segments = match segments {
            Some(s) => s,
            None => {
                zeros = vec![0; ids.len()];
                &zeros
            }
        };
        let kind = gather_rows(tape, &tape.parameter(&self.kind)?, segments)?;
        let x = residual(tape, &x, &kind, crate::ops::dropout::Dropout::OFF)?;
        let mut x = norm(tape, &self.norm, &x, self.config.layer_norm_eps)?;
        for (layer, (block, parts)) in self.layers.iter().zip(parts).enumerate() {
            x = block.forward(pass, layer, parts, &x, self.config.layer_norm_eps)?;
        }
        Ok(x)
    }

    /// Class scores [rows, classes] from the first token of each row.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn classify(&self, pass: &Pass<'_>, hidden: &Value) -> Result<Value> {
        let tape = pass.tape;
        let first: Vec<u32> = pass.starts[..pass.starts.len() - 1]
            .iter()
            .map(|s| *s as u32)
            .collect();
        let Head::Classes([dense, out]) = &self.head else {
            return Err(crate::Error::Batch(
                "this RoBERTa has no classification head".into(),
            ));
        };
        let x = gather_rows(tape, hidden, &first)?;
        let x = Activation::Tanh.apply(tape, &linear(tape, dense, &x)?)?;
        linear(tape, out, &x)
    }
}

impl Roberta {
    /// What the tied embedding scores at these positions: `LN(gelu(h W + b))` [positions, d].
    ///
    /// # Errors
    /// The head is another; shapes that do not fit.
    pub fn words(&self, pass: &Pass<'_>, hidden: &Value, positions: &[u32]) -> Result<Value> {
        let tape = pass.tape;
        let Head::Words([dense, norm_pair]) = &self.head else {
            return Err(crate::Error::Batch(
                "this RoBERTa has no language-model head".into(),
            ));
        };
        let x = gather_rows(tape, hidden, positions)?;
        let x = Activation::GeluErf.apply(tape, &linear(tape, dense, &x)?)?;
        norm(tape, norm_pair, &x, self.config.layer_norm_eps)
    }
}

/// The start of a tensor, as in transformers.
fn start(name: &str, config: &RobertaConfig) -> Init {
    if name.ends_with("LayerNorm.weight") || name.ends_with("layer_norm.weight") {
        Init::Constant(1.0)
    } else if name.ends_with("bias") {
        Init::Constant(0.0)
    } else {
        Init::Normal(config.initializer_range)
    }
}

fn linear(tape: &Tape, pair: &Pair, x: &Value) -> Result<Value> {
    let [weight, bias] = tape.parameters(pair)?;
    Linear::torch(&weight, Some(&bias)).apply(tape, x)
}

impl Layer {
    fn forward(
        &self,
        pass: &Pass<'_>,
        layer: usize,
        parts: &[Box<dyn Part>],
        x: &Value,
        eps: f64,
    ) -> Result<Value> {
        let tape = pass.tape;
        let [q, k, v] = &self.qkv;
        let mut qkv = concatenate(
            tape,
            &[
                linear(tape, q, x)?,
                linear(tape, k, x)?,
                linear(tape, v, x)?,
            ],
        )?;
        for part in parts {
            qkv = part.on_qkv(pass, x, qkv)?;
        }
        let drop = pass.drop(layer, Site::Attention);
        let (f, lse) = crate::ops::attention::attention(
            tape,
            &qkv,
            pass.heads,
            pass.starts,
            pass.visible,
            drop,
        )?;
        let mut attended = Attended {
            f,
            lse,
            update: None,
        };
        for part in parts {
            attended = part.on_heads(pass, &qkv, attended)?;
        }
        let [weight, bias] = tape.parameters(&self.output)?;
        let map = Linear::torch(&weight, Some(&bias));
        let mut y = match &attended.update {
            Some(update) => map.onto(update, 0).apply(tape, &attended.f)?,
            None => map.apply(tape, &attended.f)?,
        };
        for part in parts {
            y = part.on_output(pass, y)?;
        }
        let y = residual(tape, x, &y, pass.drop(layer, Site::AttentionBranch))?;
        let y = norm(tape, &self.attention_norm, &y, eps)?;

        let inner = Activation::GeluErf.apply(tape, &linear(tape, &self.intermediate, &y)?)?;
        let mut z = dropout(
            tape,
            &linear(tape, &self.down, &inner)?,
            pass.drop(layer, Site::FfnBranch),
        )?;
        for part in parts {
            z = part.beside_ffn(pass, &y, z)?;
        }
        let z = residual(tape, &y, &z, crate::ops::dropout::Dropout::OFF)?;
        norm(tape, &self.norm, &z, eps)
    }
}
