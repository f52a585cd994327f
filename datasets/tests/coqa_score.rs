//! CoQA's scores by hand: the script's rules on cases small enough to check.
use approx::assert_abs_diff_eq;
use inducer_datasets::metrics::coqa::{Counts, coqa, exact_match, f1, normalise};
use proptest::prelude::*;

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

#[test]
fn texts_are_compared_without_case_punctuation_articles_and_extra_space() {
    assert_eq!(normalise("The  Cat,\n a DOG; an apple!"), "cat dog apple");
    // punctuation goes before articles: what it separated grows together
    assert_eq!(normalise("the-cat"), "thecat");
    assert_eq!(normalise("“a” b"), "“ ” b");
    assert_eq!(normalise("banana the_a theé"), "banana thea theé");
    assert!(exact_match("Yes.", "yes") && !exact_match("yes", "no"));
}

#[test]
fn f1_counts_repeated_words_once_for_each_occurrence() {
    // two of three words common with two words: P = 2/3, R = 1
    assert_abs_diff_eq!(f1("red red blue", "red blue"), 0.8, epsilon = 1e-15);
    assert_eq!(f1("red", "blue"), 0.0);
    assert_eq!(f1("red red", "red red"), 1.0);
}

#[test]
fn each_of_several_references_is_left_out_in_turn() {
    // only the first of four matches: left out once of four times
    let c = Counts::of("white", &["white", "black", "grey", "red"]);
    assert_eq!((c.exact_match, c.f1), (0.75, 0.75));
    // matched by two: never both left out
    assert_eq!(
        Counts::of("white", &["white", "White.", "grey"]).exact_match,
        1.0
    );
    // one reference is never left out
    assert_eq!(Counts::of("white", &["white"]).exact_match, 1.0);
    // F1 of 1, 2/3, 0 with three references: (2/3 + 1 + 1) / 3
    let c = Counts::of("white cat", &["white cat", "cat", "dog"]);
    assert_abs_diff_eq!(c.f1, (2.0 / 3.0 + 2.0) / 3.0, epsilon = 1e-15);
    assert_eq!(Counts::of::<&str>("x", &[]).f1, 0.0);
}

#[test]
fn domains_are_means_of_their_own_questions() {
    let answers = owned(&["yes", "no", "a cat"]);
    let references = vec![owned(&["yes"]), owned(&["yes"]), owned(&["cat"])];
    let s = coqa(&answers, &references, &owned(&["race", "race", "cnn"])).unwrap();
    assert_eq!(
        (s.domains["race"].exact_match, s.domains["race"].questions),
        (50.0, 2)
    );
    assert_eq!((s.domains["cnn"].f1, s.overall.questions), (100.0, 3));
    assert_abs_diff_eq!(s.overall.exact_match, 200.0 / 3.0, epsilon = 1e-12);
    assert!(coqa(&answers, &references, &owned(&["race"])).is_err());
    assert!(coqa(&answers, &references[1..], &[]).is_err());
    assert!(coqa(&answers, &references, &[]).unwrap().domains.is_empty());
}

proptest! {
    #[test]
    fn any_texts_score_between_zero_and_one_and_alike_both_ways(a in ".*", b in ".*") {
        let (x, y) = (f1(&a, &b), f1(&b, &a));
        prop_assert!((0.0..=1.0).contains(&x));
        prop_assert!((x - y).abs() <= 4.0 * f64::EPSILON);
        prop_assert_eq!(f1(&a, &a), 1.0);
        prop_assert!(!exact_match(&a, &b) || x == 1.0);
    }
}
