//! The generated conversations and tables: what the loader reads from them can be answered, and not
//! from the words alone.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use std::collections::{BTreeMap, BTreeSet};

use inducer_datasets::synthetic::{CoqaConfig, GlueConfig, write_coqa, write_mnli, write_sst2};
use inducer_datasets::{Example, Input, Malformed, Splits, Task, directory};

fn load(task: Task, write: impl Fn(&std::path::Path)) -> Splits {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    directory::load(task, dir.path(), Malformed::Refuse).unwrap()
}

fn conversations(config: CoqaConfig) -> Splits {
    load(Task::Coqa, |dir| write_coqa(dir, config).unwrap())
}

fn pairs(config: GlueConfig) -> Splits {
    load(Task::Mnli, |dir| write_mnli(dir, config).unwrap())
}

fn sentences(config: GlueConfig) -> Splits {
    load(Task::Sst2, |dir| write_sst2(dir, config).unwrap())
}

fn turn(e: &Example) -> (&str, &[(String, String)], &str) {
    match &e.input {
        Input::Conversation {
            passage,
            history,
            question,
        } => (passage, history, question),
        other => panic!("{other:?}"),
    }
}

/// A held-out part that is chosen row by row must not be of one class.
#[test]
fn every_part_of_the_sentences_has_both_classes_about_half_and_half() {
    let data = sentences(GlueConfig::default());
    for (name, part) in [
        ("train", &data.train),
        ("dev", &data.dev),
        ("test", &data.test),
    ] {
        let first = part[0].class;
        let same = part.iter().filter(|e| e.class == first).count();
        let share = same as f64 / part.len() as f64;
        assert!((0.4..0.6).contains(&share), "{name}: {share}");
    }
}

#[test]
fn seeds_decide_everything() {
    let small = CoqaConfig {
        train: 20,
        dev: 5,
        ..Default::default()
    };
    let glue = GlueConfig {
        train: 60,
        dev: 12,
        ..Default::default()
    };
    let other = GlueConfig { seed: 1, ..glue };
    assert_eq!(conversations(small), conversations(small));
    assert_ne!(
        conversations(small).fingerprint,
        conversations(CoqaConfig { seed: 1, ..small }).fingerprint
    );
    assert_eq!(pairs(glue), pairs(glue));
    assert_ne!(pairs(glue).fingerprint, pairs(other).fingerprint);
    assert_eq!(sentences(glue), sentences(glue));
    assert_ne!(sentences(glue).fingerprint, sentences(other).fingerprint);
}

#[test]
fn the_dial_sets_the_length_of_passages_and_nothing_else() {
    let mut previous = 0.0;
    for words in [30, 120, 480, 1920] {
        let d = conversations(CoqaConfig {
            train: 40,
            dev: 10,
            passage_words: words,
            ..Default::default()
        });
        assert_eq!(
            (d.train.len(), d.dev.len(), d.test.len()),
            (38 * 8, 2 * 8, 10 * 8)
        );
        let lengths: Vec<usize> = d
            .train
            .iter()
            .map(|e| turn(e).0.split(' ').count())
            .collect();
        assert!(
            lengths.iter().all(|n| *n >= words),
            "{words}: {:?}",
            lengths.iter().min()
        );
        // the last thing told adds at most its five facts, of some fifteen words each
        assert!(
            lengths.iter().all(|n| *n < words.max(60) + 75),
            "{words}: {:?}",
            lengths.iter().max()
        );
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        assert!(mean > previous);
        previous = mean;
    }
    // a range: short and long ones in one file
    let d = conversations(CoqaConfig {
        train: 60,
        dev: 10,
        passage_words: 30,
        longest_passage_words: Some(480),
        ..Default::default()
    });
    let lengths: Vec<usize> = d
        .train
        .iter()
        .map(|e| turn(e).0.split(' ').count())
        .collect();
    let share = |of: &dyn Fn(usize) -> bool| {
        lengths.iter().filter(|n| of(**n)).count() as f64 / lengths.len() as f64
    };
    assert!(lengths.iter().all(|n| (30..480 + 75).contains(n)));
    assert!(share(&|n| n < 120) > 0.2 && share(&|n| n > 240) > 0.1);
}

