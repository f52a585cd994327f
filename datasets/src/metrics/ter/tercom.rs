//! tercom 0.7.25's search: the same moves in the same order, so that ties fall the same way.

use super::beam::Table;
use super::{AlignedPositions, Alignment, Counts};

const MOST_WORDS: usize = 10;
const FARTHEST: isize = 50;

/// Counts of edits between two sentences; `reference_length` is the caller's.
pub fn counts(hypothesis: &[u32], reference: &[u32]) -> Counts {
    let mut words = hypothesis.to_vec();
    let mut shifts = 0;
    loop {
        let table = Table::new(&words, reference);
        let alignment = table.alignment();
        match best_shift(&words, reference, &table, &alignment) {
            Some(moved) => words = moved,
            None => return alignment.counts(shifts),
        }
        shifts += 1;
    }
}

/// A run of words and where it goes: behind position `to`, counted with the run still in place.
struct Shift {
    start: usize,
    end: usize,
    to: isize,
}

/// The words after the best shift; none where no shift pays for itself.
fn best_shift(
    words: &[u32],
    reference: &[u32],
    table: &Table<'_>,
    now: &Alignment,
) -> Option<Vec<u32>> {
    let by_length = candidates(words, reference, &now.aligned());
    let mut best: Option<(Vec<u32>, usize)> = None;
    let total = |best: &Option<(Vec<u32>, usize)>| match best {
        Some((_, edits)) => edits + 1,
        None => now.edits,
    };
    for (index, shifts) in by_length.iter().enumerate().rev() {
        for shift in shifts {
            // a run of n words mends at most 2n edits: no shorter one can be better than what was
            // found
            let mended = now.edits as isize - total(&best) as isize;
            let most = 2 * (index as isize + 1);
            if mended > most || (best.is_some() && mended == most) {
                break;
            }
            let (moved, changed) = perform(words, shift);
            let edits = table.edits_of(&moved, changed);
            let (new, old) = (edits + 1, total(&best));
            if new < old || (best.is_none() && new == old) {
                best = Some((moved, edits));
            }
        }
    }
    best.map(|(moved, _)| moved)
}

/// Every shift worth a trial, by the run's length − 1, in tercom's order.
fn candidates(words: &[u32], reference: &[u32], aligned: &AlignedPositions) -> Vec<Vec<Shift>> {
    let mut by_length: Vec<Vec<Shift>> = (0..MOST_WORDS).map(|_| Vec::new()).collect();
    for start in 0..words.len() {
        let from = start as isize;
        // positions never fall along the reference
        let near = |limit: isize| aligned.of_reference.partition_point(|at| *at < limit);
        let near = near(from - FARTHEST)..near(from + FARTHEST + 1);
        for end in start..words.len().min(start + MOST_WORDS) {
            let run = &words[start..=end];
            let last = near
                .end
                .min((reference.len() + 1).saturating_sub(run.len()));
            let mut targets = (near.start..last)
                .filter(|r| {
                    let inside = (from..=end as isize).contains(&aligned.of_reference[*r]);
                    !inside && reference[*r..].starts_with(run)
                })
                .peekable();
            // a longer run has no other targets
            if targets.peek().is_none() {
                break;
            }
            if !aligned.wrong_hypothesis[start..=end].contains(&true) {
                continue;
            }
            for target in targets {
                if aligned.wrong_reference[target..target + run.len()].contains(&true) {
                    destinations(start, end, target, aligned, &mut by_length[end - start]);
                }
            }
        }
    }
    by_length
}

/// The positions next to the words that the run matches, and the one before its first.
fn destinations(
    start: usize,
    end: usize,
    target: usize,
    aligned: &AlignedPositions,
    out: &mut Vec<Shift>,
) {
    if target == 0 {
        out.push(Shift { start, end, to: -1 });
    } else {
        push_if_new(start, end, target - 1, target, aligned, out);
    }
    for r in target..=target + (end - start) {
        push_if_new(start, end, r, target, aligned, out);
    }
}

fn push_if_new(
    start: usize,
    end: usize,
    r: usize,
    target: usize,
    aligned: &AlignedPositions,
    out: &mut Vec<Shift>,
) {
    let to = aligned.of_reference[r];
    if to != start as isize && (r == target || to != aligned.of_reference[target]) {
        out.push(Shift { start, end, to });
    }
}

/// The words after a shift, and which of them may have changed.
fn perform(words: &[u32], shift: &Shift) -> (Vec<u32>, std::ops::Range<usize>) {
    let (start, end) = (shift.start, shift.end);
    let mut rest = words.to_vec();
    let run: Vec<u32> = rest.drain(start..=end).collect();
    let length = run.len();
    // position in the rest: behind `to`, or as many words later as `to` lies inside the run
    let to = match usize::try_from(shift.to) {
        Err(_) => 0,
        Ok(to) if to < start => to + 1,
        Ok(to) if to > end => to + 1 - length,
        Ok(to) => to.min(rest.len()),
    };
    rest.splice(to..to, run);
    (rest, start.min(to)..(end + 1).max(to + length))
}
