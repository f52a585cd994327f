//! METEOR of short texts: every alignment there is, and of these the one that METEOR asks for.
//!
//! Its matchers here are those that need no file: the same word, and words of one stem. METEOR
//! keeps the 40 best alignments while it goes along a reference, and chooses between equal ones by
//! a distance that is of no interest; so texts are cut to those of which it keeps all alignments
//! and whose best ones agree.

use super::given;
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::Draw;
use crate::{Case, Result, Tolerance};
use inducer_datasets::metrics::corpus_meteor;
use inducer_datasets::metrics::meteor::Files;

/// Words with one stem each, by Porter's second algorithm, which only takes their endings off.
const FAMILIES: [&[&str]; 6] = [
    &["cat", "cats"],
    &["walk", "walks", "walked"],
    &["jump", "jumps"],
    &["dog"],
    &["red"],
    &["."],
];

/// The family of the full stop.
const STOP: usize = 5;

/// Alignments that METEOR keeps.
const KEPT: usize = 40;

/// α of the harmonic mean, β and γ of the penalty, and what a match of stems weighs.
const ALPHA: f64 = 0.85;
const BETA: f64 = 0.2;
const GAMMA: f64 = 0.6;
const STEM: f64 = 0.6;

/// A family and the place of a word in it.
type Word = (usize, usize);

/// What an alignment is scored by.
#[derive(Clone, Copy, Default, PartialEq)]
struct Counts {
    exact: f64,
    stems: f64,
    chunks: f64,
    lengths: [f64; 2],
}

impl Counts {
    fn of(h: &[Word], r: &[Word], aligned: &[Option<usize>]) -> Self {
        let mut counts = Self {
            lengths: [h.len() as f64, r.len() as f64],
            ..Self::default()
        };
        for (j, at) in aligned.iter().enumerate() {
            let Some(i) = *at else { continue };
            match h[i] == r[j] {
                true => counts.exact += 1.0,
                false => counts.stems += 1.0,
            }
            let goes_on = j > 0 && i > 0 && aligned[j - 1] == Some(i - 1);
            counts.chunks += f64::from(!goes_on);
        }
        counts
    }

    fn matched(&self) -> f64 {
        self.exact + self.stems
    }

    /// A text that is matched whole and in order has no chunk to pay for.
    fn without_the_only_chunk(self) -> Self {
        let whole = self.lengths == [self.matched(); 2] && self.chunks == 1.0;
        let chunks = if whole { 0.0 } else { self.chunks };
        Self { chunks, ..self }
    }

    fn add(&mut self, other: &Self) {
        self.exact += other.exact;
        self.stems += other.stems;
        self.chunks += other.chunks;
        (0..2).for_each(|side| self.lengths[side] += other.lengths[side]);
    }

    /// `alpha` weighs the recall.
    fn score(&self, alpha: f64) -> f64 {
        if self.matched() == 0.0 {
            return 0.0;
        }
        let [precision, recall] = self.lengths.map(|n| (self.exact + STEM * self.stems) / n);
        let mean = precision * recall / (alpha * precision + (1.0 - alpha) * recall);
        let penalty = GAMMA * (self.chunks / self.matched()).powf(BETA);
        mean * (1.0 - penalty)
    }
}

/// Every alignment, as the word of the hypothesis for each word of the reference. Words that could
/// only be aligned to each other are.
fn alignments(h: &[Word], r: &[Word]) -> Vec<Vec<Option<usize>>> {
    let of = |words: &[Word], family: usize| words.iter().filter(|w| w.0 == family).count();
    let mut all = vec![Vec::new()];
    for word in r {
        let alone = of(h, word.0) == 1 && of(r, word.0) == 1;
        let mut longer = Vec::new();
        for before in &all {
            let mut with = |at: Option<usize>| longer.push([&before[..], &[at]].concat());
            for i in (0..h.len()).filter(|i| h[*i].0 == word.0) {
                if !before.contains(&Some(i)) {
                    with(Some(i));
                }
            }
            if !alone {
                with(None);
            }
        }
        all = longer;
        if all.len() > KEPT {
            break;
        }
    }
    all
}

