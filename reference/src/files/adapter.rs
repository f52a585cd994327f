//! An adapter: its configuration, its tensors by their file names, and its parts by layer.
//!
//! The parts are made from the tensors each time they are asked for, so that the map of tensors
//! stays the only truth: a test may perturb one value in it and run the model again.

use crate::adapter::BottleneckAdapter;
use crate::bottleneck::Bottleneck;
use crate::dropout::Masks;
use crate::error::Error;
use crate::files::adapter_config::{
    AdapterConfig, AttentionConfig, FfnConfig, Ia3Target, Projection,
};
use crate::files::layout::{Backbone, Layout};
use crate::files::named::Named;
use crate::files::tensors::{TensorMap, read_tensors};
use crate::ia3::Ia3;
use crate::lora::Lora;
use crate::parts::{AttentionPart, FfnPart, LayerParts};
use crate::prefix::Prefix;
use crate::scalar::Real;
use crate::variants::{Inducer, Variant};
use ndarray::{Array1, Array2, Axis, Ix2};
use std::path::Path;

/// A trained (or random) adapter for one backbone.
#[derive(Clone, Debug)]
pub struct Adapter<T> {
    /// Which parts it has.
    pub config: AdapterConfig,
    /// Its tensors, by the names of the file.
    pub tensors: TensorMap<T>,
    /// The backbone's side of the contract.
    pub layout: Layout,
    origin: String,
}

impl<T: Real> Adapter<T> {
    /// Reads `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// # Errors
    /// When a file is missing or broken, or a tensor is missing, left over, misshapen or not
    /// finite.
    pub fn load(dir: &Path, backbone: &impl Backbone) -> Result<Self, Error> {
        let config = AdapterConfig::read(&dir.join("adapter_config.json"))?;
        let path = dir.join("adapter_model.safetensors");
        let tensors = read_tensors(&path, |_| false)?;
        Self::new(
            config,
            backbone.layout(),
            tensors,
            path.display().to_string(),
        )
    }

    /// An adapter from tensors in memory.
    ///
    /// # Errors
    /// When the configuration is inconsistent, or a tensor is missing, left over or misshapen.
    pub fn from_tensors(
        config: AdapterConfig,
        backbone: &impl Backbone,
        tensors: TensorMap<T>,
    ) -> Result<Self, Error> {
        config.validate("configuration")?;
        Self::new(config, backbone.layout(), tensors, "given tensors".into())
    }

    fn new(
        config: AdapterConfig,
        layout: Layout,
        tensors: TensorMap<T>,
        origin: String,
    ) -> Result<Self, Error> {
        let mut left = Named::new(origin.clone(), tensors.clone());
        for (name, shape) in layout.adapter_shapes(&config) {
            left.take(&name, shape.as_slice())?;
        }
        if let Some(added) = layout.added.and_then(|name| tensors.get(name)) {
            let rows = added.shape().first().copied().unwrap_or(0);
            left.take(layout.added.unwrap_or_default(), [rows, layout.hidden])?;
        }
        left.finish()?;
        Ok(Self {
            config,
            tensors,
            layout,
            origin,
        })
    }

    /// The trained task embeddings, `[number of special tokens, d]`; no rows when the adapter has
    /// none.
    #[must_use]
    pub fn added(&self) -> Array2<T> {
        let stored = self.layout.added.and_then(|name| self.tensors.get(name));
        stored
            .and_then(|added| added.clone().into_dimensionality::<Ix2>().ok())
            .unwrap_or_else(|| Array2::zeros((0, self.layout.hidden)))
    }

    /// The prefix length, and how far it moves the text's positions.
    #[must_use]
    pub fn position_offset(&self) -> usize {
        match self.config.attention {
            Some(AttentionConfig::Prefix {
                length,
                offset_positions: true,
                ..
            }) => length,
            _ => 0,
        }
    }

    /// The backbone's own tensors that this adapter brings along (`bitfit`, `full`, the
    /// classifier).
    #[must_use]
    pub fn replacements(&self) -> TensorMap<T> {
        let own = self.tensors.iter();
        own.filter(|(name, _)| {
            self.layout.backbone.contains_key(*name) || self.layout.classifier.contains_key(*name)
        })
        .map(|(name, tensor)| (name.clone(), tensor.clone()))
        .collect()
    }

    /// The parts that act in layer `i`.
    ///
    /// # Errors
    /// When the map of tensors was changed such that it does not fit the configuration any more.
    pub fn layer(&self, i: usize) -> Result<LayerParts<T>, Error> {
        let name = self.layout.attention_name(i);
        let own = self.tensors.iter().filter(|(tensor, _)| {
            tensor.starts_with(&format!("{name}."))
                || tensor.starts_with(&format!("{}.", self.layout.ffn_name(i)))
        });
        let own = own
            .map(|(name, tensor)| (name.clone(), tensor.clone()))
            .collect();
        let mut named = Named::new(self.origin.clone(), own);
        Ok(LayerParts {
            attention: self.attention_part(&mut named, &name)?,
            q: self.lora(&mut named, &name, Projection::Q)?,
            k: self.lora(&mut named, &name, Projection::K)?,
            v: self.lora(&mut named, &name, Projection::V)?,
            ia3: self.ia3(&mut named, i)?,
            ffn: self.ffn_part(&mut named, i)?,
            dropout: Masks::none(),
        })
    }

