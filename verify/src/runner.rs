//! Running claims and reporting what came out.

use crate::bounds::tolerance::{JUDGED, VACUOUS};
use crate::cases::CaseName;
use crate::claim::{CONTROL_CASES, Case, Check, Claim, Outcome, Run};
use crate::coverage;
use crate::engines::{Cuda, External, Present, Target};
use crate::error::{Error, Result};
use crate::ledger::{Ledger, Row as LedgerRow};
use crate::proofs::{self, Checked, Index};
use crate::regressions::{self, Regression};
use crate::report::{Chance, Report, ReportRow, Verdict};
use crate::smallest::smallest;
use inducer_gpu::kernels::afresh;
use inducer_reference::scalar::prime::MODULUS;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

/// How many cases are drawn for each one that a program can do, before the check goes without it.
const DRAWS: usize = 2000;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Random cases of a small check; a large one takes a share of them.
    pub cases: usize,
    /// Seed.
    pub seed: u64,
    /// Only the claims whose id contains this.
    pub filter: Option<String>,
    /// Only the engines whose name contains this.
    pub engine: Option<String>,
    /// The GPU.
    pub cuda: Cuda,
    /// A program that speaks the protocol of engines: the run is about it alone then.
    pub external: Option<External>,
    /// What a study says of empirical claims, by their ids: measured or not, and by what.
    pub measured: BTreeMap<String, (Verdict, String)>,
    /// This case alone, without a control, of the claim whose id `filter` is.
    pub case: Option<CaseName>,
    /// Whether a case that fails is followed to the smallest one that does.
    pub shrink: bool,
}

impl Options {
    /// Every claim, on the CPU.
    #[must_use]
    pub fn new(cases: usize, seed: u64) -> Self {
        Self {
            cases,
            seed,
            filter: None,
            engine: None,
            cuda: Cuda::not_asked(),
            external: None,
            measured: BTreeMap::new(),
            case: None,
            shrink: true,
        }
    }

    /// Only the claims whose id contains this.
    #[must_use]
    pub fn only(self, filter: &str) -> Self {
        Self {
            filter: Some(filter.into()),
            ..self
        }
    }

    /// The claims and engines that a run is about, in the order of the ledger.
    #[must_use]
    pub fn rows<'a>(&self, ledger: &'a Ledger) -> Vec<(&'a LedgerRow, &'a str)> {
        let all = ledger.claim.iter().flat_map(engines);
        all.filter(|(entry, engine)| self.wants(&entry.id, engine))
            .collect()
    }

    fn wants(&self, id: &str, engine: &str) -> bool {
        let within = |part: &Option<String>, whole: &str| {
            part.as_deref().is_none_or(|part| whole.contains(part))
        };
        let external = engine == Target::External.name();
        let named = match self.case {
            Some(_) => self.filter.as_deref() == Some(id),
            None => within(&self.filter, id),
        };
        named && within(&self.engine, engine) && external == self.external.is_some()
    }
}

