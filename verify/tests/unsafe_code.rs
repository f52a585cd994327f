//! The table of unsafe code in CONTRIBUTING.md against the code.

#![allow(clippy::unwrap_used)]

mod sources;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Unsafe blocks, functions, implementations and foreign functions above a file's tests.
fn blocks(text: &str) -> usize {
    let lines = sources::program(text).lines().map(str::trim_start);
    let code = lines.filter(|line| !line.starts_with("//"));
    let kinds = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
    code.map(|line| {
        kinds
            .iter()
            .map(|kind| line.matches(kind).count())
            .sum::<usize>()
    })
    .sum()
}

#[test]
fn the_table_has_every_file_with_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeMap::new();
    for part in ["reference", "gpu", "datasets", "verify", "reports"] {
        for (path, text) in sources::sources(part) {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            found.insert(name, blocks(&text));
        }
    }
    found.retain(|_, count| *count > 0);
    let text = fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let (_, section) = text.split_once("## Unsafe code\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let file = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((file.to_owned(), cells.next()?.parse().ok()?))
    };
    let listed: BTreeMap<String, usize> = section.lines().filter_map(row).collect();
    assert_eq!(listed, found);
}

#[test]
fn blocks_are_counted_but_for_comments_and_tests() {
    let text = "unsafe impl A for B {}\n// unsafe { no }\nlet x = unsafe { f(unsafe { g() }) };\n\
                #[cfg(test)]\nmod tests { unsafe { h() } }";
    assert_eq!(blocks(text), 3);
}
