//! METEOR's resources, read from the user's `meteor-1.5.jar` and paraphrase table; neither is part
//! of this project.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

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

/// Paraphrases of phrases, both as words, in the table's order.
pub type Paraphrases = HashMap<Vec<String>, Vec<Vec<String>>>;

/// Longest file of the jar that is read; METEOR's synonyms are some megabytes.
const LONGEST: u64 = 64 << 20;
/// Longest line of the paraphrase table.
const LONGEST_LINE: u64 = 64 << 10;

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

/// Those entries of a gzipped table that a vocabulary can use: three lines each, probability,
/// phrase, paraphrase.
pub fn paraphrases(path: &Path, vocabulary: &HashSet<&str>) -> Result<Paraphrases> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    let mut table = BufReader::with_capacity(1 << 16, flate2::read::MultiGzDecoder::new(file));
    // the words of a line, where there are any and the vocabulary has all of them
    let words = |line: &str| -> Option<Vec<String>> {
        let known = |w: &str| vocabulary.contains(w).then(|| w.to_owned());
        let words: Option<Vec<String>> = line.split_whitespace().map(known).collect();
        words.filter(|words| !words.is_empty())
    };
    let (mut all, mut lines) = (
        Paraphrases::new(),
        [String::new(), String::new(), String::new()],
    );
    for number in (1_usize..).step_by(3) {
        for (line, number) in lines.iter_mut().zip(number..) {
            line.clear();
            let mut rest = (&mut table).take(LONGEST_LINE);
            rest.read_line(line).map_err(|e| Error::io(path, e))?;
            if line.len() as u64 == LONGEST_LINE {
                let message = format!("line {number}: expected less than {LONGEST_LINE} bytes");
                return Err(wrong(path, message));
            }
        }
        let [probability, phrase, paraphrase] = &lines;
        if probability.is_empty() {
            break;
        }
        if paraphrase.is_empty() {
            return Err(wrong(path, "the last entry has fewer than three lines"));
        }
        let (phrase, paraphrase) = (words(phrase), words(paraphrase));
        if let (Some(phrase), Some(paraphrase)) = (phrase, paraphrase) {
            all.entry(phrase).or_default().push(paraphrase);
        }
    }
    Ok(all)
}
