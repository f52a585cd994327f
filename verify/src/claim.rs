//! A claim: what is checked, on which engines, and the record of what came out.

use crate::bounds::Tolerance;
use crate::bounds::tolerance::VACUOUS;
use crate::cases::{CaseName, Draw, Family, gpt2};
use crate::engines::{Engine, Target};
use crate::error::Result;
use serde::Serialize;

/// The comparison that came nearest to its bound, or went furthest beyond it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worst {
    /// The error.
    pub error: f64,
    /// Its bound.
    pub bound: f64,
    /// Why the bound is that large.
    pub why: String,
    /// Where it occurred.
    #[serde(rename = "place")]
    pub location: String,
    /// In which case.
    pub case: usize,
    /// That case's seed and whole name.
    #[serde(skip)]
    pub origin: (u64, CaseName),
}

impl Worst {
    /// Error over bound; infinite for any error where none is allowed.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        match (self.error, self.bound) {
            (error, bound) if error.is_nan() || !bound.is_finite() => f64::INFINITY,
            (0.0, _) => 0.0,
            (error, bound) => error / bound,
        }
    }
}

/// What a check found over its cases.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Cases run.
    pub cases: usize,
    /// Cases with an error beyond its bound.
    pub failed: usize,
    /// Cases with an error that is not zero.
    pub inexact: usize,
    /// Cases whose worst error is no less than 1/[`VACUOUS`] of its bound, but for no error at all.
    pub near: usize,
    /// Numbers compared.
    pub comparisons: usize,
    /// The comparison with the greatest ratio of error to bound.
    pub worst: Option<Worst>,
    /// For an identity over the prime field: the greatest degree met.
    pub degree: Option<u64>,
}

impl Outcome {
    /// Takes up the findings of one more case.
    pub fn merge(&mut self, one: Self) {
        self.cases += one.cases;
        self.failed += one.failed;
        self.inexact += one.inexact;
        self.near += one.near;
        self.comparisons += one.comparisons;
        self.degree = self.degree.max(one.degree);
        let old = self.worst.as_ref().map(Worst::ratio);
        if let Some(new) = one.worst
            && old.is_none_or(|old| new.ratio() > old)
        {
            self.worst = Some(new);
        }
    }
}

/// One case of one claim on one engine.
pub struct Case {
    /// Its random numbers.
    pub draw: Draw,
    /// Whether this is the negative control: the same check with one term changed.
    pub control: bool,
    /// The backbone of its models.
    pub family: Family,
    outcome: Outcome,
}

impl Case {
    /// A case of a claim, by its number or its whole name.
    #[must_use]
    pub fn new(seed: u64, claim: &Claim, case: impl Into<CaseName>, control: bool) -> Self {
        Self::of(claim, Draw::new(seed, claim.id, case), control)
    }

    /// The case of a claim that these numbers make.
    #[must_use]
    pub fn of(claim: &Claim, draw: Draw, control: bool) -> Self {
        Self {
            draw,
            control,
            family: claim.family,
            outcome: Outcome {
                cases: 1,
                ..Outcome::default()
            },
        }
    }

    /// Its findings.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        let ratio = self.outcome.worst.as_ref().map_or(0.0, Worst::ratio);
        self.outcome.inexact = usize::from(ratio > 0.0);
        self.outcome.near = usize::from(ratio * VACUOUS >= 1.0);
        self.outcome
    }

    /// One value, or the other in the control.
    pub fn or_control<T>(&self, stated: T, changed: T) -> T {
        if self.control { changed } else { stated }
    }

    /// Records an error against its tolerance. A bound that is not a finite number bounds nothing:
    /// no error is within it. A control is caught by a number alone: what it makes of the check
    /// that is none does not count.
    pub fn error(&mut self, error: f64, tolerance: &Tolerance, location: impl FnOnce() -> String) {
        self.outcome.comparisons += 1;
        let mut new = Worst {
            error,
            bound: tolerance.bound,
            why: String::new(),
            location: String::new(),
            case: self.draw.index,
            origin: Default::default(),
        };
        let numbers = error.is_finite() && new.bound.is_finite();
        if self.control && !numbers {
            return;
        }
        if !numbers || error > new.bound {
            self.outcome.failed = 1;
        }
        let old = self.outcome.worst.as_ref().map(Worst::ratio);
        if old.is_none_or(|old| new.ratio() > old) {
            new.why.clone_from(&tolerance.why);
            new.location = location();
            new.origin = (self.draw.seed, self.draw.name());
            self.outcome.worst = Some(new);
        }
    }

    /// `found` is `expected` within its tolerance.
    pub fn close(
        &mut self,
        found: f64,
        expected: f64,
        tolerance: &Tolerance,
        location: impl FnOnce() -> String,
    ) {
        self.error((found - expected).abs(), tolerance, || {
            format!("{}: {found:e} for {expected:e}", location())
        });
    }

    /// `greater ≥ less`, up to the tolerance.
    pub fn at_least(
        &mut self,
        greater: f64,
        less: f64,
        tolerance: &Tolerance,
        location: impl FnOnce() -> String,
    ) {
        let error = if greater.is_nan() || less.is_nan() {
            f64::NAN
        } else {
            (less - greater).max(0.0)
        };
        self.error(error, tolerance, || {
            format!("{}: {greater:e} ≥ {less:e}", location())
        });
    }

    /// Two things are the same.
    pub fn same<T: PartialEq + std::fmt::Debug>(
        &mut self,
        found: T,
        expected: T,
        location: impl FnOnce() -> String,
    ) {
        let error = if found == expected { 0.0 } else { 1.0 };
        self.error(error, &Tolerance::exact("equality, no tolerance"), || {
            format!("{}: {found:?} for {expected:?}", location())
        });
    }

    /// The degree of an identity over the prime field.
    pub fn degree(&mut self, degree: u64) {
        self.outcome.degree = self.outcome.degree.max(Some(degree));
    }
}

