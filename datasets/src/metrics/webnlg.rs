//! WebNLG's three figures as the 2017 challenge computed them (Gardent et al. 2017).
//!
//! Outputs and references are prepared by [`webnlg_2017`]. Of an entry's texts the first three
//! count. BLEU is multi-bleu's, lower-cased, and a missing second or third text is an empty
//! reference; TER and METEOR take the texts there are. `tests/webnlg_scores.rs` checks that this
//! makes the official scorer's reference files out of `test.json`.

use super::groups::{ByCategory, by_category};
use super::meteor::{self, Files};
use super::prepare::webnlg_2017;
use super::{Bleu, Meteor, Ter, bleu, ter};
use crate::{Example, Result};

/// Texts of an entry that count.
pub const REFERENCES: usize = 3;

/// The three figures, each over seen, unseen, all and every category.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct WebNlg {
    /// BLEU, 0 to 100.
    pub bleu: ByCategory<Bleu>,
    /// The same of the references that there are.
    pub bleu_without_empty: ByCategory<Bleu>,
    /// METEOR, 0 to 1.
    pub meteor: ByCategory<Meteor>,
    /// TER, 0 is perfect.
    pub ter: ByCategory<Ter>,
}

/// The prepared references of an example, three at most.
pub fn references(example: &Example) -> Vec<String> {
    let first = example.references.iter().take(REFERENCES);
    first.map(|r| webnlg_2017(r)).collect()
}

/// What a raw output adds to BLEU.
pub fn bleu_counts(output: &str, example: &Example) -> bleu::Counts {
    let mut references = references(example);
    references.resize(REFERENCES, String::new());
    bleu::Counts::of(&webnlg_2017(output), &references, true)
}

/// What a raw output adds to BLEU of the references that there are: where a missing one counts as
/// empty, a text that leaves out facts escapes the brevity penalty.
pub fn bleu_counts_without_empty(output: &str, example: &Example) -> bleu::Counts {
    bleu::Counts::of(&webnlg_2017(output), &references(example), true)
}

/// All figures of raw outputs, one for each example.
///
/// # Errors
/// The lists differ in length; a resource of METEOR's cannot be read.
///
/// ```
/// use approx::assert_abs_diff_eq;
/// use inducer_datasets::metrics::meteor::Files;
/// use inducer_datasets::{Malformed, metrics::webnlg, webnlg::xml};
/// let text = br#"<entry category="Food">
///     <mtriple>Ajoblanco | country | Spain</mtriple>
///     <lex comment="good">Ajoblanco is from Spain.</lex>
/// </entry>"#;
/// let examples = xml::parse("x.xml".as_ref(), text, Malformed::Refuse).unwrap().examples;
/// let outputs = ["ajoblanco is from spain .".into()];
/// let s = webnlg::scores(&outputs, &examples, &Files::default()).unwrap();
/// assert_abs_diff_eq!(s.bleu.all.score, 100.0, epsilon = 1e-12);
/// assert_eq!((s.ter.all.score, s.meteor.all.score), (0.0, 1.0));
/// assert!(s.bleu.unseen.is_none() && s.bleu.categories.contains_key("Food"));
/// ```
pub fn scores(outputs: &[String], examples: &[Example], files: &Files) -> Result<WebNlg> {
    let prepared: Vec<String> = outputs.iter().map(|o| webnlg_2017(o)).collect();
    let references: Vec<Vec<String>> = examples.iter().map(references).collect();
    let (meteor, matchers) = meteor::counts(&prepared, &references, files)?;
    let ter = ter::counts(&prepared, &references, ter::Algorithm::Tercom)?;
    let bleu = |counts: fn(&str, &Example) -> bleu::Counts| -> Vec<bleu::Counts> {
        let pairs = outputs.iter().zip(examples);
        pairs.map(|(o, e)| counts(o, e)).collect()
    };
    let (full, without_empty) = (bleu(bleu_counts), bleu(bleu_counts_without_empty));
    Ok(WebNlg {
        bleu: by_category(&full, examples, bleu::Counts::score)?,
        bleu_without_empty: by_category(&without_empty, examples, bleu::Counts::score)?,
        meteor: by_category(&meteor, examples, |c| Meteor {
            matchers: matchers.clone(),
            ..c.score()
        })?,
        ter: by_category(&ter, examples, |c| c.score())?,
    })
}
