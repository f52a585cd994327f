//! Greedy decoding: every token is the likeliest by the formula, recomputed over all tokens before
//! it, and a text ends where it has to.

use crate::bounds::{DEVIATIONS, SLACK, Traced, UNIT_ROUNDOFF_F32, UNIT_ROUNDOFF_F64, record};
use crate::cases::{BackboneConfig, Corner, Draw, Family, ModelCase, TextRow, gpt2, method};
use crate::engines::{Candle, Paper, Specification, candles, mixed};
use crate::{Case, Claim, Engine, Present, Result, Tolerance};
use candle_core::Tensor;
use inducer_gpu::decode::greedy::{Decoding, Prompt, greedy};
use inducer_gpu::ops::argmax::argmax;
use inducer_gpu::{Method, Model};
use inducer_reference::AttentionConfig;
use ndarray::Array2;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    vec![
        Claim::new("greedy-recomputed")
            .one_case_in(8)
            .at_least(13)
            .on_each_one_sided(candles(present), decoded)
            .on_each_one_sided(mixed(present), decoded),
        Claim::new("greedy-ties")
            .one_case_in(8)
            .at_least(4)
            .on_each_one_sided(candles(present), ties)
            .on_each_one_sided(mixed(present), ties),
    ]
}

/// A GPT-2 with few positions, so that texts reach the last one.
pub(crate) fn short(draw: &mut Draw) -> BackboneConfig {
    let mut backbone = gpt2(draw);
    if let BackboneConfig::Gpt2(config) = &mut backbone {
        config.n_positions = 13;
    }
    backbone
}

/// The same with one layer, for mixed precision.
fn shallow(draw: &mut Draw) -> BackboneConfig {
    let mut backbone = short(draw);
    if let BackboneConfig::Gpt2(config) = &mut backbone {
        config.n_layer = 1;
    }
    backbone
}

/// A model of any method, every third with a prefix, and every sixth with one that moves positions.
fn given(case: &mut Case, family: Family) -> Result<ModelCase> {
    case.draw.force(Corner::Plain);
    let turn = case.draw.turn;
    let which = match turn % 3 {
        0 => Method::Prefix,
        _ => method::of_case(turn),
    };
    let mut model = ModelCase::with(&mut case.draw, family, which)?;
    if let Some(AttentionConfig::Prefix {
        offset_positions, ..
    }) = &mut model.method.attention
    {
        *offset_positions = turn.is_multiple_of(2);
    }
    Ok(model)
}

/// Greedy decoding of any method's prompts.
fn decoded(engine: &Candle, case: &mut Case) -> Result<()> {
    let family = match engine.target().is_mixed() {
        true => shallow,
        false => short,
    };
    let mut model = given(case, family)?;
    let segment = prompts(case, &mut model);
    if engine.target().is_mixed() {
        // positions and segments decide, layers little: so the bound tells one model from another
        let all = model.weights.iter_mut().chain(&mut model.adapter);
        let maps = all.filter(|(name, _)| name.contains(".h.") && !name.contains(".ln_"));
        maps.for_each(|(_, tensor)| *tensor *= 0.25);
    }
    model.round(|x| engine.representable(x));
    let built = engine.model(&model)?;
    decodes::<Paper>(&built, engine.roundoff(), case, &model, segment)
}

/// Gives a model prompts of different lengths; the segment of what is decoded, where they have any.
pub(crate) fn prompts(case: &mut Case, model: &mut ModelCase) -> Option<u32> {
    let more = model.more_rows(&mut case.draw);
    model.rows.extend(more);
    let ids = model.ids();
    let any = |draw: &mut Draw| draw.size(0, ids as usize - 1) as u32;
    let segmented = case.draw.chance(0.6);
    for row in &mut model.rows {
        let n = row.ids.len();
        row.labels = vec![-100; n];
        row.segments = segmented.then(|| (0..n).map(|_| any(&mut case.draw)).collect());
    }
    segmented.then(|| any(&mut case.draw))
}

