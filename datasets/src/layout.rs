//! How an example is written for a backbone: special tokens, segment ids, labels (the paper's
//! section 6).
//!
//! ```text
//! WebNLG  <bos_webnlg> (<subject> s <property> p <object> o)* <target_webnlg> text <eos_webnlg>
//! CoQA    <bos_qa> <document> passage (<question> q <answer> a){last 2 turns}
//!         <question> q <answer> a <eos_qa>
//! MNLI    <s> premise </s></s> hypothesis </s>
//! SST-2   <s> sentence </s>
//! own     <bos_generate> <input> text <target_generate> text <eos_generate>
//!         <s> text </s>  or  <s> text </s></s> text </s>
//! ```
//!
//! *Ids.* The special tokens are not added to the tokenizer: the `i`-th of [`Task::special_tokens`]
//! has id `vocab_size + i` of the backbone. *Segments* repeat the marker of each part, the marker
//! itself and, in the last part, the end token included; `<bos_webnlg>` has its own, `<bos_qa>`
//! belongs to the document, as in the authors' code. *Labels* are the ids of the target text and
//! the end token, [`IGNORE`] before: the marker in front of the target is input.
//!
//! *White space.* As in the authors' code every piece is tokenized by itself, without a space
//! before it ([`Surface::Raw`]). [`Surface::Plain`] writes pieces as they would stand inside
//! running text: underscores become spaces, quotes around a literal go, camel case is split, and
//! every piece, the target included, starts with a space; a name is then the same tokens in a
//! triple as in a text, which a small backbone needs in order to copy it.
//!
//! *Length.* A sequence longer than the backbone's positions is an error that names the entry; only
//! CoQA's passages are cut, at [`PASSAGE_TOKENS`] as the paper says, and what [`Layout::truncated`]
//! asks for: inputs of [`Task::Generate`] and of the classification tasks, of whose two texts the
//! longer one loses its last token, the second where both are equal (`longest_first` in
//! transformers).
//! [`Encoded::cut`] counts what was lost.

use crate::{Error, Example, IGNORE, Input, Result, Task, Tokenizer};

/// CoQA's passages are cut after so many tokens.
pub const PASSAGE_TOKENS: usize = 400;

/// CoQA's conversations keep so many turns before the question.
pub const HISTORY_TURNS: usize = 2;

/// How the pieces of an input are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Surface {
    /// As in the file, no space before a piece: the authors' way.
    #[default]
    Raw,
    /// As in running text: see the module.
    Plain,
}

impl Surface {
    /// A field of a triple as text.
    ///
    /// ```
    /// use inducer_datasets::Surface;
    /// assert_eq!(Surface::Plain.field("\"Aarhus,_Denmark\""), " Aarhus, Denmark");
    /// assert_eq!(Surface::Plain.field("cityServed"), " city served");
    /// assert_eq!(Surface::Raw.field("cityServed"), "cityServed");
    /// ```
    pub fn field(self, text: &str) -> String {
        match self {
            Self::Raw => text.to_owned(),
            Self::Plain => {
                let bare = text
                    .strip_prefix('"')
                    .and_then(|t| t.strip_suffix('"'))
                    .unwrap_or(text);
                format!(" {}", split_camel(&bare.replace('_', " ")).trim())
            }
        }
    }

    /// A running text: the target, a question, a passage.
    pub fn text(self, text: &str) -> String {
        match self {
            Self::Raw => text.to_owned(),
            Self::Plain => format!(" {text}"),
        }
    }
}

/// `cityServed` to `city served`; anything that is not one camel-case word stays.
pub(crate) fn split_camel(text: &str) -> String {
    let camel = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_alphabetic());
    if !camel {
        return text.to_owned();
    }
    text.chars().fold(String::new(), |mut out, c| {
        if c.is_ascii_uppercase() {
            out.push(' ');
        }
        out.push(c.to_ascii_lowercase());
        out
    })
}

/// One encoded sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Segment ids, one a token; none for classification.
    pub segments: Option<Vec<u32>>,
    /// One label a token, [`IGNORE`] for no loss; empty for prompts and classification.
    pub labels: Vec<i64>,
    /// The class of a classification sequence, where known.
    pub class: Option<u32>,
    /// Tokens up to and including the marker of the target.
    pub prompt_len: usize,
    /// Tokens of the input that were cut off.
    pub cut: usize,
}

/// Writes examples of one task for one backbone.
#[derive(Clone, Debug)]
pub struct Layout<'a> {
    tokenizer: &'a Tokenizer,
    task: Task,
    vocab_size: usize,
    max_len: usize,
    surface: Surface,
    truncate: Option<usize>,
}

