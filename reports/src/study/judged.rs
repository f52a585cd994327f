//! Steps, the paper's and one's own, judged by the loss of the test part.

use super::Study;
use super::paper::{ON_LENGTH, STEPS, Step};
use super::rates::Found;
use crate::stats::contrast::{Contrast, Judgement, holm};
use inducer_gpu::Named;

/// A step as it was measured here.
pub struct Judged<'a> {
    /// The step.
    pub step: Step<'a>,
    /// The comparison, where both methods have runs with losses.
    pub contrast: Option<&'a Contrast>,
    /// Holm's probability over the steps that were measured.
    pub p: f64,
    /// How many these are.
    pub tests: usize,
    /// What is said of it.
    pub judgement: Judgement,
}

/// Whether a method is an end of a step, the paper's or one's own, whose two ends are among these.
pub fn is_judged(method: &str, among: &[&str]) -> bool {
    let own = among.iter().filter_map(|name| match Named::find(name)? {
        Named::Custom(m) => Some([m.step()?.0, *name]),
        Named::Paper(_) => None,
    });
    let mut steps = STEPS.iter().map(|s| [s.lower, s.upper]).chain(own);
    steps.any(|ends| ends.contains(&method) && ends.iter().all(|end| among.contains(end)))
}

/// So many of the further seeds the part on long inputs has.
const LONG_FURTHER: usize = 2;

/// The runs of a part: seed, number of the method, and whether its loss is all that is scored; all
/// methods of one seed before the next seed. Further seeds are for the methods whose steps are
/// judged. The part on long inputs has [`LONG_FURTHER`] of them for the two methods of the claim,
/// and scores them whole: only a score tells whether a run has learnt the task.
pub(super) fn listing(
    seeds: &[u64],
    loss_seeds: &[u64],
    names: &[&str],
    prefix: &str,
) -> Vec<(u64, usize, bool)> {
    let methods = 0..names.len();
    let whole = seeds
        .iter()
        .flat_map(|s| methods.clone().map(|m| (*s, m, false)));
    let long = !prefix.is_empty();
    let count = if long { LONG_FURTHER } else { loss_seeds.len() };
    let further = loss_seeds.iter().take(count);
    let further = further.flat_map(|s| methods.clone().map(|m| (*s, m, !long)));
    let further = further.filter(|(_, m, _)| match long {
        true => ON_LENGTH.contains(&names[*m]),
        false => is_judged(names[*m], names),
    });
    whole.chain(further).collect()
}

/// These steps, in their order.
pub fn judged<'a>(study: &'a Study, steps: &[Step<'a>]) -> Vec<Judged<'a>> {
    let found = steps.iter().map(|s| study.contrast(s.lower, s.upper));
    together(steps, found.collect(), study.rates.as_ref())
}

/// The same of the comparisons that were measured, one a step.
pub(crate) fn together<'a>(
    steps: &[Step<'a>],
    found: Vec<Option<&'a Contrast>>,
    rates: Option<&Found>,
) -> Vec<Judged<'a>> {
    let p: Vec<f64> = found.iter().flatten().map(|c| c.p()).collect();
    let (mut adjusted, tests) = (holm(&p).into_iter(), p.len());
    steps
        .iter()
        .zip(found)
        .map(|(step, contrast)| {
            let p = contrast.and_then(|_| adjusted.next()).unwrap_or(1.0);
            let judgement = contrast.map_or(Judgement::NotMeasured, |c| Judgement::of(c, p));
            Judged {
                step: *step,
                contrast,
                p,
                tests,
                judgement: judgement.at_rates(rates, step.lower, step.upper),
            }
        })
        .collect()
}

impl Judgement {
    /// The same, where the sign of a decided difference turns with the learning rate.
    fn at_rates(self, rates: Option<&Found>, lower: &str, upper: &str) -> Self {
        let turns = rates.is_some_and(|f| f.turns(lower, upper));
        match self {
            Self::Appears | Self::Reversed if turns => Self::DependsOnRate,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_inputs_have_two_of_the_further_seeds_for_the_two_methods_of_their_claim() {
        let names = ["prefix", "prefix-no-offset", "inducer"];
        let of = |prefix| listing(&[1, 2], &[4, 5, 6, 7], &names, prefix);
        let long = of("long-");
        let further: Vec<_> = long.iter().filter(|run| run.0 > 2).copied().collect();
        let expected = [4, 5].map(|seed| [(seed, 0, false), (seed, 2, false)]);
        assert_eq!(further, expected.concat());
        assert_eq!(long.len(), 2 * 3 + 2 * 2);
        // the study's own methods, of which no step has both ends here, have none
        assert_eq!(of("").len(), 2 * 3);
    }

    #[test]
    fn a_method_is_judged_where_the_other_end_of_its_step_is_there_too() {
        let all = ["none", "prefix", "adaptive", "gating", "inducer", "lora"];
        let judged = |among: &[&'static str]| -> Vec<&str> {
            let of = among.iter().filter(|m| is_judged(m, among));
            of.copied().collect()
        };
        assert_eq!(judged(&all), ["prefix", "adaptive", "gating", "inducer"]);
        assert_eq!(judged(&["prefix", "gating", "lora"]), [""; 0]);
    }
}
