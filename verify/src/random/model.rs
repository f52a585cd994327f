//! Whole random GPT-2s with a method attached and a batch of rows, given identically to every
//! engine.

use super::{Corner, Draw, method};
use crate::error::Result;
use inducer_gpu::Method;
use inducer_reference::{AdapterConfig, AttentionConfig, Backbone, Gpt2Config, TensorMap};
use ndarray::{ArrayD, Dimension, IxDyn};

/// One row of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct TextRow {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Segment ids.
    pub segments: Option<Vec<u32>>,
    /// A label for each token, −100 for none; the model shifts.
    pub labels: Vec<i64>,
}

/// A backbone, a method with all its tensors, and a batch.
#[derive(Clone, Debug)]
pub struct ModelCase {
    /// The backbone's configuration.
    pub backbone: Gpt2Config,
    /// The backbone's tensors by full name.
    pub weights: TensorMap<f64>,
    /// The method.
    pub method: AdapterConfig,
    /// The method's trainable tensors by their names in files (a reparametrisation's in place of
    /// the prefix).
    pub adapter: TensorMap<f64>,
    /// The batch.
    pub rows: Vec<TextRow>,
    /// Label smoothing.
    pub smoothing: f64,
}

/// The names of the prefix's network while it trains.
pub const REPARAMETRISATION: [&str; 5] = [
    "transformer.prefix.embedding",
    "transformer.prefix.down.weight",
    "transformer.prefix.down.bias",
    "transformer.prefix.up.weight",
    "transformer.prefix.up.bias",
];

impl ModelCase {
    /// The model of this case with the method of this case.
    ///
    /// # Errors
    /// None in practice; a shape that ndarray refuses.
    pub fn random(draw: &mut Draw) -> Result<Self> {
        let method = method::of_case(draw.index);
        Self::with(draw, method)
    }

    /// A random model with this method.
    ///
    /// # Errors
    /// As [`ModelCase::random`].
    pub fn with(draw: &mut Draw, method: Method) -> Result<Self> {
        let backbone = backbone(draw);
        let config = method::random(draw, method);
        Self::of(draw, backbone, config)
    }

    /// A random model with this configuration.
    ///
    /// # Errors
    /// As [`ModelCase::random`].
    pub fn of(draw: &mut Draw, backbone: Gpt2Config, config: AdapterConfig) -> Result<Self> {
        let extreme = draw.corner() == Corner::Extreme;
        let weights = backbone
            .shapes()
            .iter()
            .map(|(name, shape)| (name.clone(), tensor(draw, name, shape, extreme)))
            .collect();
        let special = draw.size(0, 3);
        let mut shapes: Vec<(String, Vec<usize>)> = backbone
            .layout()
            .adapter_shapes(&config)
            .into_iter()
            .collect();
        if let Some(AttentionConfig::Prefix {
            length,
            reparametrisation: Some(network),
            ..
        }) = &config.attention
        {
            let (d, wide) = (backbone.n_embd, 2 * backbone.n_layer * backbone.n_embd);
            shapes.retain(|(name, _)| !name.contains(".attn.prefix."));
            let own = [
                vec![*length, d],
                vec![network.width, d],
                vec![network.width],
                vec![wide, network.width],
                vec![wide],
            ];
            shapes.extend(
                REPARAMETRISATION
                    .iter()
                    .map(|name| name.to_string())
                    .zip(own),
            );
        }
        if special > 0 {
            shapes.push((
                "transformer.wte.added".into(),
                vec![special, backbone.n_embd],
            ));
        }
        let adapter = shapes
            .iter()
            .map(|(name, shape)| (name.clone(), tensor(draw, name, shape, extreme)))
            .collect();
        let rows = rows(draw, (backbone.vocab_size + special) as u32);
        Ok(Self {
            backbone,
            weights,
            method: config,
            adapter,
            rows,
            smoothing: draw.pick(&[0.0, 0.125, 0.25]),
        })
    }

    /// Number of special tokens.
    #[must_use]
    pub fn special(&self) -> usize {
        self.adapter
            .get("transformer.wte.added")
            .map_or(0, |added| added.shape()[0])
    }

    /// Ids in use: vocabulary and special tokens.
    #[must_use]
    pub fn ids(&self) -> u32 {
        (self.backbone.vocab_size + self.special()) as u32
    }

    /// Every token of every row is a label, and every row has three tokens at least: some labelled
    /// token sees a second key.
    pub fn label_all(&mut self, draw: &mut Draw) {
        let ids = self.ids();
        for row in &mut self.rows {
            let n = row.ids.len();
            let longer = row_of(draw, ids, row.segments.is_some(), 3_usize.saturating_sub(n));
            row.ids.extend(longer.ids);
            row.segments
                .iter_mut()
                .zip(longer.segments)
                .for_each(|(own, new)| own.extend(new));
            row.labels = row.ids.iter().map(|id| i64::from(*id)).collect();
        }
    }