impl<'a> Layout<'a> {
    /// `vocab_size` and `max_len` are the backbone's: its embedding rows and its positions.
    ///
    /// # Errors
    /// The tokenizer has more ids than the backbone, or lacks a token that the task needs.
    pub fn new(
        tokenizer: &'a Tokenizer,
        task: Task,
        vocab_size: usize,
        max_len: usize,
    ) -> Result<Self> {
        // tokens added to a tokenizer may have no row in the model as long as no text has them
        if tokenizer.own_size() > vocab_size {
            return Err(Error::Vocabulary {
                tokenizer: tokenizer.vocab_size(),
                backbone: vocab_size,
            });
        }
        let layout = Self {
            tokenizer,
            task,
            vocab_size,
            max_len,
            surface: Surface::Raw,
            truncate: None,
        };
        if !task.generates() {
            layout.token("<s>")?;
            layout.token("</s>")?;
        }
        Ok(layout)
    }

    /// The same with another way of writing pieces.
    pub fn with_surface(mut self, surface: Surface) -> Self {
        self.surface = surface;
        self
    }

    /// The same with inputs of at most so many tokens, the special ones not counted.
    pub fn truncated(mut self, tokens: Option<usize>) -> Self {
        self.truncate = tokens;
        self
    }

    /// The task.
    pub fn task(&self) -> Task {
        self.task
    }

    /// How pieces are written.
    pub fn surface(&self) -> Surface {
        self.surface
    }

    /// SHA-256 of everything that decides how an example becomes a row, the tokenizer included.
    pub fn fingerprint(&self) -> String {
        let mut settings = format!(
            "{} {} {} {:?} {PASSAGE_TOKENS} {HISTORY_TURNS} {}",
            self.task,
            self.vocab_size,
            self.max_len,
            self.surface,
            self.tokenizer.fingerprint()
        );
        if let Some(tokens) = self.truncate {
            settings += &format!(" {tokens}");
        }
        crate::fingerprint::of_bytes(settings.as_bytes())
    }

    /// Number of special tokens that the backbone gets for this task.
    pub fn added(&self) -> usize {
        self.task.special_tokens().len()
    }

    /// The id that ends a generated text.
    pub fn eos(&self) -> u32 {
        self.special(self.added().saturating_sub(1))
    }

    /// The segment id of generated tokens: the marker of the target, the last of a prompt's
    /// segments.
    pub fn target_segment(&self) -> u32 {
        self.special(self.added().saturating_sub(2))
    }