#[test]
fn at_several_lengths_the_conversation_is_the_same_and_each_passage_holds_the_one_before() {
    let config = CoqaConfig {
        train: 40,
        dev: 12,
        passage_words: 20,
        longest_passage_words: Some(160),
        lengths: 4,
        ..Default::default()
    };
    let d = conversations(config);
    let one = conversations(CoqaConfig {
        lengths: 1,
        ..config
    });
    assert_eq!(
        d.train, one.train,
        "what is trained on does not depend on it"
    );
    assert_eq!((d.test.len(), one.test.len()), (12 * 4 * 8, 12 * 8));
    let mut moved = 0;
    for conversation in d.test.chunks(4 * 8) {
        let stories: Vec<&[_]> = conversation.chunks(8).collect();
        for pair in stories.windows(2) {
            for (short, long) in pair[0].iter().zip(pair[1]) {
                let (a, b) = (turn(short), turn(long));
                assert_eq!((a.1, a.2), (b.1, b.2), "history and question");
                assert_eq!(short.references, long.references);
                assert!(b.0.contains(a.0), "{} in {}", a.0, b.0);
            }
        }
        let words = |i: usize| turn(&stories[i][0]).0.split(' ').count();
        for (i, least) in [20, 40, 80, 160].into_iter().enumerate() {
            assert!(
                (least..least.max(60) + 75).contains(&words(i)),
                "{i}: {}",
                words(i)
            );
        }
        let [shortest, longest] = [0, 3].map(|i| turn(&stories[i][0]).0);
        let at = longest.find(shortest).unwrap();
        moved += usize::from(at > 0 && at + shortest.len() < longest.len());
    }
    assert!(
        moved > 6,
        "further things stand before it and behind it: {moved} of 12"
    );
}

#[test]
fn answers_are_in_the_passage_and_depend_on_the_question_and_the_turn_before() {
    let d = conversations(CoqaConfig::default());
    let mut kinds = BTreeMap::<&str, usize>::new();
    let mut by_question = BTreeMap::<&str, BTreeSet<&str>>::new();
    for e in d.train.iter().chain(&d.test) {
        let (passage, history, question) = turn(e);
        let answer = e.references[0].as_str();
        let kind = match answer {
            "yes" | "no" | "unknown" => answer,
            _ => {
                assert!(passage.contains(answer), "{passage}: {question} {answer}");
                "span"
            }
        };
        *kinds.entry(kind).or_default() += 1;
        if ["its", "his", "her"]
            .iter()
            .any(|w| question.split(' ').any(|q| q == *w))
        {
            assert!(!history.is_empty(), "{question}");
            *kinds.entry("pronoun").or_default() += 1;
        }
        by_question.entry(question).or_default().insert(answer);
    }
    let all = d.train.len() + d.test.len();
    for (kind, least) in [
        ("yes", 20),
        ("no", 20),
        ("unknown", 30),
        ("span", 2),
        ("pronoun", 4),
    ] {
        assert!(
            kinds[kind] * least > all,
            "{kind}: {} of {all}",
            kinds[kind]
        );
    }
    let open = by_question.values().filter(|a| a.len() > 1).count();
    assert!(
        open > 20,
        "{open} questions have several answers: the passage decides"
    );
    assert_eq!(d.test[0].references.len(), 4);
    assert_eq!(d.train[0].references.len(), 1);
}

