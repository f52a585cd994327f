//! Sequences of tokens as batches.

use super::given;
use super::layout::{Rows, Sequence, examples, rows};
use crate::{Case, Result};
use inducer_datasets::batches::{epoch_batches, pack, sorted_batches};
use inducer_datasets::cache::{Cache, Origin};
use inducer_datasets::{Encoded, IGNORE, Labels, Task};

/// A batch of these rows is their sequences one behind the other, with a label where a token is to
/// be predicted, or a class each.
fn packed(case: &mut Case, rows: &[usize], encoded: &[Encoded], expected: &[Sequence]) {
    let batch = pack(&rows.iter().map(|r| &encoded[*r]).collect::<Vec<_>>());
    let own = || rows.iter().map(|r| &expected[*r]);
    let ids: Vec<u32> = own().flat_map(|s| s.ids.clone()).collect();
    let segments: Vec<u32> = own().flat_map(|s| s.segments.clone()).collect();
    let mut offsets = vec![0];
    own().for_each(|s| offsets.push(offsets[offsets.len() - 1] + s.ids.len()));
    let classes: Option<Vec<u32>> = own()
        .map(|s| s.class.map(|class| class + u32::from(case.control)))
        .collect();
    let early = usize::from(case.control);
    let labels = own().flat_map(|s| {
        let label = move |i| {
            if i + early < s.prompt {
                IGNORE
            } else {
                i64::from(s.ids[i])
            }
        };
        (0..s.ids.len()).map(label)
    });
    let labels = match classes {
        Some(classes) => Labels::Classes(classes),
        None => Labels::Tokens(labels.collect()),
    };
    let place = |what: &'static str| move || what.to_owned();
    case.same(
        batch.segments.unwrap_or_default(),
        segments,
        place("segments"),
    );
    case.same(
        (batch.ids, batch.offsets),
        (ids, offsets),
        place("ids and offsets"),
    );
    case.same(
        (batch.labels, batch.positions),
        (labels, None),
        place("labels"),
    );
}

/// Examples become the sequences that the paper writes, an epoch has each of them once, in batches
/// of the size asked for but for one, and a batch is its sequences in a row, labels at targets
/// alone. In the control the marker in front of a target is a label too, or classes are others.
pub(super) fn packing(case: &mut Case) -> Result<()> {
    let tasks = [
        Task::WebNlg,
        Task::Coqa,
        Task::Generate,
        Task::Mnli,
        Task::Sst2,
    ];
    let task = *case.draw.in_turn(&tasks);
    let count = case.draw.size(1, 5);
    let Rows { encoded, expected } = rows(&mut case.draw, task, count)?;
    case.same(encoded.len(), expected.len(), || "sequences".into());
    let count = encoded.len().min(expected.len());
    let prompts = |(e, s): (&Encoded, &Sequence)| e.prompt_len == s.prompt;
    let same = encoded.iter().zip(&expected).all(prompts);
    case.same(same, true, || "lengths of the prompts".into());
    let lengths: Vec<usize> = expected[..count].iter().map(|s| s.ids.len()).collect();
    let [size, seed] = case.draw.sizes([(1, 4), (0, 99)]);
    let every: Vec<usize> = (0..count).collect();
    for epoch in 0..3 {
        let batches = epoch_batches(&lengths, size, seed as u64, epoch);
        let mut rows = batches.concat();
        rows.sort_unstable();
        case.same(&rows, &every, || format!("rows of epoch {epoch}"));
        let short = batches.iter().filter(|batch| batch.len() != size).count();
        case.same(short, usize::from(!count.is_multiple_of(size)), || {
            "batches of another size".into()
        });
        for rows in &batches {
            packed(case, rows, &encoded, &expected);
        }
    }
    let mut rows = sorted_batches(&lengths, size).concat();
    case.same(
        rows.is_sorted_by_key(|r| usize::MAX - lengths[*r]),
        true,
        || "longest first".into(),
    );
    rows.sort_unstable();
    case.same(&rows, &every, || "rows by length".into());
    Ok(())
}

/// Every epoch, and every seed, has an order of its own, which a second asking gives again. In the
/// control the same epoch is taken for another one.
pub(super) fn epochs(case: &mut Case) -> Result<()> {
    let [count, size, seed] = case.draw.sizes([(30, 60), (1, 3), (0, 99)]);
    let lengths: Vec<usize> = (0..count).map(|_| case.draw.size(1, 40)).collect();
    let batches = |seed: usize, epoch: u64| epoch_batches(&lengths, size, seed as u64, epoch);
    // ten batches or more: two orders by chance are the same once in 10! pairs
    for epoch in 0..4 {
        let own = batches(seed, epoch);
        case.same(&batches(seed, epoch), &own, || {
            format!("epoch {epoch} again")
        });
        for other in 0..epoch + usize::from(case.control) as u64 {
            case.same(batches(seed, other) == own, false, || {
                format!("epochs {other} and {epoch} have one order")
            });
        }
        case.same(batches(seed + 1, epoch) == own, false, || {
            format!("epoch {epoch} of two seeds has one order")
        });
    }
    Ok(())
}

/// Sequences from the cache are those that were made, the first time and read from disk again; with
/// another example they are made anew. In the control the other example's are expected.
pub(super) fn cached(case: &mut Case) -> Result<()> {
    let tasks = [Task::WebNlg, Task::Coqa, Task::Mnli, Task::Sst2];
    let task = *case.draw.in_turn(&tasks);
    let (tokenizer, mut all) = examples(&mut case.draw, task, 4)?;
    let layout = given(super::layout::layout(&tokenizer, task))?;
    let mut made = Vec::new();
    for example in &all {
        made.push(given(layout.training_rows(example))?);
    }
    let other = made.pop().unwrap_or_default();
    let last = all.pop();
    let expected = made.concat();
    let dir = crate::scratch::folder()?;
    let cache = Cache::at(dir.path());
    for origin in [Origin::Made, Origin::Read] {
        let (rows, from) = given(cache.rows(&layout, &all))?;
        case.same(from, origin, || format!("{task}: where rows are from"));
        let expected = case.or_control(&expected, &other);
        case.same(&rows, expected, || format!("{task}: rows, {origin:?}"));
    }
    all.extend(last);
    let (rows, from) = given(cache.rows(&layout, &all))?;
    let more = [expected, other].concat();
    case.same((rows, from), (more, Origin::Made), || {
        format!("{task}: with an example more")
    });
    Ok(())
}
