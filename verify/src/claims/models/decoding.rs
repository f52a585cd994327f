//! Decoding with a cache is recomputation, token by token.

use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::{ModelCase, TextRow, gpt2};
use crate::engines::candle::{array, batch};
use crate::engines::{Candle, External, Paper, Specification, external, training};
use crate::{Case, Claim, Engine, Present, Result, Tolerance};

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    vec![
        Claim::new("cache-decoding")
            .one_case_in(8)
            .at_least(13)
            .on_each(training(present), decodes)
            .on_each_one_sided(external(present), generates),
    ]
}

/// Tokens `from..to` of a row.
pub(super) fn part(row: &TextRow, from: usize, to: usize) -> TextRow {
    TextRow {
        ids: row.ids[from..to].to_vec(),
        segments: row
            .segments
            .as_ref()
            .map(|segments| segments[from..to].to_vec()),
        labels: row.labels[from..to].to_vec(),
    }
}

/// Prompts of different lengths, then one to three tokens at a time; rows that have ended leave the
/// cache. In the control the tokens of the prompt are others; in mixed precision, whose bound is
/// too wide for one of them, all numbers of the model.
fn decodes(engine: &Candle, case: &mut Case) -> Result<()> {
    let mut model = ModelCase::random(&mut case.draw, gpt2)?;
    model.round(|x| engine.representable(x));
    let mut other = model.clone();
    if case.control && engine.target().is_mixed() {
        other.round(|x| 0.5 - 3.0 * x);
    }
    let expected = engine.compute(&other)?;
    let bounds = Paper::conditioning(&model)?;
    let built = engine.model(&model)?;
    let describe = model.describe();
    let mut active: Vec<usize> = (0..model.rows.len()).collect();
    let mut cache = built.cache(active.len());
    let mut seen = vec![0_usize; model.rows.len()];
    let mut first = true;
    while !active.is_empty() {
        let mut new = Vec::new();
        for r in &active {
            let row = &model.rows[*r];
            let to = if first {
                case.draw.size(1, row.ids.len())
            } else {
                seen[*r] + case.draw.size(1, 3.min(row.ids.len() - seen[*r]))
            };
            let mut piece = part(row, seen[*r], to);
            if first && case.control && to < row.ids.len() {
                let other = |id: &mut u32| *id = (*id + 1) % model.ids();
                piece.ids.iter_mut().for_each(other);
            }
            seen[*r] = to;
            new.push(piece);
        }
        let logits = array(&built.decode(&batch(&model.on(new)), &mut cache)?)?;
        for (place, r) in active.iter().enumerate() {
            let at = seen[*r] - 1;
            for (c, found) in logits
                .index_axis(ndarray::Axis(0), place)
                .iter()
                .enumerate()
            {
                let bound = bounds.logits[*r][[at, c]];
                let tolerance = Tolerance::rounding(bound.and(bound), engine.roundoff(), 0.0);
                // a wrong token in the prompt is wrong for its own step too: its control counts
                // from the next step on
                if !(first && case.control && !engine.target().is_mixed()) {
                    case.close(*found, expected.logits[*r][[at, c]], &tolerance, || {
                        format!("{describe}: row {r}, token {at}, logit {c}")
                    });
                }
            }
        }
        let kept: Vec<usize> = (0..active.len())
            .filter(|place| seen[active[*place]] < model.rows[active[*place]].ids.len())
            .collect();
        cache.keep(&kept);
        active = kept.into_iter().map(|place| active[place]).collect();
        first = false;
    }
    Ok(())
}

/// Each token that a program generates is the likeliest one by the formula, recomputed over all
/// tokens before it, up to what rounding does to two logits. In the control the formula is given
/// another prompt.
fn generates(engine: &External, case: &mut Case) -> Result<()> {
    let random = ModelCase::random(&mut case.draw, gpt2)?;
    let without = |row: &TextRow| TextRow {
        segments: None,
        labels: vec![-100; row.ids.len()],
        ids: row.ids.clone(),
    };
    let mut model = random.on(random.rows.iter().map(without).collect());
    let tokens = case.draw.size(1, 4);
    let generated = engine.generate(&model, tokens)?;
    for (row, new) in model.rows.iter_mut().zip(&generated) {
        if case.control {
            let ids = random.ids();
            row.ids.iter_mut().for_each(|id| *id = (*id + 1) % ids);
        }
        row.ids.extend(new);
        row.labels = vec![-100; row.ids.len()];
    }
    let (logits, bounds) = (
        Paper::computed_in::<f64>(&model)?.logits,
        Paper::conditioning(&model)?.logits,
    );
    let (u, describe) = (engine.roundoff(), model.describe());
    for (r, new) in generated.iter().enumerate() {
        let prompt = model.rows[r].ids.len() - tokens;
        for (k, id) in new.iter().enumerate() {
            let (at, chosen) = (prompt + k - 1, *id as usize);
            for (c, other) in logits[r].row(at).iter().enumerate() {
                let bound = bounds[r][[at, chosen]].and(bounds[r][[at, c]]);
                let tolerance = Tolerance::rounding(bound, u, UNIT_ROUNDOFF_F64);
                case.at_least(logits[r][[at, chosen]], *other, &tolerance, || {
                    format!("{describe}: row {r}, token {k} is {chosen}, against {c}")
                });
            }
        }
    }
    Ok(())
}
