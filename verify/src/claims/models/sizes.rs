//! Sizes at which the real kernels work: rows around a block of 64 queries, hundreds of tokens, a
//! hidden size of 768 in twelve heads, GPT-2's vocabulary.
//!
//! The tape of a bound would be too large there. [`noisy`](crate::bounds::noisy) takes its place:
//! the reference runs with random errors in every operation, and the greatest spread of a row of
//! logits bounds each of them.

use super::decoding::part;
use super::gradients::reverse;
use crate::bounds::noisy::{ERROR, Noisy, with_errors};
use crate::bounds::{DEVIATIONS, SLACK, Traced, UNIT_ROUNDOFF_F32, UNIT_ROUNDOFF_F64, record};
use crate::cases::{
    BackboneConfig, Corner, Draw, Dropping, ModelCase, ModelOption, TextRow, method, roberta,
};
use crate::engines::candle::{array, batch, nearest_bf16, options, results};
use crate::engines::derived::derived;
use crate::engines::{Candle, Computed, Paper, Specification, candles, mixed};
use crate::{Case, Claim, Engine, Present, Result, Target, Tolerance};
use candle_core::{DType, Tensor};
use inducer_gpu::kernels::held_in;
use inducer_gpu::kernels::mask::Dropout;
use inducer_gpu::ops::attention::{Heads, Rows, Visible, attention};
use inducer_gpu::{Method, Tape, Value};
use inducer_reference::attention::attend;
use inducer_reference::visible::Visible as Seen;
use inducer_reference::{
    AdapterConfig, AttentionConfig, FfnConfig, Gpt2Config, Projection, RobertaConfig,
};
use ndarray::Array2;
use std::sync::Arc;

/// Runs with random errors.
const RUNS: u64 = 6;

/// The claims of this file.
#[must_use]
pub fn claims(present: &Present) -> Vec<Claim> {
    let few = |id, least| Claim::new(id).one_case_in(32).at_least(least);
    vec![
        few("sizes", 6).on_each(candles(present), sized),
        few("roberta-sizes", 6)
            .about(roberta)
            .on_each(candles(present), sized),
        every_method("sizes-methods").on_each(candles(present), every_size),
        every_method("roberta-sizes-methods")
            .about(roberta)
            .on_each(candles(present), every_size),
        few("sizes-decoding", 3).on_each(candles(present), decoded),
        few("mixed-lse", 4).on_each(mixed(present), lse),
        few("sizes-gradients", 8).on_each(candles(present), gradients),
        few("roberta-sizes-gradients", 8)
            .about(roberta)
            .on_each(candles(present), gradients),
    ]
}

/// A claim whose cases meet both of [`CLASSES`] with every method and in every corner.
fn every_method(id: &'static str) -> Claim {
    Claim::new(id).one_case_in(8).at_least(30)
}

/// A size class: rows, and what is large.
pub(super) struct Size {
    rows: &'static [usize],
    heads: usize,
    width: usize,
    vocabulary: usize,
}

impl Size {
    pub(super) const fn of(
        rows: &'static [usize],
        [heads, width]: [usize; 2],
        vocabulary: usize,
    ) -> Self {
        Self {
            rows,
            heads,
            width,
            vocabulary,
        }
    }
}

/// In turn; the CPU's kernels take the longest row, which emulated threads would take minutes for.
const SIZES: [Size; 5] = [
    Size::of(&[65, 1, 63, 64], [2, 4], 17),
    Size::of(&[2, 3], [12, 64], 40),
    Size::of(&[1, 129, 66, 2], [3, 5], 33),
    Size::of(&[5, 3], [2, 4], 50_257),
    Size::of(&[513, 2, 17], [2, 3], 11),
];

/// The wide one has rows that are long enough for no gradient to be zero under dropout: what a pass
/// leaves of a zero is bounded for small models alone
/// ([`gradient_floor`](crate::bounds::gradient_floor)).
const FOR_GRADIENTS: [Size; 4] = [
    Size::of(&[65, 3], [2, 2], 9),
    Size::of(&[70, 64, 1], [1, 3], 9),
    Size::of(&[7, 5], [4, 26], 9),
    Size::of(&[2, 63, 4], [2, 2], 9),
];

/// Rows beyond a block of 64 queries, and a width beyond a block of columns, both small enough for
/// all methods and corners.
const CLASSES: [Size; 2] = [
    Size::of(&[65, 1, 2], [2, 2], 9),
    Size::of(&[3, 1], [4, 26], 11),
];

