//! The proof that reference and engine compute what the paper says: a ledger of claims that a
//! machine checks.
//!
//! Every equation and every checkable sentence is a row of `claims.toml` ([`ledger`]) and a
//! [`claim::Claim`] ([`claims`]): a function that draws a random case ([`random`]), evaluates both
//! sides and holds their difference against a derived bound ([`tolerance`]). The same function with
//! one term changed is the claim's negative control and must fail. [`report::run`] runs them
//! outside of any test harness; the tests of this crate call it too.
//!
//! | module | |
//! |---|---|
//! | [`tolerance`], [`traced`] | bounds from the formula's own derivatives |
//! | [`identity`] | one identity, every scalar: prime field, double-double, `f64`, `f32` |
//! | [`engine`] | reference and training engine under one interface |
//! | [`own`] | every check for a variant of your own, in one line |
//! | [`witness`] | the method once more, number by number, each term breakable by name |
//! | [`random`] | seeded cases that reach the corners |
//! | [`claims`] | the checks, by subject |
//! | [`ledger`], [`report`] | the claims in words, and what came out |

pub mod backbone;
pub mod claim;
pub mod claims;
pub mod engine;
pub mod error;
pub mod identity;
pub mod ledger;
pub mod own;
pub mod random;
pub mod render;
pub mod report;
pub mod tolerance;
pub mod traced;
pub mod witness;

pub use claim::{Case, Check, Claim, Outcome};
pub use engine::{Cuda, Engine, On};
pub use error::{Error, Result};
pub use ledger::Ledger;
pub use report::{Options, Report, ReportRow, Verdict, run};
pub use tolerance::Tolerance;
