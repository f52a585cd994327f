//! The paper's methods by name: each a composition of parts with the sizes of its Tables 1, 3 and
//! 5.
//!
//! On GPT-2 small the sizes are the paper's. On any other backbone a method gets the sizes that
//! come nearest to the trainable count of inducer-tuning with r_k = 10, r_v = 15 there, so that an
//! ablation compares methods at one budget, as the paper does.

use crate::backbone::BackboneConfig;
use crate::config::{
    AdapterConfig, Attention, Ffn, Gpt2Config, Lora, Placement, Reparametrisation, RobertaConfig,
    Target, Variant,
};
use crate::shapes;

/// A row of the paper's tables.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The untuned backbone.
    None,
    /// Every parameter.
    Full,
    /// Every bias.
    Bitfit,
    /// Adapter-108.
    Adapter,
    /// LoRA-54.
    Lora,
    /// Prefix-tuning-108.
    Prefix,
    /// Prefix and parallel FFN adapter.
    MamAdapter,
    /// Ablation: q-based inducers without extension.
    Adaptive,
    /// Ablation: with the value extension, without MLP_k.
    Extension,
    /// Ablation: P_v without f.
    Gating,
    /// Inducer-tuning.
    Inducer,
    /// With LoRA on W^q.
    InducerLora,
    /// With LoRA and a parallel FFN adapter.
    MamInducer,
}

