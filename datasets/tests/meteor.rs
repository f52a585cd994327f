//! METEOR against the published figures, where its resources are there, and by hand.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use crate::common;
use approx::assert_abs_diff_eq;
use inducer_datasets::metrics::meteor::{Files, corpus_meteor};
use proptest::prelude::*;
use std::io::Write;

fn lines(path: std::path::PathBuf) -> Vec<String> {
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.strip_suffix('\n')
        .unwrap_or(&text)
        .split('\n')
        .map(str::to_owned)
        .collect()
}

/// `METEOR_JAR` and `METEOR_PARAPHRASES` name the user's `meteor-1.5.jar` and `paraphrase-en.gz`.
#[test]
fn published_webnlg_scores_come_out_to_twelve_decimals() {
    let (Some(jar), Some(table)) = (
        std::env::var_os("METEOR_JAR"),
        std::env::var_os("METEOR_PARAPHRASES"),
    ) else {
        eprintln!("not run: METEOR_JAR and METEOR_PARAPHRASES are not set");
        return;
    };
    let files = Files {
        jar: Some(jar.into()),
        paraphrases: Some(table.into()),
    };
    let Some(dir) = common::shared("webnlg_scores") else {
        return;
    };
    for row in &lines(dir.join("published.csv"))[1..] {
        let f: Vec<&str> = row.split(',').collect();
        let system = match f[0] {
            "melbourne" => "GKB_Unimelb",
            "baseline" => "Baseline",
            _ => "ADAPT_Centre",
        };
        let hyps = lines(dir.join(format!("systems/{system}_{}.txt", f[1])));
        let refs = lines(dir.join(format!("references/gold-{}-reference-3ref.meteor", f[1])));
        let refs: Vec<Vec<String>> = refs.chunks(3).map(<[String]>::to_vec).collect();
        let m = corpus_meteor(&hyps, &refs, &files).unwrap();
        let published: f64 = f[3].parse().unwrap();
        assert!((m.score - published).abs() < 1e-12, "{row}: {}", m.score);
        assert_eq!(m.matchers, ["exact", "stem", "synonym", "paraphrase"]);
    }
}

/// What `goldens/make_meteor.py` made: resources of our own, and the Java program's scores with
/// them.
#[derive(serde::Deserialize)]
struct Golden {
    function_words: String,
    prefixes: String,
    synsets: String,
    exceptions: String,
    paraphrases: String,
    corpora: Vec<Corpus>,
}

#[derive(serde::Deserialize)]
struct Corpus {
    h: Vec<String>,
    r: Vec<Vec<String>>,
    meteor: f64,
}

impl Golden {
    /// The resources as files, where METEOR keeps them.
    fn files(&self, dir: &std::path::Path) -> Files {
        let (jar, table) = (dir.join("small.jar"), dir.join("paraphrase.gz"));
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&jar).unwrap());
        for (name, text) in [
            ("function/english.words", &self.function_words),
            ("nonbreaking/english.prefixes", &self.prefixes),
            ("synonym/english.synsets", &self.synsets),
            ("synonym/english.exceptions", &self.exceptions),
        ] {
            let options = zip::write::SimpleFileOptions::default();
            zip.start_file(name, options).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        let file = std::fs::File::create(&table).unwrap();
        let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        file.write_all(self.paraphrases.as_bytes()).unwrap();
        file.finish().unwrap();
        Files {
            jar: Some(jar),
            paraphrases: Some(table),
        }
    }
}

/// Whole numbers enter both; precision, recall, penalty and score round some thirty times, the
/// power twice more.
#[test]
fn random_corpora_score_as_in_java_with_every_matcher() {
    let golden: Golden = serde_json::from_str(include_str!("goldens/meteor.json")).unwrap();
    assert_eq!(golden.corpora.len(), 40);
    let dir = tempfile::tempdir().unwrap();
    let files = golden.files(dir.path());
    let mut without = 0;
    for (i, c) in golden.corpora.iter().enumerate() {
        let ours = corpus_meteor(&c.h, &c.r, &files).unwrap().score;
        let bound = 64.0 * f64::EPSILON;
        assert!(
            (ours - c.meteor).abs() <= bound,
            "corpus {i}: {ours} instead of {}",
            c.meteor
        );
        let plain = corpus_meteor(&c.h, &c.r, &Files::default()).unwrap().score;
        without += usize::from((plain - c.meteor).abs() > bound);
    }
    assert!(
        without >= 30,
        "the resources matter in {without} of 40 only"
    );
}

fn score(hypothesis: &str, references: &[&str]) -> f64 {
    let references = references.iter().map(|r| (*r).to_owned()).collect();
    corpus_meteor(&[hypothesis.to_owned()], &[references], &Files::default())
        .map_or(f64::NAN, |m| m.score)
}

#[test]
fn stems_weigh_less_than_words_and_order_counts() {
    // P = R = (1 + 0.6)/2, all in one run: no penalty
    assert_abs_diff_eq!(score("the cat", &["the cats"]), 0.8, epsilon = 1e-15);
    // P = R = 1, two runs of four matches: 1 − 0.6 · 0.5^0.2
    let by_hand = 1.0 - 0.6 * 0.5f64.powf(0.2);
    let two_runs = score("red cat big dog", &["big dog red cat"]);
    assert_abs_diff_eq!(two_runs, by_hand, epsilon = 1e-15);
    // the better of two references
    assert_eq!(score("red cat", &["blue dog", "red cat"]), 1.0);
    assert_eq!(
        (score("red", &["blue"]), score("", &[""]), score("x", &[])),
        (0.0, 0.0, 0.0)
    );
}

#[test]
fn punctuation_case_dashes_and_contractions_are_normalised() {
    assert_eq!(
        score(
            "The U.S.-based firm's 1,000 cats...",
            &["the US based firm's 1,000 cats ..."]
        ),
        1.0
    );
    assert_eq!(score("He said ''no'' .", &["he said “no”."]), 1.0);
    assert!(score("3,5", &["3 , 5"]) < 1.0);
}

#[test]
fn a_missing_jar_is_named() {
    let files = Files {
        jar: Some("no.jar".into()),
        paraphrases: None,
    };
    let e = corpus_meteor(&["a".into()], &[vec![]], &files)
        .unwrap_err()
        .to_string();
    assert!(e.starts_with("no.jar: "), "{e}");
    assert!(corpus_meteor(&["a".into()], &[], &Files::default()).is_err());
}

/// The ways on from a path are as many as the matches: a path for each of them took two gigabytes
/// of this text.
#[test]
fn a_text_of_one_word_again_and_again_is_aligned_in_little_room() {
    let text = "a ".repeat(700);
    assert_eq!(score(&text, &[&text]), 1.0);
    let shorter = "a ".repeat(350);
    assert!((0.5..1.0).contains(&score(&text, &[&shorter])));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_texts_score_between_zero_and_one(
        a in ".*",
        b in ".*",
        c in "[a-c]( [a-c]){0,12}",
        d in "[a-c]( [a-c]){0,12}",
    ) {
        prop_assert!((0.0..=1.0).contains(&score(&a, &[&b])));
        let s = score(&c, &[&d]);
        prop_assert!((0.0..=1.0).contains(&s) && score(&c, &[&d, &c]) == 1.0);
    }
}
