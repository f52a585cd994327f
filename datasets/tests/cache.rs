//! The cache of encoded rows: right or rebuilt, never trusted.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use inducer_datasets::cache::{Cache, Origin, training_rows};
use inducer_datasets::synthetic::{SyntheticConfig, pretraining_text, write};
use inducer_datasets::{Encoded, Example, Layout, Malformed, Surface, Task, Tokenizer, webnlg};
use proptest::prelude::*;

struct Fixture {
    dir: tempfile::TempDir,
    tokenizer: Tokenizer,
    examples: Vec<Example>,
}

impl Fixture {
    fn new(count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = SyntheticConfig {
            seed: 1,
            train: count,
            dev: 2,
            test: 2,
        };
        write(dir.path(), config).unwrap();
        Self {
            examples: webnlg::load(dir.path(), Malformed::Refuse).unwrap().train,
            tokenizer: tokenizer(400),
            dir,
        }
    }

    fn layout(&self) -> Layout<'_> {
        Layout::new(&self.tokenizer, Task::WebNlg, 500, 512).unwrap()
    }

    fn cache(&self) -> Cache {
        Cache::at(self.dir.path().join("rows"))
    }

    fn rows(&self, layout: &Layout) -> (Vec<Encoded>, Origin) {
        self.cache().rows(layout, &self.examples).unwrap()
    }
}

fn tokenizer(size: usize) -> Tokenizer {
    Tokenizer::train(pretraining_text(1, 20_000).split("\n\n"), size).unwrap()
}

#[test]
fn rows_are_made_once_and_read_afterwards() {
    let f = Fixture::new(20);
    let expected = training_rows(&f.layout(), &f.examples).unwrap();
    assert_eq!(f.rows(&f.layout()), (expected.clone(), Origin::Made));
    assert_eq!(f.rows(&f.layout()), (expected, Origin::Read));
}

#[test]
fn a_change_of_data_tokenizer_or_layout_is_another_cache() {
    let mut f = Fixture::new(20);
    f.rows(&f.layout());
    let other = tokenizer(420);
    let layouts = [
        f.layout().with_surface(Surface::Plain),
        Layout::new(&f.tokenizer, Task::WebNlg, 501, 512).unwrap(),
        Layout::new(&f.tokenizer, Task::WebNlg, 500, 511).unwrap(),
        Layout::new(&other, Task::WebNlg, 500, 512).unwrap(),
    ];
    for layout in layouts {
        let expected = training_rows(&layout, &f.examples).unwrap();
        assert_eq!(f.rows(&layout), (expected, Origin::Made));
    }
    f.examples[7].references[0].push('!');
    let expected = training_rows(&f.layout(), &f.examples).unwrap();
    assert_eq!(f.rows(&f.layout()), (expected, Origin::Made));
}

#[test]
fn a_cache_of_other_rows_under_the_right_name_is_rebuilt() {
    let mut f = Fixture::new(20);
    let right = f.rows(&f.layout()).0;
    let path = f.cache().path(&f.layout(), &f.examples);
    let before = f.examples.clone();
    f.examples.swap(0, 1);
    f.rows(&f.layout());
    let wrong = f.cache().path(&f.layout(), &f.examples);
    std::fs::copy(wrong, &path).unwrap();
    f.examples = before;
    assert_eq!(f.rows(&f.layout()), (right.clone(), Origin::Rebuilt));
    assert_eq!(f.rows(&f.layout()), (right, Origin::Read));
}

#[test]
fn a_directory_that_cannot_be_made_costs_nothing_but_time() {
    let f = Fixture::new(5);
    let file = f.dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let made = Cache::at(file.join("rows")).rows(&f.layout(), &f.examples);
    assert_eq!(made.unwrap().1, Origin::Made);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bit_flipped_or_byte_missing_means_rebuilt(
        at in any::<prop::sample::Index>(),
        bit in 0u32..8,
        cut in any::<bool>(),
    ) {
        let f = Fixture::new(3);
        let right = f.rows(&f.layout()).0;
        let path = f.cache().path(&f.layout(), &f.examples);
        let mut bytes = std::fs::read(&path)?;
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        std::fs::write(&path, bytes)?;
        prop_assert_eq!(f.rows(&f.layout()), (right.clone(), Origin::Rebuilt));
        prop_assert_eq!(f.rows(&f.layout()), (right, Origin::Read));
    }
}

/// How long rows of SST-2 take to make and to read:
/// `cargo test --release --test all -- cache:: --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn time_of_sst2() {
    let dir = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if !dir.exists() {
        eprintln!("not run: ../shared/data is not there");
        return;
    }
    let tokenizer = Tokenizer::load_file(&dir.join("roberta/roberta-base-tokenizer.json")).unwrap();
    let examples =
        inducer_datasets::directory::load(Task::Sst2, &dir.join("sst2"), Malformed::Refuse)
            .unwrap()
            .train;
    let layout = Layout::new(&tokenizer, Task::Sst2, tokenizer.vocab_size(), 512).unwrap();
    let there = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let start = std::time::Instant::now();
        let (rows, origin) = Cache::at(there.path()).rows(&layout, &examples).unwrap();
        println!(
            "{} rows, {origin:?}: {:.2} s",
            rows.len(),
            start.elapsed().as_secs_f64()
        );
    }
}
