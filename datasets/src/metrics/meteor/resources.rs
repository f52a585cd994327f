//! METEOR's resources, read from the user's `meteor-1.5.jar` and paraphrase table; neither is part
//! of this project.

use std::collections::{HashMap, HashSet};
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::mpsc::SyncSender;

use super::normalise::Prefixes;
use crate::{Error, Result};

/// What the jar holds on English.
#[derive(Default)]
pub struct Jar {
    pub function_words: HashSet<String>,
    pub prefixes: Prefixes,
    synsets: HashMap<String, Vec<u32>>,
    bases: HashMap<String, Vec<String>>,
}

/// Paraphrases of phrases, both as the numbers of their words, in the table's order.
pub type Paraphrases = HashMap<Vec<u32>, Vec<Vec<u32>>>;

/// Longest file of the jar that is read; METEOR's synonyms are some megabytes.
const LONGEST: u64 = 64 << 20;
/// Longest line of the paraphrase table.
const LONGEST_LINE: usize = 64 << 10;
/// How much of the table is unpacked at a time.
const BLOCK: u64 = 256 << 10;

fn wrong(path: &Path, message: impl std::fmt::Display) -> Error {
    Error::Resource {
        path: path.to_owned(),
        message: message.to_string(),
    }
}

impl Jar {
    /// Opens a jar.
    pub fn load(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
        let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(|e| wrong(path, e))?;
        let mut member = |name: &str| -> Result<String> {
            let mut text = String::new();
            let member = zip
                .by_name(name)
                .map_err(|e| wrong(path, format!("{name}: {e}")))?;
            member
                .take(LONGEST + 1)
                .read_to_string(&mut text)
                .map_err(|e| wrong(path, format!("{name}: {e}")))?;
            match text.len() as u64 > LONGEST {
                true => Err(wrong(
                    path,
                    format!("{name}: expected at most {LONGEST} bytes"),
                )),
                false => Ok(text),
            }
        };
        let mut jar = Self::default();
        let words = member("function/english.words")?;
        jar.function_words = words.lines().map(str::to_owned).collect();
        for line in member("nonbreaking/english.prefixes")?.lines() {
            let mut parts = line.split_whitespace();
            if let Some(prefix) = parts.next().filter(|p| !p.starts_with('#')) {
                let numeric = parts.next() == Some("#NUMERIC_ONLY#");
                jar.prefixes.insert(prefix.to_owned(), numeric);
            }
        }
        let synsets = member("synonym/english.synsets")?;
        let mut lines = synsets.lines();
        while let (Some(word), Some(ids)) = (lines.next(), lines.next()) {
            let ids = ids.split_whitespace().map(str::parse);
            let ids = ids.collect::<std::result::Result<_, _>>();
            let ids = ids.map_err(|e| wrong(path, format!("synonyms of {word}: {e}")))?;
            jar.synsets.insert(word.to_owned(), ids);
        }
        let exceptions = member("synonym/english.exceptions")?;
        let mut lines = exceptions.lines();
        while let (Some(base), Some(forms)) = (lines.next(), lines.next()) {
            for form in forms.split_whitespace() {
                let bases = jar.bases.entry(form.to_owned()).or_default();
                bases.push(base.to_owned());
            }
        }
        Ok(jar)
    }

    /// Sets of synonyms that a word or its base form belongs to.
    pub fn synsets(&self, word: &str) -> HashSet<u32> {
        let ids = |w: &str| self.synsets.get(w).map_or(&[][..], Vec::as_slice);
        let of = |w: &str| ids(w).iter().copied();
        let mut all: HashSet<u32> = of(word).collect();
        match self.bases.get(word) {
            Some(bases) => bases.iter().for_each(|b| all.extend(of(b))),
            None => all.extend(self.base(word).iter().flat_map(|b| of(b))),
        }
        all
    }

