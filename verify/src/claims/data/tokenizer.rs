//! Byte-level BPE by its definition: text cut at special tokens and by GPT-2's pattern, bytes as
//! characters, merges by rank (Sennrich et al. 2016; Radford et al. 2019).

use super::given;
use crate::cases::Draw;
use crate::{Case, Error, Result};
use inducer_datasets::Tokenizer;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Syllables whose merges overlap.
const SYLLABLES: [&str; 7] = ["lo", "low", "er", "we", "est", "Æ", "ol"];

/// What stands between words.
const BETWEEN: [&str; 12] = [
    " ", "  ", "\n", " \n ", ", ", "'s ", " '", "'re", "12", " 3½", "\u{a0}", " ☃!",
];

/// What GPT-2's pattern takes from the end of a word.
const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

/// How a tokenizer comes from its files.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Training,
    TokenizerJson,
    VocabAndMerges,
}

/// What a file says: the ids of tokens, the ranks of merges and the special tokens.
struct Bpe {
    ids: HashMap<String, u32>,
    ranks: HashMap<(String, String), usize>,
    special: Vec<String>,
}

fn word(draw: &mut Draw) -> String {
    let n = draw.size(1, 4);
    (0..n).map(|_| draw.pick(&SYLLABLES)).collect()
}

fn text(draw: &mut Draw, special: &[String]) -> String {
    let mut text = String::new();
    for _ in 0..draw.size(1, 8) {
        let between = draw.pick(&BETWEEN);
        text += &word(draw);
        text += match draw.chance(0.2) {
            true => &special[draw.size(0, special.len() - 1)],
            false => between,
        };
    }
    text
}

/// The character of a byte: itself where it can be seen, else the next one from U+0100.
fn characters() -> [char; 256] {
    let mut next = 0x100;
    std::array::from_fn(|byte| match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => char::from(byte as u8),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap_or_default()
        }
    })
}

/// Length of the first piece of a text by GPT-2's pattern: a contraction; letters, digits or other
/// signs with at most one space before them; white space, whose last sign is left to what follows.
fn piece(rest: &[char]) -> usize {
    let begins = |with: &&str| rest.starts_with(&with.chars().collect::<Vec<_>>());
    if let Some(found) = CONTRACTIONS.iter().find(|c| begins(c)) {
        return found.len();
    }
    let letter = |c: &char| c.is_alphabetic();
    let digit = |c: &char| c.is_numeric();
    let sign = |c: &char| !c.is_alphanumeric() && !c.is_whitespace();
    let space = usize::from(rest[0] == ' ');
    let count =
        |class: &dyn Fn(&char) -> bool| rest[space..].iter().take_while(|c| class(c)).count();
    let classes: [&dyn Fn(&char) -> bool; 3] = [&letter, &digit, &sign];
    if let Some(n) = classes.into_iter().map(count).find(|n| *n > 0) {
        return space + n;
    }
    let white = rest.iter().take_while(|c| c.is_whitespace()).count();
    if white == 1 || white == rest.len() {
        white
    } else {
        white - 1
    }
}

impl Bpe {
    /// From `tokenizer.json`.
    fn read(path: &Path) -> Result<Self> {
        let wrong = |e: serde_json::Error| Error::Missing(e.to_string());
        let file: Value = serde_json::from_str(&fs::read_to_string(path)?).map_err(wrong)?;
        let ids = serde_json::from_value(file["model"]["vocab"].clone()).map_err(wrong)?;
        let merges: Vec<(String, String)> =
            serde_json::from_value(file["model"]["merges"].clone()).map_err(wrong)?;
        let added = file["added_tokens"].as_array().into_iter().flatten();
        let special = added.filter_map(|token| token["content"].as_str().map(Into::into));
        Ok(Self {
            ids,
            ranks: merges.into_iter().zip(0..).collect(),
            special: special.collect(),
        })
    }

