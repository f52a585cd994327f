//! A variant of your own: two small traits, and every check of a built-in method in one line.
//!
//! ```text
//! Formula         the paper's side: f̃ of one head, for any scalar
//!                 (the reference; exact gradients by the traced scalar)
//! TrainablePart   the engine's side: the part that trains
//!                 (inducer_gpu::parts::Part, as the built-in ones)
//! ```
//!
//! [`check`] puts both into random whole GPT-2s (one head, one query, tied scores, logits at ±80,
//! several texts to a batch) and holds them against each other; the bounds come from the formula
//! itself ([`tolerance`](crate::bounds::tolerance)):
//!
//! | claim | what must hold | control that must fail |
//! |---|---|---|
//! | `custom-agree` | logits and loss are those of the formula in f64 | one tensor changed |
//! | `custom-gradients` | so is every coordinate of every gradient | one tensor changed |
//! | `custom-reaches` | no tensor is cut off from the loss | the tensors are frozen |
//! | `custom-causal` | no output depends on a later token | the token itself changes |
//! | `custom-packing` | a text gives the same alone as in its batch | the text before joins it |
//! | `custom-padding` | masked keys change nothing (in the formula) | the padding is not masked |
//!
//! Each claim runs on the engines that can show it: the engine in f64, in f32 and on candle's
//! tensor operations, and the formula in f32. `examples/my_variant.rs` is a complete variant to
//! copy: two inducers for each query; `examples/my_variant_in_python.rs` holds the same one,
//! written in fifteen lines of PyTorch, against the same formula.

mod checks;
mod model;

pub use checks::{program_suite, suite};

use crate::Claim;
use crate::engines::External;
use crate::runner::{ReportRow, row};
use inducer_gpu::Parameter;
use inducer_gpu::ops::attention::Heads;
use inducer_gpu::parts::Part;
use inducer_reference::Real;
use inducer_reference::visible::Visible;
use ndarray::{Array1, Array2, ArrayD, Axis};
use std::collections::BTreeMap;

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
    /// The tensors of one layer: name and shape.
    fn shapes(heads: Heads) -> Vec<(&'static str, Vec<usize>)>;

    /// f̃ of one head, before W^o: [n, p].
    fn head<T: Real>(points: &Points<'_, T>, tensors: &Tensors<T>) -> Array2<T>;
}

/// The same variant in the training engine.
pub trait TrainablePart: Send + Sync + 'static {
    /// The part of one layer; its parameters stand in the order of [`Formula::shapes`].
    fn part(layer: usize, parameters: Vec<Parameter>) -> Box<dyn Part>;
}

/// Every check of [`suite`] on `cases` random models, each with its control: one row for a claim on
/// an engine.
#[must_use]
pub fn check<F: Formula, P: TrainablePart>(cases: usize, seed: u64) -> Vec<ReportRow> {
    rows(&suite::<F, P>(), cases, seed)
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