fn backbone(draw: &mut Draw, size: &Size, classifies: bool) -> BackboneConfig {
    let d = size.heads * size.width;
    let heads = match draw.corner() {
        Corner::OneHead => 1,
        _ => size.heads,
    };
    match classifies {
        false => {
            let mut config = Gpt2Config::new(size.vocabulary, 540, d, 1, heads);
            config.n_inner = Some(draw.size(20, 40));
            BackboneConfig::Gpt2(config)
        }
        true => {
            let mut config = RobertaConfig::new(size.vocabulary, 540, d, 1, heads, 3);
            config.intermediate_size = draw.size(20, 40);
            BackboneConfig::Roberta(config)
        }
    }
}

/// A size meets a method in one or two cases, so what a method leaves open does not go by turn
/// here: LoRA alone has all that it can have, and of the methods with a prefix or an adapter every
/// other one offsets positions and normalises, those that do not at one size at the next.
fn choose_options(config: &mut AdapterConfig, which: Method, size: &Size) {
    use Projection::{K, Q, V};
    if let (Method::Lora, Some(lora)) = (which, &mut config.lora) {
        (lora.targets, lora.bias) = (vec![Q, K, V], true);
    }
    let at = Method::ALL.iter().position(|one| *one == which);
    let on = (at.unwrap_or(0) + usize::from(size.rows[0] > 64)).is_multiple_of(2);
    match &mut config.attention {
        Some(AttentionConfig::Prefix {
            offset_positions, ..
        }) => *offset_positions = on,
        Some(AttentionConfig::Adapter { layer_norm, .. }) => *layer_norm = on,
        _ => {}
    }
    if let Some(FfnConfig::Adapter { layer_norm, .. }) = &mut config.ffn {
        *layer_norm = on;
    }
}

/// A model of this size under one of the methods, in turn, all of whose tokens have labels.
pub(super) fn given(case: &mut Case, size: &Size, which: Method) -> Result<ModelCase> {
    let classifies = (case.family)(&mut case.draw).classifies();
    let backbone = backbone(&mut case.draw, size, classifies);
    let mut config = method::random(&mut case.draw, which);
    choose_options(&mut config, which, size);
    let mut model = ModelCase::of(&mut case.draw, backbone, config)?;
    let (ids, backbone) = (model.ids(), &model.backbone);
    let token = |draw: &mut Draw| backbone.no_padding(draw.size(0, ids as usize - 1) as u32);
    let segmented = !classifies && case.draw.option(ModelOption::Segments);
    let rows = size.rows.iter().map(|n| {
        let mut tokens = || (0..*n).map(|_| token(&mut case.draw)).collect();
        let segments = segmented.then(&mut tokens);
        let tokens: Vec<u32> = tokens();
        let labels = match classifies {
            true => vec![case.draw.size(0, 2) as i64],
            false => tokens.iter().map(|id| i64::from(*id)).collect(),
        };
        TextRow {
            ids: tokens,
            segments,
            labels,
        }
    });
    model.rows = rows.collect();
    if case.draw.corner() == Corner::Repeated {
        model.rows.iter_mut().for_each(TextRow::repeat);
    }
    Ok(model)
}

/// Methods whose kernels depend on the row's length or the head's width.
const METHODS: [Method; 6] = [
    Method::MamInducer,
    Method::Prefix,
    Method::Adaptive,
    Method::Gating,
    Method::Lora,
    Method::InducerLora,
];

/// Engine and reference at the largest sizes.
fn sized(engine: &Candle, case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let mut size = case.draw.in_turn(&SIZES);
    let emulated = Target::is_emulated(engine.target().name());
    if emulated && size.rows[0] > 500 {
        size = &SIZES[0];
    }
    let which = *case.draw.in_turn(&METHODS);
    agrees(engine, case, size, which)
}

/// Engine and reference at both of the classes, with the methods in turn; thirty cases in a row
/// meet every method and every corner with both.
fn every_size(engine: &Candle, case: &mut Case) -> Result<()> {
    let which = *case.draw.in_turn(&Method::ALL);
    agrees(engine, case, class(case.draw.turn), which)
}

/// The class of a case, another one in each round of the methods.
fn class(turn: usize) -> &'static Size {
    &CLASSES[turn / Method::ALL.len() % CLASSES.len()]
}

