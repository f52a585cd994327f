//! From a case that fails to the smallest one that does.

use crate::cases::{CaseName, strategy::CaseTree};
use crate::claim::{Case, Check, Claim, Outcome, Worst};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use serde::{Serialize, Serializer};

/// Cases that are tried on the way, at most.
const TRIED: u32 = 400;

/// Milliseconds that this may take.
const MOST: u32 = 20_000;

/// The smallest case that fails as another one does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Smallest {
    /// Its seed.
    pub seed: u64,
    /// Its name, which `inducer verify --case` takes.
    #[serde(serialize_with = "in_words")]
    pub case: CaseName,
    /// What is wrong in it.
    pub worst: Worst,
}

impl Smallest {
    /// The case, and how it fails.
    #[must_use]
    pub fn says(&self) -> String {
        let Worst {
            location,
            error,
            bound,
            ..
        } = &self.worst;
        format!("the smallest case that fails: {location}: error {error:.3e}, bound {bound:.3e}")
    }

    /// The command that runs it again.
    #[must_use]
    pub fn again(&self, claim: &str, engine: &str) -> String {
        let Self { seed, case, .. } = self;
        format!(
            "again by: inducer verify --claim {claim} --engine \"{engine}\" --seed {seed} \
             --case {case}"
        )
    }
}

fn in_words<S: Serializer>(case: &CaseName, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(case)
}

/// The smallest case of a check that fails, from the one where this was found.
pub(crate) fn smallest(claim: &Claim, check: &Check, found: &Worst) -> Option<Smallest> {
    let (seed, case) = found.origin.clone();
    let mut runner = TestRunner::new(Config {
        max_shrink_iters: TRIED,
        max_shrink_time: MOST,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = |draw| -> Option<Outcome> {
        let mut case = Case::of(claim, draw, false);
        (check.run)(&mut case).ok().map(|()| case.finish())
    };
    let tree = CaseTree::new(seed, claim.id, case);
    let shrunk = runner.run_one(tree, |draw| match outcome(draw) {
        Some(found) if found.failed > 0 => Err(TestCaseError::fail("beyond its bound")),
        _ => Ok(()),
    });
    // a case that does not fail a second time has no smaller one
    let Err(TestError::Fail(_, draw)) = shrunk else {
        return None;
    };
    let case = draw.name();
    let worst = outcome(draw)?.worst?;
    Some(Smallest { seed, case, worst })
}

#[cfg(test)]
mod tests {
    use crate::runner::{mutated, row};
    use crate::{Claim, Target};

    #[test]
    fn a_row_that_fails_says_the_smallest_case_that_does() {
        let claim = Claim::new("x").on_one_sided(Target::Integers, |case| {
            let [heads, tokens] = case.draw.sizes([(1, 40), (1, 900)]);
            let wrong = heads >= 5 && tokens >= 65;
            case.same(wrong, false, || format!("H {heads}, {tokens} tokens"));
            Ok(())
        });
        let found = row(&claim, &claim.checks[0], 50, 1).smallest.unwrap();
        let worst = found.worst;
        assert_eq!(worst.location, "H 5, 65 tokens: true for false");
        assert_eq!(worst.origin, (1, found.case.clone()));
        let otherwise = found.case.otherwise.into_iter();
        let changed: Vec<_> = otherwise.filter(|(place, _)| *place > 0).collect();
        assert_eq!(changed, [(1, 5), (2, 65)]);
        // a program that is known to be wrong is not followed
        assert_eq!(mutated(&claim, &claim.checks[0], 50, 1).smallest, None);
    }

    #[test]
    fn a_row_that_passes_has_no_smallest_case() {
        let claim = Claim::new("x").on_one_sided(Target::Integers, |case| {
            let found = case.control;
            case.same(found, false, || "nothing".into());
            Ok(())
        });
        let found = row(&claim, &claim.checks[0], 5, 1);
        assert_eq!((found.smallest, found.note), (None, None));
    }
}
