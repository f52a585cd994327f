//! TER of texts longer than ten words, where beams and limits of distance act: edits that are known
//! because they were made. All words are different, so that nothing else is as cheap.

use super::given;
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::Draw;
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

/// A text of so many words with an edit in it, and its insertions, deletions, substitutions and
/// shifts.
fn edited(draw: &mut Draw, n: usize, edit: Edit) -> (Vec<usize>, [usize; 4]) {
    let mut words: Vec<usize> = (0..n).collect();
    // the longest run and the farthest place are where limits act
    let count = match draw.chance(0.7) {
        true => draw.size(1, 10),
        false => 10,
    };
    let at = draw.size(0, n - count);
    match edit {
        Edit::Insert => {
            words.splice(at..at, n..n + count);
            (words, [count, 0, 0, 0])
        }
        Edit::Delete => {
            words.drain(at..at + count);
            (words, [0, count, 0, 0])
        }
        Edit::Substitute => {
            // every third word from somewhere on
            let count = count.min(n / 3);
            (0..count).for_each(|i| words[(at + 3 * i) % n] = n + i);
            (words, [0, 0, count, 0])
        }
        Edit::Shift => {
            // a run that goes less far than it is long moves as the words that it passes
            shift(draw, &mut words, count, (count + 1, FARTHEST - count));
            (words, [0, 0, 0, 1])
        }
        Edit::FarShift => {
            shift(draw, &mut words, count, (FARTHEST + count, n));
            (words, [count, count, 0, 0])
        }
    }
}

/// Moves a run of so many words by at least and at most so many, to either side.
fn shift(draw: &mut Draw, words: &mut Vec<usize>, count: usize, (least, most): (usize, usize)) {
    let most = most.min(words.len() - count);
    let by = match draw.chance(0.3) {
        true => draw.size(least, most),
        false => most,
    };
    let from = draw.size(0, words.len() - count - by);
    let (from, to) = match draw.chance(0.5) {
        true => (from, from + by),
        false => (from + by, from),
    };
    let run: Vec<usize> = words.drain(from..from + count).collect();
    words.splice(to..to, run);
}

/// A long text with one kind of edit has as many as were made, by tercom and by sacrebleu: a run of
/// up to ten words is one shift within 50 words, itself included; beyond that its words are deleted
/// and inserted. In the control one insertion more was made.
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
    let least = if matches!(edit, Edit::FarShift) {
        90
    } else {
        24
    };
    let n = case.draw.size(least, 120);
    let (words, mut made) = edited(&mut case.draw, n, edit);
    made[0] += case.or_control(0, 1);
    for algorithm in [Algorithm::Tercom, Algorithm::Sacrebleu] {
        let (text, own) = (written(&words), vec![written(&Vec::from_iter(0..n))]);
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