/// Logits, gates and loss of an engine at this size are the reference's, row by row in one batch.
/// In the control a row's last token is another one.
fn agrees(engine: &Candle, case: &mut Case, size: &Size, which: Method) -> Result<()> {
    let model = given(case, size, which)?;
    let mut other = model.clone();
    if case.control {
        for row in &mut other.rows {
            let last = row.ids.len() - 1;
            row.ids[last] = (row.ids[last] + 1) % 4;
        }
    }
    let found = results(&engine.model(&model)?, &model)?;
    let known = known(&other)?;
    let u = engine.roundoff() + UNIT_ROUNDOFF_F64;
    let describe = model.describe();
    let why = "2 u 8 times the greatest spread of its row under random errors";
    let parts = |of: &Computed<f64>| -> Vec<Vec<f64>> {
        let gates = of.gates.iter().flatten();
        let matrices = of.logits.iter().chain(gates);
        let rows = matrices.flat_map(|x| {
            x.rows()
                .into_iter()
                .map(|row| row.to_vec())
                .collect::<Vec<_>>()
        });
        rows.chain(of.loss.map(|loss| vec![loss])).collect()
    };
    let (found, expected, spread) = (parts(&found), parts(&known.exact), parts(&known.spread));
    case.same(found.len(), expected.len(), || {
        format!("{describe}: rows of results")
    });
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let most = spread[i].iter().copied().fold(0.0, f64::max);
        let tolerance = Tolerance::stated(SLACK * DEVIATIONS * u * most, why);
        for (c, (found, expected)) in found.iter().zip(expected).enumerate() {
            case.close(*found, *expected, &tolerance, || {
                format!("{describe}: result {c} of row {i} of all rows, gates and the loss")
            });
        }
    }
    Ok(())
}

/// What the reference computes of a case.
struct Known {
    exact: Computed<f64>,
    /// How far random errors move each result, per unit of round-off.
    spread: Computed<f64>,
}

/// Once for all engines.
fn known(model: &ModelCase) -> Result<Arc<Known>> {
    let numbers = |known: &Known| {
        let gates = known.exact.gates.iter().flatten();
        let matrices = known.exact.logits.iter().chain(gates);
        2 * matrices.map(Array2::len).sum::<usize>()
    };
    derived::<Paper, _>(model, (), numbers, || {
        let exact = Paper::computed_in::<f64>(model)?;
        let spread = spreads(model, &exact)?;
        Ok(Known { exact, spread })
    })
}

/// The root of the mean square of what the runs with random errors differ by, in units of them.
fn spreads(model: &ModelCase, exact: &Computed<f64>) -> Result<Computed<f64>> {
    let mut squares = exact.map(|_| 0.0);
    for seed in 0..RUNS {
        let moved = with_errors(seed, || Paper::computed_in::<Noisy>(model))?;
        let moved = moved.map(|x| inducer_reference::Real::to_f64(*x));
        let add = |sum: &mut f64, moved: f64, exact: f64| {
            let error = (moved - exact) / ERROR;
            *sum += error * error / RUNS as f64;
        };
        let all = (squares
            .logits
            .iter_mut()
            .zip(&moved.logits)
            .zip(&exact.logits))
        .chain(
            (squares.gates.iter_mut().flatten())
                .zip(moved.gates.iter().flatten())
                .zip(exact.gates.iter().flatten()),
        );
        for ((sum, moved), exact) in all {
            let numbers = sum.iter_mut().zip(moved).zip(exact);
            numbers.for_each(|((sum, moved), exact)| add(sum, *moved, *exact));
        }
        if let (Some(sum), Some(moved), Some(exact)) = (&mut squares.loss, moved.loss, exact.loss) {
            add(sum, moved, exact);
        }
    }
    Ok(squares.map(|x| x.sqrt()))
}

/// Every gradient of rows around a block of 64 queries is the reference's. In the control the first
/// token of each row is another one.
fn gradients(engine: &Candle, case: &mut Case) -> Result<()> {
    case.draw.force(Corner::Plain);
    let size = case.draw.in_turn(&FOR_GRADIENTS);
    let which = *case.draw.in_turn(&METHODS);
    let mut model = given(case, size, which)?;
    model.dropping = case.draw.option(ModelOption::Dropout).then(|| Dropping {
        rate: 0.2,
        key: case.draw.bits(),
        without: None,
    });
    let mut other = model.clone();
    if case.control {
        for row in &mut other.rows {
            row.ids[0] = (row.ids[0] + 1) % 4;
        }
    }
    let loss = engine
        .model(&model)?
        .loss(&batch(&model), options(&model))?;
    let (expected, spread) = Paper::gradients(&other)?.loss;
    let u = engine.roundoff() + UNIT_ROUNDOFF_F64;
    let tolerance = Tolerance::stated(SLACK * DEVIATIONS * u * spread, "2 u 8 √Σ(∂y/∂z M)²");
    let describe = model.describe();
    case.close(loss, expected, &tolerance, || format!("{describe}: loss"));
    reverse::<Paper>(engine, case, &model, &other)
}

