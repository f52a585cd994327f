//! Whole random models, GPT-2 or RoBERTa, with a method attached and a batch of texts, given
//! identically to every engine.

use super::backbone::{BackboneConfig, Family};
use super::{Corner, Draw, Dropping, ModelOption, method};
use crate::error::Result;
use inducer_gpu::Method;
use inducer_reference::{AdapterConfig, AttentionConfig, Backbone, TensorMap, shift_labels};
use ndarray::{ArrayD, Axis, Dimension, IxDyn};
use std::hash::{Hash, Hasher};

/// One text of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TextRow {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Segment ids.
    pub segments: Option<Vec<u32>>,
    /// For a language model a label for each token, −100 for none (the model shifts); for a
    /// classifier the text's class alone.
    pub labels: Vec<i64>,
}

impl TextRow {
    /// All tokens are the first.
    pub(crate) fn repeat(&mut self) {
        for ids in [Some(&mut self.ids), self.segments.as_mut()]
            .into_iter()
            .flatten()
        {
            let first = ids[0];
            ids.fill(first);
        }
    }
}

/// A backbone, a method with all its tensors, and a batch.
#[derive(Clone, Debug)]
pub struct ModelCase {
    /// The backbone's configuration.
    pub backbone: BackboneConfig,
    /// The backbone's tensors by full name, a classifier's head excepted.
    pub weights: TensorMap<f64>,
    /// The method.
    pub method: AdapterConfig,
    /// The trainable tensors by their names in files (a reparametrisation's in place of the
    /// prefix; a classifier's head among them).
    pub adapter: TensorMap<f64>,
    /// The batch.
    pub rows: Vec<TextRow>,
    /// Label smoothing.
    pub smoothing: f64,
    /// Dropout, where loss and gradients are those of a training step.
    pub dropping: Option<Dropping>,
    /// Where in the space of inputs it was drawn.
    pub corner: Corner,
}

/// Every number by its bits; configurations as `Debug` writes them.
impl Hash for ModelCase {
    fn hash<H: Hasher>(&self, into: &mut H) {
        let Self {
            backbone,
            weights,
            method,
            adapter,
            rows,
            smoothing,
            dropping,
            corner,
        } = self;
        format!("{backbone:?} {method:?} {dropping:?} {corner:?}").hash(into);
        for (name, tensor) in weights.iter().chain(adapter) {
            (name, tensor.shape()).hash(into);
            tensor.iter().for_each(|x| x.to_bits().hash(into));
        }
        (rows, weights.len(), smoothing.to_bits()).hash(into);
    }
}

/// The name of the special tokens' embeddings.
pub const ADDED: &str = "transformer.wte.added";

/// The names of the prefix's network while it trains.
pub const REPARAMETRISATION: [&str; 5] = [
    "transformer.prefix.embedding",
    "transformer.prefix.down.weight",
    "transformer.prefix.down.bias",
    "transformer.prefix.up.weight",
    "transformer.prefix.up.bias",
];

impl ModelCase {
    /// What [`kind`](Self::kind) calls a model without an attention part.
    pub(crate) const NO_PART: &str = "no attention part";

    /// A random model with the method of this case.
    ///
    /// # Errors
    /// None in practice; a shape that ndarray refuses.
    pub fn random(draw: &mut Draw, family: Family) -> Result<Self> {
        let method = method::of_case(draw.turn);
        Self::with(draw, family, method)
    }

    /// A random model with something to train: GPT-2 with one of the methods that train, RoBERTa
    /// with any, since its head is always trained.
    ///
    /// # Errors
    /// As [`ModelCase::random`].
    pub fn trainable(draw: &mut Draw, family: Family) -> Result<Self> {
        let backbone = family(draw);
        let method = match backbone.classifies() {
            true => method::of_case(draw.turn),
            false => method::trained(draw.turn),
        };
        let config = method::random(draw, method);
        Self::of(draw, backbone, config)
    }

    /// A random model with this method.
    ///
    /// # Errors
    /// As [`ModelCase::random`].
    pub fn with(draw: &mut Draw, family: Family, method: Method) -> Result<Self> {
        let backbone = family(draw);
        let config = method::random(draw, method);
        Self::of(draw, backbone, config)
    }

