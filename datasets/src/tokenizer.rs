//! Byte-level BPE: Hugging Face directories read, and new ones trained and written.
//!
//! A thin wrapper over the `tokenizers` crate. Texts are encoded as they stand: no special tokens
//! are added around them, no truncation or padding of the file's settings applies.

use std::path::Path;

use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, ModelWrapper, TokenizerImpl};

use crate::error::read;
use crate::files::write_atomic;
use crate::guard::caught;
use crate::{Error, Result};

/// The end-of-text token of GPT-2 and of the tokenizers trained here.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// RoBERTa's special tokens in the order of their ids in tokenizers trained here.
pub const ROBERTA: [&str; 5] = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];

/// A tokenizer.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Loads `tokenizer.json` of a directory, or `vocab.json` with `merges.txt` as GPT-2's or
    /// RoBERTa's byte-level BPE.
    ///
    /// # Errors
    /// Neither is there, or they are not what they should be: the error names the file.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        if path.exists() {
            return Self::load_file(&path);
        }
        let (vocab, merges) = (dir.join("vocab.json"), dir.join("merges.txt"));
        if !vocab.exists() || !merges.exists() {
            let message = "expected tokenizer.json, or vocab.json and merges.txt".into();
            return Err(Error::Tokenizer {
                path: dir.to_owned(),
                message,
            });
        }
        let text = |p: &Path| {
            p.to_str()
                .map(str::to_owned)
                .ok_or_else(|| wrong(p, "the path is not Unicode"))
        };
        let (of_vocab, of_merges) = (text(&vocab)?, text(&merges)?);
        // `tokenizers` panics where a merge makes a token that is longer than any it knows
        let bpe = caught(|| BPE::from_file(&of_vocab, &of_merges).build())
            .ok_or_else(|| {
                let not_one = "a merge makes a token that vocab.json does not have: expected the \
                               two files of one tokenizer";
                wrong(&merges, not_one)
            })?
            .map_err(|e| wrong(dir, e))?;
        // RoBERTa's vocabulary has no end-of-text token and its own special ones
        let known = bpe.get_vocab();
        let special: Vec<AddedToken> = match known.contains_key(ROBERTA[0]) {
            true => ROBERTA
                .iter()
                .filter(|t| known.contains_key(**t))
                .map(|t| AddedToken::from(*t, true))
                .collect(),
            false => vec![AddedToken::from(END_OF_TEXT, true)],
        };
        let mut inner = byte_level(bpe);
        inner
            .add_special_tokens(special)
            .map_err(|e| wrong(&vocab, e))?;
        Self::from_inner(tokenizers::Tokenizer::from(inner), dir)
    }

    /// Loads one file in the layout of `tokenizer.json`.
    ///
    /// # Errors
    /// As [`Tokenizer::load`].
    pub fn load_file(path: &Path) -> Result<Self> {
        let bytes = read(path)?;
        let json = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes);
        json.map_err(|e| wrong(path, e))?;
        // `tokenizers` panics on some files that are JSON but none of its own
        let parsed = caught(|| tokenizers::Tokenizer::from_bytes(&bytes));
        let parsed = parsed.ok_or_else(|| wrong(path, "not in the layout of tokenizer.json"))?;
        Self::from_inner(parsed.map_err(|e| wrong(path, e))?, path)
    }

    fn from_inner(mut inner: tokenizers::Tokenizer, path: &Path) -> Result<Self> {
        inner.with_truncation(None).map_err(|e| wrong(path, e))?;
        inner.with_padding(None);
        Ok(Self { inner })
    }

    /// Trains a byte-level BPE of `vocab_size` tokens: [`END_OF_TEXT`] is id 0, the 256 bytes
    /// follow, then merges. The same texts in the same order always give the same tokenizer.
    ///
    /// # Errors
    /// `vocab_size` is under 257, which leaves no room for the bytes.
    ///
    /// ```
    /// use inducer_datasets::Tokenizer;
    /// let t = Tokenizer::train(["low lower lowest low"], 260).unwrap();
    /// assert_eq!(t.vocab_size(), 260);
    /// assert_eq!(t.decode(&t.encode("slow ☃").unwrap()), "slow ☃");
    /// assert_eq!(t.encode("<|endoftext|>").unwrap(), [0]);
    /// ```
    pub fn train<S: AsRef<str> + Send>(
        texts: impl IntoIterator<Item = S, IntoIter: Send>,
        vocab_size: usize,
    ) -> Result<Self> {
        Self::trained(texts, vocab_size, vec![AddedToken::from(END_OF_TEXT, true)])
    }

    /// The same for RoBERTa: `<s>`, `<pad>`, `</s>`, `<unk>`, `<mask>` are ids 0 to 4, the bytes
    /// follow, then merges; the file puts texts between `<s>` and `</s>` and pairs apart by
    /// `</s></s>`, as [`Layout`](crate::Layout) does.
    ///
    /// # Errors
    /// `vocab_size` is under 261.
    pub fn train_roberta<S: AsRef<str> + Send>(
        texts: impl IntoIterator<Item = S, IntoIter: Send>,
        vocab_size: usize,
    ) -> Result<Self> {
        let special = ROBERTA.map(|t| AddedToken::from(t, true)).to_vec();
        let mut all = Self::trained(texts, vocab_size, special)?;
        let pair = |token: &str, id: u32| (token.to_owned(), id);
        all.inner.with_post_processor(Some(RobertaProcessing::new(
            pair("</s>", 2),
            pair("<s>", 0),
        )));
        Ok(all)
    }

    fn trained<S: AsRef<str> + Send>(
        texts: impl IntoIterator<Item = S, IntoIter: Send>,
        vocab_size: usize,
        special: Vec<AddedToken>,
    ) -> Result<Self> {
        let least = 256 + special.len();
        if vocab_size < least {
            return Err(Error::Invalid(format!(
                "a byte-level vocabulary needs at least {least} tokens, not {vocab_size}"
            )));
        }
        let mut trainer = BpeTrainer::builder()
            .vocab_size(vocab_size)
            .min_frequency(2)
            .show_progress(false)
            .special_tokens(special)
            .initial_alphabet(
                tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet()
                    .into_iter()
                    .collect(),
            )
            .build();
        let mut inner = byte_level(BPE::default());
        let failed = |e: tokenizers::Error| Error::Invalid(format!("training the tokenizer: {e}"));
        inner
            .train(&mut trainer, texts.into_iter())
            .map_err(failed)?;
        Self::from_inner(tokenizers::Tokenizer::from(inner), Path::new("tokenizer"))
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json`, which `transformers.AutoTokenizer`
    /// loads.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        let path = dir.join("tokenizer.json");
        let json = self.inner.to_string(true).map_err(|e| wrong(&path, e))?;
        write_atomic(&path, json.as_bytes()).map_err(|e| Error::io(&path, e))?;
        let mut config = serde_json::json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "unk_token": END_OF_TEXT,
            "add_prefix_space": false,
            "clean_up_tokenization_spaces": false,
        });
        if self.id("<mask>").is_some() {
            for (role, token) in [
                ("bos_token", "<s>"),
                ("cls_token", "<s>"),
                ("eos_token", "</s>"),
                ("sep_token", "</s>"),
                ("pad_token", "<pad>"),
                ("unk_token", "<unk>"),
                ("mask_token", "<mask>"),
            ] {
                config[role] = token.into();
            }
        }
        let path = dir.join("tokenizer_config.json");
        write_atomic(&path, format!("{config:#}\n").as_bytes()).map_err(|e| Error::io(&path, e))
    }

    /// Token ids of a text, nothing added.
    ///
    /// # Errors
    /// The tokenizer has no token for a part of the text (a byte-level one has).
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, false);
        encoding
            .map(|e| e.get_ids().to_vec())
            .map_err(|e| Error::Encode {
                text: text.chars().take(40).collect(),
                message: e.to_string(),
            })
    }

    /// The text of token ids, special ones included; ids that the tokenizer does not know say
    /// nothing. Bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.inner.decode(ids, false).unwrap_or_default()
    }

    /// Number of ids, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Number of ids of the model inside, without added tokens.
    pub fn own_size(&self) -> usize {
        self.inner.get_vocab_size(false)
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id as the vocabulary has it; a byte-level one in its alphabet, where `Ġ` is
    /// a space.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// SHA-256 of everything that decides about ids.
    pub fn fingerprint(&self) -> String {
        crate::fingerprint::of_bytes(self.inner.to_string(false).unwrap_or_default().as_bytes())
    }
}

type ByteLevelBpe = TokenizerImpl<
    BPE,
    tokenizers::NormalizerWrapper,
    tokenizers::pre_tokenizers::byte_level::ByteLevel,
    tokenizers::PostProcessorWrapper,
    ByteLevel,
>;

fn byte_level(model: BPE) -> ByteLevelBpe {
    let mut tokenizer = TokenizerImpl::new(model);
    let bytes = ByteLevel::new(false, true, true);
    tokenizer
        .with_pre_tokenizer(Some(bytes))
        .with_decoder(Some(bytes));
    tokenizer
}

fn wrong(path: &Path, reason: impl ToString) -> Error {
    Error::Tokenizer {
        path: path.to_owned(),
        message: reason.to_string(),
    }
}

/// The kind of model inside, for messages.
impl std::fmt::Display for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.inner.get_model() {
            ModelWrapper::BPE(_) => "BPE",
            ModelWrapper::WordPiece(_) => "WordPiece",
            ModelWrapper::WordLevel(_) => "words",
            ModelWrapper::Unigram(_) => "unigram",
        };
        write!(f, "{kind}, {} tokens", self.vocab_size())
    }
}
