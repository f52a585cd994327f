//! Scores of generated texts, as the official scorers compute them.

pub mod accuracy;
pub mod bleu;
pub mod coqa;
pub mod f1;
pub mod glue;
pub mod groups;
pub mod meteor;
pub mod prepare;
pub mod ter;
pub mod texts;
pub mod tokenize;
pub mod webnlg;

use std::ops::AddAssign;

use rayon::prelude::*;

use crate::{Error, Result};

pub use accuracy::{Accuracy, accuracy};
pub use bleu::{Bleu, corpus_bleu};
pub use coqa::{Coqa, coqa};
pub use f1::ClassF1;
pub use glue::Glue;
pub use meteor::{Meteor, corpus_meteor};
pub use ter::{Ter, corpus_ter};
pub use texts::Texts;
pub use webnlg::WebNlg;

/// What belongs together, pair by pair.
///
/// # Errors
/// The lists differ in length.
pub(crate) fn paired<'a, A, B>(
    hypotheses: &'a [A],
    references: &'a [B],
) -> Result<impl Iterator<Item = (&'a A, &'a B)>> {
    as_many(hypotheses, references)?;
    Ok(hypotheses.iter().zip(references))
}

/// Refuses lists of unequal length.
fn as_many<A, B>(hypotheses: &[A], references: &[B]) -> Result<()> {
    let (hypotheses, references) = (hypotheses.len(), references.len());
    match hypotheses == references {
        true => Ok(()),
        false => Err(Error::Unpaired {
            hypotheses,
            references,
        }),
    }
}

/// What each example has, in their order, by all threads.
pub(crate) fn each<A: Sync, B: Sync, C: Send>(
    hypotheses: &[A],
    references: &[B],
    one: impl Fn((&A, &B)) -> C + Sync + Send,
) -> Result<Vec<C>> {
    as_many(hypotheses, references)?;
    let pairs = hypotheses.par_iter().zip(references);
    Ok(pairs.map(one).collect())
}

/// The sum of what the examples add to a corpus.
pub(crate) fn total<C: Default + AddAssign>(counts: impl IntoIterator<Item = C>) -> C {
    let mut total = C::default();
    counts.into_iter().for_each(|c| total += c);
    total
}

/// Words between white space as Perl's and Java's `\s` see it on ASCII: space, tab, line feed,
/// return, vertical tab, form feed.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\n', '\r', '\x0B', '\x0C'])
        .filter(|w| !w.is_empty())
}
