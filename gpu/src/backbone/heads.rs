//! What stands on a backbone: which labels it learns from, what it scores, and its loss.

use crate::config::{ProblemType, RobertaConfig};
use crate::error::{Error, Result};
use crate::kernels::precision::upcast;
use crate::ops::activation::Activation;
use crate::ops::cross_entropy::{Head as TiedRows, class_loss, cross_entropy};
use crate::ops::gather::gather_rows;
use crate::ops::layer_norm::norm;
use crate::ops::linear::torch;
use crate::parts::ForwardContext;
use crate::tape::{Pair, Parameter, Tape, Value};
use crate::tensors::{Declare, Init, Tensors};
use candle_core::Tensor;
use inducer_datasets::batch::{Batch, IGNORE, Labels};

/// What the loss is the mean over: positions of a packed batch with their token, or rows with their
/// class.
pub type Targets = Vec<(usize, u32)>;

/// What stands on a backbone.
pub enum Head {
    /// The next token at every position, through the tied embedding.
    LanguageModel,
    /// The token at each masked position, through `lm_head` and the tied embedding. For
    /// pretraining.
    MaskedLm(MaskedLm),
    /// One of several classes for each row.
    Classifier(Classifier),
}

/// `LN(gelu(h W + b))`, which the tied embedding scores; its bias stays 0.
pub struct MaskedLm {
    /// W and b.
    pub dense: Pair,
    /// LN.
    pub layer_norm: Pair,
    /// ε of LN.
    pub epsilon: f64,
}

/// `tanh(x_<s> W_dense + b) W_out + b`.
pub struct Classifier {
    /// What transformers takes its loss to be.
    pub problem: ProblemType,
    /// W_dense and b.
    pub dense: Pair,
    /// W_out and b.
    pub out_proj: Pair,
}

crate::tensors!(MaskedLm: dense, layer_norm);
crate::tensors!(Classifier: dense, out_proj);

impl Tensors for Head {
    fn collect<'a>(&'a self, out: &mut Vec<&'a Parameter>) {
        match self {
            Self::LanguageModel => {}
            Self::MaskedLm(head) => head.collect(out),
            Self::Classifier(head) => head.collect(out),
        }
    }

    fn collect_mut<'a>(&'a mut self, out: &mut Vec<&'a mut Parameter>) {
        match self {
            Self::LanguageModel => {}
            Self::MaskedLm(head) => head.collect_mut(out),
            Self::Classifier(head) => head.collect_mut(out),
        }
    }
}

impl MaskedLm {
    /// Declares the head for hidden states [tokens, d].
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn declare(config: &RobertaConfig, from: &Declare<'_>) -> Result<Self> {
        let (at, d) = (from.within("lm_head"), config.hidden_size);
        let start = [Init::Normal(config.initializer_range), Init::ZERO];
        Ok(Self {
            dense: at.linear("dense", [d, d], start)?,
            layer_norm: at.norm("layer_norm", d)?,
            epsilon: config.layer_norm_eps,
        })
    }

    /// What the tied embedding scores at these positions [positions, d].
    fn hidden(&self, tape: &Tape, hidden: &Value, positions: &[u32]) -> Result<Value> {
        let x = gather_rows(tape, hidden, positions)?;
        let x = Activation::GeluErf.apply(tape, &torch(tape, &self.dense, &x)?)?;
        norm(tape, &self.layer_norm, &x, self.epsilon)
    }
}

impl Classifier {
    /// Declares the head for hidden states [tokens, d].
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn declare(config: &RobertaConfig, from: &Declare<'_>) -> Result<Self> {
        let (at, d) = (from.within("classifier"), config.hidden_size);
        let start = [Init::Normal(config.initializer_range), Init::ZERO];
        Ok(Self {
            problem: config.problem(),
            dense: at.linear("dense", [d, d], start)?,
            out_proj: at.linear("out_proj", [config.classes(), d], start)?,
        })
    }

    /// Class scores [rows, classes] from the first token of each row.
    fn scores(&self, ctx: &ForwardContext<'_>, hidden: &Value) -> Result<Value> {
        let tape = ctx.tape;
        let offsets = &ctx.offsets[..ctx.offsets.len() - 1];
        let first: Vec<u32> = offsets.iter().map(|s| *s as u32).collect();
        let x = gather_rows(tape, hidden, &first)?;
        let x = Activation::Tanh.apply(tape, &torch(tape, &self.dense, &x)?)?;
        torch(tape, &self.out_proj, &x)
    }

    fn targets(&self, batch: &Batch) -> Result<Targets> {
        let known = self.out_proj[1].tensor.dims()[0];
        if self.problem != ProblemType::SingleLabelClassification {
            let message = format!(
                "expected \"single_label_classification\" for a loss over classes, found {} (with \
                 one class it is transformers' default)",
                serde_json::to_string(&self.problem).unwrap_or_default()
            );
            return Err(Error::config("config.json", "problem_type", message));
        }
        let Labels::Classes(classes) = &batch.labels else {
            return Err(Error::Batch("labels: expected one class a row".into()));
        };
        if classes.len() != batch.sequences() {
            return Err(Error::Batch(format!(
                "labels: expected {} classes, one a row, found {}",
                batch.sequences(),
                classes.len()
            )));
        }
        match classes.iter().position(|c| *c as usize >= known) {
            Some(i) => Err(Error::Batch(format!(
                "labels: class {} of row {i}; expected one below {known}",
                classes[i]
            ))),
            None => Ok(classes.iter().copied().enumerate().collect()),
        }
    }
}