    /// Ids of a text, which the backbone has.
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let ids = self.tokenizer.encode(text)?;
        match ids.iter().find(|id| **id as usize >= self.vocab_size) {
            Some(_) => Err(Error::Vocabulary {
                tokenizer: self.tokenizer.vocab_size(),
                backbone: self.vocab_size,
            }),
            None => Ok(ids),
        }
    }

    fn special(&self, i: usize) -> u32 {
        (self.vocab_size + i) as u32
    }

    /// Sequences to train on: WebNLG and one's own texts one for each reference, CoQA one for the
    /// first answer,
    /// classification one.
    ///
    /// # Errors
    /// The example is not the task's, or too long.
    pub fn training_rows(&self, example: &Example) -> Result<Vec<Encoded>> {
        if !self.task.generates() {
            return Ok(vec![self.prompt(example)?]);
        }
        let targets = if self.task == Task::Coqa {
            1
        } else {
            example.references.len()
        };
        let prompt = self.prompt(example)?;
        example
            .references
            .iter()
            .take(targets)
            .map(|text| self.with_target(&prompt, text, example.position))
            .collect()
    }

    fn with_target(&self, prompt: &Encoded, text: &str, entry: usize) -> Result<Encoded> {
        let mut row = prompt.clone();
        let marker = prompt.segments.as_ref().and_then(|s| s.last()).copied();
        row.ids.extend(self.encode(&self.surface.text(text))?);
        row.ids.push(self.eos());
        row.labels = vec![IGNORE; row.prompt_len];
        row.labels
            .extend(row.ids[row.prompt_len..].iter().map(|&id| i64::from(id)));
        if let (Some(segments), Some(marker)) = (&mut row.segments, marker) {
            segments.resize(row.ids.len(), marker);
        }
        self.fits(row, entry)
    }

    fn fits(&self, row: Encoded, entry: usize) -> Result<Encoded> {
        if row.ids.len() > self.max_len {
            return Err(Error::TooLong {
                entry,
                tokens: row.ids.len(),
                limit: self.max_len,
            });
        }
        Ok(row)
    }

    /// The sequence up to and including the marker of the target; for classification the whole one
    /// with its class.
    ///
    /// # Errors
    /// As [`Layout::training_rows`].
    pub fn prompt(&self, example: &Example) -> Result<Encoded> {
        let row = match (self.task, &example.input) {
            (Task::WebNlg, Input::Triples(triples)) => {
                let mut row = SequenceBuilder::new(self.special(0), self.special(0));
                for t in triples {
                    for (i, field) in [&t.subject, &t.property, &t.object].into_iter().enumerate() {
                        row.part(
                            self.special(1 + i),
                            &self.encode(&self.surface.field(field))?,
                        );
                    }
                }
                row.part(self.special(4), &[]);
                row.finish(0)
            }
            (
                Task::Coqa,
                Input::Conversation {
                    passage,
                    history,
                    question,
                },
            ) => {
                let [document, ask, answer] = [self.special(1), self.special(2), self.special(3)];
                let mut row = SequenceBuilder::new(self.special(0), document);
                let text = |t: &str| self.encode(&self.surface.text(t));
                let mut passage = text(passage)?;
                let cut = passage.len().saturating_sub(PASSAGE_TOKENS);
                passage.truncate(PASSAGE_TOKENS);
                row.part(document, &passage);
                for (q, a) in &history[history.len().saturating_sub(HISTORY_TURNS)..] {
                    row.part(ask, &text(q)?);
                    row.part(answer, &text(a)?);
                }
                row.part(ask, &text(question)?);
                row.part(answer, &[]);
                row.finish(cut)
            }
            (Task::Generate, Input::Sentence(text)) => {
                let mut piece = [self.encode(&self.surface.text(text))?];
                let cut = self.cut(&mut piece);
                let mut row = SequenceBuilder::new(self.special(0), self.special(0));
                row.part(self.special(1), &piece[0]);
                row.part(self.special(2), &[]);
                row.finish(cut)
            }
            (Task::Sst2 | Task::Classify, Input::Sentence(text)) => {
                self.classified(&[text], example.class)?
            }
            (Task::Mnli | Task::Classify, Input::Pair(first, second)) => {
                self.classified(&[first, second], example.class)?
            }
            _ => {
                let expected = match self.task {
                    Task::WebNlg => "triples",
                    Task::Coqa => "a conversation",
                    Task::Mnli => "a pair of sentences",
                    Task::Sst2 => "a sentence",
                    Task::Generate => "a text",
                    Task::Classify => "a text or a pair of texts",
                };
                return Err(Error::WrongInput {
                    entry: example.position,
                    task: self.task,
                    expected,
                });
            }
        };
        self.fits(row, example.position)
    }

    fn classified(&self, texts: &[&String], class: Option<u32>) -> Result<Encoded> {
        let (start, end) = (self.token("<s>")?, self.token("</s>")?);
        let pieces = texts.iter().map(|text| self.encode(text));
        let mut pieces = pieces.collect::<Result<Vec<_>>>()?;
        let cut = self.cut(&mut pieces);
        let mut ids = vec![start];
        for (i, piece) in pieces.into_iter().enumerate() {
            if i > 0 {
                ids.push(end);
            }
            ids.extend(piece);
            ids.push(end);
        }
        Ok(Encoded {
            prompt_len: ids.len(),
            ids,
            segments: None,
            labels: Vec::new(),
            class,
            cut,
        })
    }

    /// Cuts the pieces of an input to the tokens that are asked for; how many were cut off.
    fn cut(&self, pieces: &mut [Vec<u32>]) -> usize {
        let whole: usize = pieces.iter().map(Vec::len).sum();
        let most = self.truncate.unwrap_or(whole);
        for _ in most..whole {
            // of equal ones the last
            if let Some(longest) = pieces.iter_mut().max_by_key(|p| p.len()) {
                longest.pop();
            }
        }
        whole.saturating_sub(most)
    }

    fn token(&self, token: &'static str) -> Result<u32> {
        self.tokenizer.id(token).ok_or(Error::MissingToken {
            task: self.task,
            token,
        })
    }

    /// The text of generated ids: up to the end token, special tokens left out, without the one
    /// space that [`Surface::Plain`] puts in front. `decode` of a training row's target is the
    /// reference, to the letter.
    pub fn decode(&self, ids: &[u32]) -> String {
        let until = ids
            .iter()
            .position(|&id| id == self.eos())
            .unwrap_or(ids.len());
        let known: Vec<u32> = ids[..until]
            .iter()
            .copied()
            .filter(|&id| (id as usize) < self.vocab_size)
            .collect();
        let text = self.tokenizer.decode(&known);
        match self.surface {
            Surface::Plain => text.strip_prefix(' ').map(str::to_owned).unwrap_or(text),
            Surface::Raw => text,
        }
    }
}

/// A sequence in the making.
struct SequenceBuilder {
    ids: Vec<u32>,
    segments: Vec<u32>,
}

impl SequenceBuilder {
    fn new(bos: u32, segment: u32) -> Self {
        Self {
            ids: vec![bos],
            segments: vec![segment],
        }
    }

    /// A marker and its piece.
    fn part(&mut self, marker: u32, piece: &[u32]) {
        self.ids.push(marker);
        self.ids.extend_from_slice(piece);
        self.segments.resize(self.ids.len(), marker);
    }

    fn finish(self, cut: usize) -> Encoded {
        let prompt_len = self.ids.len();
        Encoded {
            ids: self.ids,
            segments: Some(self.segments),
            labels: Vec::new(),
            class: None,
            prompt_len,
            cut,
        }
    }
}
