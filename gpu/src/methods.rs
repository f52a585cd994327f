//! The paper's methods by name: each a composition of parts with the sizes of its Tables 1, 3 and
//! 5.
//!
//! On GPT-2 small the sizes are the paper's. On any other backbone a method gets the sizes that
//! come nearest to the trainable count of inducer-tuning with r_k = 10, r_v = 15 there, so that an
//! ablation compares methods at one budget, as the paper does.

use crate::adapter::{AdapterConfig, Attention, Ffn};
use crate::config::BackboneConfig;
use crate::counts;
use crate::parts::{
    AttentionAdapterConfig, FfnAdapterConfig, Ia3Config, Ia3Target, InducerConfig, LoraConfig,
    Placement, PrefixConfig, Reparametrisation, Target, Variant,
};

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
    /// (IA)³ (Liu et al. 2022), which is not in the paper's tables.
    Ia3,
}

/// Every method, in the order of [`Method`]: what it is called on the command line and in the
/// paper's tables, and the paper's size of its free bottleneck on GPT-2 small; 0 where it has none.
const NAMED: [(Method, &str, &str, usize); 14] = [
    (Method::None, "none", "Untuned backbone", 0),
    (Method::Full, "full", "Fine-tuning", 0),
    (Method::Bitfit, "bitfit", "BitFit", 0),
    (Method::Adapter, "adapter", "Adapter", 108),
    (Method::Lora, "lora", "LoRA", 54),
    (Method::Prefix, "prefix", "Prefix-tuning", 108),
    (Method::MamAdapter, "mam-adapter", "MAM adapter", 102),
    (Method::Adaptive, "adaptive", "Adaptive", 108),
    (Method::Extension, "extension", "Extension", 16),
    (Method::Gating, "gating", "Gating", 15),
    (Method::Inducer, "inducer", "Inducer-tuning", 15),
    (Method::InducerLora, "inducer-lora", "Inducer + LoRA", 24),
    (Method::MamInducer, "mam-inducer", "MAM inducer", 42),
    (Method::Ia3, "ia3", "(IA)³", 0),
];

fn inducer(variant: Variant, key_bottleneck: usize, value_bottleneck: usize) -> Option<Attention> {
    Some(Attention::Inducer(InducerConfig {
        variant,
        key_bottleneck,
        value_bottleneck,
    }))
}

fn prefix(length: usize, reparametrisation: Option<Reparametrisation>) -> Option<Attention> {
    Some(Attention::Prefix(PrefixConfig {
        length,
        offset_positions: true,
        reparametrisation,
    }))
}

fn lora(targets: &[Target], rank: usize) -> Option<LoraConfig> {
    Some(LoraConfig {
        dropout: 0.1,
        bias: true,
        ..LoraConfig::new(targets, rank, 32.0)
    })
}

fn ffn_adapter(bottleneck: usize) -> Option<Ffn> {
    Some(Ffn::Adapter(FfnAdapterConfig {
        placement: Placement::Parallel,
        bottleneck,
        layer_norm: false,
        scale: 1.0,
    }))
}

/// A bottleneck of the paper's size `paper` when the free one has the paper's size `of`, brought to
/// the free one's size.
fn share(bottleneck: usize, paper: usize, of: usize) -> usize {
    (paper * bottleneck).div_ceil(of).max(1)
}