    fn attention_part(&self, named: &mut Named<T>, name: &str) -> Result<AttentionPart<T>, Error> {
        let (h, p) = (self.layout.heads, self.layout.head_dim());
        Ok(match self.config.attention {
            None => AttentionPart::None,
            Some(AttentionConfig::Inducer {
                variant,
                key_bottleneck,
                value_bottleneck,
            }) => {
                let r_k = key_bottleneck.filter(|_| variant.has_key_network());
                AttentionPart::Inducer(self.inducer(named, name, variant, r_k, value_bottleneck)?)
            }
            Some(AttentionConfig::Prefix { length, .. }) => AttentionPart::Prefix(Prefix {
                key: named.cube(&format!("{name}.prefix.key"), [h, length, p])?,
                value: named.cube(&format!("{name}.prefix.value"), [h, length, p])?,
            }),
            Some(AttentionConfig::Adapter {
                bottleneck,
                layer_norm,
            }) => {
                let name = format!("{name}.adapter");
                AttentionPart::Adapter(
                    self.bottleneck_adapter(named, &name, bottleneck, layer_norm)?,
                )
            }
        })
    }

    fn inducer(
        &self,
        named: &mut Named<T>,
        name: &str,
        variant: Variant,
        r_k: Option<usize>,
        r_v: usize,
    ) -> Result<Inducer<T>, Error> {
        let (p, d) = (self.layout.head_dim(), self.layout.hidden);
        let mlp_k = match r_k {
            Some(r_k) => self.bottlenecks(named, &format!("{name}.inducer.key"), r_k, p, true)?,
            None => Vec::new(),
        };
        let name = format!("{name}.inducer.value");
        let extended = variant.extends_values();
        let width = if extended { d } else { p };
        let mlp_v = self.bottlenecks(named, &name, r_v, width, !extended)?;
        let b_2 = if extended {
            named.vector(&format!("{name}.up_bias"), d)?
        } else {
            Array1::zeros(d)
        };
        Ok(Inducer {
            variant,
            mlp_k,
            mlp_v,
            b_2,
        })
    }

    /// The networks of all heads; with `own_bias` each head has its own b_2.
    fn bottlenecks(
        &self,
        named: &mut Named<T>,
        name: &str,
        r: usize,
        width: usize,
        own_bias: bool,
    ) -> Result<Vec<Bottleneck<T>>, Error> {
        let (heads, p) = (self.layout.heads, self.layout.head_dim());
        let down = named.cube(&format!("{name}.down"), [heads, p, r])?;
        let down_bias = named.matrix(&format!("{name}.down_bias"), [heads, r])?;
        let up = named.cube(&format!("{name}.up"), [heads, r, width])?;
        let up_bias = match own_bias {
            true => Some(named.matrix(&format!("{name}.up_bias"), [heads, width])?),
            false => None,
        };
        let head = |h| Bottleneck {
            down: down.index_axis(Axis(0), h).to_owned(),
            down_bias: down_bias.row(h).to_owned(),
            up: up.index_axis(Axis(0), h).to_owned(),
            up_bias: up_bias.as_ref().map(|bias| bias.row(h).to_owned()),
        };
        Ok((0..heads).map(head).collect())
    }

    fn lora(
        &self,
        named: &mut Named<T>,
        name: &str,
        target: Projection,
    ) -> Result<Option<Lora<T>>, Error> {
        let Some(config) = self
            .config
            .lora
            .as_ref()
            .filter(|lora| lora.targets.contains(&target))
        else {
            return Ok(None);
        };
        let (d, r) = (self.layout.hidden, config.rank);
        let name = format!("{name}.lora.{}", target.letter());
        Ok(Some(Lora {
            a: named.matrix(&format!("{name}.a"), [r, d])?,
            b: named.matrix(&format!("{name}.b"), [d, r])?,
            bias: match config.bias {
                true => Some(named.vector(&format!("{name}.bias"), d)?),
                false => None,
            },
            scale: config.scale(),
        }))
    }

    fn ia3(&self, named: &mut Named<T>, i: usize) -> Result<Ia3<T>, Error> {
        let mut vector = |target| {
            let has = self.config.ia3.as_ref();
            let has = has.is_some_and(|ia3| ia3.targets.contains(&target));
            let (name, length) = self.layout.ia3_vector(target, i);
            has.then(|| named.vector(&name, length)).transpose()
        };
        Ok(Ia3 {
            key: vector(Ia3Target::K)?,
            value: vector(Ia3Target::V)?,
            ffn: vector(Ia3Target::Ffn)?,
        })
    }

    fn ffn_part(&self, named: &mut Named<T>, i: usize) -> Result<Option<FfnPart<T>>, Error> {
        let Some(FfnConfig::Adapter {
            bottleneck,
            layer_norm,
            scale,
            ..
        }) = self.config.ffn
        else {
            return Ok(None);
        };
        let name = format!("{}.adapter", self.layout.ffn_name(i));
        Ok(Some(FfnPart {
            adapter: self.bottleneck_adapter(named, &name, bottleneck, layer_norm)?,
            scale: T::from_f64(scale),
        }))
    }

    fn bottleneck_adapter(
        &self,
        named: &mut Named<T>,
        name: &str,
        r: usize,
        layer_norm: bool,
    ) -> Result<BottleneckAdapter<T>, Error> {
        let d = self.layout.hidden;
        Ok(BottleneckAdapter {
            layer_norm: match layer_norm {
                true => {
                    Some(named.layer_norm(&format!("{name}.layer_norm"), d, self.layout.epsilon)?)
                }
                false => None,
            },
            down: named.linear(&format!("{name}.down"), [d, r])?,
            up: named.linear(&format!("{name}.up"), [r, d])?,
        })
    }
}
