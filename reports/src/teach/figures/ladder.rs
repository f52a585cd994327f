//! Figure 7: the ablations of §6.2 on one head with p = 1 in a model with d = 2, so that the
//! extension can be seen.
//!
//! What the head gives reaches the plane through W^{o(h)}, a single row: f W^o lies on a line.
//! MLP_v of Extension, Gating and Inducer leaves that line; Adaptive's is the part of the same
//! update that lies on it (U = W_2 W^oᵀ/‖W^o‖²).

use super::Figure;
use crate::teach::draw::Draw;
use crate::teach::network::Network;
use crate::teach::quantity::{Formula, Quantity, real, rows, vector};
use inducer_reference::Real;
use inducer_reference::attention::{Attended, Linear, attend};
use inducer_reference::bottleneck::Bottleneck;
use inducer_reference::inducer::{key, lambda, own_scores};
use inducer_reference::lora::Lora;
use inducer_reference::prefix::gated;
use inducer_reference::variants::{Heads, Variant, sub_layer_output};
use inducer_reference::visible::Visible;
use ndarray::{Array1, Array2, Axis};
use serde::Serialize;

/// One head, every method's tensors, and the sliders.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ladder {
    x: [f64; 2],
    query_weight: Vec<[f64; 1]>,
    query_bias: [f64; 1],
    keys: Vec<[f64; 1]>,
    values: Vec<[f64; 1]>,
    output_weight: Vec<[f64; 2]>,
    output_bias: [f64; 2],
    prefix_keys: Vec<[f64; 1]>,
    prefix_values: Vec<[f64; 1]>,
    key_network: Network,
    value_network: Network,
    shared_bias: [f64; 2],
    lora_a: Vec<[f64; 2]>,
    lora_b: Vec<[f64; 1]>,
    lora_bias: [f64; 1],
    key_scale: f64,
    value_scale: f64,
    lora_scale: f64,
}

/// A method's query, gate and output.
struct Outcome<T> {
    key: Array2<T>,
    lambda: Array1<T>,
    output: Array2<T>,
}

impl Ladder {
    fn output<T: Real>(&self) -> Linear<T> {
        Linear {
            weight: rows(&self.output_weight),
            bias: vector(&self.output_bias),
        }
    }

    fn projection<T: Real>(&self) -> Linear<T> {
        Linear {
            weight: rows(&self.query_weight),
            bias: vector(&self.query_bias),
        }
    }

    fn attended<T: Real>(&self, q: &Array2<T>) -> Attended<T> {
        let visible = Visible::all(1, self.keys.len());
        attend(q, &rows(&self.keys), &rows(&self.values), &visible)
    }

    /// MLP_v of a variant, its bias b_2 apart: W_2 into R^d, or U = W_2 W^oᵀ/‖W^o‖² into R^p for
    /// Adaptive.
    fn value_network<T: Real>(&self, variant: Variant) -> Bottleneck<T> {
        let mut network = self.value_network.scaled(real::<T>(self.value_scale));
        network.up_bias = None;
        if variant == Variant::Adaptive {
            let w_o: Array2<T> = rows(&self.output_weight);
            let square = w_o.row(0).dot(&w_o.row(0));
            network.up = network.up.dot(&w_o.t()).mapv(|x| x / square);
        }
        network
    }

    fn variant<T: Real>(&self, variant: Variant, q: &Array2<T>) -> Outcome<T> {
        let attended = self.attended(q);
        let p_k = if variant.has_key_network() {
            let mlp_k = self.key_network.scaled(real(self.key_scale));
            key(q, &mlp_k.forward(q))
        } else {
            q.clone()
        };
        let lambda = lambda(&own_scores(q, &p_k), &attended.lse);
        let heads = Heads {
            f: attended.f.insert_axis(Axis(0)),
            lambda: lambda.clone().insert_axis(Axis(1)),
            mlp_v: self.value_network(variant).forward(q).insert_axis(Axis(0)),
        };
        let b_2 = vector(&self.shared_bias) * real::<T>(self.value_scale);
        Outcome {
            key: p_k,
            lambda,
            output: sub_layer_output(variant, &heads, &self.output(), &b_2),
        }
    }

