//! What a stable compiler checks of a committed corpus: the tests of all crates have this file as a
//! module.

use std::collections::BTreeSet;
use std::fs::read_dir;
use std::path::{Path, PathBuf};

/// The name of a target, and what it does with its bytes.
type Target = (&'static str, fn(&[u8]));

fn folder(of_crate: &str) -> PathBuf {
    Path::new(of_crate).join("fuzz/corpus")
}

/// Every target has files and a program, and there are no others.
pub fn is_that_of(of_crate: &str, targets: &[Target]) {
    let names = |dir: &Path| -> BTreeSet<String> {
        let all = read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        all.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    let targets: BTreeSet<String> = targets.iter().map(|(name, _)| (*name).into()).collect();
    let corpus = folder(of_crate);
    assert_eq!(names(&corpus), targets);
    assert_eq!(names(&corpus.with_file_name("fuzz_targets")), targets);
}

/// Every file goes through its target, and none makes it panic.
pub fn makes_none_panic(of_crate: &str, targets: &[Target]) {
    for (name, target) in targets {
        let mut files = 0;
        for entry in read_dir(folder(of_crate).join(name)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let fine = std::panic::catch_unwind(|| target(&bytes));
            assert!(fine.is_ok(), "{} panics", path.display());
            files += 1;
        }
        assert!(files > 0, "{name} has no corpus");
    }
}
