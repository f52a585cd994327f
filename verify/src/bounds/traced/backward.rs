//! Reverse mode in traced numbers: the gradient is a computation too, with roundings of its own.

use super::{NONE, Node, Op, TAPE, Traced};
use inducer_reference::Real;
use num_traits::{One, Zero};

/// A backward pass.
pub struct Backward {
    /// ∂output/∂input of each input.
    pub gradient: Vec<Traced>,
    /// ‖∂output/∂z‖_∞ over everything that was computed on the way, the output itself included.
    pub greatest: f64,
}

/// The gradient with respect to inputs made by [`Traced::variable`], to be called inside of
/// [`record`](super::record): the backward pass is recorded behind the formula.
#[must_use]
pub fn backward(output: Traced, inputs: &[Traced]) -> Backward {
    if output.node == NONE {
        let gradient = vec![Traced::zero(); inputs.len()];
        return Backward {
            gradient,
            greatest: 0.0,
        };
    }
    let last = output.node as usize;
    let nodes = TAPE.with_borrow(|tape| tape[..=last].to_vec());
    let mut adjoints: Vec<Option<Traced>> = vec![None; nodes.len()];
    adjoints[last] = Some(Traced::one());
    for k in (0..nodes.len()).rev() {
        let Some(own) = adjoints[k] else {
            continue;
        };
        for (place, parent) in nodes[k].parents.into_iter().enumerate() {
            if parent != NONE {
                let term = passed_on(&nodes, k, place, own);
                let sum = &mut adjoints[parent as usize];
                *sum = Some(sum.map_or(term, |sum| sum + term));
            }
        }
    }
    let of = |x: &Traced| adjoints.get(x.node as usize).copied().flatten();
    let all = adjoints.iter().flatten();
    Backward {
        gradient: inputs
            .iter()
            .map(|x| of(x).unwrap_or_else(Traced::zero))
            .collect(),
        greatest: all.fold(0.0, |most, g| most.max(g.value.abs())),
    }
}

/// What the `place`-th operand of node `k` gets of the node's adjoint.
fn passed_on(nodes: &[Node], k: usize, place: usize, own: Traced) -> Traced {
    let node = nodes[k];
    let at = |k: u32| Traced {
        value: nodes[k as usize].value,
        node: k,
    };
    let y = at(k as u32);
    let x = at(node.parents[place]);
    let other = node.parents[1 - place];
    match node.op {
        Op::Input => Traced::zero(),
        Op::Add => own,
        Op::Sub if place == 0 => own,
        Op::Sub | Op::Neg => -own,
        // beside a constant the derivative is a constant
        Op::Mul | Op::Div if other == NONE && place == 0 => {
            own * Traced::constant(node.partials[place])
        }
        Op::Mul if other == NONE => own * Traced::constant(node.partials[place]),
        Op::Mul => own * at(other),
        Op::Div if place == 0 => own / at(other),
        Op::Div => -(own * y / x),
        Op::Exp => own * y,
        Op::Ln => own / x,
        Op::Sqrt => own / (y + y),
        Op::Tanh => own * (Traced::one() - y * y),
        Op::Erf => {
            let two = Traced::constant(2.0 / std::f64::consts::PI.sqrt());
            own * two * (-(x * x)).exp()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::record;
    use approx::assert_abs_diff_eq;

    #[test]
    fn the_gradient_of_a_product_of_functions_is_the_chain_rule() {
        let (x, y) = (0.7_f64, 1.3_f64);
        let (gradient, _) = record(|| {
            let (x, y) = (Traced::variable(x), Traced::variable(y));
            let z = (x * y).exp() / (x.tanh() + y.sqrt()) - x.erf() * Traced::constant(3.0);
            backward(z + y.ln() / Traced::constant(2.0), &[x, y]).gradient
        });
        let (e, s) = ((x * y).exp(), x.tanh() + y.sqrt());
        let bell = 2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp();
        let expected = [
            y * e / s - e / s / s * (1.0 - x.tanh().powi(2)) - 3.0 * bell,
            x * e / s - e / s / s * 0.5 / y.sqrt() + 0.5 / y,
        ];
        for (found, expected) in gradient.iter().zip(expected) {
            assert_abs_diff_eq!(found.value(), expected, epsilon = 1e-14);
        }
    }

    #[test]
    fn a_constant_has_no_gradient() {
        let (gradient, _) = record(|| {
            let x = Traced::variable(2.0);
            backward(Traced::constant(1.0), &[x]).gradient
        });
        assert_eq!(gradient[0].value(), 0.0);
    }

    #[test]
    fn what_cancels_in_a_gradient_leaves_its_roundings() {
        let (passed, trace) = record(|| {
            let (x, y) = (Traced::variable(0.3), Traced::variable(1.7));
            backward((x - x) * y.exp() * y, &[x, y])
        });
        let spread = trace.spreads(&passed.gradient);
        assert_eq!(passed.gradient[0].value(), 0.0);
        assert!(passed.greatest > 5.0, "{}", passed.greatest);
        assert!(spread[0] > 1.0, "{spread:?}");
    }
}