    /// WordNet's rules of detachment, the first that leads to a known word.
    fn base(&self, word: &str) -> Option<String> {
        if word.ends_with("ss") || word.chars().count() <= 2 {
            return Some(word.to_owned());
        }
        let known = |(suffix, ending): &(&str, &str)| {
            let base = format!("{}{ending}", word.strip_suffix(suffix)?);
            self.synsets.contains_key(&base).then_some(base)
        };
        let full = if word.ends_with("ful") { "ful" } else { "" };
        DETACHMENT.iter().find_map(known).map(|base| base + full)
    }
}

/// Nouns, verbs, adjectives.
const DETACHMENT: [(&str, &str); 20] = [
    ("s", ""),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
    ("s", ""),
    ("ies", "y"),
    ("es", "e"),
    ("es", ""),
    ("ed", "e"),
    ("ed", ""),
    ("ing", "e"),
    ("ing", ""),
    ("er", ""),
    ("est", ""),
    ("er", "e"),
    ("est", "e"),
];

/// Those entries of a gzipped table that a vocabulary, words with their numbers, can use: three
/// lines each, probability, phrase, paraphrase.
///
/// METEOR's own table unpacks to 272 MB: it is unpacked on a thread of its own, while this one
/// looks for the phrases.
pub fn paraphrases(path: &Path, vocabulary: HashMap<&[u8], u32>) -> Result<Paraphrases> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    let mut entries = Entries::new(vocabulary);
    let (sender, blocks) = std::sync::mpsc::sync_channel(8);
    std::thread::scope(|scope| {
        scope.spawn(move || unpack(file, &sender));
        // the thread ends where what receives its blocks is dropped
        for block in blocks {
            let block = block.map_err(|e| Error::io(path, e))?;
            entries.block(&block).map_err(|e| wrong(path, e))?;
        }
        Ok(())
    })?;
    entries.end().map_err(|e| wrong(path, e))
}

/// Hands over what a gzipped file holds, block by block, to its end or an error.
fn unpack(file: std::fs::File, blocks: &SyncSender<std::io::Result<Vec<u8>>>) {
    let mut unpacked = flate2::read::MultiGzDecoder::new(file);
    loop {
        let mut block = Vec::with_capacity(BLOCK as usize);
        let read = (&mut unpacked).take(BLOCK).read_to_end(&mut block);
        let last = !matches!(read, Ok(1..));
        if blocks.send(read.map(|_| block)).is_err() || last {
            return;
        }
    }
}

/// The table's entries as its blocks come, which end anywhere.
struct Entries<'a> {
    vocabulary: HashMap<&'a [u8], u32>,
    found: Paraphrases,
    /// The phrase of the entry that is being read, where the vocabulary has all of its words.
    phrase: Option<Vec<u32>>,
    /// Lines read.
    read: usize,
    /// A line whose end is in the next block.
    rest: Vec<u8>,
}

impl<'a> Entries<'a> {
    fn new(vocabulary: HashMap<&'a [u8], u32>) -> Self {
        Self {
            vocabulary,
            found: Paraphrases::new(),
            phrase: None,
            read: 0,
            rest: Vec::new(),
        }
    }

    fn block(&mut self, block: &[u8]) -> std::result::Result<(), String> {
        let ends = memchr::memchr(b'\n', block).zip(memchr::memrchr(b'\n', block));
        let mut rest = block;
        if let Some((first, last)) = ends {
            let mut line = std::mem::take(&mut self.rest);
            line.extend_from_slice(&block[..first]);
            self.lines(&line)?;
            if first < last {
                self.lines(&block[first + 1..last])?;
            }
            rest = &block[last + 1..];
        }
        self.rest.extend_from_slice(rest);
        self.short(self.rest.len())
    }

    fn end(mut self) -> std::result::Result<Paraphrases, String> {
        if !self.rest.is_empty() {
            let line = std::mem::take(&mut self.rest);
            self.lines(&line)?;
        }
        match self.read % 3 {
            0 => Ok(self.found),
            _ => Err("the last entry has fewer than three lines".into()),
        }
    }

