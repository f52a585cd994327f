//! Figure 2: attention in the plane, as a product of vectors and as a Gaussian smoother with a
//! weight on each key.

use super::Figure;
use crate::teach::draw::Draw;
use crate::teach::quantity::{Formula, Quantity, rows};
use inducer_reference::Real;
use inducer_reference::attention::{attend, shifted_kernel};
use inducer_reference::kernel::{gaussian, kernel_matrix, scores, weight};
use inducer_reference::nadaraya_watson::{estimate, smoother};
use inducer_reference::visible::Visible;
use ndarray::{Array1, Axis};
use serde::Serialize;

/// A query, keys and values.
#[derive(Clone, Debug, Serialize)]
pub struct Attention {
    q: [f64; 2],
    keys: Vec<[f64; 2]>,
    values: Vec<[f64; 2]>,
}

impl Formula for Attention {
    fn quantities<T: Real>(&self) -> Vec<Quantity<T>> {
        let (q, k, v) = (rows(&[self.q]), rows(&self.keys), rows(&self.values));
        let scores = scores::<T>(&q, &k);
        let visible = Visible::all(1, k.nrows());
        let attended = attend(&q, &k, &v, &visible);
        let keys = || k.rows().into_iter();
        let near: Array1<T> = keys().map(|k| gaussian(&q.row(0), &k)).collect();
        let far: Array1<T> = keys().map(|k| weight(&k)).collect();
        let product = (&near * &far).insert_axis(Axis(0));
        let near = near.insert_axis(Axis(0));
        let softmax = smoother(&shifted_kernel(&scores, &visible).0);
        vec![
            Quantity::new("scores", scores),
            Quantity::new("kernel", kernel_matrix(&q, &k)),
            Quantity::new("weights", softmax),
            Quantity::new("lse", attended.lse.into_iter().flatten()),
            Quantity::new("f", attended.f),
            Quantity::new("gaussian", near.clone()),
            Quantity::new("keyWeight", far),
            Quantity::new("gaussianWeights", smoother(&near)),
            Quantity::new("gaussianOnly", estimate(&near, &v)),
            Quantity::new("gaussianTimesWeight", estimate(&product, &v)),
        ]
    }
}

impl Figure for Attention {
    const NAME: &'static str = "attention";

    fn start() -> Self {
        Self {
            q: [0.9, 0.7],
            keys: vec![
                [1.6, 1.2],
                [-0.6, 1.7],
                [-1.5, -0.4],
                [0.4, -1.4],
                [1.9, -0.5],
            ],
            values: vec![
                [1.8, 1.6],
                [-1.4, 1.9],
                [-2.0, -0.6],
                [-0.2, -2.0],
                [2.0, -0.9],
            ],
        }
    }

    fn other(draw: &mut Draw) -> Self {
        Self {
            q: draw.point(2.5),
            keys: draw.points(5, 2.5),
            values: draw.points(5, 2.5),
        }
    }
}