/// Greedy decoding of all prompts by the engine's model of a case: the tokens, and why each text
/// ended. In the control the formula is given another first token of each prompt; in mixed
/// precision, whose bound is too wide for one token, a model whose logits have the other sign.
///
/// # Errors
/// Engine or specification refuses the model.
pub(crate) fn decodes<S: Specification>(
    built: &Model,
    roundoff: f64,
    case: &mut Case,
    model: &ModelCase,
    segment: Option<u32>,
) -> Result<()> {
    let prompts: Vec<Prompt> = (model.rows.iter())
        .map(|row| Prompt {
            ids: row.ids.clone(),
            segments: row.segments.clone(),
            next_segment: segment,
        })
        .collect();
    let limit = 13 - offset(model);
    let most = case.draw.pick(&[2, 5, 30]);
    let mut decoding = Decoding {
        // where positions are moved, texts go to the last one
        max_new: if offset(model) > 0 { 30 } else { most },
        eos: u32::MAX,
        batch: case.draw.size(1, prompts.len() + 1),
    };
    let endless = greedy(built, &prompts, decoding, &mut |_| {})?;
    for (r, new) in endless.iter().enumerate() {
        let room = decoding.max_new.min(limit - prompts[r].ids.len());
        case.same(new.len(), room, || {
            format!("{}: length of text {r}", model.describe())
        });
    }
    // a token that one of the texts has in its middle
    let longest = endless.iter().max_by_key(|text| text.len());
    decoding.eos = longest.map_or(0, |text| text[text.len() / 2]);
    let found = greedy(built, &prompts, decoding, &mut |_| {})?;
    let describe = format!("{}, at most {} new", model.describe(), decoding.max_new);
    let mut formula = model.clone();
    if case.control && roundoff > UNIT_ROUNDOFF_F32 {
        // where all is trained, it stands in the adapter
        let all = formula.weights.iter_mut().chain(&mut formula.adapter);
        let last = all.filter(|(name, _)| name.contains(".ln_f."));
        last.for_each(|(_, tensor)| *tensor *= -1.0);
    }
    case.same(found.len(), prompts.len(), || format!("{describe}: texts"));
    for (r, new) in found.iter().enumerate() {
        let (start, length) = (prompts[r].ids.len(), new.len());
        let room = decoding.max_new.min(limit - start);
        case.same(new.contains(&decoding.eos), false, || {
            format!("{describe}: text {r} holds the end token")
        });
        case.same(length <= room, true, || {
            format!("{describe}: room for text {r}")
        });
        let mut tokens = new.clone();
        if length < room {
            tokens.push(decoding.eos);
        }
        let mut row = model.rows[r].clone();
        if case.control {
            row.ids[0] = (row.ids[0] + 1) % model.ids();
        }
        let text = Text {
            row: &row,
            segment,
            new: &tokens,
        };
        let describe = format!("{describe}: text {r}");
        likeliest::<S>(roundoff, case, &formula, &text, &describe)?;
    }
    Ok(())
}

/// By how much a prefix moves the text's positions.
fn offset(model: &ModelCase) -> usize {
    match &model.method.attention {
        Some(AttentionConfig::Prefix {
            length,
            offset_positions: true,
            ..
        }) => *length,
        _ => 0,
    }
}

/// A prompt and what was decoded from it.
struct Text<'a> {
    row: &'a TextRow,
    segment: Option<u32>,
    new: &'a [u32],
}

/// Each new token has the greatest logit behind the tokens before it, up to rounding.
fn likeliest<S: Specification>(
    roundoff: f64,
    case: &mut Case,
    model: &ModelCase,
    text: &Text<'_>,
    describe: &str,
) -> Result<()> {
    let Some((_, before)) = text.new.split_last() else {
        return Ok(());
    };
    let start = text.row.ids.len();
    let ids = [&text.row.ids[..], before].concat();
    let segments = (text.row.segments.as_ref().zip(text.segment))
        .map(|(own, next)| [&own[..], &vec![next; before.len()]].concat());
    let labels = vec![-100; ids.len()];
    let whole = model.on(vec![TextRow {
        ids,
        segments,
        labels,
    }]);
    let (computed, trace) = record(|| S::computed_in::<Traced>(&whole));
    let logits: Array2<Traced> = computed?.logits.remove(0);
    let flat: Vec<Traced> = logits.iter().copied().collect();
    let spread = Array2::from_shape_vec(logits.raw_dim(), trace.spreads(&flat))?;
    let u = roundoff + UNIT_ROUNDOFF_F64;
    for (k, id) in text.new.iter().enumerate() {
        let (at, chosen) = (start + k - 1, *id as usize);
        for (c, other) in logits.row(at).iter().enumerate() {
            let both = spread[[at, chosen]] + spread[[at, c]];
            let bound = SLACK * DEVIATIONS * u * both;
            let tolerance = Tolerance::stated(bound, "2 u 8 √Σ(∂y/∂z M)² of two logits");
            case.at_least(
                logits[[at, chosen]].value(),
                other.value(),
                &tolerance,
                || format!("{describe}, new token {k} is {chosen}, against {c}"),
            );
        }
    }
    Ok(())
}

/// Of equal logits the lowest id is taken, in rows of any length. In the control the last is
/// expected.
fn ties(engine: &Candle, case: &mut Case) -> Result<()> {
    let (rows, width) = (
        case.draw.size(1, 5),
        case.draw.size(2, 70) * case.draw.size(1, 40),
    );
    let numbers = Array2::from_shape_fn((rows, width), |_| case.draw.size(0, 3) as f64 - 2.0);
    let tensor = Tensor::from_vec(
        numbers.iter().copied().collect(),
        (rows, width),
        &engine.device,
    )?
    .to_dtype(engine.dtype)?;
    let found = argmax(&tensor)?;
    for (r, row) in numbers.rows().into_iter().enumerate() {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let first = row.iter().position(|x| *x == top);
        let last = row.iter().rposition(|x| *x == top);
        let expected = case.or_control(first, last);
        case.same(Some(found[r] as usize), expected, || {
            format!("row {r} of {rows}, {width} logits")
        });
    }
    Ok(())
}
