//! How a token is shown: as the text that it is, or as its bytes where it is only a part of a
//! character.

use inducer_datasets::Tokenizer;
use serde::Serialize;

/// A token of the row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its text; bytes in hexadecimal (`F0 9F`) where it is no whole character.
    pub text: String,
    /// What stands for it in running text: of a character that several tokens make together the
    /// first has the whole character and the others nothing.
    pub run: String,
    /// As the vocabulary has it.
    pub piece: String,
    /// Whether it is a marker of the task or of the backbone, and no text.
    pub special: bool,
}

/// Token ids in words.
#[derive(Clone, Copy)]
pub struct Pieces<'a> {
    /// The backbone's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The first id after the backbone's own.
    pub first_special: usize,
    /// Names of the ids from there on.
    pub special: &'a [&'a str],
}

impl Pieces<'_> {
    /// A token.
    pub fn token(&self, id: u32) -> Token {
        let special = |piece: String| Token {
            id,
            text: piece.clone(),
            run: piece.clone(),
            piece,
            special: true,
        };
        if let Some(place) = (id as usize).checked_sub(self.first_special) {
            let name = self.special.get(place).map(|name| (*name).to_string());
            return special(name.unwrap_or_else(|| format!("<special {}>", place + 1)));
        }
        let Some(piece) = self.tokenizer.token(id) else {
            return special(format!("<id {id}>"));
        };
        if piece.len() > 2 && piece.starts_with('<') && piece.ends_with('>') {
            return special(piece);
        }
        let text = self.tokenizer.decode(&[id]);
        let text = match text.contains('\u{fffd}') {
            true => hexadecimal(&piece).unwrap_or(text),
            false => text,
        };
        Token {
            id,
            run: text.clone(),
            text,
            piece,
            special: false,
        }
    }

    /// The tokens of a row.
    pub fn row(&self, ids: &[u32]) -> Vec<Token> {
        let mut tokens: Vec<Token> = ids.iter().map(|id| self.token(*id)).collect();
        let mut i = 0;
        while i < ids.len() {
            let many = self.character(ids, i).unwrap_or(1);
            if many > 1 {
                tokens[i].run = self.tokenizer.decode(&ids[i..i + many]);
                tokens[i + 1..i + many]
                    .iter_mut()
                    .for_each(|t| t.run.clear());
            }
            i += many;
        }
        tokens
    }

    /// How many tokens from one on, which is a part of a character, make whole characters; none
    /// where they never do.
    fn character(&self, ids: &[u32], from: usize) -> Option<usize> {
        let whole = |many: &usize| {
            let part = ids.get(from..from + many);
            let own = |id: &u32| (*id as usize) < self.first_special;
            part.is_some_and(|ids| {
                ids.iter().all(own) && !self.tokenizer.decode(ids).contains('\u{fffd}')
            })
        };
        (1..=4).find(whole)
    }
}

/// The bytes of a byte-level piece; none where it has a character that stands for no byte.
fn hexadecimal(piece: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = piece.chars().map(byte).collect();
    let bytes = bytes?.into_iter().map(|b| format!("{b:02X}"));
    Some(bytes.collect::<Vec<_>>().join(" "))
}

/// GPT-2's alphabet: a byte that prints is itself, the others are U+0100 and on in their order.
fn byte(c: char) -> Option<u8> {
    let prints = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let code = u32::from(c);
    match u8::try_from(code) {
        Ok(b) => prints(b).then_some(b),
        Err(_) => (0..=255)
            .filter(|b| !prints(*b))
            .nth(code.checked_sub(256)? as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_and_a_part_of_a_character_is_its_bytes() {
        let tokenizer = Tokenizer::train(["low lower lowest low"], 262).unwrap();
        let pieces = Pieces {
            tokenizer: &tokenizer,
            first_special: 262,
            special: &["<bos_webnlg>"],
        };
        let shown = |text: &str| -> Vec<String> {
            let ids = tokenizer.encode(text).unwrap();
            ids.iter().map(|id| pieces.token(*id).text).collect()
        };
        assert_eq!(shown(" low<b>").concat(), " low<b>");
        assert_eq!(shown("😀"), ["F0", "9F", "98", "80"]);
        assert_eq!(shown("é").concat(), "C3A9");
        let ids = tokenizer.encode("low😀ש").unwrap();
        let runs: Vec<String> = pieces.row(&ids).into_iter().map(|t| t.run).collect();
        assert_eq!(runs, ["low", "😀", "", "", "", "ש", ""]);
        let broken = &ids[..ids.len() - 1];
        assert_eq!(pieces.row(broken).last().unwrap().run, "D7");
        let ends = |id| {
            let token = pieces.token(id);
            (token.text, token.special)
        };
        assert_eq!(ends(0), ("<|endoftext|>".into(), true));
        assert_eq!(ends(262), ("<bos_webnlg>".into(), true));
        assert_eq!(ends(263), ("<special 2>".into(), true));
    }

    #[test]
    fn every_byte_has_one_character() {
        let all: Vec<u8> = (0..=0x143)
            .filter_map(|c| byte(char::from_u32(c)?))
            .collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!((all.len(), sorted.len()), (256, 256));
        assert_eq!(
            (byte('Ġ'), byte('Ċ'), byte('A')),
            (Some(b' '), Some(b'\n'), Some(b'A'))
        );
        assert_eq!(byte('\u{144}'), None);
    }
}
