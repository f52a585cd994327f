//! RoBERTa's tensors: from a directory or a map into the model, and back.

use super::RobertaConfig;
use crate::attention::Linear;
use crate::error::Error;
use crate::files::backbone::read_backbone_tensors;
use crate::files::named::Named;
use crate::files::tensors::TensorMap;
use crate::layer_norm::LayerNorm;
use crate::scalar::{Field, Real};
use crate::sub_layer::Projections;
use ndarray::{Array, Array2, Dimension};
use std::path::Path;

/// RoBERTa for sequence classification.
#[derive(Clone, Debug)]
pub struct Roberta<T> {
    /// The configuration.
    pub config: RobertaConfig,
    /// Token embeddings: `[vocab_size, d]`.
    pub word: Array2<T>,
    /// Position embeddings: `[max_position_embeddings, d]`.
    pub position: Array2<T>,
    /// Segment embeddings: `[type_vocab_size, d]`.
    pub token_type: Array2<T>,
    /// The normalisation of the embeddings' sum.
    pub norm: LayerNorm<T>,
    /// The layers.
    pub layers: Vec<Layer<T>>,
    /// The head; `None` for a pretrained encoder, whose adapter brings one along.
    pub classifier: Option<Classifier<T>>,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct Layer<T> {
    /// W^q, W^k, W^v and W^o (`attention.output.dense`).
    pub attention: Projections<T>,
    /// After attention and residual.
    pub attention_norm: LayerNorm<T>,
    /// The FFN's first product.
    pub intermediate: Linear<T>,
    /// The FFN's second product.
    pub output: Linear<T>,
    /// After FFN and residual.
    pub output_norm: LayerNorm<T>,
}

/// dense, tanh, linear on the first token.
#[derive(Clone, Debug)]
pub struct Classifier<T> {
    /// `[d, d]`.
    pub dense: Linear<T>,
    /// `[d, classes]`.
    pub out_proj: Linear<T>,
}

/// Tensors of other heads, and integer buffers: not part of the classifier's function.
fn is_unused(name: &str) -> bool {
    name.starts_with("lm_head.")
        || name.starts_with("roberta.pooler.")
        || name == "roberta.embeddings.position_ids"
}

/// Today's name of a tensor: older files say `LayerNorm.gamma` and `LayerNorm.beta`.
fn modern(name: &str) -> String {
    name.replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias")
}

impl<T: Real> Roberta<T> {
    /// Reads a Hugging Face directory; without `classifier.*` the head is absent.
    ///
    /// # Errors
    /// When a file is missing or broken, the configuration unsupported, or a tensor missing, left
    /// over, misshapen or not finite. The error names the file and the tensor or field.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let config = RobertaConfig::read(&dir.join("config.json"))?;
        let (origin, tensors) = read_backbone_tensors(dir, is_unused)?;
        Self::new(config, tensors, origin)
    }

    /// A model from tensors in memory.
    ///
    /// # Errors
    /// When the configuration is unsupported, or a tensor missing, left over or misshapen.
    pub fn from_tensors(config: RobertaConfig, tensors: &TensorMap<T>) -> Result<Self, Error> {
        config.validate("configuration")?;
        let own = tensors.iter().filter(|(name, _)| !is_unused(name));
        let own = own.map(|(name, tensor)| (name.clone(), tensor.clone()));
        Self::new(config, own.collect(), "given tensors".into())
    }

    fn new(config: RobertaConfig, tensors: TensorMap<T>, origin: String) -> Result<Self, Error> {
        let renamed = tensors
            .into_iter()
            .map(|(name, tensor)| (modern(&name), tensor));
        let mut named = Named::new(origin, renamed.collect());
        let (d, epsilon) = (config.hidden_size, config.layer_norm_eps);
        let embeddings = "roberta.embeddings";
        let word = named.matrix(
            &format!("{embeddings}.word_embeddings.weight"),
            [config.vocab_size, d],
        )?;
        let positions = [config.max_position_embeddings, d];
        let position = named.matrix(
            &format!("{embeddings}.position_embeddings.weight"),
            positions,
        )?;
        let types = [config.type_vocab_size, d];
        let token_type =
            named.matrix(&format!("{embeddings}.token_type_embeddings.weight"), types)?;
        let norm = named.layer_norm(&format!("{embeddings}.LayerNorm"), d, epsilon)?;
        let layers = 0..config.num_hidden_layers;
        let layers = layers
            .map(|i| layer(&mut named, &config, i))
            .collect::<Result<_, _>>()?;
        let classifier = match config
            .classifier_shapes()
            .keys()
            .any(|name| named.contains(name))
        {
            true => Some(Classifier {
                dense: named.linear("classifier.dense", [d, d])?,
                out_proj: named.linear("classifier.out_proj", [d, config.classes()])?,
            }),
            false => None,
        };
        named.finish()?;
        Ok(Self {
            config,
            word,
            position,
            token_type,
            norm,
            layers,
            classifier,
        })
    }

