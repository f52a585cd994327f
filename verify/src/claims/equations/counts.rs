//! Parameter counts: every row of Tables 1, 3 and 5, and what is stored against what is trained.

use crate::cases::method;
use crate::engines::translate;
use crate::{Case, Claim, Result, Target};
use inducer_gpu::config::Gpt2Config as Gpt2;
use inducer_gpu::{Method, counts};
use inducer_reference::{
    AdapterConfig, AttentionConfig, Backbone, FfnConfig, Gpt2Config, LoraConfig, Placement,
    Projection, RobertaConfig, Variant,
};

/// A row of the tables on GPT-2 small: claim, method, trainable parameters.
const GENERATION: [(&str, Method, usize); 11] = [
    ("counts-fine-tuning", Method::Full, 124_439_808),
    ("counts-adapter-108", Method::Adapter, 2_019_600),
    ("counts-lora-54", Method::Lora, 2_009_088),
    ("counts-prefix-108", Method::Prefix, 1_990_656),
    ("counts-mam-adapter", Method::MamAdapter, 2_001_096),
    ("counts-adaptive", Method::Adaptive, 2_015_424),
    ("counts-extension", Method::Extension, 1_928_448),
    ("counts-gating", Method::Gating, 2_003_472),
    ("counts-inducer", Method::Inducer, 2_003_472),
    ("counts-inducer-lora", Method::InducerLora, 2_002_320),
    ("counts-mam-inducer", Method::MamInducer, 2_001_816),
];

/// The same on RoBERTa base: claim, r_k, r_v, LoRA's rank, the FFN adapter's, count without the
/// classifier.
const UNDERSTANDING: [(&str, [usize; 4], usize); 3] = [
    ("counts-nlu-inducer", [6, 4, 0, 0], 609_696),
    ("counts-nlu-inducer-lora", [2, 4, 4, 0], 609_120),
    ("counts-nlu-mam-inducer", [2, 2, 4, 12], 599_760),
];

/// The claims of this file.
#[must_use]
pub fn claims() -> Vec<Claim> {
    let mut all: Vec<Claim> = GENERATION
        .map(|(id, method, count)| {
            Claim::new(id)
                .one_case_in(1000)
                .on_one_sided(Target::Integers, move |case| {
                    generation(case, method, count)
                })
        })
        .into();
    all.extend(UNDERSTANDING.map(|(id, sizes, count)| {
        Claim::new(id)
            .one_case_in(1000)
            .on_one_sided(Target::Integers, move |case| {
                understanding(case, sizes, count)
            })
    }));
    all.push(counted("counts-prefix-108-train", trained_prefix));
    all.push(counted("counts-nlu-bitfit", bitfit));
    all.push(counted("store-equals-train", store_equals_train));
    all
}

/// A claim about numbers that no case changes.
fn counted(
    id: &'static str,
    count: impl Fn(&mut Case) -> Result<()> + Send + Sync + 'static,
) -> Claim {
    Claim::new(id)
        .one_case_in(1000)
        .on_one_sided(Target::Integers, count)
}

/// What a prefix trains behind its network. In the control its keys and values are counted too
/// little.
fn trained_prefix(case: &mut Case) -> Result<()> {
    let count = counts::trained(&Method::Prefix.paper(), &Gpt2::small());
    case.same(count - case.or_control(0, 2 * 12 * 768), 9_932_288, || {
        "E, Linear(d → 512), Linear(512 → 2 L d)".into()
    });
    Ok(())
}

/// One bias less, in the control: the last tensor of one dimension that the method has.
fn one_less(case: &Case, shapes: impl Iterator<Item = (String, Vec<usize>)>) -> usize {
    let biases = shapes.filter(|(name, shape)| name.ends_with("bias") && shape.len() == 1);
    case.or_control(0, biases.last().map_or(1, |(_, shape)| shape[0]))
}

