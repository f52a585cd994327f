//! What a method does to the scores of the first layer, and where its support points lie.
//!
//! ```text
//! §4.5  with W^q and W^k frozen no prefix and no inducer changes the scores between a text's own
//!       tokens in the first layer; LoRA does
//! §2    κ(q, k) is a Gaussian of bandwidth p^{1/4} in ‖q − k‖, times what q and k weigh alone
//! ```

use crate::cases::model::ADDED;
use crate::cases::{ModelCase, method, roberta};
use crate::engines::candle::{array, batch};
use crate::engines::{Candle, candles};
use crate::{Case, Claim, Engine, Present, Result, Tolerance};
use inducer_gpu::Method;
use inducer_gpu::parts::observe::Added;
use inducer_reference::{AdapterConfig, AttentionConfig};
use ndarray::{ArrayD, s};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let share = |id| Claim::new(id).one_case_in(8).at_least(13);
    vec![
        share("first-layer-scores").on_each_one_sided(candles(present), scores),
        share("roberta-first-layer-scores")
            .about(roberta)
            .on_each_one_sided(candles(present), scores),
        share("support-distances").on_each(candles(present), distances),
        share("roberta-support-distances")
            .about(roberta)
            .on_each(candles(present), distances),
    ]
}

/// Methods that add support points and leave the text's own where they are.
const ADDING: [Method; 7] = [
    Method::Prefix,
    Method::Adaptive,
    Method::Extension,
    Method::Gating,
    Method::Inducer,
    Method::MamAdapter,
    Method::Adapter,
];

/// The backbone of a case on its texts, nothing attached.
fn frozen(with: &ModelCase) -> ModelCase {
    let mut alone = with.clone();
    alone.method = AdapterConfig {
        task_type: with.method.task_type.clone(),
        ..method::none()
    };
    let stays = |name: &String| name == ADDED || name.starts_with("classifier.");
    alone.adapter.retain(|name, _| stays(name));
    alone
}

/// Queries, keys and log-sum-exp of the first layer are those of the frozen backbone, bit by bit.
/// In the control the method is LoRA.
fn scores(engine: &Candle, case: &mut Case) -> Result<()> {
    let which = match case.control {
        true => Method::Lora,
        false => *case.draw.in_turn(&ADDING),
    };
    let mut with = ModelCase::with(&mut case.draw, case.family, which)?;
    if let Some(AttentionConfig::Prefix {
        offset_positions, ..
    }) = &mut with.method.attention
    {
        *offset_positions = false; // else the text's positions are others, and so are its scores
    }
    let alone = frozen(&with);
    let [found, expected] = [&with, &alone].map(|model| {
        let seen = engine.model(model)?.insight(&batch(model))?;
        let first = &seen.layers[0];
        let all = [&first.queries, &first.keys, &first.lse];
        all.map(array)
            .into_iter()
            .collect::<Result<Vec<ArrayD<f64>>>>()
    });
    let (found, expected) = (found?, expected?);
    let strict = Tolerance::exact("the same operations on the same numbers");
    let names = ["query", "key", "log-sum-exp"];
    for ((what, found), expected) in names.iter().zip(&found).zip(&expected) {
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            case.close(*found, *expected, &strict, || {
                format!("{}: {what}, number {i}", with.describe())
            });
        }
    }
    Ok(())
}

/// How far a query's nearest support point lies, in bandwidths: min ‖q − k‖ / p^{1/4} over the keys
/// that the part adds, from the queries and keys of the same pass. In the control every key lies 1
/// further along each axis.
fn distances(engine: &Candle, case: &mut Case) -> Result<()> {
    let which = *case.draw.in_shifted_turn(&ADDING[..5]);
    let model = ModelCase::with(&mut case.draw, case.family, which)?;
    let seen = engine.model(&model)?.insight(&batch(&model))?;
    let shift = case.or_control(0.0, 1.0);
    let p = model.backbone.head_width();
    for (gate, layer) in seen.gates.iter().zip(&seen.layers) {
        let (found, queries) = (array(&gate.distance)?, array(&layer.queries)?);
        // an inducer has a key for each query, a prefix the same keys for all
        let (keys, own) = match &layer.added {
            Some(Added::Inducer(keys)) => (array(keys)?, true),
            Some(Added::Prefix(keys)) => (array(keys)?, false),
            None => continue,
        };
        for (at, found) in found.indexed_iter() {
            let (t, h) = (at[0], at[1]);
            let q = queries.slice(s![h, t, ..]);
            let keys = match own {
                true => keys.slice(s![h, t..=t, ..]),
                false => keys.slice(s![h, .., ..]),
            };
            let apart = |k: ndarray::ArrayView1<'_, f64>| {
                let each = q.iter().zip(k).map(|(q, k)| (q - k - shift).powi(2));
                each.sum::<f64>()
            };
            let expected = keys
                .rows()
                .into_iter()
                .map(apart)
                .fold(f64::INFINITY, f64::min);
            let longest = keys
                .rows()
                .into_iter()
                .map(|k| k.dot(&k))
                .fold(0.0, f64::max);
            // the squares of a distance are sums of p products each, of which two cancel
            let bound = 8.0 * (p as f64 + 4.0) * engine.roundoff() * (q.dot(&q) + longest);
            let unit = (p as f64).sqrt();
            let tolerance = Tolerance::stated(bound / unit, "8 (p + 4) u (‖q‖² + ‖k‖²)/√p");
            case.close(found * found, expected / unit, &tolerance, || {
                let describe = model.describe();
                format!(
                    "{describe}: layer {}, token {t}, head {h}, squared",
                    layer.layer
                )
            });
        }
    }
    Ok(())
}
