//! A bottleneck network of a figure's state: small fixed weights, whose output a slider scales.

use super::draw::Draw;
use super::quantity::vector;
use inducer_reference::Real;
use inducer_reference::bottleneck::Bottleneck;
use ndarray::Array2;
use serde::Serialize;

/// tanh(q W_1 + b_1) W_2 + b_2.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// W_1: `[p, r]`.
    pub down: Vec<Vec<f64>>,
    /// b_1: `[r]`.
    pub down_bias: Vec<f64>,
    /// W_2: `[r, c]`.
    pub up: Vec<Vec<f64>>,
    /// b_2: `[c]`.
    pub up_bias: Vec<f64>,
}

impl Network {
    /// Random weights of shape p → r → c.
    pub fn random(draw: &mut Draw, (p, r, c): (usize, usize, usize)) -> Self {
        let mut matrix = |rows: usize, columns: usize| -> Vec<Vec<f64>> {
            (0..rows)
                .map(|_| draw.numbers(columns, -1.0, 1.0))
                .collect()
        };
        let (down, up) = (matrix(p, r), matrix(r, c));
        Self {
            down,
            down_bias: draw.numbers(r, -1.0, 1.0),
            up,
            up_bias: draw.numbers(c, -0.5, 0.5),
        }
    }

    /// The reference's network with W_2 and b_2 times `scale`.
    pub fn scaled<T: Real>(&self, scale: T) -> Bottleneck<T> {
        Bottleneck {
            down: matrix(&self.down),
            down_bias: vector(&self.down_bias),
            up: matrix(&self.up) * scale,
            up_bias: Some(vector(&self.up_bias) * scale),
        }
    }
}

/// Rows of numbers as a matrix.
pub fn matrix<T: Real>(rows: &[Vec<f64>]) -> Array2<T> {
    let columns = rows.first().map_or(0, Vec::len);
    Array2::from_shape_fn((rows.len(), columns), |(i, a)| T::from_f64(rows[i][a]))
}