/// Runs the claims, as many at a time as the current thread pool has threads; `on_row` hears of
/// each row as soon as it is there, in any order.
///
/// # Errors
/// The ledger cannot be read, or no claim has the wanted name. A check that cannot be made is a
/// failed row, not an error.
pub fn run(options: &Options, on_row: &(dyn Fn(&ReportRow) + Sync)) -> Result<Report> {
    let start = Instant::now();
    let ledger = Ledger::read()?;
    let claims = crate::claims::on(&Present {
        cuda: options.cuda.clone(),
        external: options.external.clone(),
    });
    let rows = options.rows(&ledger);
    if rows.is_empty() {
        let part = |what: &str, part: &Option<String>| {
            let part = part.as_ref().map(|part| format!("{what} `{part}`"));
            part.into_iter()
        };
        let id = ["id contains", "id is"][usize::from(options.case.is_some())];
        let parts = part(id, &options.filter).chain(part("engine contains", &options.engine));
        let among = match options.external {
            Some(_) => " among those about whole models",
            None => "",
        };
        return Err(Error::Missing(format!(
            "there is no claim{among} whose {}; `inducer verify --list` has them all",
            parts.collect::<Vec<_>>().join(" and whose ")
        )));
    }
    let index = Index::read()?;
    let kept = regressions::kept()?;
    let is_proved = |engine: &str| engine == Target::Proved.name();
    let proofs = rows.iter().any(|(_, engine)| is_proved(engine));
    let checked = |(entry, engine): &(&LedgerRow, &str)| {
        let row = row_of(&claims, entry, engine, options, &kept);
        on_row(&row);
        row
    };
    let proved = |entry: &LedgerRow, found: &Checked| {
        let row = proved_row(entry, &index, found);
        on_row(&row);
        row
    };
    // the proof assistant is a process of its own and runs beside the other rows
    let rows = thread::scope(|scope| {
        let found = scope.spawn(|| proofs.then(proofs::check));
        let others = rows
            .par_iter()
            .with_max_len(1) // so that no thread is left with many at the end
            // a thread may take one over while it waits within another
            .map(|row| (!is_proved(row.1)).then(|| afresh(|| checked(row))));
        let others: Vec<Option<ReportRow>> = others.collect();
        let found = found.join().ok().flatten();
        let nothing = Checked::NotRun("the proofs could not be checked".into());
        let found = found.unwrap_or(&nothing);
        let all = rows.iter().zip(others);
        all.map(|((entry, _), row)| row.unwrap_or_else(|| proved(entry, found)))
            .collect()
    });
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        seed: options.seed,
        cases: options.cases,
        seconds: start.elapsed().as_secs_f64(),
        rows,
    })
}

/// The engines of a claim; an empirical claim has the placeholder `–`.
fn engines(entry: &LedgerRow) -> Vec<(&LedgerRow, &str)> {
    let none = entry.measured.is_some().then_some("–");
    let engines = entry.engines.iter().map(String::as_str);
    none.into_iter()
        .chain(engines)
        .map(|engine| (entry, engine))
        .collect()
}

fn row_of(
    claims: &[Claim],
    entry: &LedgerRow,
    engine: &str,
    options: &Options,
    kept: &[Regression],
) -> ReportRow {
    let claim = claims.iter().find(|claim| claim.id == entry.id);
    let check = claim.and_then(|claim| {
        let check = claim
            .checks
            .iter()
            .find(|check| check.target.name() == engine);
        check.map(|check| (claim, check))
    });
    match check {
        Some((claim, check)) => {
            let kept = kept.iter().filter(|kept| kept.claim == entry.id);
            let asked = Asked {
                kept: kept.map(|kept| (kept.seed, kept.case.clone())).collect(),
                case: options.case.clone(),
                shrink: options.shrink,
                ..Asked::new(options.cases, options.seed)
            };
            let found = row_with(claim, check, &asked);
            let name = options.external.as_ref().map(External::name);
            let engine = name.unwrap_or_else(|| found.engine.clone());
            ReportRow { engine, ..found }
        }
        None => match options.measured.get(&entry.id) {
            Some((verdict, words)) => ReportRow {
                verdict: *verdict,
                note: Some(words.clone()),
                ..ReportRow::new(&entry.id, engine)
            },
            None => not_run(entry, engine, &options.cuda),
        },
    }
}