    /// Reads whole lines, the last without its end.
    fn lines(&mut self, lines: &[u8]) -> std::result::Result<(), String> {
        if let Err(e) = std::str::from_utf8(lines) {
            let before = memchr::memchr_iter(b'\n', &lines[..e.valid_up_to()]).count();
            return Err(format!("line {}: expected UTF-8", self.read + before + 1));
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            self.line(&lines[start..end])?;
            start = end + 1;
        }
        self.line(&lines[start..])
    }

    /// Whether the next line is short enough.
    fn short(&self, bytes: usize) -> std::result::Result<(), String> {
        match bytes < LONGEST_LINE {
            true => Ok(()),
            false => {
                let line = self.read + 1;
                Err(format!(
                    "line {line}: expected less than {LONGEST_LINE} bytes"
                ))
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> std::result::Result<(), String> {
        self.short(line.len())?;
        self.read += 1;
        match self.read % 3 {
            2 => self.phrase = self.words(line),
            0 => {
                if let Some(phrase) = self.phrase.take()
                    && let Some(paraphrase) = self.words(line)
                {
                    self.found.entry(phrase).or_default().push(paraphrase);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The words of a line, where there are any and the vocabulary has all of them.
    fn words(&self, line: &[u8]) -> Option<Vec<u32>> {
        let words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let words: Option<Vec<u32>> = words.map(|w| self.vocabulary.get(w).copied()).collect();
        words.filter(|words| !words.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: [&str; 4] = ["big", "house", "large", "home"];
    const TABLE: &str = "0.5\nbig house\nlarge  home\n0.1\nsmall house\nhome\n0.3\nhome\nhouse\n\
                         0.2\nhome\nlarge house\n0.2\nhome\nbig hut\n0.2\n \nhome\n0.2\nhome\n \n";

    fn read(blocks: impl Iterator<Item = Vec<u8>>) -> std::result::Result<Paraphrases, String> {
        let vocabulary = VOCABULARY.into_iter().map(str::as_bytes).zip(0..).collect();
        let mut entries = Entries::new(vocabulary);
        for block in blocks {
            entries.block(&block)?;
        }
        entries.end()
    }

    fn in_blocks_of(bytes: &[u8], length: usize) -> std::result::Result<Paraphrases, String> {
        read(bytes.chunks(length).map(<[u8]>::to_vec))
    }

    #[test]
    fn entries_of_known_words_are_found_wherever_blocks_end() {
        let expected: Paraphrases = [
            (vec![0, 1], vec![vec![2, 3]]),
            (vec![3], vec![vec![1], vec![2, 1]]),
        ]
        .into();
        for length in 1..=TABLE.len() {
            assert_eq!(
                in_blocks_of(TABLE.as_bytes(), length),
                Ok(expected.clone()),
                "{length}"
            );
            let without_end = TABLE.trim_end_matches('\n').as_bytes();
            assert_eq!(
                in_blocks_of(without_end, length),
                Ok(expected.clone()),
                "{length}"
            );
        }
    }

    #[test]
    fn a_damaged_table_is_refused_by_its_line() {
        for (table, expected) in [
            (
                b"0.5\nbig house\n".to_vec(),
                "the last entry has fewer than three lines",
            ),
            (b"0.5\nbig\nh\xffme\n".to_vec(), "line 3: expected UTF-8"),
            (
                [b"0.5\n".to_vec(), vec![b'a'; 1 << 16]].concat(),
                "line 2: expected less than 65536 bytes",
            ),
        ] {
            for length in [1, 7, 1 << 16, 1 << 20] {
                assert_eq!(
                    in_blocks_of(&table, length),
                    Err(expected.into()),
                    "{length}"
                );
            }
        }
    }
}
