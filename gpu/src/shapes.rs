//! Every tensor of a method by its name in files, with its shape: the one place that files, counts
//! and initial values come from.

use crate::config::{AdapterConfig, Attention, Ffn, Gpt2Config, RobertaConfig};

/// Name and shape.
pub type Shape = (String, Vec<usize>);

/// What a method has to know of its backbone.
pub trait Describe {
    /// L.
    fn layers(&self) -> usize;
    /// d.
    fn hidden(&self) -> usize;
    /// H.
    fn heads(&self) -> usize;
    /// Name of the attention module of a layer.
    fn attention(&self, layer: usize) -> String;
    /// Name of the adapter beside the FFN of a layer.
    fn ffn(&self, layer: usize) -> String;
    /// The backbone's own tensors.
    fn tensors(&self) -> Vec<Shape>;
    /// The classification head's tensors, trained with every method.
    fn head(&self) -> Vec<Shape> {
        Vec::new()
    }
    /// ε of its LayerNorms.
    fn epsilon(&self) -> f64;
    /// Standard deviation of initial weights.
    fn range(&self) -> f64;
}

impl Describe for Gpt2Config {
    fn layers(&self) -> usize {
        self.n_layer
    }
    fn hidden(&self) -> usize {
        self.n_embd
    }
    fn heads(&self) -> usize {
        self.n_head
    }
    fn attention(&self, layer: usize) -> String {
        format!("transformer.h.{layer}.attn")
    }
    fn ffn(&self, layer: usize) -> String {
        format!("transformer.h.{layer}.mlp.adapter")
    }
    fn tensors(&self) -> Vec<Shape> {
        crate::gpt2::shapes(self)
    }
    fn epsilon(&self) -> f64 {
        self.layer_norm_epsilon
    }
    fn range(&self) -> f64 {
        self.initializer_range
    }
}

impl Describe for RobertaConfig {
    fn layers(&self) -> usize {
        self.num_hidden_layers
    }
    fn hidden(&self) -> usize {
        self.hidden_size
    }
    fn heads(&self) -> usize {
        self.num_attention_heads
    }
    fn attention(&self, layer: usize) -> String {
        format!("roberta.encoder.layer.{layer}.attention.self")
    }
    fn ffn(&self, layer: usize) -> String {
        format!("roberta.encoder.layer.{layer}.ffn.adapter")
    }
    fn tensors(&self) -> Vec<Shape> {
        crate::roberta::shapes(self)
    }
    fn head(&self) -> Vec<Shape> {
        crate::roberta::head_shapes(self)
    }
    fn epsilon(&self) -> f64 {
        self.layer_norm_eps
    }
    fn range(&self) -> f64 {
        self.initializer_range
    }
}

/// Whether a tensor is a prefix's own, which a reparametrisation makes while it trains.
pub fn is_prefix(name: &str) -> bool {
    name.ends_with(".prefix.key") || name.ends_with(".prefix.value")
}

/// Tensors of an adapter with a down and an up projection below `name`.
fn bottleneck(out: &mut Vec<Shape>, name: &str, d: usize, r: usize, layer_norm: bool) {
    out.push((format!("{name}.down.weight"), vec![r, d]));
    out.push((format!("{name}.down.bias"), vec![r]));
    out.push((format!("{name}.up.weight"), vec![d, r]));
    out.push((format!("{name}.up.bias"), vec![d]));
    if layer_norm {
        out.push((format!("{name}.layer_norm.weight"), vec![d]));
        out.push((format!("{name}.layer_norm.bias"), vec![d]));
    }
}