/// Logits of tokens decoded one by one beyond the 64th are the reference's of the whole row: caches
/// grow there. In the control the row's first token is another one.
fn decoded(engine: &Candle, case: &mut Case) -> Result<()> {
    const LONG: Size = Size::of(&[70, 67], [2, 3], 13);
    case.draw.force(Corner::Plain);
    let which = *case.draw.in_turn(&METHODS);
    let model = given(case, &LONG, which)?;
    let mut other = model.clone();
    if case.control {
        let first = &mut other.rows[0].ids[0];
        *first = (*first + 1) % 4;
    }
    let known = known(&other)?;
    let built = engine.model(&model)?;
    let mut cache = built.cache(2);
    let u = engine.roundoff() + UNIT_ROUNDOFF_F64;
    let describe = model.describe();
    for step in 0..=5 {
        let rows = model.rows.iter().map(|row| {
            let to = row.ids.len() - 5 + step;
            let from = if step == 0 { 0 } else { to - 1 };
            part(row, from, to)
        });
        let logits = array(&built.decode(&batch(&model.on(rows.collect())), &mut cache)?)?;
        for r in 0..2 {
            let at = model.rows[r].ids.len() - 6 + step;
            let most = known.spread.logits[r]
                .row(at)
                .iter()
                .copied()
                .fold(0.0, f64::max);
            let why = "2 u 8 times the greatest spread of its row under random errors";
            let tolerance = Tolerance::stated(SLACK * DEVIATIONS * u * most, why);
            for (c, expected) in known.exact.logits[r].row(at).iter().enumerate() {
                case.close(logits[[r, c]], *expected, &tolerance, || {
                    format!("{describe}: row {r}, token {at}, logit {c}")
                });
            }
        }
    }
    Ok(())
}

/// In mixed precision the log-sum-exp of scores up to ±60 is as exact as f32 can hold it. In the
/// control it is rounded to bf16.
fn lse(engine: &Candle, case: &mut Case) -> Result<()> {
    let (count, width, n) = (
        case.draw.size(1, 3),
        8 * case.draw.size(1, 4),
        case.draw.size(2, 70),
    );
    let d = count * width;
    let scale = (60.0 / (width as f64).sqrt()).sqrt();
    let numbers = case.draw.array((n, 3 * d), scale).mapv(nearest_bf16);
    let numbers: Array2<f64> = numbers;
    let values = numbers.iter().copied().collect::<Vec<f64>>();
    let held = held_in(DType::BF16, &engine.device);
    let qkv = Tensor::from_vec(values, (n, 3 * d), &engine.device)?.to_dtype(held)?;
    let rows = Rows {
        heads: Heads { count, width },
        offsets: &[0, n],
        visible: Visible::Causal,
    };
    let tape = Tape::off().computing_in(DType::BF16);
    let (_, found) = attention(&tape, &Value::constant(qkv), rows, Dropout::OFF)?;
    let found = array(&found.tensor)?;
    for h in 0..count {
        let (sums, trace) = record(|| {
            let part = |from: usize| {
                let columns = ndarray::s![.., from + h * width..from + (h + 1) * width];
                numbers.slice(columns).mapv(Traced::variable)
            };
            attend(&part(0), &part(d), &part(2 * d), &Seen::causal(n)).lse
        });
        let sums: Vec<Traced> = sums.into_iter().flatten().collect();
        let spreads = trace.spreads(&sums);
        for (i, (sum, spread)) in sums.iter().zip(&spreads).enumerate() {
            let found = match case.control {
                true => nearest_bf16(found[[i, h]]),
                false => found[[i, h]],
            };
            let u = UNIT_ROUNDOFF_F32;
            let bound = SLACK * DEVIATIONS * u * spread + 2.0 * u * sum.value().abs();
            let tolerance = Tolerance::stated(bound, "2 u 8 √Σ(∂y/∂z M)² + 2 u |LSE|, u of f32");
            case.close(found, sum.value(), &tolerance, || {
                format!("{count} heads of {width}, query {i} of {n}, head {h}")
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn thirty_cases_meet_both_classes_with_every_method_and_in_every_corner() {
        for id in ["sizes-methods", "roberta-sizes-methods", "x"] {
            let drawn = || (0..30).map(move |index| Draw::new(1, id, index));
            let longest = |draw: &Draw| class(draw.turn).rows[0];
            let methods = drawn().map(|draw| (draw.in_turn(&Method::ALL).name(), longest(&draw)));
            assert_eq!(
                methods.collect::<BTreeSet<_>>().len(),
                2 * Method::ALL.len()
            );
            let corners = drawn().map(|draw| (format!("{:?}", draw.corner()), longest(&draw)));
            assert_eq!(
                corners.collect::<BTreeSet<_>>().len(),
                2 * Corner::ALL.len()
            );
        }
    }
}
