//! Every row of the parameter columns of Tables 1, 3 and 5, from the shapes of the files.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::common::{self, adapter, ffn, inducer, nothing, prefix};
use inducer_reference::{
    AdapterConfig, Backbone, Gpt2Config, Ia3Target, LoraConfig, Projection, RobertaConfig, Variant,
};

fn lora(targets: &[Projection], rank: usize, bias: bool) -> Option<LoraConfig> {
    Some(common::lora(targets, rank, bias))
}

#[test]
fn counts_every_row_comes_out() {
    let (q, qv) = ([Projection::Q], [Projection::Q, Projection::V]);
    let with = |config: AdapterConfig, lora| AdapterConfig { lora, ..config };
    let rows = [
        (
            AdapterConfig {
                full: true,
                ..nothing()
            },
            124_439_808,
        ),
        (adapter(108, true), 2_019_600),
        (with(nothing(), lora(&qv, 54, true)), 2_009_088),
        (prefix(108, true), 1_990_656),
        (
            AdapterConfig {
                ffn: Some(ffn(102, false, 1.0)),
                ..prefix(6, true)
            },
            2_001_096,
        ),
        (inducer(Variant::Adaptive, 0, 108), 2_015_424),
        (inducer(Variant::Extension, 0, 16), 1_928_448),
        (inducer(Variant::Gating, 10, 15), 2_003_472),
        (inducer(Variant::Inducer, 10, 15), 2_003_472),
        (
            with(inducer(Variant::Inducer, 5, 12), lora(&q, 24, true)),
            2_002_320,
        ),
        (
            AdapterConfig {
                ffn: Some(ffn(42, false, 1.0)),
                ..with(inducer(Variant::Inducer, 3, 7), lora(&q, 16, true))
            },
            2_001_816,
        ),
    ];
    let gpt2 = Gpt2Config::small().layout();
    for (config, expected) in rows {
        assert_eq!(gpt2.adapter_size(&config), expected, "{config:?}");
    }
    // the prefix under training: E, Linear(d → 512), Linear(512 → 2 L d)
    let train = 108 * 768 + 768 * 512 + 512 + 512 * (2 * 12 * 768) + 2 * 12 * 768;
    assert_eq!(train, 9_932_288);
}

/// L (2 d + d_ff): no row of the paper, which does not have the method.
#[test]
fn counts_of_ia3_are_two_widths_and_the_ffns() {
    let all = common::ia3(&Ia3Target::ALL);
    let expected = 12 * (2 * 768 + 3072);
    assert_eq!(Gpt2Config::small().layout().adapter_size(&all), expected);
    let roberta = RobertaConfig::base(3).layout();
    let head = roberta.adapter_size(&nothing());
    assert_eq!(roberta.adapter_size(&all) - head, expected);
    let key = common::ia3(&[Ia3Target::K]);
    assert_eq!(Gpt2Config::small().layout().adapter_size(&key), 12 * 768);
}

#[test]
fn counts_of_the_classifier_methods_come_out_without_their_head() {
    let q = [Projection::Q];
    let with = |config: AdapterConfig, lora| AdapterConfig { lora, ..config };
    let rows = [
        (inducer(Variant::Inducer, 6, 4), 609_696),
        (
            with(inducer(Variant::Inducer, 2, 4), lora(&q, 4, false)),
            609_120,
        ),
        (
            AdapterConfig {
                ffn: Some(ffn(12, false, 2.0)),
                ..with(inducer(Variant::Inducer, 2, 2), lora(&q, 4, false))
            },
            599_760,
        ),
    ];
    let config = RobertaConfig::base(3);
    let size = |shapes: &inducer_reference::Shapes| {
        shapes
            .values()
            .map(|s| s.iter().product::<usize>())
            .sum::<usize>()
    };
    let head = size(&config.classifier_shapes());
    assert_eq!(head, 768 * 768 + 768 + 3 * 768 + 3);
    for (method, expected) in rows {
        assert_eq!(
            config.layout().adapter_size(&method) - head,
            expected,
            "{method:?}"
        );
    }
    let pooler = 768 * 768 + 768;
    assert_eq!(size(&config.shapes()) + pooler, 124_645_632);
    // BitFit: biases of the embeddings' norm, and of six products and two norms a layer
    let bitfit = AdapterConfig {
        bitfit: true,
        ..nothing()
    };
    let by_hand = 768 + 12 * (4 * 768 + 3072 + 768 + 2 * 768);
    assert_eq!(config.layout().adapter_size(&bitfit) - head, by_hand);
}
