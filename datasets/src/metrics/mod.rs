//! Scores of generated texts, as the official scorers compute them.

pub mod accuracy;
pub mod bleu;
pub mod coqa;
pub mod glue;
pub mod groups;
pub mod meteor;
pub mod prepare;
pub mod ter;
pub mod tokenize;
pub mod webnlg;

pub use accuracy::{Accuracy, accuracy};
pub use bleu::{Bleu, corpus_bleu};
pub use coqa::{Coqa, coqa};
pub use glue::Glue;
pub use meteor::{Meteor, corpus_meteor};
pub use ter::{Ter, corpus_ter};
pub use webnlg::WebNlg;

/// Words between white space as Perl's and Java's `\s` see it on ASCII: space, tab, line feed,
/// return, vertical tab, form feed.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\n', '\r', '\x0B', '\x0C'])
        .filter(|w| !w.is_empty())
}
