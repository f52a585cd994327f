//! The corpus of the fuzz targets goes through the same parsers on a stable compiler, and no file of
//! it makes one panic (`verify/checks/fuzz.sh --minimise` makes it).
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::collections::BTreeSet;
use std::fs::read_dir;
use std::path::Path;

fn corpus() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus"))
}

#[test]
fn every_target_has_a_corpus_and_a_program() {
    let names = |dir: &Path| -> BTreeSet<String> {
        let all = read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        all.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    let targets: BTreeSet<String> = fuzz::TARGETS
        .iter()
        .map(|(name, _)| (*name).into())
        .collect();
    assert_eq!(names(corpus()), targets);
    assert_eq!(names(&corpus().with_file_name("fuzz_targets")), targets);
}

#[test]
fn no_file_of_the_corpus_makes_a_parser_panic() {
    for (name, target) in fuzz::TARGETS {
        let mut files = 0;
        for entry in read_dir(corpus().join(name)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let fine = std::panic::catch_unwind(|| target(&bytes));
            assert!(fine.is_ok(), "{} panics", path.display());
            files += 1;
        }
        assert!(files > 0, "{name} has no corpus");
    }
}