    /// This model on these rows.
    #[must_use]
    pub fn on(&self, rows: Vec<TextRow>) -> Self {
        Self {
            rows,
            ..self.clone()
        }
    }

    /// Changes every adapter tensor whose name ends so.
    pub fn change(&mut self, ending: &str, change: impl Fn(f64) -> f64) {
        for (_, tensor) in self
            .adapter
            .iter_mut()
            .filter(|(name, _)| name.ends_with(ending))
        {
            tensor.mapv_inplace(&change);
        }
    }

    /// Rounds every number of backbone and method.
    pub fn round(&mut self, to: impl Fn(f64) -> f64) {
        for tensor in self.weights.values_mut().chain(self.adapter.values_mut()) {
            tensor.mapv_inplace(&to);
        }
    }

    /// One line that names the case.
    #[must_use]
    pub fn describe(&self) -> String {
        let Gpt2Config {
            n_layer,
            n_head,
            n_embd,
            ..
        } = self.backbone;
        let lengths: Vec<usize> = self.rows.iter().map(|row| row.ids.len()).collect();
        let kind = match &self.method.attention {
            Some(AttentionConfig::Inducer { variant, .. }) => format!("{variant:?}"),
            Some(AttentionConfig::Prefix { .. }) => "Prefix".into(),
            Some(AttentionConfig::Adapter { .. }) => "Adapter".into(),
            None if self.method.full => "Full".into(),
            None if self.method.bitfit => "Bitfit".into(),
            None => "no attention part".into(),
        };
        let lora = if self.method.lora.is_some() {
            " + LoRA"
        } else {
            ""
        };
        let ffn = if self.method.ffn.is_some() {
            " + FFN adapter"
        } else {
            ""
        };
        format!("{kind}{lora}{ffn}, L {n_layer}, H {n_head}, d {n_embd}, rows {lengths:?}")
    }
}

/// A random small configuration.
pub fn backbone(draw: &mut Draw) -> Gpt2Config {
    let heads = if draw.corner() == Corner::OneHead {
        1
    } else {
        draw.size(1, 4)
    };
    let p = draw.size(4_usize.div_ceil(heads), 12 / heads);
    let mut config = Gpt2Config::new(draw.size(9, 23), 24, heads * p, draw.size(1, 2), heads);
    config.n_inner = draw.chance(0.5).then(|| draw.size(3, 20));
    config
}

/// A random tensor of a size that keeps activations near 1.
pub fn tensor(draw: &mut Draw, name: &str, shape: &[usize], extreme: bool) -> ArrayD<f64> {
    let norm = (name.contains(".ln_") || name.contains("layer_norm.")) && name.ends_with("weight");
    let fan = match shape {
        [_] => 4.0,
        [.., a, b] if name.contains(".inducer.") => (*a).min(*b) as f64,
        [a, b]
            if !name.contains("wte")
                && !name.contains("wpe")
                && !name.contains("prefix.embedding") =>
        {
            (*a).min(*b) as f64
        }
        _ => 1.0,
    };
    let scale = if norm { 0.4 } else { 1.2 / fan.sqrt() };
    let d = shape.last().copied().unwrap_or(1) / 3;
    let fused = extreme && name.contains("attn.c_attn");
    ArrayD::from_shape_fn(IxDyn(shape), |index| {
        let column = index.as_array_view().last().copied().unwrap_or(0);
        let stretch = if fused && column < 2 * d { 4.0 } else { 1.0 };
        let x = draw.number(scale * stretch);
        if norm { f64::from((1.0 + x) as f32) } else { x }
    })
}

/// One to three rows of random lengths with at least one label.
pub fn rows(draw: &mut Draw, ids: u32) -> Vec<TextRow> {
    let count = draw.size(1, 3);
    let with_segments = draw.chance(0.6);
    let mut rows: Vec<TextRow> = (0..count).map(|_| row(draw, ids, with_segments)).collect();
    if draw.corner() == Corner::OneQuery {
        rows.push(row_of(draw, ids, with_segments, 1));
    }
    if let Some(last) = rows[0].labels.last_mut() {
        *last = i64::from(draw.size(0, ids as usize - 1) as u32);
    }
    rows
}

fn row(draw: &mut Draw, ids: u32, with_segments: bool) -> TextRow {
    let n = draw.size(2, 6);
    row_of(draw, ids, with_segments, n)
}

fn row_of(draw: &mut Draw, ids: u32, with_segments: bool, n: usize) -> TextRow {
    let mut id = || draw.size(0, ids as usize - 1) as u32;
    let tokens: Vec<u32> = (0..n).map(|_| id()).collect();
    let segments = with_segments.then(|| (0..n).map(|_| id()).collect());
    let labels = (0..n)
        .map(|_| {
            if draw.chance(0.3) {
                -100
            } else {
                draw.size(0, ids as usize - 1) as i64
            }
        })
        .collect();
    TextRow {
        ids: tokens,
        segments,
        labels,
    }
}
