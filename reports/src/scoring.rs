//! The metrics on files of texts, one a line, and tests of the difference between two systems.

use crate::files::{self, At};
use anyhow::{Context as _, Result, ensure};
use inducer_datasets::metrics::bleu::Smoothing;
use inducer_datasets::metrics::meteor::Files;
use inducer_datasets::metrics::prepare::webnlg_2017;
use inducer_datasets::metrics::{self, Meteor, f1, groups};
use inducer_datasets::significance::{Resampled, approximate_randomisation, paired_bootstrap};
use inducer_datasets::{Reading, Task, own, table};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricName {
    /// BLEU as multi-bleu.perl computes it.
    Bleu,
    /// TER as tercom 0.7.25 computes it.
    Ter,
    /// METEOR 1.5 for English, normalised.
    Meteor,
    /// CoQA's exact match and F1.
    Coqa,
    /// Share of equal lines.
    Accuracy,
    /// F1 of classes, and their mean.
    F1,
    /// Exact match and F1 of words with the best of the references.
    Overlap,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The metric.
    pub metric: MetricName,
    /// The texts to score.
    pub hypotheses: PathBuf,
    /// References, a file for each set.
    pub references: Vec<PathBuf>,
    /// Compare in lower case.
    pub lowercase: bool,
    /// Prepare all texts as the WebNLG challenge of 2017 did.
    pub prepare: bool,
    /// BLEU after 13a's tokenization and TER by the search of sacrebleu.
    pub sacrebleu: bool,
    /// BLEU's smoothing; without one that of the software that is followed.
    pub smoothing: Option<Smoothing>,
    /// CoQA's domain of each question.
    pub domains: Option<PathBuf>,
    /// Another system's texts.
    pub compare: Option<PathBuf>,
    /// Draws of the tests.
    pub draws: usize,
    /// Seed of the tests.
    pub seed: u64,
    /// METEOR's resources.
    pub meteor: Files,
    /// How references are read that are tables.
    pub reading: Reading,
}

/// What is scored: texts, their references, and the texts of another system.
struct Texts {
    hypotheses: Vec<String>,
    /// Of each text one a file, empty where it is missing.
    references: Vec<Vec<String>>,
    other: Option<Vec<String>>,
}

/// A metric's components as JSON, and its line for people.
pub struct Found {
    /// The components.
    pub json: Value,
    /// The line; with parts or tests, several.
    pub line: String,
}

/// Paired tests of the difference to another system.
#[derive(Serialize)]
struct Comparison {
    /// The other system's score.
    other: f64,
    bootstrap: Resampled,
    randomisation: Resampled,
}

/// Scores the texts.
///
/// # Errors
/// A file cannot be read, or has another number of lines; a resource of METEOR's is broken.
pub fn score(request: &Request) -> Result<Found> {
    let texts = Texts::read(request)?;
    match request.metric {
        MetricName::Bleu => bleu(request, &texts),
        MetricName::Ter => ter(request, &texts),
        MetricName::Meteor => meteor(request, &texts),
        MetricName::Coqa => coqa(request, &texts),
        MetricName::Accuracy => accuracy(request, &texts),
        MetricName::F1 => class_f1(&texts),
        MetricName::Overlap => overlap(request, &texts),
    }
}

/// Lines of a file; the last may lack its end. A carriage return before a line's end is none of its
/// text. Of a table the column `output`.
fn lines(path: &Path) -> Result<Vec<String>> {
    if table::is_table(path) {
        return Ok(own::outputs(path)?);
    }
    let text = files::read(path)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let bare = |l: &str| l.strip_suffix('\r').unwrap_or(l).to_owned();
    Ok(text.split('\n').map(bare).collect())
}