impl Method {
    /// All methods, in the order of the paper's tables.
    pub const ALL: [Self; 13] = [
        Self::None,
        Self::Full,
        Self::Bitfit,
        Self::Adapter,
        Self::Lora,
        Self::Prefix,
        Self::MamAdapter,
        Self::Adaptive,
        Self::Extension,
        Self::Gating,
        Self::Inducer,
        Self::InducerLora,
        Self::MamInducer,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Full => "full",
            Self::Bitfit => "bitfit",
            Self::Adapter => "adapter",
            Self::Lora => "lora",
            Self::Prefix => "prefix",
            Self::MamAdapter => "mam-adapter",
            Self::Adaptive => "adaptive",
            Self::Extension => "extension",
            Self::Gating => "gating",
            Self::Inducer => "inducer",
            Self::InducerLora => "inducer-lora",
            Self::MamInducer => "mam-inducer",
        }
    }

    /// The name in the paper's tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::None => "Untuned backbone",
            Self::Full => "Fine-tuning",
            Self::Bitfit => "BitFit",
            Self::Adapter => "Adapter",
            Self::Lora => "LoRA",
            Self::Prefix => "Prefix-tuning",
            Self::MamAdapter => "MAM adapter",
            Self::Adaptive => "Adaptive",
            Self::Extension => "Extension",
            Self::Gating => "Gating",
            Self::Inducer => "Inducer-tuning",
            Self::InducerLora => "Inducer + LoRA",
            Self::MamInducer => "MAM inducer",
        }
    }

    /// The method of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// The learning rate of section 6 for generation.
    pub fn learning_rate(self) -> f64 {
        if self == Self::Full { 6.25e-5 } else { 1.25e-3 }
    }

    /// The configuration with one size left free: `knob` scales every bottleneck of the method at
    /// once.
    fn sized(self, knob: usize) -> AdapterConfig {
        let inducer = |variant: Variant, rk: usize, rv: usize| {
            Some(Attention::Inducer {
                variant,
                key_bottleneck: rk,
                value_bottleneck: rv,
            })
        };
        let lora = |targets: &[Target], rank: usize| {
            Some(Lora {
                targets: targets.to_vec(),
                rank,
                alpha: 32.0,
                dropout: 0.1,
                bias: true,
            })
        };
        let ffn = |r: usize| {
            Some(Ffn::Adapter {
                placement: Placement::Parallel,
                bottleneck: r,
                layer_norm: false,
                scale: 1.0,
            })
        };
        let share = |paper: usize, of: usize| (paper * knob).div_ceil(of).max(1);
        let base = AdapterConfig::none();
        match self {
            Self::None => base,
            Self::Full => AdapterConfig { full: true, ..base },
            Self::Bitfit => AdapterConfig {
                bitfit: true,
                ..base
            },
            Self::Adapter => AdapterConfig {
                attention: Some(Attention::Adapter {
                    bottleneck: knob,
                    layer_norm: true,
                }),
                ..base
            },
            Self::Lora => AdapterConfig {
                lora: lora(&[Target::Q, Target::V], knob),
                ..base
            },
            Self::Prefix => AdapterConfig {
                attention: Some(Attention::Prefix {
                    length: knob,
                    offset_positions: true,
                    reparametrisation: Some(Reparametrisation { width: 512 }),
                }),
                ..base
            },
            Self::MamAdapter => AdapterConfig {
                attention: Some(Attention::Prefix {
                    length: share(6, 102),
                    offset_positions: true,
                    reparametrisation: None,
                }),
                ffn: ffn(knob),
                ..base
            },
            Self::Adaptive => AdapterConfig {
                attention: inducer(Variant::Adaptive, 0, knob),
                ..base
            },
            Self::Extension => AdapterConfig {
                attention: inducer(Variant::Extension, 0, knob),
                ..base
            },
            Self::Gating => AdapterConfig {
                attention: inducer(Variant::Gating, share(10, 15), knob),
                ..base
            },
            Self::Inducer => AdapterConfig {
                attention: inducer(Variant::Inducer, share(10, 15), knob),
                ..base
            },
            Self::InducerLora => AdapterConfig {
                attention: inducer(Variant::Inducer, share(5, 24), share(12, 24)),
                lora: lora(&[Target::Q], knob),
                ..base
            },
            Self::MamInducer => AdapterConfig {
                attention: inducer(Variant::Inducer, share(3, 42), share(7, 42)),
                lora: lora(&[Target::Q], share(16, 42)),
                ffn: ffn(knob),
                ..base
            },
        }
    }

    /// The paper's size of the free bottleneck on GPT-2 small.
    fn paper_knob(self) -> usize {
        match self {
            Self::None | Self::Full | Self::Bitfit => 0,
            Self::Adapter | Self::Prefix | Self::Adaptive => 108,
            Self::Lora => 54,
            Self::MamAdapter => 102,
            Self::Extension => 16,
            Self::Gating | Self::Inducer => 15,
            Self::InducerLora => 24,
            Self::MamInducer => 42,
        }
    }

    /// The configuration with the paper's sizes for GPT-2 small.
    pub fn paper(self) -> AdapterConfig {
        self.sized(self.paper_knob())
    }

    /// The configuration for either backbone.
    pub fn on(self, backbone: &BackboneConfig) -> AdapterConfig {
        match backbone {
            BackboneConfig::Gpt2(c) => self.for_backbone(c),
            BackboneConfig::Roberta(c) => self.for_roberta(c),
        }
    }

    /// With one size left free, by the settings of the classification tasks: LoRA without a bias, s
    /// = 2 beside the FFN, and the proportions of Table 5 (r_k 6, r_v 4; with LoRA 2, 4, 4; MAM 2,
    /// 2, 4, FFN 12).
    fn sized_for_classes(self, knob: usize) -> AdapterConfig {
        let share = |paper: usize, of: usize| (paper * knob).div_ceil(of).max(1);
        let mut config = self.sized(knob);
        config.task_type = "SEQ_CLS".into();
        let (mut key, mut value, mut rank) = (share(6, 4), knob, knob);
        match self {
            Self::InducerLora => (key, value) = (share(2, 4), share(4, 4)),
            Self::MamInducer => (key, value, rank) = (share(2, 12), share(2, 12), share(4, 12)),
            _ => {}
        }
        if let Some(Attention::Inducer {
            variant,
            key_bottleneck,
            value_bottleneck,
        }) = &mut config.attention
        {
            *value_bottleneck = value;
            *key_bottleneck = if variant.has_key_mlp() { key } else { 0 };
        }
        if let Some(lora) = &mut config.lora {
            (lora.rank, lora.bias) = (rank, false);
        }
        if let Some(Ffn::Adapter { scale, .. }) = &mut config.ffn {
            *scale = 2.0;
        }
        config
    }

    /// The configuration for a RoBERTa: Table 5's sizes on RoBERTa base, and for other methods and
    /// backbones the nearest to the inducer's count there (r_k 6, r_v 4).
    pub fn for_roberta(self, backbone: &RobertaConfig) -> AdapterConfig {
        if self.paper_knob() == 0 {
            return self.sized_for_classes(0);
        }
        let base = RobertaConfig::base();
        let same = (backbone.hidden_size, backbone.num_hidden_layers)
            == (base.hidden_size, base.num_hidden_layers);
        match self {
            Self::Inducer | Self::Gating | Self::InducerLora if same => {
                return self.sized_for_classes(4);
            }
            Self::MamInducer if same => return self.sized_for_classes(12),
            _ => {}
        }
        let budget = shapes::stored(&Self::Inducer.sized_for_classes(4), backbone);
        let count =
            |knob: usize| shapes::stored(&self.sized_for_classes(knob), backbone).abs_diff(budget);
        let best = (1..=4 * backbone.hidden_size)
            .min_by_key(|k| count(*k))
            .unwrap_or(1);
        self.sized_for_classes(best)
    }

    /// The configuration for a GPT-2: the paper's sizes on GPT-2 small, the nearest budget on
    /// another.
    pub fn for_backbone(self, backbone: &Gpt2Config) -> AdapterConfig {
        let small = Gpt2Config::small();
        if self.paper_knob() == 0
            || (backbone.n_embd, backbone.n_layer, backbone.n_head)
                == (small.n_embd, small.n_layer, small.n_head)
        {
            return self.paper();
        }
        let budget = shapes::stored(&Self::Inducer.sized(15), backbone);
        let count = |knob: usize| shapes::stored(&self.sized(knob), backbone).abs_diff(budget);
        let best = (1..=4 * backbone.n_embd)
            .min_by_key(|k| count(*k))
            .unwrap_or(1);
        self.sized(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_section_7_for_gpt2_small_comes_out() {
        let small = Gpt2Config::small();
        assert_eq!(small.parameters(), 124_439_808);
        for (method, trained, stored) in [
            (Method::Full, 124_439_808, 124_439_808),
            (Method::Adapter, 2_019_600, 2_019_600),
            (Method::Lora, 2_009_088, 2_009_088),
            (Method::Prefix, 9_932_288, 1_990_656),
            (Method::Adaptive, 2_015_424, 2_015_424),
            (Method::Extension, 1_928_448, 1_928_448),
            (Method::Gating, 2_003_472, 2_003_472),
            (Method::Inducer, 2_003_472, 2_003_472),
            (Method::InducerLora, 2_002_320, 2_002_320),
            (Method::MamInducer, 2_001_816, 2_001_816),
            (Method::MamAdapter, 2_001_096, 2_001_096),
        ] {
            let config = method.for_backbone(&small);
            assert_eq!(
                (
                    shapes::trained(&config, &small),
                    shapes::stored(&config, &small)
                ),
                (trained, stored),
                "{}",
                method.name()
            );
        }
    }

    #[test]
    fn every_row_of_section_7_for_roberta_base_comes_out_without_the_head() {
        use crate::shapes::Describe as _;
        let base = RobertaConfig::base();
        let size = |shapes: Vec<shapes::Shape>| -> usize {
            shapes
                .iter()
                .map(|(_, s)| s.iter().product::<usize>())
                .sum()
        };
        // with the pooler, which no classifier uses
        assert_eq!(size(base.tensors()) + 768 * 768 + 768, 124_645_632);
        for (method, count) in [
            (Method::Inducer, 609_696),
            (Method::InducerLora, 609_120),
            (Method::MamInducer, 599_760),
        ] {
            let stored = shapes::stored(&method.for_roberta(&base), &base);
            assert_eq!(stored, count, "{}", method.name());
        }
        for method in [
            Method::Adapter,
            Method::Lora,
            Method::Prefix,
            Method::MamAdapter,
            Method::Adaptive,
            Method::Extension,
        ] {
            let stored = shapes::stored(&method.for_roberta(&base), &base);
            assert!(
                (stored as f64 / 609_696.0 - 1.0).abs() < 0.05,
                "{}: {stored}",
                method.name()
            );
        }
    }

    #[test]
    fn on_another_backbone_the_budgets_are_near_each_other() {
        let other = Gpt2Config {
            n_embd: 192,
            n_layer: 4,
            n_head: 3,
            vocab_size: 4096,
            n_positions: 512,
            ..Gpt2Config::small()
        };
        let budget = shapes::stored(&Method::Inducer.for_backbone(&other), &other) as f64;
        assert_eq!(budget, 63_276.0);
        for m in [
            Method::Adapter,
            Method::Lora,
            Method::Prefix,
            Method::Adaptive,
            Method::Extension,
            Method::Gating,
            Method::InducerLora,
            Method::MamInducer,
            Method::MamAdapter,
        ] {
            let count = shapes::stored(&m.for_backbone(&other), &other) as f64;
            assert!((count / budget - 1.0).abs() < 0.05, "{}: {count}", m.name());
        }
    }

    #[test]
    fn an_unknown_field_is_an_error_at_every_level() {
        for json in [
            r#"{"peft_type":"INDUCER","task_type":"CAUSAL_LM","atention":null}"#,
            r#"{"peft_type":"INDUCER","task_type":"CAUSAL_LM","attention":{"kind":"inducer","variant":"adaptive","value_bottleneck":3,"rank":2}}"#,
            r#"{"peft_type":"INDUCER","task_type":"CAUSAL_LM","lora":{"targets":["q"],"rank":2,"alpha":1,"r":2}}"#,
            r#"{"peft_type":"INDUCER","task_type":"CAUSAL_LM","ffn":{"kind":"adapter","placement":"parallel","bottleneck":2,"s":2}}"#,
            r#"{"peft_type":"INDUCER","task_type":"CAUSAL_LM","attention":{"kind":"prefix","length":3,"reparametrisation":{"width":2,"depth":1}}}"#,
        ] {
            let message = serde_json::from_str::<AdapterConfig>(json)
                .unwrap_err()
                .to_string();
            assert!(message.contains("unknown field"), "{message}");
        }
        let good = r#"{"peft_type":"INDUCER","task_type":"CAUSAL_LM","base_model_name_or_path":"gpt2","attention":{"kind":"inducer","variant":"inducer","key_bottleneck":10,"value_bottleneck":15}}"#;
        assert_eq!(
            serde_json::from_str::<AdapterConfig>(good)
                .unwrap()
                .attention,
            Method::Inducer.paper().attention
        );
    }
}