    /// `vocab.json` and `merges.txt`.
    fn write(&self, dir: &Path) -> Result<()> {
        fs::write(
            dir.join("vocab.json"),
            serde_json::json!(self.ids).to_string(),
        )?;
        let mut merges: Vec<_> = self.ranks.iter().collect();
        merges.sort_by_key(|(_, rank)| **rank);
        let lines = merges.iter().map(|((a, b), _)| format!("{a} {b}\n"));
        let text = format!("#version: 0.2\n{}", lines.collect::<String>());
        Ok(fs::write(dir.join("merges.txt"), text)?)
    }

    /// The tokens of a piece: the pair of the lowest rank is joined, the first of equals before the
    /// others, until no pair has one.
    fn merged(&self, piece: &str) -> Vec<String> {
        let characters = characters();
        let of_byte = |byte: u8| characters[usize::from(byte)].to_string();
        let mut tokens: Vec<String> = piece.bytes().map(of_byte).collect();
        loop {
            let rank = |pair: &[String]| self.ranks.get(&(pair[0].clone(), pair[1].clone()));
            let pairs = tokens.windows(2).enumerate();
            let ranked = pairs.filter_map(|(i, pair)| rank(pair).map(|rank| (*rank, i)));
            let Some((_, i)) = ranked.min() else {
                return tokens;
            };
            let right = tokens.remove(i + 1);
            tokens[i] += &right;
        }
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let special = self
                .special
                .iter()
                .find(|token| rest.starts_with(&token[..]));
            if let Some(token) = special {
                self.encode_plain(&plain, &mut ids);
                plain.clear();
                ids.push(self.ids[token]);
                rest = &rest[token.len()..];
            } else {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        self.encode_plain(&plain, &mut ids);
        ids
    }

    fn encode_plain(&self, text: &str, ids: &mut Vec<u32>) {
        let characters: Vec<char> = text.chars().collect();
        let mut rest = &characters[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(piece(rest));
            let tokens = self.merged(&piece.iter().collect::<String>());
            ids.extend(tokens.iter().map(|token| self.ids[token]));
            rest = behind;
        }
    }
}

/// Ids of a text are those of its definition, with nothing around them, and say the text again, of
/// a tokenizer as it was trained and as its files have it. In the control the last merge ranks
/// first.
pub(super) fn tokenizer(case: &mut Case) -> Result<()> {
    let kinds = [true, false].map(|roberta| {
        [
            Origin::Training,
            Origin::TokenizerJson,
            Origin::VocabAndMerges,
        ]
        .map(|origin| (roberta, origin))
    });
    let (roberta, origin) = *case.draw.in_turn(kinds.as_flattened());
    let words = case.draw.size(30, 60);
    let texts: Vec<String> = (0..words)
        .map(|_| format!("{} {}", word(&mut case.draw), word(&mut case.draw)))
        .collect();
    let size = case.draw.size(270, 300);
    let trained = given(match roberta {
        true => Tokenizer::train_roberta(&texts, size),
        false => Tokenizer::train(&texts, size),
    })?;
    let dir = crate::scratch::folder()?;
    given(trained.save(dir.path()))?;
    let json = dir.path().join("tokenizer.json");
    let mut bpe = Bpe::read(&json)?;
    let found = match origin {
        Origin::Training => trained,
        Origin::TokenizerJson => given(Tokenizer::load(dir.path()))?,
        Origin::VocabAndMerges => {
            bpe.write(dir.path())?;
            fs::remove_file(&json)?;
            given(Tokenizer::load(dir.path()))?
        }
    };
    if case.control {
        let last = bpe.ranks.len();
        bpe.ranks.values_mut().for_each(|rank| *rank = last - *rank);
    }
    for _ in 0..4 {
        let text = text(&mut case.draw, &bpe.special);
        let ids = given(found.encode(&text))?;
        case.same(&ids, &bpe.encode(&text), || {
            format!("{origin:?}: ids of {text:?}")
        });
        case.same(&found.decode(&ids), &text, || {
            format!("{origin:?}: text of {ids:?}")
        });
    }
    Ok(())
}
