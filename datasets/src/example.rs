//! One example of any task, and the three parts of a data set.

/// A subject–property–object fact, each field exactly as in its file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Triple {
    /// The subject, an entity such as `Aarhus_Airport`.
    pub subject: String,
    /// The property, such as `cityServed`.
    pub property: String,
    /// The object, an entity or a literal such as `"Aarhus, Denmark"` with its quotes.
    pub object: String,
}

/// What a model is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Input {
    /// WebNLG: facts to put into words.
    Triples(Vec<Triple>),
    /// CoQA: a passage, the turns before, the question now.
    Conversation {
        /// The passage, one for all of its turns.
        passage: std::sync::Arc<str>,
        /// Questions and first answers of the turns before, oldest first.
        history: Vec<(String, String)>,
        /// The question to answer.
        question: String,
    },
    /// One text: SST-2's sentence, or the input of data of one's own.
    Sentence(String),
    /// Two texts: MNLI's premise and hypothesis, or a pair of one's own.
    Pair(String, String),
}

/// One example.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Example {
    /// Position in its file, from 1: the key of WebNLG's entries, the line of a table.
    pub position: usize,
    /// WebNLG's category, CoQA's source, MNLI's genre, one's own group; may be empty.
    pub category: String,
    /// Whether the category occurs in the training file.
    pub seen: bool,
    /// What the model is given.
    pub input: Input,
    /// The texts that answer it; the first one is CoQA's training target, all of them are WebNLG's.
    pub references: Vec<String>,
    /// The class, for classification.
    pub class: Option<u32>,
    /// What data of one's own call it, to find its output again; decides nothing.
    pub id: Option<String>,
}

/// Positions of entries that were left out because no text of theirs is usable.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Skipped {
    /// In the training file.
    pub train: Vec<usize>,
    /// In the development file.
    pub dev: Vec<usize>,
    /// In the test file.
    pub test: Vec<usize>,
}

/// A data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splits {
    /// To train on.
    pub train: Vec<Example>,
    /// To choose on.
    pub dev: Vec<Example>,
    /// To report on.
    pub test: Vec<Example>,
    /// SHA-256 of the examples as loaded, in hexadecimal.
    pub fingerprint: String,
    /// The names of the classes in the order of their ids; empty for generation.
    pub classes: Vec<String>,
    /// What was left out because no text of it is usable.
    pub skipped: Skipped,
    /// Messages on malformed entries that were left out, in the order of the files.
    pub malformed: Vec<String>,
    /// What a reader of a result must know about how the parts came about, one sentence each.
    pub notes: Vec<String>,
}

impl Splits {
    /// Puts training, development and test part together and takes their fingerprint.
    pub fn of_parts(parts: [crate::Part; 3], notes: Vec<String>) -> Self {
        let [train, dev, test] = parts;
        let mut notes = notes;
        notes.extend(
            [&train.notes, &dev.notes, &test.notes]
                .into_iter()
                .flatten()
                .cloned(),
        );
        let all = [&train.examples, &dev.examples, &test.examples];
        Self {
            fingerprint: crate::fingerprint::of_examples(all),
            classes: Vec::new(),
            malformed: [train.malformed, dev.malformed, test.malformed].concat(),
            skipped: Skipped {
                train: train.without_text,
                dev: dev.without_text,
                test: test.without_text,
            },
            train: train.examples,
            dev: dev.examples,
            test: test.examples,
            notes,
        }
    }
    /// Gives the classes other ids, those of `names`: the order in which an adapter learnt them.
    ///
    /// # Errors
    /// A class of the data that is none of these.
    pub fn with_classes(mut self, names: &[String]) -> crate::Result<Self> {
        let place = |name: &String| {
            let found = names.iter().position(|n| n == name);
            let unknown = || {
                let known = names.join(", ");
                crate::Error::Invalid(format!("class {name:?} of the data is none of {known}"))
            };
            found.map(|i| i as u32).ok_or_else(unknown)
        };
        let places: Vec<u32> = self
            .classes
            .iter()
            .map(place)
            .collect::<crate::Result<_>>()?;
        let parts = [&mut self.train, &mut self.dev, &mut self.test];
        for class in parts.into_iter().flatten().filter_map(|e| e.class.as_mut()) {
            *class = places.get(*class as usize).copied().unwrap_or(*class);
        }
        self.classes = names.to_vec();
        Ok(self)
    }
}
