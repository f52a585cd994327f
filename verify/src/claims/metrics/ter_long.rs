//! TER of texts longer than ten words, where beams and limits of distance act: edits that are known
//! because they were made. All words are different, so that nothing else is as cheap.

use super::given;
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::{Case, Result, Tolerance};
use inducer_datasets::metrics::ter::{Algorithm, corpus_ter};

/// Farther than this no program shifts a run. Both shift it as far with its own length counted: one
/// of them measures from its start, the other to the end of its place.
const FARTHEST: usize = 50;

/// An edit that is made to a text.
#[derive(Clone, Copy, Debug)]
enum Edit {
    /// Words that the reference lacks, together at one place.
    Insert,
    /// Words of the reference that are left out, together.
    Delete,
    /// Words in place of others, anywhere.
    Substitute,
    /// A run elsewhere, within the programs' reach.
    Shift,
    /// A run elsewhere, beyond it.
    FarShift,
}

fn written(words: &[usize]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("w{word}")).collect();
    words.join(" ")
}

/// A long text with one kind of edit has as many as were made, by tercom and by sacrebleu: a run of
/// up to ten words is one shift within 50 words, itself included; beyond that its words are deleted
/// and inserted.
/// In the control one word more was changed.
pub(super) fn known(case: &mut Case) -> Result<()> {
    let all = [
        Edit::Insert,
        Edit::Delete,
        Edit::Shift,
        Edit::Substitute,
        Edit::Shift,
        Edit::FarShift,
    ];
    let edit = *case.draw.in_turn(&all);
    let far = matches!(edit, Edit::FarShift);
    let n = case.draw.size(if far { 90 } else { 24 }, 120);
    let reference: Vec<usize> = (0..n).collect();
    let mut words = reference.clone();
    // the longest run and the farthest place are where limits act
    let count = match case.draw.chance(0.7) {
        true => case.draw.size(1, 10),
        false => 10,
    };
    let at = case.draw.size(0, n - count);
    // insertions, deletions, substitutions, shifts
    let mut made = match edit {
        Edit::Insert => {
            words.splice(at..at, n..n + count);
            [count, 0, 0, 0]
        }
        Edit::Delete => {
            words.drain(at..at + count);
            [0, count, 0, 0]
        }
        Edit::Substitute => {
            // every third word from somewhere on
            let from = case.draw.size(0, n - 1);
            (0..count.min(n / 3)).for_each(|i| words[(from + 3 * i) % n] = n + i);
            [0, 0, count.min(n / 3), 0]
        }
        Edit::Shift | Edit::FarShift => {
            let (least, most) = match far {
                true => (FARTHEST + count, n - count),
                // a run that goes less far than it is long moves as the words that it passes
                false => (count + 1, (FARTHEST - count).min(n - count)),
            };
            let by = match case.draw.chance(0.3) {
                true => case.draw.size(least, most),
                false => most,
            };
            let from = case.draw.size(0, n - count - by);
            let (from, to) = match case.draw.chance(0.5) {
                true => (from, from + by),
                false => (from + by, from),
            };
            let run: Vec<usize> = words.drain(from..from + count).collect();
            words.splice(to..to, run);
            match far {
                true => [count, count, 0, 0],
                false => [0, 0, 0, 1],
            }
        }
    };
    made[0] += case.or_control(0, 1);
    for algorithm in [Algorithm::Tercom, Algorithm::Sacrebleu] {
        let (text, own) = (written(&words), vec![written(&reference)]);
        let place = || {
            format!(
                "{algorithm:?}, {edit:?}: {text:?}, reference w0 to w{}",
                n - 1
            )
        };
        let found = given(corpus_ter(
            std::slice::from_ref(&text),
            std::slice::from_ref(&own),
            algorithm,
        ))?;
        let c = found.counts;
        let kinds = [c.insertions, c.deletions, c.substitutions, c.shifts];
        case.same(kinds, made, place);
        let expected = made.iter().sum::<usize>() as f64 / n as f64;
        let bound = 4.0 * UNIT_ROUNDOFF_F64 * expected;
        let tolerance = Tolerance::stated(bound, "4 u: a quotient");
        case.close(found.score, expected, &tolerance, place);
    }
    Ok(())
}
