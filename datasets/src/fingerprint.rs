//! SHA-256 of files and of loaded data, so that a result can say what it was computed from.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Example, Result};

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// SHA-256 of bytes, in hexadecimal.
///
/// ```
/// // FIPS 180-2, appendix B.1
/// let abc = inducer_datasets::fingerprint::of_bytes(b"abc");
/// assert_eq!(abc, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
/// ```
pub fn of_bytes(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// SHA-256 of a file, read in pieces.
///
/// # Errors
/// The file cannot be read.
pub fn of_file(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    let (mut sum, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece).map_err(|e| Error::io(path, e))? {
            0 => return Ok(hex(sum.finalize())),
            n => sum.update(&piece[..n]),
        }
    }
}

/// SHA-256 of loaded examples, part by part: unchanged by the layout of their files and by their
/// ids, changed by any text, class or order.
pub fn of_examples<P: AsRef<[Example]>>(parts: impl IntoIterator<Item = P>) -> String {
    let mut sum = Sha256::new();
    let mut text = |s: &str| {
        sum.update((s.len() as u64).to_le_bytes());
        sum.update(s);
    };
    for part in parts {
        let part = part.as_ref();
        text(&format!("part {}", part.len()));
        for e in part {
            text(&format!("{} {} {:?}", e.position, e.seen, e.class));
            text(&e.category);
            text(&format!("{:?}", e.input));
            text(&format!("{:?}", e.references));
        }
    }
    hex(sum.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;

    fn example(text: &str) -> Example {
        let input = Input::Sentence(text.into());
        Example {
            position: 1,
            category: String::new(),
            seen: true,
            input,
            references: vec![],
            class: Some(1),
            id: None,
        }
    }

    #[test]
    fn every_part_of_an_example_counts() {
        let base = vec![example("a"), example("b")];
        let of = |v: &Vec<Example>| of_examples([v]);
        assert_eq!(of(&base), of(&base.clone()));
        let changes: [fn(&mut Vec<Example>); 7] = [
            |v| v[0].position = 2,
            |v| v[0].category.push('x'),
            |v| v[0].seen = false,
            |v| v[0].references.push(String::new()),
            |v| v[1].class = None,
            |v| v.swap(0, 1),
            |v| v[1] = example("c"),
        ];
        for change in changes {
            let mut other = base.clone();
            change(&mut other);
            assert_ne!(of(&base), of(&other));
        }
        let mut named = base.clone();
        named[0].id = Some("x".into());
        assert_eq!(of(&base), of(&named));
        assert_ne!(of_examples([&base, &vec![]]), of_examples([&vec![], &base]));
    }

    #[test]
    fn a_file_and_its_bytes_agree() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let bytes = vec![7; 200_000];
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(of_file(&path).unwrap(), of_bytes(&bytes));
    }
}
