//! The corpus of the fuzz targets goes through the same parsers on a stable compiler, and no file
//! of it makes one panic (`verify/checks/fuzz.sh --minimise` makes it).
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

#[path = "../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

const CRATE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn every_target_has_a_corpus_and_a_program() {
    corpus::is_that_of(CRATE, &fuzz::TARGETS);
}

#[test]
fn no_file_of_the_corpus_makes_a_parser_panic() {
    corpus::makes_none_panic(CRATE, &fuzz::TARGETS);
}