#[test]
fn classes_are_balanced_and_mismatched_genres_are_new() {
    let d = pairs(GlueConfig {
        train: 600,
        dev: 90,
        ..Default::default()
    });
    for part in [&d.train, &d.dev, &d.test] {
        let of = |class| part.iter().filter(|e| e.class == Some(class)).count();
        assert_eq!([of(0), of(1), of(2)], [part.len() / 3; 3]);
    }
    let genres = |part: &[Example]| {
        part.iter()
            .map(|e| e.category.clone())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(genres(&d.train), genres(&d.dev));
    assert!(genres(&d.train).is_disjoint(&genres(&d.test)));
    // every class says every property
    let first = |class| {
        let of = d.train.iter().filter(move |e| e.class == Some(class));
        let verbs = of.filter_map(|e| match &e.input {
            Input::Pair(_, h) => h.rsplit(' ').nth(2),
            _ => None,
        });
        verbs.collect::<BTreeSet<_>>()
    };
    let common = first(0).intersection(&first(2)).count();
    assert!(
        common * 2 > first(0).len(),
        "{common} of {}",
        first(0).len()
    );
}

/// As in the official pairs the opening of a hypothesis gives some of the classes away: two pairs
/// of three, where a guess is right in one.
#[test]
fn the_manner_of_a_hypothesis_tells_two_classes_of_three() {
    let d = pairs(GlueConfig::default());
    let opening = |e: &Example| match &e.input {
        Input::Pair(_, h) => {
            let words: Vec<&str> = h.split(' ').take(2).collect();
            match words[..] {
                ["Perhaps", _] | ["Some" | "Many", _] | ["It", "may"] => "doubt",
                ["Nobody", _] | ["It", "is" | "was"] if h.contains(" that ") => "denial",
                _ => "plain",
            }
        }
        other => panic!("{other:?}"),
    };
    let mut counts = BTreeMap::<&str, [usize; 3]>::new();
    for e in &d.train {
        counts.entry(opening(e)).or_default()[e.class.unwrap() as usize] += 1;
    }
    let best = |o: &str| (0..3).max_by_key(|c| counts[o][*c]).unwrap() as u32;
    let right = d.test.iter().filter(|e| e.class == Some(best(opening(e))));
    let share = right.count() as f64 / d.test.len() as f64;
    assert!((0.6..0.72).contains(&share), "{share}: {counts:?}");
    // a doubt decides; a denial does not, since what is denied may be false
    assert_eq!(counts["doubt"].iter().filter(|n| **n > 0).count(), 1);
    assert!(counts["denial"].iter().all(|n| *n > 50), "{counts:?}");
}

/// Accuracy on the test part of counting in which class each word was met more often: what needs no
/// order of words.
fn bag_of_words(d: &Splits) -> f64 {
    let words = |e: &Example| match &e.input {
        Input::Sentence(s) => s
            .split_whitespace()
            .map(str::to_owned)
            .collect::<BTreeSet<_>>(),
        other => panic!("{other:?}"),
    };
    let mut counts = BTreeMap::<String, [f64; 2]>::new();
    for e in &d.train {
        for w in words(e) {
            counts.entry(w).or_insert([1.0; 2])[e.class.unwrap() as usize] += 1.0;
        }
    }
    let right = d.test.iter().filter(|e| {
        let of = |w: &String| counts.get(w).map_or(0.0, |[a, b]| (b / a).ln());
        let score: f64 = words(e).iter().map(of).sum();
        u32::from(score > 0.0) == e.class.unwrap()
    });
    right.count() as f64 / d.test.len() as f64
}

#[test]
fn moods_are_learnable_and_words_alone_do_not_decide_them() {
    let d = sentences(GlueConfig::default());
    let text = |part: &[Example]| {
        part.iter()
            .map(|e| format!("{:?}", e.input))
            .collect::<BTreeSet<_>>()
    };
    assert!(text(&d.test).is_disjoint(&text(&d.train)) && text(&d.test).is_disjoint(&text(&d.dev)));
    let positive = d.test.iter().filter(|e| e.class == Some(1)).count();
    assert_eq!(positive * 2, d.test.len());
    let accuracy = bag_of_words(&d);
    println!("bag of words: {accuracy}");
    assert!((0.6..0.95).contains(&accuracy), "{accuracy}");
}
