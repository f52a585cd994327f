//! Dropout: under given masks the engine computes what the reference computes with them, and the
//! masks of different places have nothing to do with each other.

use super::gradients::reverse;
use crate::bounds::{DEVIATIONS, UNIT_ROUNDOFF_F64};
use crate::cases::masks::Site;
use crate::cases::{Dropping, ModelCase, roberta};
use crate::engines::candle::{batch, options};
use crate::engines::{Candle, Paper, Specification, candles};
use crate::{Case, Claim, Engine, Present, Result, Target, Tolerance};
use inducer_gpu::kernels::mask::Dropout;
use inducer_gpu::ops::attention::{Heads, Visible};
use inducer_gpu::parts::{DropoutSite, ForwardContext};
use inducer_gpu::tape::Tape;
use inducer_reference::AttentionConfig;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let masks = |claim: Claim| {
        claim
            .one_case_in(8)
            .at_least(26)
            .on_each(candles(present), given_masks)
    };
    vec![
        masks(Claim::new("dropout-masks")),
        masks(Claim::new("roberta-dropout-masks").about(roberta)),
        Claim::new("dropout-independent")
            .one_case_in(8)
            .at_least(4)
            .on_one_sided(Target::CpuF64, independent),
    ]
}

/// The places of a model where something is dropped.
fn sites(model: &ModelCase) -> Vec<Site> {
    let mut all = vec![Site::Attention, Site::AttentionBranch, Site::FfnBranch];
    match &model.method.attention {
        Some(AttentionConfig::Inducer { .. }) => all.push(Site::Gate),
        Some(AttentionConfig::Prefix { .. }) => all.push(Site::Prefix),
        _ => {}
    }
    if model.method.lora.is_some() {
        all.push(Site::Lora);
    }
    all
}

/// A training step's loss and gradients are the reference's under the masks that key and rates say,
/// in batches that the engine computes in halves too. In the control one place drops nothing.
fn given_masks(engine: &Candle, case: &mut Case) -> Result<()> {
    let mut model = ModelCase::trainable(&mut case.draw, case.family)?;
    for _ in 0..case.draw.size(0, 2) {
        let more = model.more_rows(&mut case.draw);
        model.rows.extend(more);
    }
    with_segments_everywhere_or_nowhere(&mut model);
    if let Some(lora) = &mut model.method.lora {
        lora.dropout = case.draw.pick(&[0.2, 0.5]);
    }
    let mut dropping = Dropping {
        rate: case.draw.pick(&[0.2, 0.5, 0.1]),
        key: case.draw.bits(),
        without: None,
    };
    model.dropping = Some(dropping);
    let mut other = model.clone();
    if case.control {
        dropping.without = Some(case.draw.pick(&sites(&model)));
        other.dropping = Some(dropping);
    }
    let loss = engine
        .model(&model)?
        .loss(&batch(&model), options(&model))?;
    let (expected, spread) = Paper::gradients(&other)?.loss;
    let u = engine.roundoff() + UNIT_ROUNDOFF_F64;
    let bound = 2.0 * DEVIATIONS * u * spread;
    let tolerance = Tolerance::stated(bound, format!("2 u 8 √Σ(∂y/∂z M)², u = {u:.1e}"));
    let describe = model.describe();
    case.close(loss, expected, &tolerance, || format!("{describe}: loss"));
    reverse::<Paper>(engine, case, &model, &other)
}

/// Rows that were drawn apart: all of them have segments, or none has.
pub(super) fn with_segments_everywhere_or_nowhere(model: &mut ModelCase) {
    if model.rows.iter().any(|row| row.segments.is_none()) {
        model.rows.iter_mut().for_each(|row| row.segments = None);
    }
}

/// Of the masks of two places (sites, layers, LoRA's targets, rows, keys of two batches), both drop
/// a number as often as independent ones would, and each as often as its rate says. In the control
/// the two are one place.
fn independent(case: &mut Case) -> Result<()> {
    const ROWS: usize = 64;
    const WIDTH: usize = 96;
    let rate = case.draw.pick(&[0.1, 0.2, 0.5]);
    let (key, layer) = (case.draw.bits(), case.draw.size(0, 23));
    let (tape, offsets) = (Tape::off(), [0, 1]);
    let at = |key: u64, layer: usize, site: DropoutSite| {
        let context = ForwardContext {
            tape: &tape,
            heads: Heads { count: 1, width: 1 },
            offsets: &offsets,
            visible: Visible::Causal,
            training: true,
            dropout: Dropout::new(rate, key),
            cache: None,
            prefix: Vec::new(),
            observed: None,
            seen: None,
            fixed_gates: None,
            maps: None,
        };
        context.dropout(layer, site)
    };
    let all = [
        DropoutSite::Attention,
        DropoutSite::Prefix,
        DropoutSite::Gate,
        DropoutSite::AttentionBranch,
        DropoutSite::FfnBranch,
        DropoutSite::Lora,
    ];
    let a = case.draw.size(0, all.len() - 1);
    let b = (a + case.draw.size(1, all.len() - 1)) % all.len();
    let first = at(key, layer, all[a]);
    let others = [
        ("another site", at(key, layer, all[b])),
        ("the next layer", at(key, layer + 1, all[a])),
        ("the next key", at(key.wrapping_add(1), layer, all[a])),
        ("the next of LoRA's targets", first.at(1)),
        ("the next row", first.from_row(1)),
    ];
    let dropped = |place: Dropout| -> Vec<bool> {
        let mask = place.mask::<f64>(ROWS, WIDTH, |row| row as u64);
        mask.iter().map(|factor| *factor == 0.0).collect()
    };
    let own = dropped(first);
    let n = own.len() as f64;
    // Hoeffding: a mean of n numbers of 0 to 1 is further off once in 4e13 cases
    let tolerance = Tolerance::stated(4.0 / n.sqrt(), "4/√n, Hoeffding's for 2.5e-14");
    let share = |of: &mut dyn Iterator<Item = bool>| of.filter(|both| *both).count() as f64 / n;
    for (what, place) in others {
        let other = match case.control {
            true => own.clone(),
            false => dropped(place),
        };
        let both = share(&mut own.iter().zip(&other).map(|(x, y)| *x && *y));
        case.close(both, rate * rate, &tolerance, || {
            format!("dropped in {:?} of layer {layer} and in {what}", all[a])
        });
        let alone = share(&mut other.iter().copied());
        case.close(alone, rate, &tolerance, || format!("dropped in {what}"));
    }
    Ok(())
}