impl Method {
    /// All methods, in the order of the paper's tables.
    pub const ALL: [Self; NAMED.len()] = {
        let mut all = [Self::None; NAMED.len()];
        let mut i = 0;
        while i < all.len() {
            all[i] = NAMED[i].0;
            i += 1;
        }
        all
    };

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        NAMED[self as usize].1
    }

    /// The name in the paper's tables.
    pub fn title(self) -> &'static str {
        NAMED[self as usize].2
    }

    /// The method of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// The learning rate of section 6 for generation.
    pub fn learning_rate(self) -> f64 {
        if self == Self::Full { 6.25e-5 } else { 1.25e-3 }
    }

    /// The configuration with one size left free: `bottleneck` scales every size of the method at
    /// once.
    fn sized(self, bottleneck: usize) -> AdapterConfig {
        let share = |paper, of| share(bottleneck, paper, of);
        let mut config = AdapterConfig::none();
        match self {
            Self::None => {}
            Self::Full => config.full = true,
            Self::Bitfit => config.bitfit = true,
            Self::Adapter => {
                config.attention = Some(Attention::Adapter(AttentionAdapterConfig {
                    bottleneck,
                    layer_norm: true,
                }));
            }
            Self::Lora => config.lora = lora(&[Target::Q, Target::V], bottleneck),
            Self::Prefix => {
                config.attention = prefix(bottleneck, Some(Reparametrisation { width: 512 }));
            }
            Self::MamAdapter => {
                config.attention = prefix(share(6, 102), None);
                config.ffn = ffn_adapter(bottleneck);
            }
            Self::Ia3 => {
                let targets = Ia3Target::ALL.to_vec();
                config.ia3 = Some(Ia3Config { targets });
            }
            Self::Adaptive => config.attention = inducer(Variant::Adaptive, 0, bottleneck),
            Self::Extension => config.attention = inducer(Variant::Extension, 0, bottleneck),
            Self::Gating => {
                config.attention = inducer(Variant::Gating, share(10, 15), bottleneck);
            }
            Self::Inducer => {
                config.attention = inducer(Variant::Inducer, share(10, 15), bottleneck);
            }
            Self::InducerLora => {
                config.attention = inducer(Variant::Inducer, share(5, 24), share(12, 24));
                config.lora = lora(&[Target::Q], bottleneck);
            }
            Self::MamInducer => {
                config.attention = inducer(Variant::Inducer, share(3, 42), share(7, 42));
                config.lora = lora(&[Target::Q], share(16, 42));
                config.ffn = ffn_adapter(bottleneck);
            }
        }
        config
    }

    /// With one size left free, by the settings of the classification tasks: LoRA without a bias, s
    /// = 2 beside the FFN, and the proportions of Table 5 (r_k 6, r_v 4; with LoRA 2, 4, 4; MAM 2,
    /// 2, 4, FFN 12).
    fn sized_for_classes(self, bottleneck: usize) -> AdapterConfig {
        let share = |paper, of| share(bottleneck, paper, of);
        let mut config = self.sized(bottleneck);
        config.task_type = "SEQ_CLS".into();
        let (key, value, rank) = match self {
            Self::InducerLora => (share(2, 4), share(4, 4), bottleneck),
            Self::MamInducer => (share(2, 12), share(2, 12), share(4, 12)),
            _ => (share(6, 4), bottleneck, bottleneck),
        };
        if let Some(Attention::Inducer(c)) = &mut config.attention {
            c.value_bottleneck = value;
            c.key_bottleneck = if c.variant.has_key_mlp() { key } else { 0 };
        }
        if let Some(lora) = &mut config.lora {
            (lora.rank, lora.bias) = (rank, false);
        }
        if let Some(Ffn::Adapter(adapter)) = &mut config.ffn {
            adapter.scale = 2.0;
        }
        config
    }

    /// The configuration with the paper's sizes for GPT-2 small.
    pub fn paper(self) -> AdapterConfig {
        self.sized(NAMED[self as usize].3)
    }

    /// The bottleneck that Table 5 gives on RoBERTa base, where it has the method.
    fn bottleneck_for_classes(self) -> Option<usize> {
        match self {
            Self::Inducer | Self::Gating | Self::InducerLora => Some(4),
            Self::MamInducer => Some(12),
            _ => None,
        }
    }

    /// The configuration for a backbone: the paper's sizes on one of the paper's size, else those
    /// that come nearest to the stored count of inducers there (r_k 10, r_v 15; for classes 6 and
    /// 4).
    pub fn on(self, backbone: &BackboneConfig) -> AdapterConfig {
        type Sized = fn(Method, usize) -> AdapterConfig;
        let paper = NAMED[self as usize].3;
        let (sized, papers, budget): (Sized, _, _) = match backbone {
            BackboneConfig::Gpt2(_) => (Self::sized, Some(paper), 15),
            BackboneConfig::Roberta(_) => {
                (Self::sized_for_classes, self.bottleneck_for_classes(), 4)
            }
        };
        let papers = papers.filter(|_| backbone.is_papers_size());
        if paper == 0 {
            return sized(self, 0);
        }
        sized(
            self,
            papers.unwrap_or_else(|| {
                let count = |config: AdapterConfig| counts::stored(&config, backbone);
                let budget = count(sized(Self::Inducer, budget));
                nearest(4 * backbone.spec().hidden, budget, |size| {
                    count(sized(self, size))
                })
            }),
        )
    }
}

