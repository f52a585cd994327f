//! A random configuration of each method, sizes included.

use super::{Corner, Draw, ModelOption};
use inducer_gpu::Method;
use inducer_reference::files::adapter_config::Reparametrisation;
use inducer_reference::{
    AdapterConfig, AttentionConfig, FfnConfig, Ia3Config, Ia3Target, LoraConfig, Placement,
    Projection, Variant,
};

/// No part at all.
#[must_use]
pub fn none() -> AdapterConfig {
    AdapterConfig {
        peft_type: "INDUCER".into(),
        task_type: Some("CAUSAL_LM".into()),
        base_model_name_or_path: Some(String::new()),
        attention: None,
        lora: None,
        ia3: None,
        ffn: None,
        bitfit: false,
        full: false,
    }
}

fn bottleneck(draw: &mut Draw) -> usize {
    match draw.corner() {
        Corner::Tiny => 1,
        Corner::Wide => draw.size(18, 24),
        _ => draw.size(2, 5),
    }
}

fn inducer(draw: &mut Draw, variant: Variant) -> AdapterConfig {
    let key_bottleneck = variant.has_key_network().then(|| bottleneck(draw));
    AdapterConfig {
        attention: Some(AttentionConfig::Inducer {
            variant,
            key_bottleneck,
            value_bottleneck: bottleneck(draw),
        }),
        ..none()
    }
}

fn prefix(draw: &mut Draw) -> Option<AttentionConfig> {
    let reparametrisation = draw.chance(0.4).then(|| Reparametrisation {
        width: draw.size(2, 5),
    });
    Some(AttentionConfig::Prefix {
        length: draw.size(1, 4),
        offset_positions: draw.option(ModelOption::OffsetPositions),
        reparametrisation,
    })
}

/// A prefix without the network that may make it while it trains.
pub fn without_network(config: &mut AdapterConfig) {
    if let Some(AttentionConfig::Prefix {
        reparametrisation, ..
    }) = &mut config.attention
    {
        *reparametrisation = None;
    }
}

/// Beside an inducer LoRA has no bias in the paper's tables on understanding.
pub fn for_understanding(config: &mut AdapterConfig) {
    if let (Some(AttentionConfig::Inducer { .. }), Some(lora)) =
        (&config.attention, &mut config.lora)
    {
        lora.bias = false;
    }
}

/// LoRA on these projections, with an α that is not r.
pub fn lora(draw: &mut Draw, targets: &[Projection], bias: bool) -> LoraConfig {
    LoraConfig {
        targets: targets.to_vec(),
        rank: bottleneck(draw),
        alpha: draw.between(0.5, 4.0),
        dropout: 0.0,
        bias,
        use_rslora: false,
    }
}

/// An adapter beside the FFN.
pub fn ffn(draw: &mut Draw) -> FfnConfig {
    FfnConfig::Adapter {
        placement: Placement::Parallel,
        bottleneck: bottleneck(draw),
        layer_norm: draw.option(ModelOption::LayerNorm),
        scale: draw.pick(&[0.5, 1.0, 2.0]),
    }
}

/// A random configuration of a method.
pub fn random(draw: &mut Draw, method: Method) -> AdapterConfig {
    let base = none();
    let q = [Projection::Q];
    match method {
        Method::None => base,
        Method::Full => AdapterConfig { full: true, ..base },
        Method::Bitfit => AdapterConfig {
            bitfit: true,
            ..base
        },
        Method::Adapter => AdapterConfig {
            attention: Some(AttentionConfig::Adapter {
                bottleneck: bottleneck(draw),
                layer_norm: draw.option(ModelOption::LayerNorm),
            }),
            ..base
        },
        Method::Lora => {
            let with_keys: [&[Projection]; 2] = [
                &[Projection::K],
                &[Projection::Q, Projection::K, Projection::V],
            ];
            let targets = match draw.option(ModelOption::LoraKeys) {
                true => draw.pick(&with_keys),
                false => &[Projection::Q, Projection::V],
            };
            let bias = draw.option(ModelOption::LoraBias);
            AdapterConfig {
                lora: Some(lora(draw, targets, bias)),
                ..base
            }
        }
        Method::Prefix => AdapterConfig {
            attention: prefix(draw),
            ..base
        },
        Method::MamAdapter => AdapterConfig {
            attention: prefix(draw),
            ffn: Some(ffn(draw)),
            ..base
        },
        Method::Adaptive => inducer(draw, Variant::Adaptive),
        Method::Extension => inducer(draw, Variant::Extension),
        Method::Gating => inducer(draw, Variant::Gating),
        Method::Inducer => inducer(draw, Variant::Inducer),
        Method::InducerLora => {
            let inducer = inducer(draw, Variant::Inducer);
            AdapterConfig {
                lora: Some(lora(draw, &q, true)),
                ..inducer
            }
        }
        Method::MamInducer => {
            let inducer = inducer(draw, Variant::Inducer);
            AdapterConfig {
                lora: Some(lora(draw, &q, true)),
                ffn: Some(ffn(draw)),
                ..inducer
            }
        }
        Method::Ia3 => {
            let some: [&[Ia3Target]; 4] = [
                &Ia3Target::ALL,
                &Ia3Target::ALL,
                &[Ia3Target::V],
                &[Ia3Target::K, Ia3Target::Ffn],
            ];
            let targets = draw.pick(&some).to_vec();
            AdapterConfig {
                ia3: Some(Ia3Config { targets }),
                ..base
            }
        }
    }
}

/// The methods of the paper's tables. (IA)³ is not among them and has rows of its own.
fn papers() -> Vec<Method> {
    let all = Method::ALL.into_iter();
    all.filter(|m| *m != Method::Ia3).collect()
}

/// The method of a case by its turn: thirteen cases in a row visit all thirteen.
#[must_use]
pub fn of_case(turn: usize) -> Method {
    let methods = papers();
    methods[turn % methods.len()]
}

/// The same of the twelve methods that train something, LoRA in the place of none. So the methods
/// stay thirteen, which no corner's turn divides.
#[must_use]
pub fn trained(turn: usize) -> Method {
    match of_case(turn) {
        Method::None => Method::Lora,
        method => method,
    }
}
