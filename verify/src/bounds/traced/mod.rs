//! A scalar that remembers how it was computed: one pass backwards gives every gradient, and every
//! rounding's effect.
//!
//! The reference is written for any [`Real`](inducer_reference::Real). On `Traced` numbers it
//! computes in `f64` and leaves each operation with its local derivatives on a tape of this thread.
//! From a result, [`backward`] walks back to the exact gradient with respect to all inputs at once
//! (reverse mode, the counterpart of the reference's dual numbers), in traced numbers again, and
//! [`Trace::conditioning`] to the bound that [`tolerance`](super::tolerance) describes.
//! [`Trace::spreads`] estimates the same for any number of results at once, for the coordinates of
//! a gradient.

mod arithmetic;
mod backward;

pub use backward::{Backward, backward};

use crate::bounds::Conditioning;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cell::RefCell;

const NONE: u32 = u32::MAX;
/// Results whose adjoints are carried through the tape together.
const LANES: usize = 16;
/// Random errors that are carried through the tape together.
const SAMPLES: usize = 16;

/// What made a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Input,
    Add,
    Sub,
    Neg,
    Mul,
    Div,
    Exp,
    Ln,
    Sqrt,
    Tanh,
    Erf,
}

impl Op {
    fn is_sum(self) -> bool {
        matches!(self, Self::Add | Self::Sub)
    }

    /// c_k: the operation's own error in units of round-off.
    fn units(self) -> f64 {
        match self {
            Self::Input | Self::Neg => 0.0,
            Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Sqrt => 1.0,
            Self::Exp | Self::Ln | Self::Erf => 4.0,
            Self::Tanh => 8.0,
        }
    }
}

#[derive(Clone, Copy)]
struct Node {
    op: Op,
    parents: [u32; 2],
    partials: [f64; 2],
    value: f64,
}

thread_local! {
    static TAPE: RefCell<Vec<Node>> = const { RefCell::new(Vec::new()) };
}

/// A number of a formula under observation.
#[derive(Clone, Copy, Debug)]
pub struct Traced {
    value: f64,
    node: u32,
}

impl Traced {
    /// A number that carries neither error nor derivative.
    #[must_use]
    pub fn constant(value: f64) -> Self {
        Self { value, node: NONE }
    }

    /// A number whose gradient is wanted.
    #[must_use]
    pub fn variable(value: f64) -> Self {
        push(Op::Input, value, [NONE; 2], [0.0; 2])
    }

    /// The value.
    #[must_use]
    pub fn value(self) -> f64 {
        self.value
    }

    fn unary(self, op: Op, value: f64, derivative: f64) -> Self {
        push(op, value, [self.node, NONE], [derivative, 0.0])
    }

    fn binary(self, op: Op, other: Self, value: f64, partials: [f64; 2]) -> Self {
        push(op, value, [self.node, other.node], partials)
    }
}

fn push(op: Op, value: f64, parents: [u32; 2], partials: [f64; 2]) -> Traced {
    TAPE.with_borrow_mut(|tape| {
        let node = tape.len() as u32;
        tape.push(Node {
            op,
            parents,
            partials,
            value,
        });
        Traced { value, node }
    })
}

/// The tape of one computation.
pub struct Trace {
    nodes: Vec<Node>,
    /// Of each node: the number of roundings and the magnitude that each of them rounds.
    rounded: Vec<(f64, f64)>,
}

/// The next computation of this thread writes to the same memory: a tape has a million nodes.
impl Drop for Trace {
    fn drop(&mut self) {
        let mut nodes = std::mem::take(&mut self.nodes);
        nodes.clear();
        // nothing to do where the thread is ending
        let _ = TAPE.try_with(|tape| {
            if let Ok(mut tape) = tape.try_borrow_mut()
                && tape.capacity() == 0
            {
                *tape = nodes;
            }
        });
    }
}

