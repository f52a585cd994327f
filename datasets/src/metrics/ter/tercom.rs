//! tercom 0.7.25's search: the same moves in the same order, so that ties fall the same way.

use super::{AlignedPositions, Alignment, Counts, Op};

const MOST_WORDS: usize = 10;
const FARTHEST: isize = 50;
const BEAM: usize = 20;

/// Counts of edits between two sentences; `reference_length` is the caller's.
pub fn counts(hypothesis: &[u32], reference: &[u32]) -> Counts {
    let mut words = hypothesis.to_vec();
    let mut alignment = align(&words, reference);
    let mut shifts = 0;
    while let Some((moved, better)) = best_shift(&words, reference, &alignment) {
        (words, alignment) = (moved, better);
        shifts += 1;
    }
    alignment.counts(shifts)
}

/// Cheapest path, ties to the diagonal, then to an insertion, within the beam; without a beam
/// should it cut off the end.
fn align(hypothesis: &[u32], reference: &[u32]) -> Alignment {
    let size = (reference.len() + 1) * (hypothesis.len() + 1);
    let mut cells: Vec<Option<(usize, Op)>> = vec![None; size];
    fill(&mut cells, hypothesis, reference, BEAM);
    if cells[size - 1].is_none() {
        cells.fill(None);
        fill(&mut cells, hypothesis, reference, size);
    }
    trace(&cells, hypothesis.len(), reference.len())
}

/// Cell (i, j) of i words of the reference against j of the hypothesis is at `j (R + 1) + i`.
fn fill(cells: &mut [Option<(usize, Op)>], hypothesis: &[u32], reference: &[u32], beam: usize) {
    let rows = reference.len() + 1;
    cells[0] = Some((0, Op::Match));
    let put = |at: usize, cost: usize, op: Op, cells: &mut [Option<(usize, Op)>]| {
        let better = cells[at].is_none_or(|(old, _)| cost < old);
        if better {
            cells[at] = Some((cost, op));
        }
        better
    };
    // the cheapest diagonal step out of the column before, the first and last rows that it reached
    let (mut cheapest, mut first, mut last) = (usize::MAX, 0, 0);
    for j in 0..=hypothesis.len() {
        let limit = cheapest.saturating_add(beam);
        cheapest = usize::MAX;
        let (mut next_first, mut next_last) = (None, 0);
        let mut i = first;
        while i < rows && i <= last {
            let here = j * rows + i;
            let row = i;
            i += 1;
            let Some((score, _)) = cells[here] else {
                continue;
            };
            if j < hypothesis.len() && score > limit {
                continue;
            }
            next_first.get_or_insert(row);
            next_last = row + 1;
            if row + 1 < rows && j < hypothesis.len() {
                let same = reference[row] == hypothesis[j];
                let (cost, op) = if same {
                    (score, Op::Match)
                } else {
                    (score + 1, Op::Substitute)
                };
                if put(here + rows + 1, cost, op, cells) || same {
                    cheapest = cheapest.min(cost);
                }
            }
            if j < hypothesis.len() {
                put(here + rows, score + 1, Op::Insert, cells);
            }
            if row + 1 < rows && put(here + 1, score + 1, Op::Delete, cells) && row >= last {
                last = row + 1;
            }
        }
        (first, last) = (next_first.unwrap_or(0), next_last);
    }
}

fn trace(cells: &[Option<(usize, Op)>], hypothesis: usize, reference: usize) -> Alignment {
    let (mut i, mut j) = (reference, hypothesis);
    let cost = |at: usize| cells[at].map_or(0, |(cost, _)| cost);
    let mut path = Vec::with_capacity(reference + hypothesis);
    while i > 0 || j > 0 {
        let Some((_, op)) = cells[j * (reference + 1) + i] else {
            break;
        };
        path.push(op);
        if op != Op::Insert {
            i -= 1;
        }
        if op != Op::Delete {
            j -= 1;
        }
    }
    path.reverse();
    Alignment {
        edits: cost(cells.len() - 1),
        path,
    }
}

/// A run of words and where it goes: behind position `to`, counted with the run still in place.
struct Shift {
    start: usize,
    end: usize,
    to: isize,
}

/// The words after the best shift and their alignment; none where no shift pays for itself.
fn best_shift(words: &[u32], reference: &[u32], now: &Alignment) -> Option<(Vec<u32>, Alignment)> {
    let by_length = candidates(words, reference, &now.aligned());
    let mut best: Option<(Vec<u32>, Alignment)> = None;
    let total = |best: &Option<(Vec<u32>, Alignment)>| match best {
        Some((_, a)) => a.edits + 1,
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
            let moved = perform(words, shift);
            let alignment = align(&moved, reference);
            let (new, old) = (alignment.edits + 1, total(&best));
            if new < old || (best.is_none() && new == old) {
                best = Some((moved, alignment));
            }
        }
    }
    best
}

/// Every shift worth a trial, by the run's length − 1, in tercom's order.
fn candidates(words: &[u32], reference: &[u32], aligned: &AlignedPositions) -> Vec<Vec<Shift>> {
    let mut by_length: Vec<Vec<Shift>> = (0..MOST_WORDS).map(|_| Vec::new()).collect();
    for start in 0..words.len() {
        let from = start as isize;
        let reachable = |r: usize| {
            let at = aligned.of_reference[r];
            reference[r] == words[start]
                && at != from
                && at - from <= FARTHEST
                && from - at - 1 <= FARTHEST
        };
        if !(0..reference.len()).any(reachable) {
            continue;
        }
        for end in start..words.len().min(start + MOST_WORDS) {
            let run = &words[start..=end];
            let mut targets = reference
                .windows(run.len())
                .enumerate()
                .filter(|(_, w)| *w == run)
                .map(|(r, _)| r)
                .peekable();
            if targets.peek().is_none() {
                break;
            }
            if !aligned.wrong_hypothesis[start..=end].contains(&true) {
                continue;
            }
            let mut any = false;
            for target in targets {
                let at = aligned.of_reference[target];
                let inside = (from..=end as isize).contains(&at);
                if inside || (at - from).abs() > FARTHEST {
                    continue;
                }
                any = true;
                if aligned.wrong_reference[target..target + run.len()].contains(&true) {
                    destinations(start, end, target, aligned, &mut by_length[end - start]);
                }
            }
            if !any {
                break;
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

fn perform(words: &[u32], shift: &Shift) -> Vec<u32> {
    let (start, end) = (shift.start, shift.end);
    let mut rest = words.to_vec();
    let run: Vec<u32> = rest.drain(start..=end).collect();
    // position in the rest: behind `to`, or as many words later as `to` lies inside the run
    let to = match usize::try_from(shift.to) {
        Err(_) => 0,
        Ok(to) if to < start => to + 1,
        Ok(to) if to > end => to + 1 - run.len(),
        Ok(to) => to.min(rest.len()),
    };
    rest.splice(to..to, run);
    rest
}