/// What the proof assistant says of a claim's theorems and of their controls, which it refutes.
fn proved_row(entry: &LedgerRow, index: &Index, found: &Checked) -> ReportRow {
    let (theorems, controls) = (index.theorems(&entry.id), index.controls(&entry.id));
    let row = ReportRow {
        theorems: theorems
            .iter()
            .map(|t| format!("{}: {}", t.file, t.name))
            .collect(),
        ..ReportRow::new(&entry.id, Target::Proved.name())
    };
    let verdicts = match found {
        Checked::NotRun(why) => {
            let note = Some(why.clone());
            return ReportRow { note, ..row };
        }
        Checked::Ran(verdicts) => verdicts,
    };
    let proved = theorems.iter().map(|t| verdicts.fault(&t.name, "proved"));
    let refuted = controls.iter().map(|c| verdicts.fault(&c.name, "refuted"));
    let faults: Vec<Option<String>> = proved.chain(refuted).collect();
    let caught = faults[theorems.len()..]
        .iter()
        .filter(|fault| fault.is_none());
    let nothing = theorems
        .is_empty()
        .then(|| "no theorem names this claim".to_owned());
    let caught = (caught.count(), controls.len());
    let note = nothing.or_else(|| faults.into_iter().flatten().next());
    ReportRow {
        verdict: match note {
            None => Verdict::Passed,
            Some(_) => Verdict::Failed,
        },
        cases: theorems.len(),
        comparisons: theorems.len(),
        caught,
        note,
        ..row
    }
}

fn not_run(entry: &LedgerRow, engine: &str, cuda: &Cuda) -> ReportRow {
    let note = match (&entry.measured, Target::is_gpu(engine)) {
        (Some(place), _) => format!("empirical: {place}"),
        (None, true) => cuda.absence().into(),
        _ if Target::is_emulated(engine) => "no C++ compiler built the card's kernels".into(),
        _ => "no check on this engine".into(),
    };
    ReportRow {
        note: Some(note),
        ..ReportRow::new(&entry.id, engine)
    }
}

/// What is asked of a check.
#[derive(Default)]
struct Asked {
    cases: usize,
    seed: u64,
    /// Cases of other seeds that come first.
    kept: Vec<(u64, CaseName)>,
    /// This one alone.
    case: Option<CaseName>,
    /// The check as if the code had its control's fault.
    mutated: bool,
    shrink: bool,
}

impl Asked {
    fn new(cases: usize, seed: u64) -> Self {
        Self {
            cases,
            seed,
            ..Self::default()
        }
    }
}

/// One case of a check.
fn one(run: &Run, mut case: Case) -> Result<Outcome> {
    run(&mut case).map(|()| case.finish())
}

