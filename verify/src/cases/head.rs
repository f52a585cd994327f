//! One random attention head with an inducer and a prefix, for every scalar from the same numbers.

use super::{Corner, Draw};
use inducer_reference::bottleneck::Bottleneck;
use inducer_reference::visible::Visible;
use inducer_reference::{Field, Real};
use ndarray::{Array, Array1, Array2, Array3, Axis, Dimension};

/// Everything that one head sees.
#[derive(Clone, Debug)]
pub struct Head<T> {
    /// Queries: [n, p].
    pub q: Array2<T>,
    /// Keys: [m, p].
    pub k: Array2<T>,
    /// Values: [m, c].
    pub v: Array2<T>,
    /// Who sees whom.
    pub visible: Visible,
    /// MLP_k, into R^p.
    pub mlp_k: Bottleneck<T>,
    /// MLP_v, into R^c.
    pub mlp_v: Bottleneck<T>,
    /// Prefix keys: [l, p].
    pub p_k: Array2<T>,
    /// Prefix values: [l, c].
    pub p_v: Array2<T>,
}

/// The same numbers in another scalar.
pub fn lift<T: Real, D: Dimension>(x: &Array<f64, D>) -> Array<T, D> {
    x.mapv(T::from_f64)
}

/// [H, a, b] of one matrix for each of at least one head, all of one shape.
pub fn by_head<F: Field>(heads: usize, matrix: impl Fn(usize) -> Array2<F>) -> Array3<F> {
    let first = matrix(0);
    let mut all = Array3::from_elem((heads, first.nrows(), first.ncols()), F::zero());
    all.index_axis_mut(Axis(0), 0).assign(&first);
    for h in 1..heads {
        all.index_axis_mut(Axis(0), h).assign(&matrix(h));
    }
    all
}

fn lift_bottleneck<T: Real>(x: &Bottleneck<f64>) -> Bottleneck<T> {
    Bottleneck {
        down: lift(&x.down),
        down_bias: lift(&x.down_bias),
        up: lift(&x.up),
        up_bias: x.up_bias.as_ref().map(lift),
    }
}

fn bottleneck(draw: &mut Draw, p: usize, r: usize, c: usize, scale: f64) -> Bottleneck<f64> {
    Bottleneck {
        down: draw.array((p, r), 1.0),
        down_bias: draw.array(r, 1.0),
        up: draw.array((r, c), scale),
        up_bias: Some(draw.array(c, scale)),
    }
}

/// The sizes of a head in each corner.
fn sizes(draw: &mut Draw, corner: Corner) -> [usize; 6] {
    let n = if corner == Corner::OneQuery {
        1
    } else {
        draw.size(2, 6)
    };
    let m = if corner == Corner::OneKey {
        1
    } else {
        draw.size(2, 8)
    };
    let (p, c, l) = (draw.size(1, 6), draw.size(1, 5), draw.size(1, 4));
    let r = match corner {
        Corner::Tiny => 1,
        Corner::Wide => 3 * p + 4,
        _ => draw.size(1, 5),
    };
    [n, m, p, c, l, r]
}

/// Every query's visible set, never empty; a key is hidden with this probability.
pub fn visible(draw: &mut Draw, n: usize, m: usize, hidden: f64) -> Visible {
    let always: Vec<usize> = (0..n).map(|_| draw.size(0, m - 1)).collect();
    Visible::from_matrix(Array2::from_shape_fn((n, m), |(i, j)| {
        !draw.chance(hidden) || always[i] == j
    }))
}

/// Scales the queries such that the greatest score has this magnitude.
fn stretch(q: &mut Array2<f64>, k: &Array2<f64>, greatest: f64) {
    let root = (q.ncols() as f64).sqrt();
    let now = q
        .dot(&k.t())
        .iter()
        .fold(0.0_f64, |most, s| most.max(s.abs()))
        / root;
    if now > 0.0 {
        q.mapv_inplace(|x| f64::from((x * greatest / now) as f32));
    }
}

impl Head<f64> {
    /// A random head in the corner of this case.
    pub fn random(draw: &mut Draw) -> Self {
        let corner = draw.corner();
        let [n, m, p, c, l, r] = sizes(draw, corner);
        let mut q = draw.array((n, p), 2.0);
        let mut k = draw.array((m, p), 2.0);
        match corner {
            Corner::Extreme => stretch(&mut q, &k, 80.0),
            Corner::Tied => {
                let first: Array1<f64> = k.row(0).to_owned();
                k.rows_mut()
                    .into_iter()
                    .for_each(|mut row| row.assign(&first));
            }
            Corner::Repeated => {
                let first: Array1<f64> = k.row(0).to_owned();
                k.row_mut(m - 1).assign(&first);
            }
            _ => {}
        }
        let hidden = if corner == Corner::Padded { 0.6 } else { 0.15 };
        Self {
            v: draw.array((m, c), 2.0),
            visible: visible(draw, n, m, hidden),
            mlp_k: bottleneck(draw, p, r, p, 0.5),
            mlp_v: bottleneck(draw, p, r, c, 1.0),
            p_k: draw.array((l, p), 2.0),
            p_v: draw.array((l, c), 2.0),
            q,
            k,
        }
    }

    /// The same head in another scalar.
    #[must_use]
    pub fn lift<T: Real>(&self) -> Head<T> {
        Head {
            q: lift(&self.q),
            k: lift(&self.k),
            v: lift(&self.v),
            visible: self.visible.clone(),
            mlp_k: lift_bottleneck(&self.mlp_k),
            mlp_v: lift_bottleneck(&self.mlp_v),
            p_k: lift(&self.p_k),
            p_v: lift(&self.p_v),
        }
    }
}
