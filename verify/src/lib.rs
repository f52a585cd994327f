//! The proof that reference and engine compute what the paper says: a ledger of claims that a
//! machine checks.
//!
//! A **claim** is an equation or a checkable sentence of the paper. It stands twice: in words as a
//! row of `claims.toml` ([`ledger`]), and as a [`Claim`], which names every check of it where it is
//! defined ([`claims`]). A check is a function of one random [`Case`]: it draws its numbers
//! ([`cases`]), computes both sides on one [`Target`], and holds their difference against a bound.
//!
//! A **bound** is derived, not chosen: the formula runs once on numbers that remember how they were
//! computed, and its own derivatives say how far rounding can move each result
//! ([`bounds::tolerance`]). The worst error of a tight check must also come near its bound, since a
//! bound that nothing comes near hides errors.
//!
//! A **control** is the same check with one term changed. It must fail; where it passes, the check
//! is worth nothing, and the row of the report fails. A check that could not be run (no GPU) is
//! reported as not run, never as passed.
//!
//! ```
//! use inducer_verify::bounds::{Traced, UNIT_ROUNDOFF_F64, record};
//! use inducer_verify::{Claim, Target, Tolerance, Verdict, runner};
//!
//! // x a + y a = (x + y) a, up to what rounding does to both sides; in the control a is another
//! // number on one of them
//! let claim = Claim::new("distributive").on(Target::ReferenceF64, |case| {
//!     let [x, y, a] = [(); 3].map(|()| case.draw.number(2.0));
//!     let (sum, trace) = record(|| {
//!         let [x, y, a] = [x, y, a].map(Traced::variable);
//!         x * a + y * a
//!     });
//!     let conditioning = trace.conditioning(&[sum])[0];
//!     let bound = Tolerance::rounding(conditioning, UNIT_ROUNDOFF_F64, UNIT_ROUNDOFF_F64);
//!     let other = case.or_control(a, 1.01 * a);
//!     case.close(x * a + y * a, (x + y) * other, &bound, || "x a + y a".into());
//!     Ok(())
//! });
//! let row = runner::row(&claim, &claim.checks[0], 24, 1);
//! assert_eq!((row.verdict, row.caught), (Verdict::Passed, (24, 24)));
//! ```
//!
//! [`run`] runs the whole ledger outside of any test harness; `tests/claims.rs` makes one test of
//! each row.
//!
//! | module | |
//! |---|---|
//! | [`bounds`] | tolerances from the formula's own derivatives |
//! | [`cases`] | seeded random inputs that reach the corners; whole GPT-2s and RoBERTas |
//! | [`engines`] | reference and training engine under one interface |
//! | [`identity`] | one identity, every scalar: prime field, double-double, `f64`, `f32` |
//! | [`oracle`] | the method once more, number by number, each term mutable by name |
//! | [`claims`] | the checks, by subject |
//! | [`coverage`] | which pairs of method and corner the cases met |
//! | [`ledger`], [`runner`], [`report`], [`render`] | the claims in words, and what came out |
//! | [`smallest`], [`regressions`] | from a failing case to the smallest one, which is kept |
//! | [`scratch`] | folders for what a case writes |
//! | [`proofs`] | the engine "proved": theorems of a proof assistant |
//! | [`custom`] | every check for a variant of your own, in one line |

pub mod bounds;
pub mod cases;
pub mod claim;
pub mod claims;
pub mod coverage;
pub mod custom;
pub mod engines;
pub mod error;
pub mod identity;
pub mod ledger;
pub mod oracle;
pub mod proofs;
pub mod regressions;
pub mod render;
pub mod report;
pub mod runner;
pub mod scratch;
pub mod smallest;

pub use bounds::Tolerance;
pub use claim::{Case, Check, Claim, Outcome};
pub use engines::{Cuda, Engine, Present, Target};
pub use error::{Error, Result};
pub use ledger::Ledger;
pub use report::{Report, ReportRow, Verdict};
pub use runner::{Options, run};