    /// Every tensor by its full name, as Hugging Face writes it.
    #[must_use]
    pub fn tensors(&self) -> TensorMap<T> {
        let mut out = Out(TensorMap::new());
        let embeddings = "roberta.embeddings";
        out.put(&format!("{embeddings}.word_embeddings.weight"), &self.word);
        out.put(
            &format!("{embeddings}.position_embeddings.weight"),
            &self.position,
        );
        out.put(
            &format!("{embeddings}.token_type_embeddings.weight"),
            &self.token_type,
        );
        out.layer_norm(&format!("{embeddings}.LayerNorm"), &self.norm);
        for (i, layer) in self.layers.iter().enumerate() {
            let h = format!("roberta.encoder.layer.{i}");
            out.linear(&format!("{h}.attention.self.query"), &layer.attention.q);
            out.linear(&format!("{h}.attention.self.key"), &layer.attention.k);
            out.linear(&format!("{h}.attention.self.value"), &layer.attention.v);
            out.linear(&format!("{h}.attention.output.dense"), &layer.attention.o);
            out.layer_norm(
                &format!("{h}.attention.output.LayerNorm"),
                &layer.attention_norm,
            );
            out.linear(&format!("{h}.intermediate.dense"), &layer.intermediate);
            out.linear(&format!("{h}.output.dense"), &layer.output);
            out.layer_norm(&format!("{h}.output.LayerNorm"), &layer.output_norm);
        }
        if let Some(classifier) = &self.classifier {
            out.linear("classifier.dense", &classifier.dense);
            out.linear("classifier.out_proj", &classifier.out_proj);
        }
        out.0
    }
}

fn layer<T: Real>(
    named: &mut Named<T>,
    config: &RobertaConfig,
    i: usize,
) -> Result<Layer<T>, Error> {
    let (d, inner, epsilon) = (
        config.hidden_size,
        config.intermediate_size,
        config.layer_norm_eps,
    );
    let h = format!("roberta.encoder.layer.{i}");
    Ok(Layer {
        attention: Projections {
            q: named.linear(&format!("{h}.attention.self.query"), [d, d])?,
            k: named.linear(&format!("{h}.attention.self.key"), [d, d])?,
            v: named.linear(&format!("{h}.attention.self.value"), [d, d])?,
            o: named.linear(&format!("{h}.attention.output.dense"), [d, d])?,
            heads: config.num_attention_heads,
        },
        attention_norm: named.layer_norm(&format!("{h}.attention.output.LayerNorm"), d, epsilon)?,
        intermediate: named.linear(&format!("{h}.intermediate.dense"), [d, inner])?,
        output: named.linear(&format!("{h}.output.dense"), [inner, d])?,
        output_norm: named.layer_norm(&format!("{h}.output.LayerNorm"), d, epsilon)?,
    })
}

struct Out<T>(TensorMap<T>);

impl<T: Field> Out<T> {
    fn put<D: Dimension>(&mut self, name: &str, tensor: &Array<T, D>) {
        self.0.insert(name.to_owned(), tensor.clone().into_dyn());
    }

    fn linear(&mut self, name: &str, linear: &Linear<T>) {
        self.put(&format!("{name}.weight"), &linear.weight.t().to_owned());
        self.put(&format!("{name}.bias"), &linear.bias);
    }

    fn layer_norm(&mut self, name: &str, norm: &LayerNorm<T>) {
        self.put(&format!("{name}.weight"), &norm.weight);
        self.put(&format!("{name}.bias"), &norm.bias);
    }
}
