//! TER against published scores, against sacrebleu's numbers, and by hand.

use crate::common;
use inducer_datasets::metrics::ter::{Algorithm, Counts, corpus_ter, counts, trans};
use proptest::prelude::*;
use std::collections::HashMap;

#[test]
fn published_webnlg_scores_come_out_to_the_last_digit() {
    let Some(dir) = common::shared("webnlg_scores") else {
        return;
    };
    let published = std::fs::read_to_string(dir.join("published.csv")).unwrap();
    assert_eq!(published.lines().count(), 10);
    for row in published.lines().skip(1) {
        let f: Vec<&str> = row.split(',').collect();
        let system = match f[0] {
            "melbourne" => "GKB_Unimelb",
            "baseline" => "Baseline",
            _ => "ADAPT_Centre",
        };
        let load = |name: String| trans::load(&dir.join(name)).unwrap();
        let hyps = load(format!("systems/{system}_{}_ter.txt", f[1]));
        let refs: HashMap<_, _> = load(format!("references/gold-{}-reference-3ref.ter", f[1]))
            .into_iter()
            .collect();
        let (hyps, refs): (Vec<String>, Vec<Vec<String>>) = hyps
            .into_iter()
            .map(|(id, h)| (h[0].clone(), refs[&id].clone()))
            .unzip();
        let score = corpus_ter(&hyps, &refs, Algorithm::Tercom).unwrap().score;
        let expected: f64 = f[4].parse().unwrap();
        // a sum of n means, each rounded
        let bound = expected * hyps.len() as f64 * f64::EPSILON;
        assert!((score - expected).abs() <= bound, "{row}: {score}");
    }
}

#[test]
fn random_corpora_score_as_in_sacrebleu() {
    for (i, corpus) in common::sacrebleu().iter().enumerate() {
        let ter = corpus_ter(&corpus.h, &corpus.r, Algorithm::Sacrebleu).unwrap();
        // a sum of up to 3 means, a quotient, a product: at most 8 roundings on either side
        let bound = 16.0 * f64::EPSILON * corpus.ter;
        assert!(
            (100.0 * ter.score - corpus.ter).abs() <= bound,
            "corpus {i}: {} instead of {}",
            100.0 * ter.score,
            corpus.ter
        );
    }
}

#[test]
fn the_two_searches_differ_where_the_thousandth_candidate_is_met() {
    let Some(dir) = common::shared("webnlg_scores") else {
        return;
    };
    let hyps = trans::load(&dir.join("systems/GKB_Unimelb_all-cat_ter.txt")).unwrap();
    let refs = trans::load(&dir.join("references/gold-all-cat-reference-3ref.ter")).unwrap();
    let (id, hyp) = &hyps[944];
    let refs = &refs.iter().find(|(i, _)| i == id).unwrap().1;
    let edits = |a| Counts::of(&hyp[0], refs, a).edits();
    assert_eq!(
        (edits(Algorithm::Tercom), edits(Algorithm::Sacrebleu)),
        (16, 46)
    );
}

#[test]
fn edits_are_counted_by_kind() {
    let of = |h: &str, r: &str| {
        let c = Counts::of(h, &[r], Algorithm::Tercom);
        (c.insertions, c.deletions, c.substitutions, c.shifts)
    };
    assert_eq!(of("a b c", "a b c"), (0, 0, 0, 0));
    assert_eq!(of("a x c", "a b c"), (0, 0, 1, 0));
    assert_eq!(of("a b c d", "a b c"), (1, 0, 0, 0));
    assert_eq!(of("a", "a b c"), (0, 2, 0, 0));
    assert_eq!(of("d e a b c", "a b c d e"), (0, 0, 0, 1));
    assert_eq!(of("A B", "a b"), (0, 0, 0, 0));
}

#[test]
fn the_fewest_edits_meet_the_mean_length() {
    let c = Counts::of("a b", &["x y z w", "a b c"], Algorithm::Tercom);
    assert_eq!((c.edits(), c.reference_length), (1, 3.5));
    let none = Counts::of("a b", &[""], Algorithm::Tercom);
    assert_eq!((none.edits(), none.score().score), (2, 1.0));
    assert_eq!(Counts::of("", &[""], Algorithm::Tercom).score().score, 0.0);
    assert_eq!(
        Counts::of("", &["a b"], Algorithm::Tercom).score().score,
        1.0
    );
    assert!(corpus_ter(&["a".into()], &[], Algorithm::Tercom).is_err());
}

#[test]
fn a_line_without_an_id_is_named() {
    let e = trans::parse("x.ter".as_ref(), b"a (id1)\nno id\n").unwrap_err();
    assert_eq!(
        e.to_string(),
        "x.ter:2: field `id`: expected a text and an id in parentheses, found a line without one"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_perfect_output_has_no_edits_and_none_has_more_than_all_words(
        hyp in "[a-d]( [a-d]){0,30}", reference in "[a-d]( [a-d]){0,30}"
    ) {
        for algorithm in [Algorithm::Tercom, Algorithm::Sacrebleu] {
            prop_assert_eq!(Counts::of(&hyp, &[&hyp], algorithm).edits(), 0);
            let words = |t: &str| t.split(' ').count();
            let edits = Counts::of(&hyp, &[&reference], algorithm).edits();
            prop_assert!(edits <= words(&hyp).max(words(&reference)));
            prop_assert!(edits >= words(&hyp).abs_diff(words(&reference)));
        }
    }

    #[test]
    fn any_text_and_any_file_is_read_without_a_panic(
        hyps in prop::collection::vec(".*", 1..4),
        reference in ".*",
        bytes in any::<Vec<u8>>(),
    ) {
        let refs: Vec<Vec<String>> = hyps.iter().map(|_| vec![reference.clone()]).collect();
        let mut sum = Counts::default();
        counts(&hyps, &refs, Algorithm::Tercom).unwrap().into_iter().for_each(|c| sum += c);
        prop_assert_eq!(sum.score(), corpus_ter(&hyps, &refs, Algorithm::Tercom).unwrap());
        let _ = trans::parse("x".as_ref(), &bytes);
    }
}