/// Runs `cases` cases of a check or of its control, then up to [`CONTROL_CASES`] until `enough`.
fn outcome(
    run: &Run,
    (claim, seed): (&Claim, u64),
    control: bool,
    cases: usize,
    enough: impl Fn(&Outcome) -> bool,
) -> Result<Outcome> {
    let mut all = Outcome::default();
    for index in 0.. {
        let made = all.cases;
        if made >= cases.max(CONTROL_CASES) || (made >= cases && enough(&all)) {
            break;
        }
        let case = Case::new(seed, claim, index, control);
        match coverage::counted(!control, || one(run, case)) {
            Ok(found) => all.merge(found),
            // a program is given the cases that it can do
            Err(Error::Unsupported(_)) if index < DRAWS * (made + 1) => {}
            Err(Error::Unsupported(_)) if made > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Whether the errors of a tight check are too small for their bounds in three of four cases that
/// have any.
fn is_far(check: &Check, made: &Outcome) -> bool {
    check.tight && 4 * made.near < made.inexact
}

/// Whether they are, in enough cases to say so.
fn is_vacuous(check: &Check, made: &Outcome) -> bool {
    made.inexact >= JUDGED && is_far(check, made)
}

/// Runs one check and its control.
#[must_use]
pub fn row(claim: &Claim, check: &Check, cases: usize, seed: u64) -> ReportRow {
    let asked = Asked {
        shrink: true,
        ..Asked::new(cases, seed)
    };
    row_with(claim, check, &asked)
}

/// Runs one check as if the code had the control's fault: the verdict on mutated code.
#[must_use]
pub fn mutated(claim: &Claim, check: &Check, cases: usize, seed: u64) -> ReportRow {
    let asked = Asked {
        mutated: true,
        ..Asked::new(cases, seed)
    };
    row_with(claim, check, &asked)
}

/// What a check and its control find.
fn both(claim: &Claim, check: &Check, asked: &Asked) -> Result<(Outcome, Outcome)> {
    let (run, of) = (&check.run, (claim, asked.seed));
    if let Some(case) = &asked.case {
        let case = Case::new(asked.seed, claim, case.clone(), asked.mutated);
        return Ok((one(run, case)?, Outcome::default()));
    }
    let mut made = Outcome::default();
    for (seed, case) in &asked.kept {
        match one(run, Case::new(*seed, claim, case.clone(), asked.mutated)) {
            Err(Error::Unsupported(_)) => {}
            found => made.merge(found?),
        }
    }
    let cases = check.share.of(asked.cases);
    // the errors of few cases may all lie far below their bounds, and none of few changed terms may
    // show
    made.merge(outcome(run, of, asked.mutated, cases, |made| {
        !is_far(check, made)
    })?);
    let of_control = check.share.of_control(cases);
    let control = outcome(run, of, true, of_control, |control| control.failed > 0)?;
    Ok((made, control))
}

fn row_with(claim: &Claim, check: &Check, asked: &Asked) -> ReportRow {
    let start = Instant::now();
    let row = ReportRow::new(claim.id, check.target.name());
    let (made, control, mut note) = match both(claim, check, asked) {
        Ok((made, control)) => (made, control, None),
        Err(error @ Error::Unsupported(_)) => {
            let note = Some(error.to_string());
            return ReportRow { note, ..row };
        }
        Err(error) => (
            Outcome::default(),
            Outcome::default(),
            Some(format!("the check could not be made: {error}")),
        ),
    };
    let alone = asked.case.is_some();
    note = note.or_else(|| verdict_note(check, &made, (!alone).then_some(&control)));
    let failed = made.worst.as_ref().filter(|_| made.failed > 0);
    let failed = failed.filter(|_| asked.shrink);
    let chance = made.degree.map(|degree| Chance {
        degree,
        log10: made.cases as f64 * (degree.max(1) as f64 / MODULUS as f64).log10(),
    });
    ReportRow {
        verdict: match note {
            None => Verdict::Passed,
            Some(_) => Verdict::Failed,
        },
        cases: made.cases,
        comparisons: made.comparisons,
        smallest: failed.and_then(|worst| smallest(claim, check, worst)),
        worst: made.worst,
        control: control.worst,
        caught: (control.failed, control.cases),
        chance,
        note: note.or_else(|| alone.then(|| "this case alone, without its control".into())),
        seconds: start.elapsed().as_secs_f64(),
        ..row
    }
}

/// Why a check fails, if it does.
fn verdict_note(check: &Check, made: &Outcome, control: Option<&Outcome>) -> Option<String> {
    if made.comparisons == 0 {
        return Some("nothing was compared".into());
    }
    if made.failed > 0 {
        let worst = made.worst.as_ref()?;
        return Some(format!(
            "{} of {} cases beyond their bound; worst: case {}, {}: error {:.3e}, bound {:.3e} \
             ({})",
            made.failed,
            made.cases,
            worst.case,
            worst.location,
            worst.error,
            worst.bound,
            worst.why
        ));
    }
    let control = control?;
    if control.failed == 0 {
        return Some(format!(
            "the negative control passed: {} cases with the changed term, all within their bound",
            control.cases
        ));
    }
    let passed = control.cases - control.failed;
    if check.target.is_mixed() && passed > 0 {
        return Some(format!(
            "the negative control passed in {passed} of {} cases: a bound of mixed precision has \
             to tell a changed term in each",
            control.cases
        ));
    }
    is_vacuous(check, made).then(|| {
        format!(
            "the bound is vacuous: in {} of {} cases the worst error is less than 1/{VACUOUS} of \
             it",
            made.inexact - made.near,
            made.inexact
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(cases: usize, fault: impl Fn(&Case) -> bool + Send + Sync + 'static) -> ReportRow {
        let claim = Claim::new("x").on_one_sided(Target::Integers, move |case| {
            let wrong = fault(case);
            case.same(wrong, false, || "a fault".into());
            Ok(())
        });
        row(&claim, &claim.checks[0], cases, 1)
    }

    #[test]
    fn a_control_of_few_cases_goes_on_until_it_is_caught() {
        let rare = |case: &Case| case.control && case.draw.index == 7;
        let found = checked(1, rare);
        assert_eq!((found.verdict, found.caught), (Verdict::Passed, (1, 8)));
        let found = checked(100, rare);
        assert_eq!((found.cases, found.caught), (100, (1, CONTROL_CASES)));
    }

    #[test]
    fn a_control_that_is_never_caught_and_a_case_beyond_its_bound_fail_the_row() {
        let found = checked(1, |_| false);
        let note = found.note.unwrap();
        assert_eq!((found.verdict, found.caught), (Verdict::Failed, (0, 26)));
        assert!(note.contains("the negative control passed"), "{note}");
        let found = checked(9, |case| case.control || case.draw.index == 3);
        assert_eq!((found.verdict, found.caught), (Verdict::Failed, (9, 9)));
        assert!(found.note.unwrap().contains("1 of 9 cases"));
    }

    #[test]
    fn a_check_of_few_cases_goes_on_until_a_quarter_of_them_come_near_their_bound() {
        // an error of 1 in case `near` and of 1/10000 before, where 2 is allowed
        let of = |near: usize| {
            let claim = Claim::new("x").on(Target::Integers, move |case| {
                let error = if case.draw.index >= near { 1.0 } else { 1e-4 };
                let bound = case.or_control(2.0, 0.0);
                let tolerance = crate::bounds::Tolerance::stated(bound, "a reason");
                case.error(error, &tolerance, || "a number".into());
                Ok(())
            });
            row(&claim, &claim.checks[0], 2, 1)
        };
        assert_eq!((of(1).verdict, of(1).cases), (Verdict::Passed, 2));
        // two of six cases are near their bound, one of five was not enough
        assert_eq!((of(4).verdict, of(4).cases), (Verdict::Passed, 6));
        let never = of(1000);
        assert_eq!(
            (never.verdict, never.cases),
            (Verdict::Failed, CONTROL_CASES)
        );
        assert!(never.note.unwrap().contains("the bound is vacuous"));
    }

    #[test]
    fn what_three_cases_have_is_no_verdict_on_a_bound() {
        // in double-double most cases of a short product are exact
        let of = |inexact: usize| {
            let claim = Claim::new("x").on(Target::Integers, move |case| {
                let error = if case.draw.index < inexact { 1e-4 } else { 0.0 };
                let tolerance = crate::bounds::Tolerance::stated(case.or_control(2.0, -1.0), "x");
                case.error(error, &tolerance, || "a number".into());
                Ok(())
            });
            row(&claim, &claim.checks[0], 64, 1).verdict
        };
        assert_eq!([of(3), of(4)], [Verdict::Passed, Verdict::Failed]);
    }

    #[test]
    fn a_bound_that_is_no_number_fails_its_row() {
        for bound in [f64::NAN, f64::INFINITY] {
            let claim = Claim::new("x").on_one_sided(Target::Integers, move |case| {
                let tolerance = crate::bounds::Tolerance::stated(bound, "nobody knows");
                case.close(1.0, 1.0, &tolerance, || "a number".into());
                Ok(())
            });
            let found = row(&claim, &claim.checks[0], 2, 1);
            assert_eq!(found.verdict, Verdict::Failed);
            assert!(found.note.unwrap().contains("2 of 2 cases"));
        }
    }
}
