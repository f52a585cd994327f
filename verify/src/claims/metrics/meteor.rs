//! METEOR of short texts: every alignment there is, and of these the one that METEOR asks for.
//!
//! Its matchers are those that need no file, the same word and words of one stem, and in a row of
//! their own synonyms and paraphrases, of a jar and a table that the row writes. Every match is of
//! one word with one. METEOR keeps the 40 best alignments while it goes along a reference, and
//! chooses between equal ones by a distance that is of no interest; so texts are cut to those of
//! which it keeps all alignments and whose best ones agree.

use super::given;
use crate::bounds::UNIT_ROUNDOFF_F64;
use crate::cases::Draw;
use crate::{Case, Result, Tolerance};
use inducer_datasets::metrics::corpus_meteor;
use inducer_datasets::metrics::meteor::Files;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Words, and what METEOR is told of them.
struct Lexicon {
    /// Any two words of a family match. The last family is the full stop's.
    families: &'static [&'static [&'static str]],
    /// What a match of two different words of a family weighs.
    weight: fn(&str, &str) -> f64,
    /// Words that weigh 1 − δ and match themselves alone.
    function: &'static [&'static str],
}

/// Words with one stem each, by Porter's second algorithm, which only takes their endings off.
const STEMS: Lexicon = Lexicon {
    families: &[
        &["cat", "cats"],
        &["walk", "walks", "walked"],
        &["jump", "jumps"],
        &["dog"],
        &["red"],
        &["."],
    ],
    weight: |_, _| STEM,
    function: &[],
};

/// Words that match by synonyms of their own, of what they are a form of, by a paraphrase, or by
/// their stem.
const SYNONYMS: Lexicon = Lexicon {
    families: &[
        &["car", "auto", "machine"],
        &["mouse", "mice", "rodent"],
        &["boxes", "carton"],
        &["walk", "walks"],
        &["of"],
        &["red", "crimson"],
        &["Mr."],
        &["."],
    ],
    weight: |a, b| match (a, b) {
        ("car", "machine") | ("machine", "car") | ("red" | "crimson", _) => PARAPHRASE,
        ("walk" | "walks", _) => STEM,
        _ => SYNONYM,
    },
    function: &["of"],
};

/// The jar's files: car and auto are of one set of synonyms, auto and machine of another one; mice
/// is an exception, boxes a regular plural, and the full stop of Mr. no word.
const JAR: [(&str, &str); 4] = [
    ("function/english.words", "of\n"),
    ("nonbreaking/english.prefixes", "Mr\n"),
    (
        "synonym/english.synsets",
        "car\n3\nauto\n3 4\nmachine\n4\nmouse\n7\nrodent\n7\nbox\n9\ncarton\n8 9\n",
    ),
    ("synonym/english.exceptions", "mouse\nmice\n"),
];

/// Probability, phrase and paraphrase.
const TABLE: &str = "0.5\ncar\nmachine\n0.5\ncrimson\nred\n0.5\nred\nunheard of\n";

/// Alignments that METEOR keeps.
const KEPT: usize = 40;

/// α of the harmonic mean, β and γ of the penalty, and δ, the weight of a content word.
const ALPHA: f64 = 0.85;
const BETA: f64 = 0.2;
const GAMMA: f64 = 0.6;
const DELTA: f64 = 0.75;

/// What a match weighs that is not of the same word.
const STEM: f64 = 0.6;
const SYNONYM: f64 = 0.8;
const PARAPHRASE: f64 = 0.6;

/// A family and the place of a word in it.
type Word = (usize, usize);

impl Lexicon {
    fn word(&self, (family, form): Word) -> &'static str {
        self.families[family][form]
    }

    /// δ of a content word, 1 − δ of a function word.
    fn heaviness(&self, word: Word) -> f64 {
        match self.function.contains(&self.word(word)) {
            true => 1.0 - DELTA,
            false => DELTA,
        }
    }
}

