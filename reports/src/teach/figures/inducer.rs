//! Figure 5: an inducer beside each query; (7) and (8) are both computed.

use super::Figure;
use crate::teach::draw::Draw;
use crate::teach::network::Network;
use crate::teach::quantity::{Formula, Quantity, real, rows};
use inducer_reference::Real;
use inducer_reference::attention::attend;
use inducer_reference::inducer::{
    augmented_estimate, key, lambda, lambda_by_definition, lambda_by_second_softmax, mixture_form,
    own_scores, residual_form, value,
};
use inducer_reference::kernel::{kernel_matrix, scores};
use inducer_reference::nadaraya_watson::row_sums;
use inducer_reference::visible::Visible;
use serde::Serialize;

/// Three queries over the same keys, with networks whose outputs are scaled.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inducer {
    queries: Vec<[f64; 2]>,
    keys: Vec<[f64; 2]>,
    values: Vec<[f64; 2]>,
    key_network: Network,
    value_network: Network,
    key_scale: f64,
    value_scale: f64,
}

impl Formula for Inducer {
    fn quantities<T: Real>(&self) -> Vec<Quantity<T>> {
        let q = rows::<T, 2>(&self.queries);
        let (k, v) = (rows(&self.keys), rows(&self.values));
        let attended = attend(&q, &k, &v, &Visible::all(q.nrows(), k.nrows()));
        let mlp_k = self.key_network.scaled(real(self.key_scale)).forward(&q);
        let value_network = self.value_network.scaled(real(self.value_scale));
        let mlp_v = value_network.forward(&q);
        let (p_k, p_v) = (key(&q, &mlp_k), value(&attended.f, &mlp_v));
        let s = own_scores(&q, &p_k);
        let gate = lambda(&s, &attended.lse);
        let (own, m) = (s.mapv(T::exp), kernel_matrix(&q, &k));
        let defined = lambda_by_definition(&own, &row_sums(&m));
        let second = lambda_by_second_softmax(&s, &scores(&q, &k));
        vec![
            Quantity::new("f", attended.f.clone()),
            Quantity::new("lse", attended.lse.iter().copied().flatten()),
            Quantity::new("inducerKey", p_k),
            Quantity::new("score", s.clone()),
            Quantity::new("lambda", gate.clone()),
            Quantity::new("lambdaByDefinition", defined),
            Quantity::new("lambdaBySecondSoftmax", second),
            Quantity::new("augmented", augmented_estimate(&own, &m, &p_v, &v)),
            Quantity::new("mixture", mixture_form(&attended.f, &gate, &p_v)),
            Quantity::new("residual", residual_form(&attended.f, &gate, &mlp_v)),
            Quantity::new("inducerValue", p_v),
        ]
    }
}

impl Figure for Inducer {
    const NAME: &'static str = "inducer";

    fn start() -> Self {
        Self {
            queries: vec![[1.0, 1.1], [-1.4, 0.3], [0.3, -1.5]],
            keys: vec![[1.8, 0.2], [-0.7, 1.6], [-1.6, -0.9], [1.1, -1.1]],
            values: vec![[1.9, 0.5], [-1.0, 1.8], [-1.8, -1.0], [0.7, -1.6]],
            key_network: Network {
                down: vec![vec![0.9, -0.5, 0.3], vec![0.2, 0.8, -0.9]],
                down_bias: vec![0.1, -0.2, 0.3],
                up: vec![vec![0.7, 0.2], vec![-0.4, 0.6], vec![0.3, -0.8]],
                up_bias: vec![0.1, 0.15],
            },
            value_network: Network {
                down: vec![vec![0.8, 0.4, -0.7], vec![-0.3, 0.9, 0.5]],
                down_bias: vec![-0.1, 0.2, 0.1],
                up: vec![vec![0.4, -1.1], vec![-0.9, 0.5], vec![0.8, 0.9]],
                up_bias: vec![-0.9, 1.0],
            },
            // the networks as (5) and (6) have them
            key_scale: 1.0,
            value_scale: 1.0,
        }
    }

    fn other(draw: &mut Draw) -> Self {
        Self {
            queries: draw.points(3, 2.5),
            keys: draw.points(4, 2.5),
            values: draw.points(4, 2.5),
            key_network: Network::random(draw, (2, 3, 2)),
            value_network: Network::random(draw, (2, 3, 2)),
            key_scale: draw.number(0.0, 1.5),
            value_scale: draw.number(0.0, 2.0),
        }
    }
}
