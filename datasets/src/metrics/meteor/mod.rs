//! METEOR 1.5 for English (Denkowski and Lavie 2014), as `-l en -norm` computes it.
//!
//! ```text
//! METEOR = (1 − γ (chunks/matches)^β) · PR/(αP + (1−α)R),   α = 0.85, β = 0.2, γ = 0.6
//! ```
//!
//! `P` and `R`: matched words of hypothesis and reference, each weighted by its matcher (exact 1,
//! stem 0.6, synonym 0.8, paraphrase 0.6) and by δ = 0.75 for content words, 1 − δ for function
//! words. Each hypothesis meets the reference of its highest score; the corpus score is computed
//! from the sums. Synonyms, function words and abbreviations come from the user's `meteor-1.5.jar`,
//! paraphrases from its table: without them [`Meteor::matchers`] says what ran, and the score is
//! another one. Checked in `tests/meteor.rs`.

mod align;
mod normalise;
mod resources;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use align::Match;
use resources::{Jar, Paraphrases};
use rust_stemmers::{Algorithm, Stemmer};

use super::{each, total};
use crate::Result;

/// Where the user keeps METEOR's resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// `meteor-1.5.jar`: synonyms, function words, abbreviations.
    pub jar: Option<PathBuf>,
    /// `paraphrase-en.gz`.
    pub paraphrases: Option<PathBuf>,
}

/// What one hypothesis adds to the corpus. Pairs are of hypothesis and reference.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Words.
    pub length: [f64; 2],
    /// Function words among them.
    pub function: [f64; 2],
    /// Matched content words by matcher.
    pub content_matches: [[f64; 2]; 4],
    /// Matched function words by matcher.
    pub function_matches: [[f64; 2]; 4],
    /// Runs of matches in one order.
    pub chunks: f64,
}

/// METEOR and what it is made of.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Meteor {
    /// The score, 0 to 1.
    #[serde(rename = "meteor")]
    pub score: f64,
    /// Weighted precision.
    pub precision: f64,
    /// Weighted recall.
    pub recall: f64,
    /// What the lack of order costs, 0 to 0.6.
    pub fragmentation_penalty: f64,
    /// The matchers that ran.
    pub matchers: Vec<&'static str>,
}

const WEIGHTS: [f64; 4] = [1.0, 0.6, 0.8, 0.6];
const NAMES: [&str; 4] = ["exact", "stem", "synonym", "paraphrase"];
const ALPHA: f64 = 0.85;
const BETA: f64 = 0.2;
const GAMMA: f64 = 0.6;
const DELTA: f64 = 0.75;

impl Counts {
    /// The score of summed counts; 0 where nothing matches.
    pub fn score(&self) -> Meteor {
        let of = |side: usize| {
            let weigh = |content: f64, function: f64| DELTA * content + (1.0 - DELTA) * function;
            let matched: f64 = (0..4)
                .map(|m| {
                    WEIGHTS[m]
                        * weigh(
                            self.content_matches[m][side],
                            self.function_matches[m][side],
                        )
                })
                .sum();
            matched / weigh(self.length[side] - self.function[side], self.function[side])
        };
        let [precision, recall] = [of(0), of(1)].map(|x| if x.is_finite() { x } else { 0.0 });
        let fragmentation = if self.perfect() {
            0.0
        } else {
            2.0 * self.chunks / (self.matched(0) + self.matched(1))
        };
        let penalty = GAMMA * fragmentation.powf(BETA);
        let mean = 1.0 / ((1.0 - ALPHA) / precision + ALPHA / recall);
        let score = mean * (1.0 - penalty);
        Meteor {
            score: if score.is_finite() {
                score.max(0.0)
            } else {
                0.0
            },
            precision,
            recall,
            fragmentation_penalty: if penalty.is_finite() { penalty } else { 0.0 },
            matchers: Vec::new(),
        }
    }

    fn matched(&self, side: usize) -> f64 {
        let both = self.content_matches.iter().chain(&self.function_matches);
        both.map(|m| m[side]).sum()
    }

    /// Every word matched in one run.
    fn perfect(&self) -> bool {
        self.matched(0) == self.length[0] && self.matched(1) == self.length[1] && self.chunks == 1.0
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for side in 0..2 {
            self.length[side] += other.length[side];
            self.function[side] += other.function[side];
            for m in 0..4 {
                self.content_matches[m][side] += other.content_matches[m][side];
                self.function_matches[m][side] += other.function_matches[m][side];
            }
        }
        // METEOR does not count the one chunk of a perfect match
        self.chunks += if other.perfect() { 0.0 } else { other.chunks };
    }
}

/// Words of the corpus, and what the matchers need to know of each.
struct Scorer {
    function: Vec<bool>,
    stems: Vec<String>,
    synsets: Vec<HashSet<u32>>,
    paraphrases: Paraphrases,
    longest: usize,
}