impl Request {
    /// The sets of references in a table: a row's first text is the first set's, and so on; a set
    /// has an empty text where a row has fewer.
    fn table(&self, path: &Path, rows: usize) -> Result<Vec<Vec<String>>> {
        let task = match self.metric {
            MetricName::Accuracy | MetricName::F1 => Task::Classify,
            _ => Task::Generate,
        };
        self.reading.check(task)?;
        let answers = own::answers(task, path, &self.reading)?;
        ensure!(
            answers.len() == rows,
            "{}: {} rows, expected {rows} as in {}",
            path.display(),
            answers.len(),
            self.hypotheses.display()
        );
        let most = answers.iter().map(Vec::len).max().unwrap_or(0);
        let text = |row: &Vec<String>, set: usize| row.get(set).cloned().unwrap_or_default();
        let set = |set| answers.iter().map(|row| text(row, set)).collect();
        Ok((0..most).map(set).collect())
    }
}

/// A line of tercom's format, `text (id)`, as its text and its id.
fn tercom_id(line: &str) -> Option<(&str, &str)> {
    let (text, id) = line.trim_end().strip_suffix(')')?.rsplit_once('(')?;
    let plain = !id.is_empty() && !id.contains(char::is_whitespace) && !id.contains(')');
    (plain && (text.is_empty() || text.ends_with(' '))).then(|| (text.trim_end(), id))
}

fn id_of(line: &str) -> String {
    tercom_id(line).map_or_else(String::new, |(_, id)| id.to_owned())
}

/// Takes the ids away from lines, which have to be those of the hypotheses.
fn bare(path: &Path, lines: &mut [String], ids: &[String]) -> Result<()> {
    for (i, (line, id)) in lines.iter_mut().zip(ids).enumerate() {
        let found = tercom_id(line).with_context(|| {
            format!(
                "{}:{}: expected tercom's `text ({id})`, found no id",
                path.display(),
                i + 1
            )
        });
        let (text, own) = found?;
        ensure!(
            own == id,
            "{}:{}: expected the id ({id}), found ({own})",
            path.display(),
            i + 1
        );
        *line = text.to_owned();
    }
    Ok(())
}

impl Texts {
    fn read(request: &Request) -> Result<Self> {
        let mut hypotheses = lines(&request.hypotheses)?;
        let is_tercom = request.metric == MetricName::Ter && !request.sacrebleu;
        let with_ids = is_tercom && hypotheses.iter().all(|l| tercom_id(l).is_some());
        let as_many = |path: &PathBuf| -> Result<Vec<String>> {
            let found = lines(path)?;
            ensure!(
                found.len() == hypotheses.len(),
                "{}: {} lines, expected {} as in {}",
                path.display(),
                found.len(),
                hypotheses.len(),
                request.hypotheses.display()
            );
            Ok(found)
        };
        let mut sets: Vec<Vec<String>> = Vec::new();
        for path in &request.references {
            match table::is_table(path) {
                true => sets.extend(request.table(path, hypotheses.len())?),
                false => sets.push(as_many(path)?),
            }
        }
        let other = request.compare.as_ref().map(as_many).transpose()?;
        let mut other = other;
        if with_ids {
            let ids: Vec<String> = hypotheses.iter().map(|l| id_of(l)).collect();
            let files = request.references.iter().chain(&request.compare);
            for (path, lines) in files.zip(sets.iter_mut().chain(&mut other)) {
                bare(path, lines, &ids)?;
            }
            bare(&request.hypotheses, &mut hypotheses, &ids)?;
        }
        let (sets, other) = (sets, other);
        let prepare = |text: &String| match (request.prepare, request.lowercase) {
            (true, _) => webnlg_2017(text),
            // BLEU lowers ASCII alone, as multi-bleu does
            (false, true) if request.metric != MetricName::Bleu => text.to_lowercase(),
            _ => text.clone(),
        };
        let of = |i: usize| sets.iter().map(|s| prepare(&s[i])).collect();
        Ok(Self {
            references: (0..hypotheses.len()).map(of).collect(),
            other: other.map(|o| o.iter().map(prepare).collect()),
            hypotheses: hypotheses.iter().map(prepare).collect(),
        })
    }

    /// The references that are there: a blank line is none.
    fn present(&self) -> Vec<Vec<String>> {
        let there = |r: &Vec<String>| r.iter().filter(|t| !t.trim().is_empty()).cloned().collect();
        self.references.iter().map(there).collect()
    }
}

