//! Resampling tests against the count of all samples and of all exchanges that there are.

use super::given;
use crate::{Case, Result, Tolerance};
use inducer_datasets::significance::{approximate_randomisation, paired_bootstrap};

/// Draws of a test.
const DRAWS: usize = 16_000;

/// Every list of `n` numbers below `below`.
fn lists(below: usize, n: usize) -> Vec<Vec<usize>> {
    (0..n).fold(vec![Vec::new()], |all, _| {
        let longer = |list: &Vec<usize>| {
            let list = list.clone();
            (0..below).map(move |next| [&list[..], &[next]].concat())
        };
        all.iter().flat_map(longer).collect()
    })
}

/// The share of lists for which this holds.
fn share(all: &[Vec<usize>], holds: impl Fn(&[usize]) -> bool) -> f64 {
    all.iter().filter(|list| holds(list)).count() as f64 / all.len() as f64
}

/// The probabilities that the tests estimate are those of all their samples, whose share they
/// meet as closely as so many draws do; the estimates are (1 + found)/(1 + draws). In the control
/// randomisation counts the differences of one sign alone, and the bootstrap those of the other.
pub(super) fn resampled(case: &mut Case) -> Result<()> {
    let n = case.draw.size(1, 4);
    let mut pairs: Vec<[usize; 2]> = (0..n).map(|_| case.draw.sizes([(0, 4), (0, 4)])).collect();
    let sum = |pairs: &[[usize; 2]], side: usize| pairs.iter().map(|p| p[side]).sum::<usize>();
    // without a difference there is no sign that speaks against it
    pairs[0][0] += usize::from(sum(&pairs, 0) == sum(&pairs, 1));
    let squares = case.draw.chance(0.5);
    // whole numbers, so that no tie is decided by rounding
    let score = move |sum: f64| if squares { sum * sum } else { sum };
    let difference = |of: &dyn Fn(usize) -> [usize; 2]| {
        let sums = [0, 1].map(|side| (0..n).map(|i| of(i)[side]).sum::<usize>());
        score(sums[0] as f64) - score(sums[1] as f64)
    };
    let observed = difference(&|i| pairs[i]);
    let (sign, one_sided) = (observed.signum(), case.control);
    let sampled = share(&lists(n, n), |list| {
        let drawn = difference(&|i| pairs[list[i]]) * sign;
        if one_sided { drawn > 0.0 } else { drawn <= 0.0 }
    });
    let exchanged = share(&lists(2, n), |list| {
        let drawn = difference(&|i| [pairs[i][list[i]], pairs[i][1 - list[i]]]);
        match one_sided {
            true => drawn * sign >= observed.abs(),
            false => drawn.abs() >= observed.abs(),
        }
    });
    let [a, b] = [0, 1].map(|side| pairs.iter().map(|p| p[side] as f64).collect::<Vec<_>>());
    let seed = case.draw.bits();
    let tests = [
        (
            "bootstrap",
            given(paired_bootstrap(&a, &b, score, DRAWS, seed))?,
            sampled,
        ),
        (
            "randomisation",
            given(approximate_randomisation(&a, &b, score, DRAWS, seed))?,
            exchanged,
        ),
    ];
    let draws = DRAWS as f64;
    for (name, found, share) in tests {
        let place = || format!("{name} of {pairs:?}, squares {squares}");
        case.same((found.difference, found.draws), (observed, DRAWS), place);
        // by Hoeffding's inequality a share of n draws is further from its probability than
        // √(28 / 2n) in less than 2 e⁻²⁸ = 1.4e-12 of all runs; a certain one is met exactly
        let certain = share == 0.0 || share == 1.0;
        let bound = if certain {
            1e-12
        } else {
            (28.0 / (2.0 * draws)).sqrt()
        };
        let why = "√(28/2n): beyond it in 1.4e-12 of all runs of n draws, by Hoeffding";
        let drawn = (found.p * (1.0 + draws) - 1.0) / draws;
        case.close(drawn, share, &Tolerance::stated(bound, why), place);
        let again = match name {
            "bootstrap" => paired_bootstrap(&a, &b, score, DRAWS, seed),
            _ => approximate_randomisation(&a, &b, score, DRAWS, seed),
        };
        case.same(given(again)?.p, found.p, || format!("{}, again", place()));
    }
    Ok(())
}