/// What an alignment is scored by.
#[derive(Clone, Copy, Default, PartialEq)]
struct Counts {
    exact: f64,
    matched: f64,
    /// Of what is matched, and of all words of each side: words times their heaviness.
    weighted: f64,
    all: [f64; 2],
    lengths: [f64; 2],
    chunks: f64,
}

impl Counts {
    fn of(lexicon: &Lexicon, h: &[Word], r: &[Word], aligned: &[Option<usize>]) -> Self {
        let sides = [h, r];
        let sum = |words: &[Word]| words.iter().map(|word| lexicon.heaviness(*word)).sum();
        let mut counts = Self {
            lengths: sides.map(|words| words.len() as f64),
            all: sides.map(sum),
            ..Self::default()
        };
        for (j, at) in aligned.iter().enumerate() {
            let Some(i) = *at else { continue };
            let weight = match h[i] == r[j] {
                true => 1.0,
                false => (lexicon.weight)(lexicon.word(h[i]), lexicon.word(r[j])),
            };
            counts.exact += f64::from(h[i] == r[j]);
            counts.matched += 1.0;
            counts.weighted += weight * lexicon.heaviness(r[j]);
            let goes_on = j > 0 && i > 0 && aligned[j - 1] == Some(i - 1);
            counts.chunks += f64::from(!goes_on);
        }
        counts
    }

    /// A text that is matched whole and in order has no chunk to pay for.
    fn without_the_only_chunk(self) -> Self {
        let whole = self.lengths == [self.matched; 2] && self.chunks == 1.0;
        let chunks = if whole { 0.0 } else { self.chunks };
        Self { chunks, ..self }
    }

    fn add(&mut self, other: &Self) {
        self.exact += other.exact;
        self.matched += other.matched;
        self.weighted += other.weighted;
        self.chunks += other.chunks;
        for side in 0..2 {
            self.all[side] += other.all[side];
            self.lengths[side] += other.lengths[side];
        }
    }

