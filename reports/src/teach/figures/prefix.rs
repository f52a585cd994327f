//! Figure 3: a prefix as extra support points, and as a gated mixture.

use super::Figure;
use crate::teach::draw::Draw;
use crate::teach::quantity::{Formula, Quantity, rows};
use inducer_reference::Real;
use inducer_reference::attention::attend;
use inducer_reference::prefix::{concatenated, gated, mu_by_definition};
use inducer_reference::visible::Visible;
use serde::Serialize;

/// A query with its keys and values, and a prefix.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Prefix {
    q: [f64; 2],
    keys: Vec<[f64; 2]>,
    values: Vec<[f64; 2]>,
    prefix_keys: Vec<[f64; 2]>,
    prefix_values: Vec<[f64; 2]>,
}

impl Formula for Prefix {
    fn quantities<T: Real>(&self) -> Vec<Quantity<T>> {
        let q = rows::<T, 2>(&[self.q]);
        let (k, v) = (rows(&self.keys), rows(&self.values));
        let (p_k, p_v) = (rows(&self.prefix_keys), rows(&self.prefix_values));
        let visible = Visible::all(1, k.nrows());
        let attended = attend(&q, &k, &v, &visible);
        let over_prefix = attend(&q, &p_k, &p_v, &Visible::all(1, p_k.nrows()));
        let beside = concatenated(&q, (&k, &v), (&p_k, &p_v), &visible);
        let (output, mu) = gated(&q, &attended, &p_k, &p_v);
        vec![
            Quantity::new("f", attended.f.clone()),
            Quantity::new("lse", attended.lse.iter().copied().flatten()),
            Quantity::new("g", over_prefix.f),
            Quantity::new("lsePrefix", over_prefix.lse.into_iter().flatten()),
            Quantity::new("mu", mu),
            Quantity::new("muByDefinition", mu_by_definition(&q, &p_k, &k, &visible)),
            Quantity::new("mixture", output),
            Quantity::new("concatenated", beside),
        ]
    }
}

impl Figure for Prefix {
    const NAME: &'static str = "prefix";

    fn start() -> Self {
        Self {
            q: [0.8, 0.4],
            keys: vec![[1.5, 1.1], [-0.9, 1.4], [-1.2, -1.1], [1.3, -0.9]],
            values: vec![[1.7, 1.2], [-1.2, 1.7], [-1.9, -0.5], [1.9, -0.5]],
            prefix_keys: vec![[0.4, 1.9], [1.9, 0.3]],
            prefix_values: vec![[-0.4, -1.9], [0.8, -2.1]],
        }
    }

    fn other(draw: &mut Draw) -> Self {
        let l = draw.index(3) + 1;
        Self {
            q: draw.point(2.5),
            keys: draw.points(4, 2.5),
            values: draw.points(4, 2.5),
            prefix_keys: draw.points(l, 2.5),
            prefix_values: draw.points(l, 2.5),
        }
    }
}