/// A corpus metric: what each example adds, and the figure of a sum.
struct Metric<C, S, F: Fn(&C) -> S> {
    score: F,
    value: fn(&S) -> f64,
    counts: Vec<C>,
    other: Option<Vec<C>>,
}

impl<C: Copy + Default + AddAssign, S: Serialize, F: Fn(&C) -> S> Metric<C, S, F> {
    /// The metric of some texts, and of the other system's where there is one.
    fn of(
        texts: &Texts,
        score: F,
        value: fn(&S) -> f64,
        counts: impl Fn(&Vec<String>) -> inducer_datasets::Result<Vec<C>>,
    ) -> Result<Self> {
        Ok(Self {
            score,
            value,
            counts: counts(&texts.hypotheses)?,
            other: texts.other.as_ref().map(counts).transpose()?,
        })
    }

    /// The figure, its components, and the tests against the other system.
    fn found(&self, request: &Request, line: impl Fn(&S) -> String) -> Result<Found> {
        let score = self.total(&self.counts);
        let mut found = Found {
            json: serde_json::to_value(&score)?,
            line: line(&score),
        };
        if let Some(other) = &self.other {
            let tests = self.compare(other, request)?;
            found.line += &format!(
                "\nother system {:.4}; p {:.4} by paired bootstrap, {:.4} by approximate \
                 randomisation ({} draws)",
                tests.other, tests.bootstrap.p, tests.randomisation.p, request.draws
            );
            found.json["comparison"] = serde_json::to_value(tests)?;
        }
        Ok(found)
    }

    /// The score of all examples together.
    fn total(&self, counts: &[C]) -> S {
        let mut sum = C::default();
        counts.iter().for_each(|c| sum += *c);
        (self.score)(&sum)
    }

    fn compare(&self, other: &[C], request: &Request) -> Result<Comparison> {
        let value = |sum: C| (self.value)(&(self.score)(&sum));
        let (counts, draws, seed) = (&self.counts, request.draws, request.seed);
        Ok(Comparison {
            other: (self.value)(&self.total(other)),
            bootstrap: paired_bootstrap(counts, other, value, draws, seed)?,
            randomisation: approximate_randomisation(counts, other, value, draws, seed)?,
        })
    }
}

fn bleu(request: &Request, texts: &Texts) -> Result<Found> {
    let counts = |hypotheses: &Vec<String>| match request.sacrebleu {
        true => metrics::bleu::counts_13a(hypotheses, &texts.present(), request.lowercase),
        false => metrics::bleu::counts(hypotheses, &texts.references, request.lowercase),
    };
    let usual = match request.sacrebleu {
        true => Smoothing::Exp,
        false => Smoothing::None,
    };
    let smoothing = request.smoothing.unwrap_or(usual);
    let score = |sum: &metrics::bleu::Counts| sum.smoothed(smoothing);
    let metric = Metric::of(texts, score, |b| b.score, counts)?;
    metric.found(request, |b| {
        let p = b.precisions.map(|p| format!("{p:.1}")).join("/");
        format!(
            "BLEU = {:.2}, {p} (BP={:.3}, ratio={:.3}, hyp_len={}, ref_len={})",
            b.score, b.brevity_penalty, b.ratio, b.hypothesis_length, b.reference_length
        )
    })
}

fn ter(request: &Request, texts: &Texts) -> Result<Found> {
    let algorithm = match request.sacrebleu {
        true => metrics::ter::Algorithm::Sacrebleu,
        false => metrics::ter::Algorithm::Tercom,
    };
    let references = texts.present();
    let counts = |texts: &Vec<String>| metrics::ter::counts(texts, &references, algorithm);
    let score = |sum: &metrics::ter::Counts| sum.score();
    let metric = Metric::of(texts, score, |t| t.score, counts)?;
    metric.found(request, |t| {
        let c = &t.counts;
        format!(
            "TER = {:.5} ({} edits: {} insertions, {} deletions, {} substitutions, {} shifts; \
             {:.1} words)",
            t.score,
            t.edits,
            c.insertions,
            c.deletions,
            c.substitutions,
            c.shifts,
            c.reference_length
        )
    })
}