/// The embedding that a language model's head shares with its input, and the special tokens' rows.
#[derive(Clone, Copy)]
pub struct Tied<'a> {
    /// Token embeddings [vocabulary, d].
    pub tokens: &'a Parameter,
    /// Rows of the special tokens [count, d].
    pub special: Option<&'a Parameter>,
}

impl Tied<'_> {
    fn rows(self, tape: &Tape) -> Result<TiedRows> {
        Ok(TiedRows {
            tokens: tape.parameter(self.tokens)?,
            added: self.special.map(|p| tape.parameter(p)).transpose()?,
            in_bf16: tape.rounds(&self.tokens.tensor),
        })
    }
}

impl Head {
    /// The classifier.
    ///
    /// # Errors
    /// The head is another.
    pub fn classifier(&self) -> Result<&Classifier> {
        match self {
            Self::Classifier(head) => Ok(head),
            _ => Err(Error::Unsupported {
                what: "classification",
                needs: "a RoBERTa with a classification head",
                found: "a language model",
            }),
        }
    }

    /// Whether targets are rows of a batch and not positions.
    pub fn labels_rows(&self) -> bool {
        matches!(self, Self::Classifier(_))
    }

    /// What the loss of a batch is the mean over, in order; `ids` are known to the model.
    ///
    /// # Errors
    /// Labels that do not fit.
    pub fn targets(&self, batch: &Batch, ids: usize) -> Result<Targets> {
        let ahead = match self {
            Self::Classifier(head) => return head.targets(batch),
            // the label of the next token of the row
            Self::LanguageModel => 1,
            Self::MaskedLm(_) => 0,
        };
        let (labels, mut out) = (token_labels(batch)?, Vec::new());
        for w in batch.offsets.windows(2) {
            for t in w[0] + ahead..w[1] {
                out.extend(token(labels[t], t, ids)?.map(|y| (t - ahead, y)));
            }
        }
        Ok(out)
    }

    /// Mean loss over the targets, from the last hidden states [tokens, d].
    ///
    /// # Errors
    /// Shapes that do not fit; no target.
    pub fn loss(
        &self,
        ctx: &ForwardContext<'_>,
        hidden: &Value,
        tied: Tied<'_>,
        targets: &[(usize, u32)],
        smoothing: f64,
    ) -> Result<Value> {
        let tape = ctx.tape;
        match self {
            Self::LanguageModel => {
                cross_entropy(tape, hidden, &tied.rows(tape)?, targets, smoothing)
            }
            Self::MaskedLm(head) => {
                let hidden = head.hidden(tape, hidden, &positions(targets))?;
                let labels = targets.iter().enumerate();
                let labels: Targets = labels.map(|(i, (_, y))| (i, *y)).collect();
                cross_entropy(tape, &hidden, &tied.rows(tape)?, &labels, smoothing)
            }
            Self::Classifier(head) => {
                let scores = head.scores(ctx, hidden)?;
                let classes: Vec<u32> = targets.iter().map(|(_, y)| *y).collect();
                class_loss(tape, &scores, &classes, smoothing)
            }
        }
    }

    /// Logits [positions, ids] at some positions, or [rows, classes]; f32 where the model computes
    /// in bf16.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn logits_at(
        &self,
        ctx: &ForwardContext<'_>,
        hidden: &Value,
        tied: Tied<'_>,
        positions: &[u32],
    ) -> Result<Tensor> {
        match self {
            Self::LanguageModel => {
                let hidden = gather_rows(&Tape::off(), hidden, positions)?;
                tied.rows(ctx.tape)?.logits(&hidden.tensor)
            }
            Self::MaskedLm(head) => {
                let hidden = head.hidden(ctx.tape, hidden, positions)?;
                tied.rows(ctx.tape)?.logits(&hidden.tensor)
            }
            Self::Classifier(head) => Ok(upcast(&head.scores(ctx, hidden)?.tensor)?),
        }
    }

    /// Logits of every position, or [rows, classes].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn logits(
        &self,
        ctx: &ForwardContext<'_>,
        hidden: &Value,
        tied: Tied<'_>,
    ) -> Result<Tensor> {
        match self {
            Self::LanguageModel => tied.rows(ctx.tape)?.logits(&hidden.tensor),
            _ => {
                let all: Vec<u32> = (0..hidden.tensor.dim(0)? as u32).collect();
                self.logits_at(ctx, hidden, tied, &all)
            }
        }
    }
}

/// The positions of some targets.
pub fn positions(targets: &[(usize, u32)]) -> Vec<u32> {
    targets.iter().map(|(t, _)| *t as u32).collect()
}

/// A label as a token id; none for "no loss".
fn token(label: i64, position: usize, ids: usize) -> Result<Option<u32>> {
    if label == IGNORE {
        return Ok(None);
    }
    let known = u32::try_from(label).ok().filter(|y| (*y as usize) < ids);
    known.map(Some).ok_or_else(|| {
        Error::Batch(format!(
            "labels: {label} at position {position}; expected -100 or an id below {ids}"
        ))
    })
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