    fn prefix<T: Real>(&self, q: &Array2<T>) -> (Array2<T>, Array1<T>) {
        let (p_k, p_v) = (rows(&self.prefix_keys), rows(&self.prefix_values));
        let (f, mu) = gated(q, &self.attended(q), &p_k, &p_v);
        (self.output().forward(&f), mu)
    }
}

impl Formula for Ladder {
    fn quantities<T: Real>(&self) -> Vec<Quantity<T>> {
        let x = rows::<T, 2>(&[self.x]);
        let q = self.projection().forward(&x);
        let lora = Lora {
            a: rows(&self.lora_a),
            b: rows(&self.lora_b),
            bias: Some(vector(&self.lora_bias)),
            scale: real(self.lora_scale),
        };
        let moved = &q + &lora.delta(&x);
        let (prefix, mu) = self.prefix(&q);
        let frozen = self.output().forward(&self.attended(&q).f);
        let [adaptive, extension, gating, inducer] = Variant::ALL.map(|v| self.variant(v, &q));
        let with_lora = self.variant(Variant::Inducer, &moved);
        vec![
            Quantity::new("query", q),
            Quantity::new("loraQuery", moved),
            Quantity::new("frozen", frozen),
            Quantity::new("prefix", prefix),
            Quantity::new("prefixMu", mu),
            Quantity::new("adaptive", adaptive.output),
            Quantity::new("adaptiveLambda", adaptive.lambda),
            Quantity::new("extension", extension.output),
            Quantity::new("gating", gating.output),
            Quantity::new("inducer", inducer.output),
            Quantity::new("inducerKey", inducer.key),
            Quantity::new("inducerLambda", inducer.lambda),
            Quantity::new("lora", with_lora.output),
            Quantity::new("loraKey", with_lora.key),
            Quantity::new("loraLambda", with_lora.lambda),
        ]
    }
}

impl Figure for Ladder {
    const NAME: &'static str = "ladder";

    fn start() -> Self {
        Self {
            x: [0.9, 0.4],
            query_weight: vec![[0.8], [0.5]],
            query_bias: [0.1],
            keys: vec![[1.6], [0.4], [-0.9], [-1.8]],
            values: vec![[1.9], [1.2], [-0.6], [-1.5]],
            output_weight: vec![[1.1, 0.45]],
            output_bias: [0.0, 0.0],
            prefix_keys: vec![[1.1], [2.2]],
            prefix_values: vec![[-1.4], [-2.0]],
            key_network: Network {
                down: vec![vec![0.8, -0.6]],
                down_bias: vec![0.2, 0.3],
                up: vec![vec![0.9], vec![-0.7]],
                up_bias: vec![0.1],
            },
            value_network: Network {
                down: vec![vec![1.1, -0.9]],
                down_bias: vec![-0.2, 0.3],
                up: vec![vec![-0.5, 1.1], vec![0.6, -0.5]],
                up_bias: vec![0.0, 0.0],
            },
            shared_bias: [0.0, 0.15],
            lora_a: vec![[0.6, -0.4]],
            lora_b: vec![[0.9]],
            lora_bias: [0.3],
            key_scale: 1.0,
            value_scale: 1.0,
            lora_scale: 1.0,
        }
    }

    fn other(draw: &mut Draw) -> Self {
        Self {
            x: draw.point(1.5),
            query_weight: draw.points(2, 1.0),
            query_bias: draw.point(0.5),
            keys: draw.points(4, 2.5),
            values: draw.points(4, 2.5),
            output_weight: draw.points(1, 1.5),
            output_bias: draw.point(0.5),
            prefix_keys: draw.points(2, 2.5),
            prefix_values: draw.points(2, 2.5),
            key_network: Network::random(draw, (1, 2, 1)),
            value_network: Network::random(draw, (1, 2, 2)),
            shared_bias: draw.point(0.3),
            lora_a: draw.points(1, 1.0),
            lora_b: draw.points(1, 1.0),
            lora_bias: draw.point(0.5),
            key_scale: draw.number(0.0, 1.5),
            value_scale: draw.number(0.0, 2.0),
            lora_scale: draw.number(0.0, 2.0),
        }
    }
}