/// Both crates count the paper's number, each from its own shapes.
fn generation(case: &mut Case, method: Method, count: usize) -> Result<()> {
    let (config, small) = (method.paper(), Gpt2::small());
    let stored = counts::stored_tensors(&config, &(&small).into())?;
    let less = one_less(case, stored.into_iter());
    case.same(counts::stored(&config, &small) - less, count, || {
        format!("{}, engine", method.title())
    });
    let config: AdapterConfig = translate(&config)?;
    case.same(
        Gpt2Config::small().layout().adapter_size(&config) - less,
        count,
        || format!("{}, reference", method.title()),
    );
    Ok(())
}

/// Parameters of the classification head, which the tables do not count.
fn classifier(base: &RobertaConfig) -> usize {
    let shapes = base.classifier_shapes();
    shapes.values().map(|s| s.iter().product::<usize>()).sum()
}

fn understanding(case: &mut Case, [r_k, r_v, rank, r]: [usize; 4], count: usize) -> Result<()> {
    let config = AdapterConfig {
        attention: Some(AttentionConfig::Inducer {
            variant: Variant::Inducer,
            key_bottleneck: Some(r_k),
            value_bottleneck: r_v,
        }),
        lora: (rank > 0).then(|| LoraConfig {
            targets: vec![Projection::Q],
            rank,
            alpha: 32.0,
            dropout: 0.0,
            bias: false,
            use_rslora: false,
        }),
        ffn: (r > 0).then_some(FfnConfig::Adapter {
            placement: Placement::Parallel,
            bottleneck: r,
            layer_norm: false,
            scale: 2.0,
        }),
        ..method::none()
    };
    let base = RobertaConfig::base(3);
    let less = one_less(case, base.layout().adapter_shapes(&config).into_iter());
    case.same(
        base.layout().adapter_size(&config) - classifier(&base) - less,
        count,
        || format!("r_k {r_k}, r_v {r_v}, LoRA {rank}, FFN {r}"),
    );
    Ok(())
}

/// Every bias of RoBERTa base's encoder, from both crates' shapes: a layer has q, k, v, W^o, the
/// FFN's two and two LayerNorms', the embeddings one. The paper prints 0.1 % of the 124,645,632
/// parameters (with pooler).
fn bitfit(case: &mut Case) -> Result<()> {
    let config = Method::Bitfit.paper();
    let (d, inner) = (768, 3072);
    let expected = d + 12 * (7 * d + inner);
    let base = inducer_gpu::RobertaConfig::base();
    let less = case.or_control(0, d);
    case.same(counts::stored(&config, &base) - less, expected, || {
        "BitFit, engine".into()
    });
    let config: AdapterConfig = translate(&config)?;
    let base = RobertaConfig::base(3);
    let count = base.layout().adapter_size(&config) - classifier(&base);
    case.same(count - less, expected, || "BitFit, reference".into());
    let share = (1000.0 * (count - less) as f64 / 124_645_632.0).round();
    case.same(share, 1.0, || "tenths of a percent".into());
    Ok(())
}

/// Inducers store what they train; a prefix behind its network does not (the control claims that it
/// does).
fn store_equals_train(case: &mut Case) -> Result<()> {
    let small = Gpt2::small();
    let counts = |method: Method| {
        (
            counts::stored(&method.paper(), &small),
            counts::trained(&method.paper(), &small),
        )
    };
    for method in [
        Method::Adaptive,
        Method::Extension,
        Method::Gating,
        Method::Inducer,
        Method::InducerLora,
        Method::MamInducer,
    ] {
        let (stored, trained) = counts(method);
        case.same(stored, trained, || {
            format!("{}: stored and trained", method.title())
        });
    }
    let (stored, trained) = counts(Method::Prefix);
    let equal = case.or_control(false, true);
    case.same(stored == trained, equal, || {
        format!("Prefix: {stored} stored, {trained} trained")
    });
    Ok(())
}