impl Scorer {
    fn new(words: &[String], jar: &Jar, paraphrases: Paraphrases) -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        Self {
            function: words
                .iter()
                .map(|w| jar.function_words.contains(w))
                .collect(),
            stems: words.iter().map(|w| stemmer.stem(w).into_owned()).collect(),
            synsets: words.iter().map(|w| jar.synsets(w)).collect(),
            longest: paraphrases.keys().map(Vec::len).max().unwrap_or(0),
            paraphrases,
        }
    }

    fn single(
        &self,
        h: &[u32],
        r: &[u32],
        stage: usize,
        out: &mut Vec<Match>,
        same: impl Fn(usize, usize) -> bool,
    ) {
        for (j, b) in r.iter().enumerate() {
            for (i, a) in h.iter().enumerate() {
                if same(*a as usize, *b as usize) {
                    out.push(Match {
                        reference: (j, 1),
                        hypothesis: (i, 1),
                        stage,
                    });
                }
            }
        }
    }

    /// Where a paraphrase of a run of `from` stands in `to`: start and length in `from`, then in
    /// `to`.
    fn phrases(&self, from: &[u32], to: &[u32]) -> Vec<((usize, usize), (usize, usize))> {
        let mut out = Vec::new();
        for start in 0..from.len() {
            for length in 1..=self.longest.min(from.len() - start) {
                let run = &from[start..start + length];
                for other in self
                    .paraphrases
                    .get(run)
                    .into_iter()
                    .flatten()
                    .filter(|o| !o.is_empty())
                {
                    for (at, _) in to
                        .windows(other.len())
                        .enumerate()
                        .filter(|(_, w)| w == other)
                    {
                        out.push(((start, length), (at, other.len())));
                    }
                }
            }
        }
        out
    }

    fn counts(&self, h: &[u32], r: &[u32]) -> Counts {
        let mut all = Vec::new();
        self.single(h, r, 0, &mut all, |a, b| a == b);
        if h != r {
            self.single(h, r, 1, &mut all, |a, b| {
                a != b && self.stems[a] == self.stems[b]
            });
            self.single(h, r, 2, &mut all, |a, b| {
                a != b && !self.synsets[a].is_disjoint(&self.synsets[b])
            });
            let mut phrase = |reference, hypothesis| {
                all.push(Match {
                    reference,
                    hypothesis,
                    stage: 3,
                });
            };
            self.phrases(r, h)
                .into_iter()
                .for_each(|(r, h)| phrase(r, h));
            self.phrases(h, r)
                .into_iter()
                .for_each(|(h, r)| phrase(r, h));
        }
        let (matches, chunks) = align::resolve(&all, h.len(), r.len());
        let function =
            |words: &[u32]| words.iter().filter(|w| self.function[**w as usize]).count() as f64;
        let mut counts = Counts {
            length: [h.len() as f64, r.len() as f64],
            function: [function(h), function(r)],
            chunks: chunks as f64,
            ..Counts::default()
        };
        for m in matches {
            for (side, words, (start, length)) in [(0, h, m.hypothesis), (1, r, m.reference)] {
                let n = function(&words[start..start + length]);
                counts.function_matches[m.stage][side] += n;
                counts.content_matches[m.stage][side] += length as f64 - n;
            }
        }
        counts
    }
}

/// [`Counts`] of every hypothesis against the reference of its highest score, and the matchers that
/// ran.
///
/// # Errors
/// The lists differ in length, or a resource cannot be read.
pub fn counts(
    hypotheses: &[String],
    references: &[Vec<String>],
    files: &Files,
) -> Result<(Vec<Counts>, Vec<&'static str>)> {
    let jar = files
        .jar
        .as_deref()
        .map(Jar::load)
        .transpose()?
        .unwrap_or_default();
    let mut ids = BTreeMap::new();
    let mut encode = |text: &String| -> Vec<u32> {
        let words = normalise::normalise(text, &jar.prefixes);
        let next = |w| {
            let fresh = ids.len() as u32;
            *ids.entry(w).or_insert(fresh)
        };
        words.into_iter().map(next).collect()
    };
    let hypotheses: Vec<Vec<u32>> = hypotheses.iter().map(&mut encode).collect();
    let references: Vec<Vec<Vec<u32>>> = references
        .iter()
        .map(|r| r.iter().map(&mut encode).collect())
        .collect();
    let mut words = vec![String::new(); ids.len()];
    ids.into_iter().for_each(|(w, i)| words[i as usize] = w);
    let vocabulary = words.iter().map(String::as_bytes).zip(0..).collect();
    let paraphrases = match &files.paraphrases {
        Some(path) => resources::paraphrases(path, vocabulary)?,
        None => Paraphrases::new(),
    };
    let ran = [true, true, files.jar.is_some(), files.paraphrases.is_some()];
    let matchers = NAMES
        .into_iter()
        .zip(ran)
        .filter_map(|(name, ran)| ran.then_some(name));
    let scorer = Scorer::new(&words, &jar, paraphrases);
    let none = [Vec::new()];
    let best = |(h, r): (&Vec<u32>, &Vec<Vec<u32>>)| {
        let r = if r.is_empty() { &none[..] } else { r };
        let mut best: Option<(f64, Counts)> = None;
        for reference in r {
            let counts = scorer.counts(h, reference);
            let score = counts.score().score;
            if best.is_none_or(|(old, _)| score > old) {
                best = Some((score, counts));
            }
        }
        best.map(|(_, counts)| counts).unwrap_or_default()
    };
    let all = each(&hypotheses, &references, best)?;
    Ok((all, matchers.collect()))
}

/// METEOR of a corpus; `references[i]` belong to `hypotheses[i]`, none stands for an empty one.
///
/// # Errors
/// As [`counts`].
///
/// ```
/// use inducer_datasets::metrics::meteor::{Files, corpus_meteor};
/// let references = [vec!["the cat sat .".into()]];
/// let m = corpus_meteor(&["The cat sat.".into()], &references, &Files::default()).unwrap();
/// assert_eq!((m.score, m.matchers), (1.0, vec!["exact", "stem"]));
/// ```
pub fn corpus_meteor(
    hypotheses: &[String],
    references: &[Vec<String>],
    files: &Files,
) -> Result<Meteor> {
    let (all, matchers) = counts(hypotheses, references, files)?;
    Ok(Meteor {
        matchers,
        ..total(all).score()
    })
}
