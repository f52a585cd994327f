//! Batches as large as those that one trains with, where the reference would be slow: a batch is
//! its texts one by one, whatever the number of threads.
//!
//! ```text
//! logits(batch)_text = logits(text)
//! L(batch) = Σ n_text L(text) / Σ n_text,   ∇L(batch) likewise
//! ```

use super::sizes::{Size, given};
use crate::cases::{Corner, TextRow, roberta};
use crate::engines::candle::{backward, results};
use crate::engines::{Candle, candles};
use crate::{Case, Claim, Engine, Present, Result, Target, Tolerance};
use inducer_gpu::Method;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    // threads of a card, emulated, would take hours
    let fast = || {
        let all = candles(present).into_iter();
        all.filter(|engine| !Target::is_emulated(engine.target().name()))
    };
    let few = |id| Claim::new(id).one_case_in(64).at_least(SIZES.len());
    vec![
        few("large-batches").on_each(fast().collect(), divided),
        few("roberta-large-batches")
            .about(roberta)
            .on_each(fast().collect(), divided),
    ]
}

/// In turn: more tokens and targets than an operation takes at a time, and the width of a real
/// model with more tokens than its few-row products take.
const SIZES: [Size; 2] = [
    Size::of(&[181; 23], [2, 8], 40),
    Size::of(&[40, 3, 17], [12, 64], 40),
];

const METHODS: [Method; 4] = [
    Method::InducerLora,
    Method::Prefix,
    Method::MamInducer,
    Method::Gating,
];

/// So many threads.
fn threads(number: usize) -> Result<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(number).build();
    Ok(pool.map_err(std::io::Error::other)?)
}

/// What an engine makes of a model's texts in these threads.
fn within<R: Send>(
    pool: &rayon::ThreadPool,
    engine: &Candle,
    of: impl Fn() -> Result<R> + Send + Sync,
) -> Result<R> {
    pool.install(|| {
        let mut found = None;
        engine.within(&mut || {
            found = Some(of()?);
            Ok(())
        })?;
        found.ok_or_else(|| crate::Error::Missing("what was computed".into()))
    })
}

/// Logits, loss and gradients of a batch in three threads are those of its texts, one by one in one
/// thread, put together. In the control the single texts have other tokens.
fn divided(engine: &Candle, case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let size = case.draw.in_turn(&SIZES);
    let which = METHODS[case.draw.turn / SIZES.len() % METHODS.len()];
    let model = given(case, size, which)?;
    let mut rows = model.rows.clone();
    if case.control {
        let other = |id: &mut u32| *id = (*id + 1) % 4 + 4;
        let ids = rows.iter_mut().flat_map(|row| &mut row.ids);
        ids.for_each(other);
    }
    let built = engine.model(&model)?;
    let whole = within(&threads(3)?, engine, || {
        Ok((results(&built, &model)?, backward(&built, &model)?))
    })?;
    let labels = |row: &TextRow| {
        let targets = model.targets(row).into_iter();
        targets.filter(|label| *label >= 0).count() as f64
    };
    let all: f64 = model.rows.iter().map(labels).sum();
    let describe = format!("{} texts, {}", rows.len(), model.describe());
    let (mut loss, mut gradients) = (0.0, whole.1.clone());
    gradients.values_mut().for_each(|g| g.fill(0.0));
    let tokens: usize = rows.iter().map(|row| row.ids.len()).sum();
    let d = model.backbone.hidden();
    // eight products and more one behind the other, of d terms each, on both sides: 8 √d u each by
    // Hoeffding's inequality; a gradient is a sum over the tokens of three times as many
    let u = engine.roundoff();
    let relative = 2.0 * 8.0 * 8.0 * (d as f64).sqrt() * u;
    let of_gradient = 3.0 * relative * (tokens as f64).sqrt();
    let one = threads(1)?;
    for (r, row) in rows.iter().enumerate() {
        let alone = model.on(vec![row.clone()]);
        let (found, slopes) = within(&one, engine, || {
            Ok((results(&built, &alone)?, backward(&built, &alone)?))
        })?;
        let share = labels(row) / all;
        loss += share * found.loss.unwrap_or(f64::NAN);
        for (name, slope) in slopes {
            if let Some(sum) = gradients.get_mut(&name) {
                *sum += &(slope * share);
            }
        }
        let (found, expected) = (&found.logits[0], &whole.0.logits[r]);
        let greatest = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        let tolerance = Tolerance::stated(relative * greatest, "2 · 8 · 8 √d u of the greatest");
        for (at, found) in found.indexed_iter() {
            case.close(*found, expected[at], &tolerance, || {
                format!("{describe}: logit of text {r} at {at:?}")
            });
        }
    }
    let expected = whole.0.loss.unwrap_or(f64::NAN);
    let tolerance = Tolerance::stated(relative * expected.abs().max(1.0), "2 · 8 · 8 √d u");
    case.close(loss, expected, &tolerance, || format!("{describe}: loss"));
    for (name, expected) in &whole.1 {
        let greatest = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        let bound = of_gradient * greatest.max(1e-3);
        let tolerance = Tolerance::stated(bound, "3 · 2 · 8 · 8 √(d T) u of the greatest");
        for (at, expected) in expected.indexed_iter() {
            case.close(gradients[name][&at], *expected, &tolerance, || {
                format!("{describe}: {name} at {:?}", ndarray::Dimension::slice(&at))
            });
        }
    }
    Ok(())
}