    /// A random model with this configuration.
    ///
    /// # Errors
    /// As [`ModelCase::random`].
    pub fn of(
        draw: &mut Draw,
        backbone: BackboneConfig,
        mut method: AdapterConfig,
    ) -> Result<Self> {
        let extreme = draw.corner() == Corner::Extreme;
        let fill = |draw: &mut Draw, (name, shape): (&String, &Vec<usize>)| {
            (name.clone(), tensor(draw, name, shape, extreme))
        };
        let layout = backbone.layout();
        let weights = layout.backbone.iter().map(|one| fill(draw, one));
        let mut weights: TensorMap<f64> = weights.collect();
        let with_special = !backbone.classifies() && draw.option(ModelOption::SpecialTokens);
        let special = if with_special { draw.size(1, 3) } else { 0 };
        if backbone.classifies() {
            method.task_type = Some("SEQ_CLS".into());
            method::for_understanding(&mut method);
        }
        let mut shapes: Vec<_> = layout.adapter_shapes(&method).into_iter().collect();
        network_shapes(&backbone, &method, &mut shapes);
        if special > 0 {
            shapes.push((ADDED.into(), vec![special, backbone.hidden()]));
        }
        let adapter = shapes.iter().map(|(name, shape)| fill(draw, (name, shape)));
        let mut adapter: TensorMap<f64> = adapter.collect();
        for (name, tensor) in weights.iter_mut().chain(&mut adapter) {
            into_corner(draw.corner(), name, tensor);
        }
        let rows = rows(draw, &backbone, special);
        let smoothing = match draw.option(ModelOption::Smoothing) {
            true => draw.pick(&[0.125, 0.25]),
            false => 0.0,
        };
        Ok(Self {
            backbone,
            weights,
            method,
            adapter,
            rows,
            smoothing,
            dropping: None,
            corner: draw.corner(),
        })
    }

    /// Number of special tokens.
    pub(crate) fn special(&self) -> usize {
        self.adapter.get(ADDED).map_or(0, |added| added.shape()[0])
    }

    /// Ids in use: vocabulary and special tokens.
    #[must_use]
    pub fn ids(&self) -> u32 {
        (self.backbone.vocabulary() + self.special()) as u32
    }