/// The smallest of the sizes from 1 to `most` whose count is nearest to `budget`; counts grow with
/// the size.
pub(crate) fn nearest(most: usize, budget: usize, count: impl Fn(usize) -> usize) -> usize {
    let sizes: Vec<usize> = (1..=most).collect();
    let first = |least| sizes.partition_point(|size| count(*size) < least) + 1;
    let above = first(budget);
    let below = first(count(above.max(2) - 1));
    match above > most || count(below).abs_diff(budget) <= count(above).abs_diff(budget) {
        true => below,
        false => above,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Gpt2Config, RobertaConfig};

    #[test]
    fn every_row_of_section_7_for_gpt2_small_comes_out() {
        let small = BackboneConfig::from(&Gpt2Config::small());
        assert_eq!(counts::of_backbone(&small), 124_439_808);
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
            (Method::Ia3, 12 * (2 * 768 + 3072), 12 * (2 * 768 + 3072)),
        ] {
            let config = method.on(&small);
            assert_eq!(
                (
                    counts::trained(&config, &small),
                    counts::stored(&config, &small)
                ),
                (trained, stored),
                "{}",
                method.name()
            );
        }
    }

    #[test]
    fn every_row_of_section_7_for_roberta_base_comes_out_without_the_head() {
        let base = BackboneConfig::from(&RobertaConfig::base());
        // with the pooler, which no classifier uses
        assert_eq!(counts::of_backbone(&base) + 768 * 768 + 768, 124_645_632);
        for (method, count) in [
            (Method::Inducer, 609_696),
            (Method::InducerLora, 609_120),
            (Method::MamInducer, 599_760),
        ] {
            let stored = counts::stored(&method.on(&base), &base);
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
            let stored = counts::stored(&method.on(&base), &base);
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
        let other = BackboneConfig::Gpt2(other);
        let budget = counts::stored(&Method::Inducer.on(&other), &other) as f64;
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
            let count = counts::stored(&m.on(&other), &other) as f64;
            assert!((count / budget - 1.0).abs() < 0.05, "{}: {count}", m.name());
        }
    }

    #[test]
    fn an_unknown_field_is_an_error_at_every_level() {
        for json in [
            r#"{"peft_type":"INDUCER","task_type":"CAUSAL_LM","atention":null}"#,
            r#"{"peft_type":"INDUCER","task_type":"CAUSAL_LM",
                "attention":{"kind":"inducer","variant":"adaptive","value_bottleneck":3,
                    "rank":2}}"#,
            r#"{"peft_type":"INDUCER","task_type":"CAUSAL_LM",
                "lora":{"targets":["q"],"rank":2,"alpha":1,"r":2}}"#,
            r#"{"peft_type":"INDUCER","task_type":"CAUSAL_LM",
                "ffn":{"kind":"adapter","placement":"parallel","bottleneck":2,"s":2}}"#,
            r#"{"peft_type":"INDUCER","task_type":"CAUSAL_LM","attention":
                {"kind":"prefix","length":3,"reparametrisation":{"width":2,"depth":1}}}"#,
        ] {
            let message = serde_json::from_str::<AdapterConfig>(json)
                .unwrap_err()
                .to_string();
            assert!(message.contains("unknown field"), "{message}");
        }
        let good = r#"{"peft_type":"INDUCER","task_type":"CAUSAL_LM",
            "base_model_name_or_path":"gpt2",
            "attention":{"kind":"inducer","variant":"inducer",
                "key_bottleneck":10,"value_bottleneck":15}}"#;
        assert_eq!(
            serde_json::from_str::<AdapterConfig>(good)
                .unwrap()
                .attention,
            Method::Inducer.paper().attention
        );
    }

    #[test]
    fn every_row_of_the_table_stands_at_its_methods_number() {
        for (method, row) in Method::ALL.into_iter().zip(&NAMED) {
            assert_eq!((method, method.name()), (row.0, row.1));
        }
    }

    #[test]
    fn the_nearest_size_is_that_of_a_search_through_all() {
        let counts: [fn(usize) -> usize; 3] = [|s| 7 * s, |s| 5 * s.div_ceil(3), |s| 40 + s / 4];
        for count in counts {
            for budget in 0..90 {
                let all = (1..=12).min_by_key(|size| count(*size).abs_diff(budget));
                assert_eq!(Some(nearest(12, budget, count)), all, "{budget}");
            }
        }
    }
}
