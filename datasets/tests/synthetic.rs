//! The embedded data: valid, reproducible, and such that a test entity has to be copied.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use std::collections::BTreeSet;

use inducer_datasets::synthetic::{SyntheticConfig, pretraining_text, write};
use inducer_datasets::{
    Example, Input, Layout, Malformed, Splits, Surface, Task, Tokenizer, Triple, webnlg,
};

fn data(config: SyntheticConfig) -> Splits {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), config).unwrap();
    webnlg::load(dir.path(), Malformed::Refuse).unwrap()
}

fn triples(e: &Example) -> &[Triple] {
    match &e.input {
        Input::Triples(t) => t,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_seed_gives_the_same_data_and_another_seed_others() {
    let small = SyntheticConfig {
        seed: 5,
        train: 100,
        dev: 20,
        test: 40,
    };
    let first = data(small);
    assert_eq!(first.fingerprint, data(small).fingerprint);
    assert_ne!(
        first.fingerprint,
        data(SyntheticConfig { seed: 6, ..small }).fingerprint
    );
}

#[test]
fn the_default_has_the_documented_shape() {
    let d = data(SyntheticConfig::default());
    assert_eq!((d.train.len(), d.dev.len(), d.test.len()), (1200, 150, 300));
    assert_eq!(d.test.iter().filter(|e| !e.seen).count(), 150);
    let sizes: BTreeSet<usize> = d.train.iter().map(|e| triples(e).len()).collect();
    let texts: BTreeSet<usize> = d.train.iter().map(|e| e.references.len()).collect();
    assert_eq!((sizes, texts), ((1..=7).collect(), (1..=3).collect()));
    // a reference that is missing would count as an empty one
    assert!(d.test.iter().all(|e| e.references.len() == 3));
    assert_eq!(d.skipped, Default::default());
}

#[test]
fn every_object_is_named_in_every_text_and_every_subject_somewhere() {
    let d = data(SyntheticConfig {
        seed: 7,
        train: 400,
        dev: 10,
        test: 200,
    });
    for e in d.train.iter().chain(&d.test) {
        for text in &e.references {
            let plain = text.to_lowercase();
            for name in triples(e).iter().flat_map(|t| [&t.object, &t.subject]) {
                assert!(
                    plain.contains(&name.replace('_', " ").to_lowercase()),
                    "{text} lacks {name}"
                );
            }
        }
    }
}

#[test]
fn what_goes_with_what_in_the_test_part_has_to_be_copied() {
    let d = data(SyntheticConfig::default());
    let pairs = |part: &[Example]| {
        let of = |t: &Triple| (t.subject.clone(), t.object.clone());
        part.iter()
            .flat_map(triples)
            .map(of)
            .collect::<BTreeSet<_>>()
    };
    let (train, test) = (pairs(&d.train), pairs(&d.test));
    let known = test.intersection(&train).count();
    assert!(known * 50 < test.len(), "{known} of {}", test.len());
    let unseen: BTreeSet<&str> = d
        .test
        .iter()
        .filter(|e| !e.seen)
        .map(|e| e.category.as_str())
        .collect();
    assert_eq!(
        unseen.into_iter().collect::<Vec<_>>(),
        ["Artist", "CelestialBody", "MeanOfTransportation"]
    );
}

#[test]
fn prose_has_no_markers_and_teaches_names_by_repeating_them() {
    let text = pretraining_text(1, 200_000);
    assert!(!text.contains(['<', '_', '|']));
    let again = |p: &&str| {
        let words: Vec<&str> = p
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| w.len() > 4)
            .collect();
        let named = |w: &&&str| {
            w.starts_with(char::is_uppercase) && words.iter().filter(|v| v == w).count() > 1
        };
        words.iter().filter(named).count() > 1
    };
    let paragraphs: Vec<&str> = text.split("\n\n").collect();
    let share = paragraphs.iter().filter(|p| again(p)).count() as f64 / paragraphs.len() as f64;
    assert!(share > 0.6, "{share}");
}

#[test]
fn rows_are_short_with_a_small_vocabulary() {
    let t = Tokenizer::train(pretraining_text(1, 1_000_000).split("\n\n"), 1024).unwrap();
    let d = data(SyntheticConfig::default());
    for (surface, most) in [(Surface::Plain, 90.0), (Surface::Raw, 100.0)] {
        let layout = Layout::new(&t, Task::WebNlg, 1024, 512)
            .unwrap()
            .with_surface(surface);
        let lengths: Vec<usize> = d
            .train
            .iter()
            .flat_map(|e| layout.training_rows(e).unwrap())
            .map(|r| r.ids.len())
            .collect();
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        let longest = lengths.iter().max().copied().unwrap_or_default();
        println!(
            "{surface:?}: {} rows, mean {mean:.1}, longest {longest}",
            lengths.len()
        );
        assert!(
            mean < most && longest < 256,
            "{surface:?}: mean {mean}, longest {longest}"
        );
    }
}