/// The tensors of `adapter_model.safetensors`, without the special tokens' rows.
pub fn adapter(config: &AdapterConfig, backbone: &dyn Describe) -> Vec<Shape> {
    let (d, h) = (backbone.hidden(), backbone.heads());
    let p = d / h;
    let mut out = backbone.head();
    for i in 0..backbone.layers() {
        let at = backbone.attention(i);
        match &config.attention {
            Some(Attention::Inducer {
                variant,
                key_bottleneck: rk,
                value_bottleneck: rv,
            }) => {
                let mut push = |name: &str, shape: Vec<usize>| {
                    out.push((format!("{at}.inducer.{name}"), shape))
                };
                if variant.has_key_mlp() {
                    push("key.down", vec![h, p, *rk]);
                    push("key.down_bias", vec![h, *rk]);
                    push("key.up", vec![h, *rk, p]);
                    push("key.up_bias", vec![h, p]);
                }
                push("value.down", vec![h, p, *rv]);
                push("value.down_bias", vec![h, *rv]);
                push(
                    "value.up",
                    vec![h, *rv, if variant.extended() { d } else { p }],
                );
                push(
                    "value.up_bias",
                    if variant.extended() {
                        vec![d]
                    } else {
                        vec![h, p]
                    },
                );
            }
            Some(Attention::Prefix { length, .. }) => {
                out.push((format!("{at}.prefix.key"), vec![h, *length, p]));
                out.push((format!("{at}.prefix.value"), vec![h, *length, p]));
            }
            Some(Attention::Adapter {
                bottleneck: r,
                layer_norm,
            }) => bottleneck(&mut out, &format!("{at}.adapter"), d, *r, *layer_norm),
            None => {}
        }
        if let Some(lora) = &config.lora {
            for t in &lora.targets {
                let t = t.letter();
                out.push((format!("{at}.lora.{t}.a"), vec![lora.rank, d]));
                out.push((format!("{at}.lora.{t}.b"), vec![d, lora.rank]));
                if lora.bias {
                    out.push((format!("{at}.lora.{t}.bias"), vec![d]));
                }
            }
        }
        if let Some(Ffn::Adapter {
            bottleneck: r,
            layer_norm,
            ..
        }) = &config.ffn
        {
            bottleneck(&mut out, &backbone.ffn(i), d, *r, *layer_norm);
        }
    }
    for (name, shape) in backbone.tensors() {
        if config.full || (config.bitfit && name.ends_with(".bias")) {
            out.push((name, shape));
        }
    }
    out
}

/// The tensors of the prefix's reparametrisation, which exist while it is trained.
pub fn reparametrisation(config: &AdapterConfig, backbone: &dyn Describe) -> Vec<Shape> {
    let Some(Attention::Prefix {
        length,
        reparametrisation: Some(r),
        ..
    }) = &config.attention
    else {
        return Vec::new();
    };
    let d = backbone.hidden();
    let wide = 2 * backbone.layers() * d;
    let name = |n: &str| format!("transformer.prefix.{n}");
    vec![
        (name("embedding"), vec![*length, d]),
        (name("down.weight"), vec![r.width, d]),
        (name("down.bias"), vec![r.width]),
        (name("up.weight"), vec![wide, r.width]),
        (name("up.bias"), vec![wide]),
    ]
}

fn total(shapes: &[Shape]) -> usize {
    shapes
        .iter()
        .map(|(_, s)| s.iter().product::<usize>())
        .sum()
}

/// Number of a backbone's own parameters: a tied head once, a classification head not.
pub fn of_backbone(backbone: &dyn Describe) -> usize {
    total(&backbone.tensors())
}

/// Number of stored parameters. The special tokens' rows and a classification head, which go with
/// every method, are not counted, as in the paper's tables.
pub fn stored(config: &AdapterConfig, backbone: &dyn Describe) -> usize {
    total(&adapter(config, backbone)) - total(&backbone.head())
}

/// The tensors that are trained: a reparametrised prefix through its network.
pub fn trained_tensors(config: &AdapterConfig, backbone: &dyn Describe) -> Vec<Shape> {
    let mut all = reparametrisation(config, backbone);
    let direct = all.is_empty();
    let own = adapter(config, backbone).into_iter();
    all.extend(own.filter(|(name, _)| direct || !is_prefix(name)));
    all
}

/// Number of trained parameters, counted as [`stored`] counts.
pub fn trained(config: &AdapterConfig, backbone: &dyn Describe) -> usize {
    total(&trained_tensors(config, backbone)) - total(&backbone.head())
}
