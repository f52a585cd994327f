//! Files that are not data: METEOR's resources and tokenizers survive anything, with an error or a
//! result.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use std::io::Write;

use inducer_datasets::metrics::meteor::{Files, corpus_meteor};
use inducer_datasets::{Tokenizer, synthetic};
use proptest::prelude::*;

const NAMES: [&str; 4] = [
    "function/english.words",
    "nonbreaking/english.prefixes",
    "synonym/english.synsets",
    "synonym/english.exceptions",
];

fn jar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn table(bytes: &[u8]) -> Vec<u8> {
    let mut file = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    file.write_all(bytes).unwrap();
    file.finish().unwrap()
}

/// Scores with these resources, or the message on what is wrong with them.
fn score(jar: Option<&[u8]>, table: Option<&[u8]>) -> Result<f64, String> {
    let dir = tempfile::tempdir().unwrap();
    let keep = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let files = Files {
        jar: jar.map(|b| keep("x.jar", b)),
        paraphrases: table.map(|b| keep("x.gz", b)),
    };
    let score = corpus_meteor(&["a cat sat".into()], &[vec!["cats sat".into()]], &files);
    score.map(|m| m.score).map_err(|e| e.to_string())
}

#[test]
fn what_is_wrong_with_a_resource_is_named() {
    let all = |synsets: &'static str| {
        NAMES.map(|n| {
            (
                n,
                if n.ends_with("synsets") {
                    synsets.as_bytes()
                } else {
                    b""
                },
            )
        })
    };
    assert!(score(Some(&jar(&all("cat\n00000001\n"))), None).is_ok());
    let e = score(Some(&jar(&all("cat\nnumber\n"))), None).unwrap_err();
    assert!(e.contains("x.jar: synonyms of cat"), "{e}");
    let e = score(Some(&jar(&all("")[..2])), None).unwrap_err();
    assert!(e.contains("x.jar: synonym/english.synsets"), "{e}");
    let e = score(None, Some(&table(b"0.1\na\n"))).unwrap_err();
    assert!(
        e.contains("x.gz: the last entry has fewer than three lines"),
        "{e}"
    );
    assert!(score(None, Some(b"no gzip")).unwrap_err().contains("x.gz"));
}

#[test]
fn a_resource_that_unpacks_to_more_than_any_has_is_refused() {
    let long = vec![b'a'; (64 << 20) + 1];
    let mut members = NAMES.map(|name| (name, &b""[..]));
    members[2].1 = &long;
    let e = score(Some(&jar(&members)), None).unwrap_err();
    assert!(
        e.contains("synonym/english.synsets: expected at most 67108864 bytes"),
        "{e}"
    );
    let e = score(
        None,
        Some(&table(&[&b"0.1\n"[..], &long[..1 << 20]].concat())),
    )
    .unwrap_err();
    assert!(
        e.contains("x.gz: line 2: expected less than 65536 bytes"),
        "{e}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn arbitrary_resources_give_an_error_or_a_score(
        bytes in any::<Vec<u8>>(),
        members in prop::collection::vec(any::<Vec<u8>>(), 4),
        text in "[ a-d0-9\n]{0,80}",
    ) {
        let arbitrary = jar(&[0, 1, 2, 3].map(|i| (NAMES[i], &members[i][..])));
        let textual = jar(&NAMES.map(|n| (n, text.as_bytes())));
        for jar_bytes in [bytes.clone(), arbitrary, textual] {
            if let Ok(s) = score(Some(&jar_bytes), None) {
                prop_assert!((0.0..=1.0).contains(&s));
            }
        }
        for table_bytes in [bytes.clone(), table(&bytes), table(text.as_bytes())] {
            if let Ok(s) = score(None, Some(&table_bytes)) {
                prop_assert!((0.0..=1.0).contains(&s));
            }
        }
    }

    #[test]
    fn arbitrary_and_damaged_tokenizers_give_an_error_or_a_result(
        bytes in any::<Vec<u8>>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("tokenizer.json");
        std::fs::write(&path, &bytes)?;
        prop_assert!(Tokenizer::load(dir.path()).is_err());
        let text = synthetic::pretraining_text(1, 2_000);
        Tokenizer::train(text.split("\n\n"), 300).unwrap().save(dir.path()).unwrap();
        let mut bytes = std::fs::read(&path)?;
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        std::fs::write(&path, &bytes)?;
        if let Ok(tokenizer) = Tokenizer::load(dir.path()) {
            let _ = tokenizer.encode("Tor Bridge is 30 metres long. ☃");
        }
    }
}
