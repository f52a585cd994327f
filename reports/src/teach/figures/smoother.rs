//! Figure 1: Nadaraya–Watson regression on a line.

use super::Figure;
use crate::teach::draw::Draw;
use crate::teach::quantity::{Formula, Quantity, real, vector};
use inducer_reference::Real;
use inducer_reference::nadaraya_watson::{estimate, smoother};
use inducer_reference::smoothing::Smoothing;
use ndarray::{Array2, Axis};
use serde::Serialize;

/// Places at which the curve is compared.
const PROBES: [f64; 5] = [0.5, 2.75, 5.0, 7.25, 9.5];

/// Support points, a place and a kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Smoother {
    points: Vec<[f64; 2]>,
    x: f64,
    bandwidth: f64,
    kernel: Smoothing,
    probes: [f64; 5],
}

impl Formula for Smoother {
    fn quantities<T: Real>(&self) -> Vec<Quantity<T>> {
        let column = |a: usize| -> Vec<f64> { self.points.iter().map(|point| point[a]).collect() };
        let (places, targets) = (vector::<T>(&column(0)), vector::<T>(&column(1)));
        let row = |x: f64| {
            let row = self.kernel.row(real(x), &places, real(self.bandwidth));
            row.insert_axis(Axis(0))
        };
        let values: Array2<T> = targets.insert_axis(Axis(1));
        let at = |x: f64| estimate(&row(x), &values)[[0, 0]];
        vec![
            Quantity::new("kernel", row(self.x)),
            Quantity::new("weights", smoother(&row(self.x))),
            Quantity::new("estimate", [at(self.x)]),
            Quantity::new("curve", self.probes.map(at)),
        ]
    }
}

impl Figure for Smoother {
    const NAME: &'static str = "smoother";

    fn start() -> Self {
        let points = vec![
            [0.8, -0.6],
            [1.9, 0.5],
            [3.0, 1.4],
            [4.1, 0.9],
            [5.2, -0.3],
            [6.6, -1.2],
            [7.9, 0.1],
            [9.1, 1.1],
        ];
        Self {
            points,
            x: 4.6,
            bandwidth: 0.8,
            kernel: Smoothing::Gaussian,
            probes: PROBES,
        }
    }

    fn other(draw: &mut Draw) -> Self {
        let points = (0..8)
            .map(|_| [draw.number(0.0, 10.0), draw.number(-2.0, 2.0)])
            .collect();
        Self {
            points,
            x: draw.number(0.0, 10.0),
            bandwidth: draw.number(0.5, 2.5),
            kernel: Smoothing::ALL[draw.index(4)],
            probes: PROBES,
        }
    }
}
