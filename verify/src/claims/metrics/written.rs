//! BLEU of texts as they are written: WebNLG's preparation and sacrebleu's tokens and smoothing.
//! The words are known before they are written out, so that nothing here takes a text apart.

use super::bleu::{Pair, Sums, rounded};
use super::given;
use crate::cases::Draw;
use crate::{Case, Result};
use inducer_datasets::metrics::bleu::{Counts, Smoothing, counts_13a};
use inducer_datasets::metrics::meteor::Files;
use inducer_datasets::metrics::webnlg;
use inducer_datasets::{Example, Input};

/// A piece of a text between spaces, and its tokens.
type Piece = (&'static str, &'static [&'static str]);

/// Pieces as the 2017 challenge prepares them: what is no letter, digit or underscore stands alone,
/// letters are small and ASCII's.
const CHALLENGE: [Piece; 9] = [
    ("The", &["the"]),
    ("ÅRHUS", &["arhus"]),
    ("Arhus", &["arhus"]),
    ("runway's", &["runway", "'", "s"]),
    ("18L/36R.", &["18l", "/", "36r", "."]),
    ("São_Paulo,", &["sao_paulo", ","]),
    ("is", &["is"]),
    ("(USA)", &["(", "usa", ")"]),
    ("3.5", &["3", ".", "5"]),
];

/// Pieces as mteval-v13a takes them apart: symbols stand alone, full stops and commas unless they
/// stand between digits, a dash behind a digit; letters keep their case.
const MTEVAL: [Piece; 9] = [
    ("The", &["The"]),
    ("the", &["the"]),
    ("$1,000.5", &["$", "1,000.5"]),
    ("1980-84", &["1980", "-", "84"]),
    ("well-known", &["well-known"]),
    ("it's", &["it's"]),
    ("R&amp;D", &["R", "&", "D"]),
    ("(cat,", &["(", "cat", ","]),
    ("7.", &["7", "."]),
];

/// A text as it is written, and its tokens.
fn text(draw: &mut Draw, pieces: &[Piece]) -> (String, Vec<&'static str>) {
    let (mut written, mut tokens) = (String::new(), Vec::new());
    for (piece, own) in pieces {
        written += piece;
        written += draw.pick(&[" ", "  "]);
        tokens.extend_from_slice(own);
    }
    (written, tokens)
}

/// Pieces of a text.
fn drawn(draw: &mut Draw, pieces: &[Piece]) -> Vec<Piece> {
    (0..draw.size(0, 9)).map(|_| draw.pick(pieces)).collect()
}

/// A corpus of texts and their references, written, and as tokens.
type Corpus = (Vec<String>, Vec<Vec<String>>, Vec<Pair<&'static str>>);

/// `references` are the least and the most that a text has. Few different pieces, so that n-grams
/// repeat; half of the texts are a part of their first reference, which an empty one may be closer
/// to.
fn corpus(draw: &mut Draw, all: &[Piece], references: (usize, usize)) -> Corpus {
    let (mut outputs, mut texts, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    let first = draw.size(0, all.len() - 3);
    let pieces = &all[first..first + 3];
    for _ in 0..draw.size(1, 4) {
        let count = draw.size(references.0, references.1);
        let own: Vec<Vec<Piece>> = (0..count).map(|_| drawn(draw, pieces)).collect();
        let output = match own.first().filter(|_| draw.chance(0.5)) {
            Some(whole) => whole[..draw.size(0, whole.len())].to_vec(),
            None => drawn(draw, pieces),
        };
        let (written, tokens) = text(draw, &output);
        let own = own.iter().map(|pieces| text(draw, pieces));
        let (own_written, own_tokens) = own.unzip();
        outputs.push(written);
        texts.push(own_written);
        pairs.push((tokens, own_tokens));
    }
    (outputs, texts, pairs)
}

/// WebNLG's BLEU is multi-bleu's over three references in the challenge's tokens: a fourth text
/// does not count, and a missing one is a reference of length 0; the other figure takes the
/// references there are. In the control the two figures change places.
pub(super) fn challenge(case: &mut Case) -> Result<()> {
    let (outputs, texts, pairs) = corpus(&mut case.draw, &CHALLENGE, (1, 4));
    let example = |(i, references): (usize, &Vec<String>)| Example {
        position: i + 1,
        category: "Food".into(),
        seen: true,
        input: Input::Triples(Vec::new()),
        references: references.clone(),
        class: None,
        id: None,
    };
    let examples: Vec<Example> = texts.iter().enumerate().map(example).collect();
    let found = given(webnlg::scores(&outputs, &examples, &Files::default()))?;
    let with = |empty: bool| {
        let mut pairs = pairs.clone();
        for (_, references) in &mut pairs {
            references.truncate(3);
            while empty && references.len() < 3 {
                references.push(Vec::new());
            }
        }
        Sums::of(&pairs, false).plain()
    };
    for (name, found, empty) in [
        ("three references", found.bleu.all.score, !case.control),
        (
            "the references there are",
            found.bleu_without_empty.all.score,
            case.control,
        ),
    ] {
        let expected = with(empty);
        case.close(found, expected, &rounded(expected), || {
            format!("{name}: {outputs:?} against {texts:?}")
        });
    }
    Ok(())
}

/// BLEU of mteval-v13a's tokens is its definition without smoothing; with sacrebleu's exponential
/// smoothing, where the k-th precision without a match is 2^−k of one match; and with add-k, where
/// each precision from bigrams on has one match and one n-gram more. In the control the k-th has
/// half a match whatever k, and unigrams have one more too.
pub(super) fn smoothed(case: &mut Case) -> Result<()> {
    let (outputs, texts, pairs) = corpus(&mut case.draw, &MTEVAL, (0, 3));
    let mut counts = Counts::default();
    for own in given(counts_13a(&outputs, &texts, false))? {
        counts += own;
    }
    let sums = Sums::of(&pairs, false);
    let mut missed = 0;
    let exponential = [1, 2, 3, 4].map(|n| match (sums.matched[n - 1], sums.all[n - 1]) {
        (0, 1..) if sums.matched[0] > 0 => {
            missed += 1;
            0.5_f64.powi(case.or_control(missed, 1)) / sums.all[n - 1] as f64
        }
        _ => sums.precision(n),
    });
    let more = |n: usize| usize::from(n > 1 || case.control);
    let one_more = [1, 2, 3, 4].map(|n| match sums.all[n - 1] + more(n) {
        0 => 0.0,
        all => (sums.matched[n - 1] + more(n)) as f64 / all as f64,
    });
    for (smoothing, expected) in [
        (Smoothing::None, sums.plain()),
        (Smoothing::Exp, sums.score(exponential)),
        (Smoothing::AddOne, sums.score(one_more)),
    ] {
        let found = counts.smoothed(smoothing).score;
        case.close(found, expected, &rounded(expected), || {
            format!("{smoothing:?}: {outputs:?} against {texts:?}")
        });
    }
    Ok(())
}