    /// `alpha` weighs the recall.
    fn score(&self, alpha: f64) -> f64 {
        if self.matched == 0.0 {
            return 0.0;
        }
        let [precision, recall] = self.all.map(|all| self.weighted / all);
        let mean = precision * recall / (alpha * precision + (1.0 - alpha) * recall);
        let penalty = GAMMA * (self.chunks / self.matched).powf(BETA);
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
fn best(lexicon: &Lexicon, h: &[Word], r: &[Word]) -> Option<Counts> {
    let all = alignments(h, r);
    if all.len() > KEPT {
        return None;
    }
    let counts: Vec<Counts> = (all.iter())
        .map(|aligned| Counts::of(lexicon, h, r, aligned))
        .collect();
    let most = counts.iter().map(|c| c.exact).fold(0.0, f64::max);
    let exact = || counts.iter().filter(|c| c.exact == most);
    let fewest = exact().map(|c| c.chunks).fold(f64::INFINITY, f64::min);
    let mut left = exact().filter(|c| c.chunks == fewest);
    let first = *left.next()?;
    left.all(|c| *c == first).then_some(first)
}

/// Words of a text, perhaps with a full stop behind them.
fn text(draw: &mut Draw, families: &[&[&str]], most: usize) -> Vec<Word> {
    let stop = families.len() - 1;
    let n = draw.size(0, most);
    let mut words: Vec<Word> = (0..n)
        .map(|_| {
            let family = draw.size(0, stop - 1);
            (family, draw.size(0, families[family].len() - 1))
        })
        .collect();
    if n > 0 && draw.chance(0.3) {
        words.push((stop, 0));
    }
    words
}

/// As it is written: a capital first, a full stop at the end at its word, unless that has one of
/// its own, and of an odd number of words the second and the third with a hyphen between them.
fn written(lexicon: &Lexicon, words: &[Word]) -> String {
    let names: Vec<&str> = words.iter().map(|word| lexicon.word(*word)).collect();
    let mut text = names.join(" ");
    if let [first, second, third, ..] = names[..]
        && names.len() % 2 == 1
        && !second.ends_with('.')
        && third != "."
    {
        let at = first.len() + 1 + second.len();
        text.replace_range(at..=at, "-");
    }
    let text = match text.strip_suffix(" .") {
        Some(words) if !words.ends_with('.') => format!("{words}."),
        _ => text,
    };
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// The counts of the reference of the highest score; none where there is not one of each, or where
/// rounding decides which reference that is.
fn of_best(lexicon: &Lexicon, hypothesis: &[Word], references: &[Vec<Word>]) -> Option<Counts> {
    let all: Option<Vec<Counts>> = (references.iter())
        .map(|r| best(lexicon, hypothesis, r).map(Counts::without_the_only_chunk))
        .collect();
    let all = all?;
    let mut highest = *all.first()?;
    for counts in &all[1..] {
        let [score, other] = [counts, &highest].map(|counts| counts.score(ALPHA));
        if score > 0.0 && (score - other).abs() < 1e-12 && *counts != highest {
            return None;
        }
        if score > other {
            highest = *counts;
        }
    }
    Some(highest)
}

/// Texts of these words are scored as the definition does it. In the control precision and recall
/// change places in the harmonic mean.
fn scored(case: &mut Case, lexicon: &Lexicon, files: &Files) -> Result<()> {
    let (mut hypotheses, mut references) = (Vec::new(), Vec::new());
    let mut sum = Counts::default();
    let drawn = |draw: &mut Draw| text(draw, lexicon.families, 7);
    for _ in 0..case.draw.size(1, 3) {
        let own: Vec<Vec<Word>> = (0..case.draw.size(1, 3))
            .map(|_| drawn(&mut case.draw))
            .collect();
        // a reference as it is (which has a rule of its own) or another text, and its parts
        // exchanged at times
        let mut hypothesis = match case.draw.chance(0.5) {
            true => own[case.draw.size(0, own.len() - 1)].clone(),
            false => drawn(&mut case.draw),
        };
        if case.draw.chance(0.3) {
            let places = hypothesis.len().max(1);
            hypothesis.rotate_left(case.draw.size(0, places - 1));
        }
        let counts = loop {
            match of_best(lexicon, &hypothesis, &own) {
                Some(counts) => break counts,
                None => hypothesis.pop(),
            };
        };
        sum.add(&counts);
        hypotheses.push(written(lexicon, &hypothesis));
        references.push(own.iter().map(|r| written(lexicon, r)).collect::<Vec<_>>());
    }
    let found = given(corpus_meteor(&hypotheses, &references, files))?;
    let expected = sum.score(case.or_control(ALPHA, 1.0 - ALPHA));
    let why = "32 u: sums of weights, three quotients and a power, of a figure below 1";
    let tolerance = Tolerance::stated(32.0 * UNIT_ROUNDOFF_F64, why);
    case.close(found.score, expected, &tolerance, || {
        format!("{hypotheses:?} against {references:?}")
    });
    Ok(())
}

/// METEOR is its definition over every alignment of short texts.
pub(super) fn meteor(case: &mut Case) -> Result<()> {
    scored(case, &STEMS, &Files::default())
}

/// So it is with synonyms, paraphrases and function words.
pub(super) fn synonyms(case: &mut Case) -> Result<()> {
    let dir = crate::scratch::folder()?;
    let (jar, table) = (dir.path().join("meteor.jar"), dir.path().join("table.gz"));
    write(&jar, &table).map_err(io::Error::other)?;
    let files = Files {
        jar: Some(jar),
        paraphrases: Some(table),
    };
    scored(case, &SYNONYMS, &files)
}

fn write(jar: &Path, table: &Path) -> zip::result::ZipResult<()> {
    let mut members = zip::ZipWriter::new(File::create(jar)?);
    for (name, text) in JAR {
        members.start_file(name, zip::write::SimpleFileOptions::default())?;
        members.write_all(text.as_bytes())?;
    }
    members.finish()?;
    let mut packed = flate2::write::GzEncoder::new(File::create(table)?, Default::default());
    packed.write_all(TABLE.as_bytes())?;
    packed.finish()?;
    Ok(())
}