fn meteor(request: &Request, texts: &Texts) -> Result<Found> {
    let (files, references) = (&request.meteor, texts.present());
    let counts = |texts: &Vec<String>| metrics::meteor::counts(texts, &references, files);
    let (of_texts, matchers) = counts(&texts.hypotheses)?;
    let other = texts.other.as_ref().map(counts).transpose()?;
    let metric = Metric {
        score: |sum: &metrics::meteor::Counts| Meteor {
            matchers: matchers.clone(),
            ..sum.score()
        },
        value: |m| m.score,
        counts: of_texts,
        other: other.map(|(counts, _)| counts),
    };
    metric.found(request, |m| {
        format!(
            "METEOR = {:.6} (precision {:.4}, recall {:.4}, penalty {:.4}; matchers {})",
            m.score,
            m.precision,
            m.recall,
            m.fragmentation_penalty,
            matchers_that_ran(&m.matchers)
        )
    })
}

/// METEOR's matchers, and what is missing where it did not run in full.
pub fn matchers_that_ran(matchers: &[&str]) -> String {
    let missing = match matchers.len() {
        4 => "",
        _ => "; not METEOR 1.5 in full: give --meteor-jar and --paraphrases",
    };
    format!("{}{missing}", matchers.join(", "))
}

fn coqa(request: &Request, texts: &Texts) -> Result<Found> {
    let references = texts.present();
    let counts = |answers: &Vec<String>| metrics::coqa::counts(answers, &references);
    let metric = Metric::of(texts, metrics::coqa::Counts::score, |s| s.f1, counts)?;
    let line = |s: &metrics::coqa::Scores| {
        let (exact, questions) = (s.exact_match, s.questions);
        format!(
            "exact match = {exact:.1}, F1 = {:.1} ({questions} questions)",
            s.f1
        )
    };
    let mut found = metric.found(request, line)?;
    if let Some(path) = &request.domains {
        let domains = lines(path)?;
        let (_, parts) =
            groups::by_group(&metric.counts, &domains, metrics::coqa::Counts::score).at(path)?;
        for (domain, s) in &parts {
            found.line += &format!("\n{domain}: {}", line(s));
        }
        found.json["domains"] = json!(parts);
    }
    Ok(found)
}

fn accuracy(request: &Request, texts: &Texts) -> Result<Found> {
    let expected: Vec<String> = texts.references.iter().map(|r| r[0].clone()).collect();
    let counts = |predicted: &Vec<String>| metrics::accuracy::counts(predicted, &expected);
    let metric = Metric::of(texts, metrics::accuracy::Counts::score, |a| a.score, counts)?;
    metric.found(request, |a| {
        format!("accuracy = {:.4} ({} of {})", a.score, a.correct, a.total)
    })
}

fn class_f1(texts: &Texts) -> Result<Found> {
    let expected: Vec<String> = texts.references.iter().map(|r| r[0].clone()).collect();
    let found = f1::macro_f1(&texts.hypotheses, &expected)?;
    let classes = found
        .classes
        .iter()
        .map(|(name, x)| format!("\n{name}: F1 = {x:.4}"));
    Ok(Found {
        line: format!(
            "macro F1 = {:.4}{}",
            found.macro_f1,
            classes.collect::<String>()
        ),
        json: serde_json::to_value(&found)?,
    })
}

fn overlap(request: &Request, texts: &Texts) -> Result<Found> {
    let references = texts.present();
    let counts = |answers: &Vec<String>| {
        let pairs = answers.iter().zip(&references);
        Ok(pairs
            .map(|(a, r)| metrics::coqa::Counts::best(a, r))
            .collect())
    };
    let metric = Metric::of(texts, metrics::coqa::Counts::score, |s| s.f1, counts)?;
    metric.found(request, |s| {
        let (exact, texts) = (s.exact_match, s.questions);
        format!("exact match = {exact:.1}, F1 = {:.1} ({texts} texts)", s.f1)
    })
}