    /// Numbers in a row of logits: one for each id of a language model, for each class of a
    /// classifier.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match &self.backbone {
            BackboneConfig::Gpt2(_) => self.ids() as usize,
            BackboneConfig::Roberta(config) => config.classes(),
        }
    }

    /// More texts for this model.
    pub fn more_rows(&self, draw: &mut Draw) -> Vec<TextRow> {
        rows(draw, &self.backbone, self.special())
    }

    /// The labels that the loss of a text is taken at, one for each row of its logits.
    #[must_use]
    pub fn targets(&self, row: &TextRow) -> Vec<i64> {
        match self.backbone.classifies() {
            true => row.labels.clone(),
            false => shift_labels(&row.labels),
        }
    }

    /// Every token of every text is a label (a class stays), and every text has three tokens at
    /// least: some labelled token sees a second key.
    pub fn label_all(&mut self, draw: &mut Draw) {
        let (ids, backbone) = (self.ids(), &self.backbone);
        for row in &mut self.rows {
            let more = 3_usize.saturating_sub(row.ids.len());
            let longer = row_of(draw, ids, row.segments.is_some(), more);
            let longer_ids = longer.ids.into_iter();
            row.ids.extend(longer_ids.map(|id| backbone.no_padding(id)));
            row.segments
                .iter_mut()
                .zip(longer.segments)
                .for_each(|(own, new)| own.extend(new));
            if !backbone.classifies() {
                row.labels = row.ids.iter().map(|id| i64::from(*id)).collect();
            }
        }
    }

    /// This model on these texts.
    #[must_use]
    pub fn on(&self, rows: Vec<TextRow>) -> Self {
        Self {
            rows,
            ..self.clone()
        }
    }

    /// A text behind another one, as one text whose tokens have no label.
    #[must_use]
    pub fn joined(&self, before: &TextRow, row: &TextRow) -> TextRow {
        let segments = before.segments.as_ref().zip(row.segments.as_ref());
        let ids = [&before.ids[..], &row.ids].concat();
        let labels = match self.backbone.classifies() {
            true => row.labels.clone(),
            false => vec![-100; ids.len()],
        };
        TextRow {
            ids,
            segments: segments.map(|(a, b)| [&a[..], b].concat()),
            labels,
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

    /// Its parts, in words.
    #[must_use]
    pub fn kind(&self) -> String {
        Self::kind_of(&self.method)
    }

    /// The parts of a configuration, in words.
    pub(crate) fn kind_of(method: &AdapterConfig) -> String {
        let kind = match &method.attention {
            Some(AttentionConfig::Inducer { variant, .. }) => format!("{variant:?}"),
            Some(AttentionConfig::Prefix { .. }) => "Prefix".into(),
            Some(AttentionConfig::Adapter { .. }) => "Adapter".into(),
            None if method.full => "Full".into(),
            None if method.bitfit => "Bitfit".into(),
            None => Self::NO_PART.into(),
        };
        let lora = method.lora.as_ref().map_or("", |_| " + LoRA");
        let ia3 = method.ia3.as_ref().map_or("", |_| " + (IA)³");
        let ffn = method.ffn.as_ref().map_or("", |_| " + FFN adapter");
        format!("{kind}{lora}{ia3}{ffn}")
    }

    /// One line that names the case.
    #[must_use]
    pub fn describe(&self) -> String {
        let [layers, heads, d] = self.backbone.sizes();
        let name = ["", "RoBERTa, "][usize::from(self.backbone.classifies())];
        let lengths: Vec<usize> = self.rows.iter().map(|row| row.ids.len()).collect();
        let kind = self.kind();
        let drop = (self.dropping.as_ref()).map_or(String::new(), |d| format!(", p {}", d.rate));
        format!("{name}{kind}, L {layers}, H {heads}, d {d}, rows {lengths:?}{drop}")
    }
}

/// In place of a prefix its network, where it has one.
fn network_shapes(
    backbone: &BackboneConfig,
    method: &AdapterConfig,
    shapes: &mut Vec<(String, Vec<usize>)>,
) {
    let Some(AttentionConfig::Prefix {
        length,
        reparametrisation: Some(network),
        ..
    }) = &method.attention
    else {
        return;
    };
    let (d, wide) = (backbone.hidden(), 2 * backbone.layers() * backbone.hidden());
    let stored = [".prefix.key", ".prefix.value"];
    shapes.retain(|(name, _)| !stored.iter().any(|end| name.ends_with(end)));
    let own = [
        vec![*length, d],
        vec![network.width, d],
        vec![network.width],
        vec![wide, network.width],
        vec![wide],
    ];
    shapes.extend(REPARAMETRISATION.map(str::to_owned).into_iter().zip(own));
}

/// A random tensor of a size that keeps activations near 1.
pub fn tensor(draw: &mut Draw, name: &str, shape: &[usize], extreme: bool) -> ArrayD<f64> {
    let norms = [".ln_", "layer_norm.", "LayerNorm."];
    let norm = norms.iter().any(|part| name.contains(part)) && name.ends_with("weight");
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
    let scores = ["attention.self.query.", "attention.self.key."];
    let alone = extreme && scores.iter().any(|part| name.contains(part));
    ArrayD::from_shape_fn(IxDyn(shape), |index| {
        let column = index.as_array_view().last().copied().unwrap_or(0);
        let stretch = if alone || (fused && column < 2 * d) {
            4.0
        } else {
            1.0
        };
        let x = draw.number(scale * stretch);
        if norm { f64::from((1.0 + x) as f32) } else { x }
    })
}

/// What a corner of the inputs asks of a backbone's tensor: of tied scores keys that are their bias
/// alone, of repeated support points one position for all.
fn into_corner(corner: Corner, name: &str, tensor: &mut ArrayD<f64>) {
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    match corner {
        Corner::Tied if ends(&["attn.c_attn.weight"]) => {
            let d = tensor.shape()[0];
            tensor.slice_axis_mut(Axis(1), (d..2 * d).into()).fill(0.0);
        }
        Corner::Tied if ends(&["attention.self.key.weight"]) => tensor.fill(0.0),
        Corner::Repeated if ends(&["wpe.weight", "position_embeddings.weight"]) => {
            let first = tensor.index_axis(Axis(0), 0).to_owned();
            tensor
                .axis_iter_mut(Axis(0))
                .for_each(|mut row| row.assign(&first));
        }
        _ => {}
    }
}

/// How long a text may be, `least` or more tokens, by its place in the batch.
fn length(draw: &mut Draw, least: usize, at: usize) -> usize {
    let (from, to) = match (draw.corner(), at % 2) {
        (Corner::OneKey, _) => (least, least),
        // texts that need much padding
        (Corner::Padded, 0) => (6, 6),
        (Corner::Padded, _) => (least, least + 1),
        _ => (least, 6),
    };
    draw.size(from, to)
}

/// One to three texts of random lengths, with at least one label.
fn rows(draw: &mut Draw, backbone: &BackboneConfig, special: usize) -> Vec<TextRow> {
    let corner = draw.corner();
    let count = draw.size(if corner == Corner::Padded { 2 } else { 1 }, 3);
    let mut rows = match backbone {
        BackboneConfig::Roberta(config) => {
            let of = |draw: &mut Draw, n: usize| {
                let id = |_| backbone.no_padding(draw.size(0, config.vocab_size - 1) as u32);
                TextRow {
                    ids: (0..n).map(id).collect(),
                    segments: None,
                    labels: vec![draw.size(0, config.classes() - 1) as i64],
                }
            };
            let rows = (0..count).map(|at| {
                let n = length(draw, 1, at);
                of(draw, n)
            });
            let mut rows: Vec<TextRow> = rows.collect();
            if corner == Corner::OneQuery {
                rows.push(of(draw, 1));
            }
            rows
        }
        BackboneConfig::Gpt2(_) => {
            let ids = (backbone.vocabulary() + special) as u32;
            let with_segments = draw.option(ModelOption::Segments);
            let rows = (0..count).map(|at| {
                let n = length(draw, 2, at);
                row_of(draw, ids, with_segments, n)
            });
            let mut rows: Vec<TextRow> = rows.collect();
            if matches!(corner, Corner::OneQuery | Corner::OneKey) {
                rows.push(row_of(draw, ids, with_segments, 1));
            }
            if let Some(last) = rows[0].labels.last_mut() {
                *last = draw.size(0, ids as usize - 1) as i64;
            }
            rows
        }
    };
    if corner == Corner::Repeated {
        rows.iter_mut().for_each(TextRow::repeat);
    }
    rows
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
