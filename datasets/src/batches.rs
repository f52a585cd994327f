//! Batches of sequences of similar length, in an order that (seed, epoch) decides.
//!
//! All sequences are shuffled, cut into windows of 50 batches, sorted by length inside a window,
//! cut into batches, and the batches shuffled. Packed sequences need no padding; similar lengths
//! still matter to attention, whose work grows with the square of a sequence's length, and they
//! even out the steps' times. A run resumes at batch `i` of an epoch by asking for the epoch's
//! batches again and skipping `i`.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::{Batch, Encoded, Labels};

const WINDOW: usize = 50;

/// The batches of an epoch as lists of indices: every sequence exactly once, each list of
/// `batch_size` but at most one.
///
/// ```
/// use inducer_datasets::batches::epoch_batches;
/// let a = epoch_batches(&[3, 9, 4, 8, 5], 2, 7, 0);
/// assert_eq!(a, epoch_batches(&[3, 9, 4, 8, 5], 2, 7, 0));
/// let mut rows = a.concat();
/// rows.sort();
/// assert_eq!(rows, [0, 1, 2, 3, 4]);
/// ```
pub fn epoch_batches(
    lengths: &[usize],
    batch_size: usize,
    seed: u64,
    epoch: u64,
) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch);
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    rows.shuffle(&mut rng);
    let size = batch_size.max(1);
    let mut batches = Vec::with_capacity(rows.len().div_ceil(size));
    for window in rows.chunks_mut(size.saturating_mul(WINDOW)) {
        window.sort_by_key(|&r| lengths[r]);
        batches.extend(window.chunks(size).map(<[usize]>::to_vec));
    }
    batches.shuffle(&mut rng);
    batches
}

/// Batches for evaluation: longest sequences first, no chance in it.
pub fn sorted_batches(lengths: &[usize], batch_size: usize) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    rows.sort_by_key(|&r| std::cmp::Reverse(lengths[r]));
    rows.chunks(batch_size.max(1))
        .map(<[usize]>::to_vec)
        .collect()
}

/// Packs sequences into a batch. Classes when each has one, else token labels when each
/// has them, else none; segments when each has them.
pub fn pack(rows: &[&Encoded]) -> Batch {
    let ids: Vec<Vec<u32>> = rows.iter().map(|r| r.ids.clone()).collect();
    let segments: Option<Vec<Vec<u32>>> = rows.iter().map(|r| r.segments.clone()).collect();
    let mut batch = Batch::pack(&ids, segments.as_deref(), None);
    let classes: Option<Vec<u32>> = rows.iter().map(|r| r.class).collect();
    batch.labels = match classes {
        _ if rows.is_empty() => Labels::None,
        Some(classes) => Labels::Classes(classes),
        None if rows.iter().all(|r| r.labels.len() == r.ids.len()) => {
            Labels::Tokens(rows.iter().flat_map(|r| r.labels.iter().copied()).collect())
        }
        None => Labels::None,
    };
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_epoch_has_every_row_once_and_one_short_batch_at_most(
            lengths in prop::collection::vec(1usize..200, 0..700),
            size in 1usize..9,
            seed: u64,
            epoch in 0u64..9,
        ) {
            let batches = epoch_batches(&lengths, size, seed, epoch);
            let mut rows = batches.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
            prop_assert!(batches.iter().all(|b| !b.is_empty() && b.len() <= size));
            prop_assert!(batches.iter().filter(|b| b.len() < size).count() <= 1);
            prop_assert_eq!(&batches, &epoch_batches(&lengths, size, seed, epoch));
        }
    }

    #[test]
    fn epochs_and_seeds_differ_and_lengths_inside_a_batch_are_close() {
        let lengths: Vec<usize> = (0..1000).map(|i| 10 + i * 7919 % 100).collect();
        let batches = epoch_batches(&lengths, 8, 1, 0);
        assert_ne!(batches, epoch_batches(&lengths, 8, 1, 1));
        assert_ne!(batches, epoch_batches(&lengths, 8, 2, 0));
        let spread = |b: &Vec<usize>| {
            let of =
                |f: fn(usize, usize) -> usize| b.iter().map(|&r| lengths[r]).reduce(f).unwrap();
            of(usize::max) - of(usize::min)
        };
        let mean = batches.iter().map(spread).sum::<usize>() as f64 / batches.len() as f64;
        // 400 rows over 100 lengths: a batch of 8 spans two or three lengths; unsorted it would
        // span about 78.
        assert!(mean < 6.0, "{mean}");
    }
}
