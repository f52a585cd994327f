//! A variant of your own: two small traits, and every check of a built-in method.
//!
//! ```text
//! Formula         the paper's side: f̃ of one head, for any scalar
//!                 (the reference; exact gradients by the traced scalar)
//! CustomMethod    the engine's side: the part that trains, with its tensors
//!                 (inducer_gpu::parts::Part, as the built-in ones)
//! ```
//!
//! [`check`] puts both into random whole models (one head, one query, tied scores, logits at ±80,
//! several texts to a batch) and holds them against each other; the bounds come from the formula
//! itself ([`tolerance`](crate::bounds::tolerance)):
//!
//! | claim | what must hold | control that must fail |
//! |---|---|---|
//! | `agree` | logits and loss are those of the formula in f64 | one tensor changed |
//! | `gradients` | so is every coordinate of every gradient | one tensor changed |
//! | `reaches` | no tensor is cut off from the loss | the tensors are frozen |
//! | `causal` | no output depends on a later token | the token itself changes |
//! | `packing` | a text gives the same alone as in its batch | the text before joins it |
//! | `padding` | masked keys change nothing (in the formula) | the padding is not masked |
//! | `decoding` | every decoded token is the likeliest | another first token of each prompt |
//! | `files` | what was written computes the same when read | the tensors are written changed |
//!
//! All but `causal` and `decoding` run on GPT-2 and on RoBERTa. Each runs on the engines that can
//! show it: the engine in f64, in f32, in mixed precision and on candle's tensor operations, and
//! the formula in f32.
//!
//! [`register`] gives a variant to the whole program: its claims stand in the ledger as
//! `NAME-agree` and so on, and it is a method by its name. `examples/my_variant` is a crate of
//! one's own around a complete variant, two inducers for each query;
//! `examples/my_variant_in_python.rs` holds the same one, written in fifteen lines of PyTorch,
//! against the same formula.

mod checks;
mod model;
pub mod prelude;

pub use checks::{program_suite, suite};

use crate::engines::External;
use crate::report::ReportRow;
use crate::runner::row;
use crate::{Claim, Result, claims, ledger};
use inducer_gpu::ops::attention::Heads;
use inducer_gpu::parts::CustomMethod;
use inducer_reference::Real;
use inducer_reference::visible::Visible;
use ndarray::{Array1, Array2, ArrayD, Axis};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// What one head sees.
#[derive(Clone, Debug)]
pub struct Points<'a, T> {
    /// Which head.
    pub h: usize,
    /// Queries: [n, p].
    pub q: Array2<T>,
    /// Keys: [n, p].
    pub k: Array2<T>,
    /// Values: [n, p].
    pub v: Array2<T>,
    /// Who sees whom; every query that is compared sees at least one key.
    pub visible: &'a Visible,
}

/// The tensors of one layer by the names of [`Formula::shapes`].
pub type Tensors<T> = BTreeMap<&'static str, ArrayD<T>>;

/// Head `h`'s matrix of a tensor [H, a, b]; empty where the tensor has another rank.
#[must_use]
pub fn matrix<T: Real>(tensor: &ArrayD<T>, h: usize) -> Array2<T> {
    let head = tensor.index_axis(Axis(0), h).to_owned();
    head.into_dimensionality()
        .unwrap_or_else(|_| Array2::zeros((0, 0)))
}

/// Head `h`'s vector of a tensor [H, a]; empty where the tensor has another rank.
#[must_use]
pub fn vector<T: Real>(tensor: &ArrayD<T>, h: usize) -> Array1<T> {
    let head = tensor.index_axis(Axis(0), h).to_owned();
    head.into_dimensionality()
        .unwrap_or_else(|_| Array1::zeros(0))
}

/// The formula of a variant.
pub trait Formula: Send + Sync + 'static {
    /// The tensors of one layer: name and shape, by the one size that is left free.
    fn shapes(heads: Heads, size: usize) -> Vec<(&'static str, Vec<usize>)>;

    /// f̃ of one head, before W^o: [n, p].
    fn head<T: Real>(points: &Points<'_, T>, tensors: &Tensors<T>) -> Array2<T>;
}

static KNOWN: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// Gives this program a variant: it is a method by its name, and its claims stand in the ledger. Do
/// it first of all; a second time it changes nothing.
///
/// # Errors
/// A name that another method has, or that is no name of a directory.
pub fn register<V: Formula + CustomMethod>(variant: &'static V) -> Result<()> {
    inducer_gpu::register(variant)?;
    let (name, title) = (variant.name(), variant.title());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if !known.insert(name) {
        return Ok(());
    }
    // a claim's id lives as long as the program
    let ids =
        checks::WORDS.map(|(id, ..)| -> &'static str { String::leak(format!("{name}-{id}")) });
    let own = move || -> Vec<Claim> {
        let named = |(mut claim, id): (Claim, &'static str)| {
            claim.id = id;
            claim
        };
        suite::<V>(variant)
            .into_iter()
            .zip(ids)
            .map(named)
            .collect()
    };
    let words = checks::WORDS.into_iter().zip(own());
    ledger::add(words.map(|((_, statement, control), claim)| {
        ledger::Row {
            id: claim.id.into(),
            statement: format!("{title}: {statement}."),
            formula: "the variant's own, custom::Formula".into(),
            citation: "a variant of one's own".into(),
            functions: vec!["custom::Formula".into(), "CustomMethod".into()],
            control: control.into(),
            breaks: None,
            engines: claim
                .checks
                .iter()
                .map(|c| c.target.name().into())
                .collect(),
            measured: None,
        }
    }));
    claims::add(own);
    Ok(())
}

/// Every check of [`suite`] on `cases` random models, each with its control: one row for a claim on
/// an engine. The formula is that of `F`, which is the variant's own unless you try another.
///
/// # Errors
/// As [`register`].
pub fn check<F: Formula>(
    method: &'static dyn CustomMethod,
    cases: usize,
    seed: u64,
) -> Result<Vec<ReportRow>> {
    inducer_gpu::register(method)?;
    Ok(rows(&suite::<F>(method), cases, seed))
}

/// The same of a variant in a program that speaks the protocol of engines
/// (`verify/engines/README.md`): agreement, gradients, causality and packing, against the formula.
#[must_use]
pub fn check_program<F: Formula>(program: &External, cases: usize, seed: u64) -> Vec<ReportRow> {
    let named = |row| ReportRow {
        engine: program.name(),
        ..row
    };
    let rows = rows(&program_suite::<F>(program), cases, seed);
    rows.into_iter().map(named).collect()
}

fn rows(claims: &[Claim], cases: usize, seed: u64) -> Vec<ReportRow> {
    let checks = claims
        .iter()
        .flat_map(|claim| claim.checks.iter().map(move |check| (claim, check)));
    checks
        .map(|(claim, check)| row(claim, check, cases, seed))
        .collect()
}