/// The counts of the best alignments, most exact matches first and then fewest chunks; none where
/// METEOR would not keep all alignments, or where the best ones differ in their counts.
fn best(h: &[Word], r: &[Word]) -> Option<Counts> {
    let all = alignments(h, r);
    if all.len() > KEPT {
        return None;
    }
    let counts: Vec<Counts> = all.iter().map(|a| Counts::of(h, r, a)).collect();
    let most = counts.iter().map(|c| c.exact).fold(0.0, f64::max);
    let exact = || counts.iter().filter(|c| c.exact == most);
    let fewest = exact().map(|c| c.chunks).fold(f64::INFINITY, f64::min);
    let mut left = exact().filter(|c| c.chunks == fewest);
    let first = *left.next()?;
    left.all(|c| *c == first).then_some(first)
}

/// Words of a text, perhaps with a full stop behind them.
fn text(draw: &mut Draw, most: usize) -> Vec<Word> {
    let n = draw.size(0, most);
    let mut words: Vec<Word> = (0..n)
        .map(|_| {
            let family = draw.size(0, STOP - 1);
            (family, draw.size(0, FAMILIES[family].len() - 1))
        })
        .collect();
    if n > 0 && draw.chance(0.3) {
        words.push((STOP, 0));
    }
    words
}

/// As it is written: a capital first, and a full stop at the end at its word.
fn written(words: &[Word]) -> String {
    let names: Vec<&str> = words
        .iter()
        .map(|(family, form)| FAMILIES[*family][*form])
        .collect();
    let text = names.join(" ");
    let text = match text.strip_suffix(" .") {
        Some(words) => format!("{words}."),
        None => text,
    };
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// METEOR is its definition over every alignment of short texts. In the control precision and
/// recall change places in the harmonic mean.
pub(super) fn meteor(case: &mut Case) -> Result<()> {
    let (mut hypotheses, mut references) = (Vec::new(), Vec::new());
    let mut sum = Counts::default();
    for _ in 0..case.draw.size(1, 3) {
        let own: Vec<Vec<Word>> = (0..case.draw.size(1, 3))
            .map(|_| text(&mut case.draw, 7))
            .collect();
        // a reference as it is (which has a rule of its own) or another text, and its parts
        // exchanged at times
        let mut hypothesis = match case.draw.chance(0.5) {
            true => own[case.draw.size(0, own.len() - 1)].clone(),
            false => text(&mut case.draw, 7),
        };
        if case.draw.chance(0.3) {
            let places = hypothesis.len().max(1);
            hypothesis.rotate_left(case.draw.size(0, places - 1));
        }
        let counts = loop {
            let all: Option<Vec<Counts>> = own.iter().map(|r| best(&hypothesis, r)).collect();
            match all {
                Some(all) => break all,
                None => hypothesis.pop(),
            };
        };
        let mut highest = None;
        for counts in counts.into_iter().map(Counts::without_the_only_chunk) {
            let score = counts.score(ALPHA);
            if highest.is_none_or(|(other, _)| score > other) {
                highest = Some((score, counts));
            }
        }
        highest.iter().for_each(|(_, counts)| sum.add(counts));
        hypotheses.push(written(&hypothesis));
        references.push(own.iter().map(|r| written(r)).collect::<Vec<_>>());
    }
    let found = given(corpus_meteor(&hypotheses, &references, &Files::default()))?;
    let expected = sum.score(case.or_control(ALPHA, 1.0 - ALPHA));
    let why = "32 u: sums of weights, three quotients and a power, of a figure below 1";
    let tolerance = Tolerance::stated(32.0 * UNIT_ROUNDOFF_F64, why);
    case.close(found.score, expected, &tolerance, || {
        format!("{hypotheses:?} against {references:?}")
    });
    Ok(())
}