/// Runs a computation and returns its result with its tape.
pub fn record<R>(computation: impl FnOnce() -> R) -> (R, Trace) {
    TAPE.with_borrow_mut(Vec::clear);
    let result = computation();
    let nodes = TAPE.with_borrow_mut(std::mem::take);
    let rounded = roundings(&nodes);
    (result, Trace { nodes, rounded })
}

/// Each tree of additions whose inner nodes nobody else uses is one sum: it rounds at its root,
/// `terms − 1` times.
fn roundings(nodes: &[Node]) -> Vec<(f64, f64)> {
    let mut uses = vec![0_u32; nodes.len()];
    let mut only_in_sums = vec![true; nodes.len()];
    for node in nodes {
        for parent in node.parents.into_iter().filter(|p| *p != NONE) {
            uses[parent as usize] += 1;
            only_in_sums[parent as usize] &= node.op.is_sum();
        }
    }
    let inner = |k: usize| nodes[k].op.is_sum() && uses[k] == 1 && only_in_sums[k];
    let mut flat: Vec<(f64, f64)> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let mut own = (0.0, 0.0);
        if node.op.is_sum() {
            for (parent, partial) in node.parents.iter().zip(node.partials) {
                let (terms, mass) = match *parent {
                    NONE => (1.0, 0.0),
                    k if inner(k as usize) => flat[k as usize],
                    k => (1.0, nodes[k as usize].value.abs() * partial.abs()),
                };
                own = (own.0 + terms, own.1 + mass);
            }
            own.1 = own.1.max(node.value.abs());
        }
        flat.push(own);
    }
    let of = |(k, node): (usize, &Node)| match node.op.is_sum() {
        true if inner(k) => (0.0, 0.0),
        true => (flat[k].0 - 1.0, flat[k].1),
        false => {
            let units = node.op.units();
            (f64::from(units > 0.0), node.value.abs() * units)
        }
    };
    nodes.iter().enumerate().map(of).collect()
}

/// Whether all are ±0, by their bits: comparing one after the other took a twentieth of the
/// ledger's time.
fn is_zero(lanes: &[f64; LANES]) -> bool {
    lanes.iter().fold(0, |bits, x| bits | x.to_bits()) << 1 == 0
}

impl Trace {
    /// How rounding errors reach each of these results.
    #[must_use]
    pub fn conditioning(&self, outputs: &[Traced]) -> Vec<Conditioning> {
        let mut adjoints = vec![[0.0; LANES]; self.nodes.len()];
        outputs
            .chunks(LANES)
            .flat_map(|chunk| self.conditioning_of(chunk, &mut adjoints))
            .collect()
    }

    /// Of up to [`LANES`] results, whose adjoints are carried from the last of them to the tape's
    /// beginning. `adjoints` is zero before and after.
    fn conditioning_of(
        &self,
        outputs: &[Traced],
        adjoints: &mut [[f64; LANES]],
    ) -> Vec<Conditioning> {
        let made = || outputs.iter().enumerate().filter(|(_, y)| y.node != NONE);
        let last = made().map(|(_, y)| y.node as usize + 1).max().unwrap_or(0);
        for (lane, output) in made() {
            adjoints[output.node as usize][lane] += 1.0;
        }
        let (mut worst, mut squares, mut counts) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let mut absolute = [0.0; LANES];
        for k in (0..last).rev() {
            let own = std::mem::take(&mut adjoints[k]);
            if is_zero(&own) {
                continue;
            }
            let node = &self.nodes[k];
            for (parent, partial) in node.parents.into_iter().zip(node.partials) {
                if parent != NONE {
                    for (to, from) in adjoints[parent as usize].iter_mut().zip(own) {
                        *to += partial * from;
                    }
                }
            }
            let (count, magnitude) = self.rounded[k];
            if count == 0.0 {
                continue;
            }
            for lane in 0..LANES {
                let one = own[lane].abs() * magnitude;
                worst[lane] += count * one;
                squares[lane] += count * one * one;
                counts[lane] += if one > 0.0 { count } else { 0.0 };
                absolute[lane] += count * own[lane].abs();
            }
        }
        let of = |lane| Conditioning {
            worst: worst[lane],
            spread: f64::sqrt(squares[lane]),
            roundings: counts[lane],
            absolute: absolute[lane],
        };
        (0..outputs.len()).map(of).collect()
    }
}

