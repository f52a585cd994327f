//! The four tasks of the paper, two for data of one's own, and their special tokens.

use crate::Error;

/// A task of the paper's section 6, or one for data of one's own ([`crate::own`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Text from triples.
    WebNlg,
    /// Conversational question answering over a passage.
    Coqa,
    /// Entailment of sentence pairs.
    Mnli,
    /// Sentiment of sentences.
    Sst2,
    /// Texts from texts.
    Generate,
    /// Classes of texts or of pairs of texts.
    Classify,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::WebNlg,
        Self::Coqa,
        Self::Mnli,
        Self::Sst2,
        Self::Generate,
        Self::Classify,
    ];

    /// The task's added tokens. The `i`-th has id `vocab_size + i`: the order is part of the
    /// adapter's file format (rows of `transformer.wte.added`). The classification tasks use tokens
    /// that the backbone has already.
    ///
    /// ```
    /// use inducer_datasets::Task;
    /// assert_eq!(Task::WebNlg.special_tokens()[4], "<target_webnlg>");
    /// assert_eq!(Task::Coqa.special_tokens().len(), 5);
    /// assert!(Task::Sst2.special_tokens().is_empty());
    /// ```
    pub const fn special_tokens(self) -> &'static [&'static str] {
        match self {
            Self::WebNlg => &[
                "<bos_webnlg>",
                "<subject>",
                "<property>",
                "<object>",
                "<target_webnlg>",
                "<eos_webnlg>",
            ],
            Self::Coqa => &[
                "<bos_qa>",
                "<document>",
                "<question>",
                "<answer>",
                "<eos_qa>",
            ],
            Self::Generate => &[
                "<bos_generate>",
                "<input>",
                "<target_generate>",
                "<eos_generate>",
            ],
            Self::Mnli | Self::Sst2 | Self::Classify => &[],
        }
    }

    /// The classes that a classification task always has, in the order of their ids (GLUE's); empty
    /// for generation and for data of one's own, whose classes [`crate::Splits::classes`] has.
    pub const fn classes(self) -> &'static [&'static str] {
        match self {
            Self::WebNlg | Self::Coqa | Self::Generate | Self::Classify => &[],
            Self::Mnli => &["entailment", "neutral", "contradiction"],
            Self::Sst2 => &["0", "1"],
        }
    }

    /// Whether the task's output is a text.
    pub const fn generates(self) -> bool {
        matches!(self, Self::WebNlg | Self::Coqa | Self::Generate)
    }

    /// Whether its data are one's own, and none of the paper's figures is on them.
    pub const fn is_own(self) -> bool {
        matches!(self, Self::Generate | Self::Classify)
    }

    /// What the columns of data of one's own hold, by their usual names; empty for the paper's
    /// tasks.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Generate => &["input", "target", "targets", "group", "id"],
            Self::Classify => &["text", "text_pair", "label", "group", "id"],
            _ => &[],
        }
    }

    /// The data set's name in headings; of data of one's own what the task is.
    pub const fn title(self) -> &'static str {
        match self {
            Self::WebNlg => "WebNLG 2017",
            Self::Coqa => "CoQA",
            Self::Mnli => "MNLI",
            Self::Sst2 => "SST-2",
            Self::Generate => "Texts from texts",
            Self::Classify => "Classes of texts",
        }
    }

    /// The name used on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebNlg => "webnlg",
            Self::Coqa => "coqa",
            Self::Mnli => "mnli",
            Self::Sst2 => "sst2",
            Self::Generate => "generate",
            Self::Classify => "classify",
        }
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Task {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|t| t.name() == name)
            .ok_or_else(|| Error::Unknown {
                what: "task",
                name: name.to_owned(),
                expected: "webnlg, coqa, mnli, sst2, generate, classify",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::Task;

    #[test]
    fn names_go_round_trip_in_text_and_json() {
        for task in Task::ALL {
            assert_eq!(task.name().parse::<Task>().unwrap(), task);
            assert_eq!(
                serde_json::to_string(&task).unwrap(),
                format!("{:?}", task.name())
            );
        }
        assert!(
            "WebNLG"
                .parse::<Task>()
                .unwrap_err()
                .to_string()
                .contains("webnlg, coqa")
        );
    }
}
