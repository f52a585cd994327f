//! BLEU against published scores, against other software's goldens, and against its definition.

use crate::common;
use inducer_datasets::metrics::bleu::{Counts, corpus_bleu, corpus_bleu_13a, counts};
use inducer_datasets::metrics::tokenize::mteval_13a;
use proptest::prelude::*;

fn lines(path: std::path::PathBuf) -> Vec<String> {
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.strip_suffix('\n')
        .unwrap_or(&text)
        .split('\n')
        .map(str::to_owned)
        .collect()
}

#[test]
fn published_webnlg_scores_come_out_to_two_decimals() {
    let Some(dir) = common::shared("webnlg_scores") else {
        return;
    };
    let published = lines(dir.join("published.csv"));
    assert_eq!(published.len(), 10);
    for row in &published[1..] {
        let f: Vec<&str> = row.split(',').collect();
        let system = match f[0] {
            "melbourne" => "GKB_Unimelb",
            "baseline" => "Baseline",
            _ => "ADAPT_Centre",
        };
        let hypotheses = lines(dir.join(format!("systems/{system}_{}.txt", f[1])));
        let sets: Vec<Vec<String>> = (0..3)
            .map(|k| lines(dir.join(format!("references/gold-{}-reference{k}.lex", f[1]))))
            .collect();
        let references: Vec<Vec<String>> = (0..hypotheses.len())
            .map(|i| {
                sets.iter()
                    .map(|s| s.get(i).cloned().unwrap_or_default())
                    .collect()
            })
            .collect();
        let score = corpus_bleu(&hypotheses, &references, true).unwrap().score;
        assert_eq!(format!("{score:.2}"), f[2], "{row}");
    }
}

/// The same integers enter both; logarithm, mean, exponential and scaling round some ten times
/// each.
#[test]
fn random_corpora_score_as_in_sacrebleu() {
    let mut above_zero = 0;
    for (i, c) in common::sacrebleu().iter().enumerate() {
        let scores = [
            (c.bleu, corpus_bleu_13a(&c.h, &c.r, false)),
            (c.lower, corpus_bleu_13a(&c.h, &c.r, true)),
            (c.plain, corpus_bleu(&c.h, &c.r, false)),
        ];
        for (k, (expected, ours)) in scores.into_iter().enumerate() {
            let (ours, bound) = (ours.unwrap().score, 100.0 * 32.0 * f64::EPSILON);
            assert!(
                (ours - expected).abs() < bound,
                "corpus {i}, score {k}: {ours} instead of {expected}"
            );
            above_zero += usize::from(expected > 0.0);
        }
    }
    assert!(
        above_zero > 300,
        "only {above_zero} of 600 scores say anything"
    );
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

#[test]
fn the_closest_reference_decides_and_the_shorter_of_two() {
    let of = |refs: &[&str]| Counts::of("a b c d", refs, false).reference;
    assert_eq!(of(&["a b", "a b c d e f"]), 2);
    assert_eq!(of(&["a b c d e f", "a b"]), 2);
    assert_eq!(of(&["a b c", "a b c d e", "a"]), 3);
    assert_eq!(of(&["a", ""]), 1);
}

#[test]
fn a_missing_reference_is_an_empty_one() {
    let hyp = texts(&["a", "a b c d"]);
    let refs = vec![texts(&["a b c"]), texts(&["a b c d", "a b"])];
    // the one-word hypothesis is nearer to the empty reference (distance 1) than to the one of
    // three words (2)
    assert_eq!(corpus_bleu(&hyp, &refs, false).unwrap().reference_length, 4);
    let filled = vec![texts(&["a b c", ""]), refs[1].clone()];
    assert_eq!(
        corpus_bleu(&hyp, &refs, false).unwrap(),
        corpus_bleu(&hyp, &filled, false).unwrap()
    );
}

#[test]
fn counts_are_clipped_at_the_best_single_reference() {
    let c = Counts::of(
        "the the the the the the the",
        &["the cat is on the mat", "there is a cat on the mat"],
        false,
    );
    assert_eq!((c.matched[0], c.total[0]), (2, 7));
}

#[test]
fn lower_case_is_ascii_s_and_white_space_is_perl_s() {
    assert_eq!(Counts::of("THE\u{b}Ä", &["the ä"], true).matched[0], 1);
    assert_eq!(Counts::of("a\u{a0}b", &["a b"], true).total[0], 1);
}

#[test]
fn nothing_in_common_is_zero_and_unpaired_lists_are_refused() {
    assert_eq!(
        corpus_bleu(&texts(&["a b c d"]), &[texts(&["e f g h"])], false)
            .unwrap()
            .score,
        0.0
    );
    assert_eq!(
        corpus_bleu(&texts(&[""]), &[texts(&["e"])], false)
            .unwrap()
            .score,
        0.0
    );
    assert_eq!(corpus_bleu(&[], &[], false).unwrap().score, 0.0);
    assert!(corpus_bleu(&texts(&["a"]), &[], false).is_err());
}

proptest! {
    #[test]
    fn a_reference_repeated_scores_a_hundred_and_nothing_exceeds_it(
        hyps in prop::collection::vec("[a-c]( [a-c]){3,8}", 1..6), other in "[a-c]( [a-c]){0,8}"
    ) {
        let exact: Vec<Vec<String>> = hyps.iter().map(|h| vec![h.clone()]).collect();
        prop_assert!((corpus_bleu(&hyps, &exact, false).unwrap().score - 100.0).abs() < 1e-9);
        let loose: Vec<Vec<String>> = hyps.iter().map(|_| vec![other.clone()]).collect();
        let b = corpus_bleu(&hyps, &loose, false).unwrap();
        prop_assert!((0.0..=100.0 + 1e-9).contains(&b.score));
        prop_assert!(b.precisions.iter().all(|p| (0.0..=100.0).contains(p)));
    }

    #[test]
    fn tokenization_never_fails_and_leaves_single_spaces(text in ".*") {
        let out = mteval_13a(&text);
        prop_assert!(out.split(' ').all(|w| !w.is_empty() || out.is_empty()));
    }

    #[test]
    fn the_corpus_is_the_sum_of_its_sentences(
        hyps in prop::collection::vec(".*", 1..5),
        reference in ".*",
    ) {
        let refs: Vec<Vec<String>> = hyps.iter().map(|_| vec![reference.clone()]).collect();
        let mut sum = Counts::default();
        counts(&hyps, &refs, true).unwrap().into_iter().for_each(|c| sum += c);
        prop_assert_eq!(sum.score(), corpus_bleu(&hyps, &refs, true).unwrap());
    }
}