impl Trace {
    /// √Σ_k (∂y/∂z_k M_k)² of each of these results, estimated for all of them in one pass
    /// forwards.
    ///
    /// Errors ±M_k √count of random sign go through the tape to first order; the mean square of
    /// what arrives at y is the sum wanted. With sixteen of them one y in ten thousand is estimated
    /// at less than 0.4 of it (χ² of 16 degrees).
    #[must_use]
    pub fn spreads(&self, outputs: &[Traced]) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut moved: Vec<[f64; SAMPLES]> = Vec::with_capacity(self.nodes.len());
        for (node, (count, magnitude)) in self.nodes.iter().zip(&self.rounded) {
            let mut own = [0.0; SAMPLES];
            for (parent, partial) in node.parents.into_iter().zip(node.partials) {
                if parent != NONE {
                    for (to, from) in own.iter_mut().zip(moved[parent as usize]) {
                        *to += partial * from;
                    }
                }
            }
            let size = count.sqrt() * magnitude;
            if size > 0.0 {
                let signs: u16 = random.random();
                for (sample, to) in own.iter_mut().enumerate() {
                    *to += if signs >> sample & 1 == 1 {
                        size
                    } else {
                        -size
                    };
                }
            }
            moved.push(own);
        }
        let of = |y: &Traced| match y.node {
            NONE => 0.0,
            k => {
                let squares: f64 = moved[k as usize].iter().map(|x| x * x).sum();
                f64::sqrt(squares / SAMPLES as f64)
            }
        };
        outputs.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inducer_reference::Real;
    use num_traits::Zero;

    #[test]
    fn the_spread_of_many_results_is_estimated_within_a_factor() {
        let x: Vec<f64> = (1..40).map(|k| (f64::from(k) * 0.37).sin() + 1.5).collect();
        let (sums, trace) = record(|| {
            let x: Vec<Traced> = x.iter().map(|x| Traced::variable(*x)).collect();
            let logs: Vec<Traced> = x.iter().map(|x| (*x * *x).ln()).collect();
            let sum = |from: usize| logs[from..].iter().fold(Traced::zero(), |s, x| s + *x);
            (0..30).map(|from| sum(from).exp()).collect::<Vec<_>>()
        });
        let exact = trace.conditioning(&sums);
        for (estimate, exact) in trace.spreads(&sums).iter().zip(exact) {
            let ratio = estimate / exact.spread;
            assert!((0.4..2.0).contains(&ratio), "{ratio}");
        }
    }

    #[test]
    fn a_sum_rounds_once_less_than_it_has_terms_whatever_its_order() {
        let terms = [1.0, -2.0, 4.0, 0.5];
        let sum = |order: [usize; 4]| {
            let (y, trace) = record(|| {
                order
                    .iter()
                    .fold(Traced::zero(), |sum, k| sum + Traced::variable(terms[*k]))
            });
            trace.conditioning(&[y])[0]
        };
        let one = sum([0, 1, 2, 3]);
        assert_eq!(one, sum([3, 1, 0, 2]));
        assert_eq!((one.worst, one.roundings), (3.0 * 7.5, 3.0));
    }

    #[test]
    fn the_bound_holds_for_sums_in_single_precision_and_is_not_vacuous() {
        let terms: Vec<f32> = (1..60).map(|k| (k as f32 * 0.37).sin() + 1.0).collect();
        let (y, trace) = record(|| {
            terms.iter().fold(Traced::zero(), |sum, x| {
                sum + Traced::variable(f64::from(*x))
            })
        });
        let error = (f64::from(terms.iter().sum::<f32>()) - y.value()).abs();
        let bound = trace.conditioning(&[y])[0].bound(f32::unit_roundoff());
        assert!(
            error <= bound && bound <= 1000.0 * error,
            "{error:e} {bound:e}"
        );
    }
}
