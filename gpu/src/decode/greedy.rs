//! Greedy decoding of many prompts at once, with a key/value cache.

use crate::error::Result;
use crate::model::Model;
use crate::ops::argmax::argmax;
use inducer_datasets::batch::Batch;

/// A prompt: token ids and, where the backbone's rows have them, segment ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Segment ids.
    pub segments: Option<Vec<u32>>,
    /// Segment id of every new token.
    pub next_segment: Option<u32>,
}

/// How to decode.
#[derive(Clone, Copy, Debug)]
pub struct Decoding {
    /// Most new tokens.
    pub max_new: usize,
    /// The id that ends a text (it is not part of the result).
    pub eos: u32,
    /// Rows decoded at a time.
    pub batch: usize,
}

/// The new tokens of each prompt, in the order of the prompts. Ties go to the lowest id.
///
/// # Errors
/// A prompt that does not fit the model.
pub fn greedy(
    model: &Model,
    prompts: &[Prompt],
    decoding: Decoding,
    on_done: &mut dyn FnMut(usize),
) -> Result<Vec<Vec<u32>>> {
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|i| prompts[*i].ids.len());
    let mut out = vec![Vec::new(); prompts.len()];
    for group in order.chunks(decoding.batch.max(1)) {
        decode_group(model, prompts, group, decoding, &mut out, on_done)?;
    }
    Ok(out)
}

fn decode_group(
    model: &Model,
    prompts: &[Prompt],
    group: &[usize],
    decoding: Decoding,
    out: &mut [Vec<u32>],
    on_done: &mut dyn FnMut(usize),
) -> Result<()> {
    let mut active = group.to_vec();
    let mut cache = model.cache(active.len());
    let given = |i: &usize| (prompts[*i].ids.clone(), prompts[*i].segments.clone());
    let mut batch = packed(active.iter().map(given));
    for _ in 0..decoding.max_new {
        let logits = model.decode(&batch, &mut cache)?;
        let best = argmax(&logits)?;
        let mut kept = Vec::new();
        for (row, (i, id)) in active.iter().zip(best).enumerate() {
            if id != decoding.eos {
                out[*i].push(id);
                if prompts[*i].ids.len() + out[*i].len() < model.longest() {
                    kept.push(row);
                }
            }
        }
        if kept.len() < active.len() {
            on_done(active.len() - kept.len());
            cache.keep(&kept);
            active = kept.iter().map(|r| active[*r]).collect();
        }
        if active.is_empty() {
            return Ok(());
        }
        batch = packed(active.iter().map(|i| {
            let newest = out[*i].last().copied();
            (
                newest.into_iter().collect(),
                prompts[*i].next_segment.map(|s| vec![s]),
            )
        }));
    }
    on_done(active.len());
    Ok(())
}

/// A batch of token ids and, where all rows have them, segment ids.
fn packed(rows: impl Iterator<Item = (Vec<u32>, Option<Vec<u32>>)>) -> Batch {
    let (ids, segments): (Vec<_>, Vec<_>) = rows.unzip();
    let segments: Option<Vec<_>> = segments.into_iter().collect();
    Batch::pack(&ids, segments.as_deref(), None)
}