/// A check of one claim on one engine.
pub type Run = Box<dyn Fn(&mut Case) -> Result<()> + Send + Sync>;

/// One engine's check.
pub struct Check {
    /// What it runs on.
    pub target: Target,
    /// The check of one case; the control is the same function on a case whose `control` is set.
    pub run: Run,
    /// Whether the worst error must come within a thousandth of the bound.
    pub tight: bool,
    /// How many of the cases asked for it gets.
    pub share: Share,
}

/// Cases that a negative control gets at most. A check goes on to as many where its worst error
/// lies too far below its bound.
pub const CONTROL_CASES: usize = 26;

/// How many of the cases asked for a check gets: one in `weight`, but at least `least`.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    weight: usize,
    least: usize,
}

impl Share {
    /// Of `asked` cases.
    #[must_use]
    pub fn of(self, asked: usize) -> usize {
        (asked / self.weight).max(self.least)
    }

    /// How many cases the control of a check with so many gets, before it goes on until it is
    /// caught: enough to leave the corners where a changed term happens not to matter, of an
    /// expensive check a third.
    #[must_use]
    pub fn of_control(self, cases: usize) -> usize {
        match self.weight {
            1 => cases.min(CONTROL_CASES),
            _ => cases.min(CONTROL_CASES).div_ceil(3),
        }
    }
}

/// A claim with its checks; everything in words about it is its row in the ledger.
pub struct Claim {
    /// The row's id.
    pub id: &'static str,
    /// Its checks, one an engine.
    pub checks: Vec<Check>,
    /// The backbone of its models.
    pub family: Family,
    /// What the next check gets.
    share: Share,
}

impl Claim {
    /// A claim without checks yet, about GPT-2 where it is about models.
    #[must_use]
    pub fn new(id: &'static str) -> Self {
        Self {
            id,
            checks: Vec::new(),
            family: gpt2,
            share: Share {
                weight: 1,
                least: 1,
            },
        }
    }

    /// About another backbone.
    #[must_use]
    pub fn about(self, family: Family) -> Self {
        Self { family, ..self }
    }

    /// The checks that follow are expensive: run one case in `weight`.
    #[must_use]
    pub fn one_case_in(mut self, weight: usize) -> Self {
        self.share = Share { weight, least: 1 };
        self
    }

    /// Of the checks that follow never run fewer cases than `least`.
    #[must_use]
    pub fn at_least(mut self, least: usize) -> Self {
        self.share.least = least;
        self
    }

    /// With a check whose bound is tight.
    #[must_use]
    pub fn on(
        self,
        target: Target,
        run: impl Fn(&mut Case) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.with(target, run, true)
    }

    /// With a check whose bound is one-sided (an inequality, or a stated margin): no error is right
    /// too.
    #[must_use]
    pub fn on_one_sided(
        self,
        target: Target,
        run: impl Fn(&mut Case) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.with(target, run, false)
    }

    /// With one tight check on each engine.
    #[must_use]
    pub fn on_each<E: Engine + ?Sized + 'static>(
        self,
        engines: Vec<Box<E>>,
        run: impl Fn(&E, &mut Case) -> Result<()> + Clone + Send + Sync + 'static,
    ) -> Self {
        self.with_each(engines, run, true)
    }

    /// With one [one-sided](Self::on_one_sided) check on each engine.
    #[must_use]
    pub fn on_each_one_sided<E: Engine + ?Sized + 'static>(
        self,
        engines: Vec<Box<E>>,
        run: impl Fn(&E, &mut Case) -> Result<()> + Clone + Send + Sync + 'static,
    ) -> Self {
        self.with_each(engines, run, false)
    }

    /// Each check runs as its engine runs.
    fn with_each<E: Engine + ?Sized + 'static>(
        self,
        engines: Vec<Box<E>>,
        run: impl Fn(&E, &mut Case) -> Result<()> + Clone + Send + Sync + 'static,
        tight: bool,
    ) -> Self {
        engines.into_iter().fold(self, |claim, engine| {
            let (target, run) = (engine.target(), run.clone());
            let check = move |case: &mut Case| engine.within(&mut || run(&engine, case));
            claim.with(target, check, tight)
        })
    }

    fn with(
        mut self,
        target: Target,
        run: impl Fn(&mut Case) -> Result<()> + Send + Sync + 'static,
        tight: bool,
    ) -> Self {
        self.checks.push(Check {
            target,
            run: Box::new(run),
            tight,
            share: self.share,
        });
        self
    }
}
