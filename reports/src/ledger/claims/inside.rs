//! What a run says of the inside of its attention beside the gates: how far the added keys lie from
//! the queries, and its loss with other gates in the place of λ or μ. Both are computed again by a
//! pass in f64 that is put together of the reference's pieces, which share no code with the engine.

use super::failed;
use super::mechanism::{bins, made, of_logits, span};
use super::world::{Ran, log_sum_exp};
use anyhow::Result;
use inducer_datasets::Encoded;
use inducer_reference::attention::{
    Attended, attend, logistic_gate, output_by_concatenation, split_heads,
};
use inducer_reference::bottleneck::Bottleneck;
use inducer_reference::inducer::{lambda, own_scores};
use inducer_reference::nadaraya_watson::mixture;
use inducer_reference::parts::AttentionPart;
use inducer_reference::prefix::Prefix;
use inducer_reference::sub_layer::Projections;
use inducer_reference::variants::{Heads, Inducer, sub_layer_output};
use inducer_reference::visible::Visible;
use inducer_reference::{Adapter, Gpt2};
use inducer_verify::bounds::UNIT_ROUNDOFF_F32;
use inducer_verify::{Case, Claim, Target, Tolerance};
use ndarray::{Array1, Array2, Array3, Axis, concatenate, stack};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn claims() -> Vec<Claim> {
    let claim = |id| Claim::new(id).one_case_in(16).at_least(5);
    vec![
        claim("run-distances").on_one_sided(Target::CpuF32, distances),
        claim("run-fixed-gates").on_one_sided(Target::CpuF32, fixed_gates),
    ]
}

/// The adapter that a run kept on its backbone, by the reference.
struct Kept {
    model: Gpt2<f64>,
    adapter: Adapter<f64>,
    /// Rows of the token table, the adapter's added ones behind the backbone's.
    table: Array2<f64>,
}

/// What a row's pass shows.
struct Pass {
    logits: Array2<f64>,
    layers: Vec<Inside>,
}

/// What a part of one layer does with a row.
struct Inside {
    /// [n, d].
    output: Array2<f64>,
    /// By head and query, the ends between which an engine in f32 finds the distance to the nearest
    /// added key.
    distances: Vec<Vec<[f64; 2]>>,
}

/// Gates by layer and head.
type ByHead = Vec<Vec<f64>>;

impl Kept {
    fn of(ran: &Ran) -> Result<Self> {
        let model = Gpt2::load(&ran.world.prepared.source.backbone)?;
        let adapter = Adapter::load(&ran.dir.join("best"), &model.config)?;
        let table = concatenate(Axis(0), &[model.wte.view(), adapter.added().view()])?;
        Ok(Self {
            model,
            adapter,
            table,
        })
    }

    /// The pass of a row, with λ or μ its own or the given one at every token.
    fn pass(&self, row: &Encoded, given: Option<&ByHead>) -> Result<Pass> {
        let (model, offset) = (&self.model, self.adapter.position_offset());
        let mut x = Array2::zeros((row.ids.len(), self.table.ncols()));
        for (i, mut x) in x.rows_mut().into_iter().enumerate() {
            let segment = row.segments.as_ref().map(|segments| segments[i]);
            for id in std::iter::once(row.ids[i]).chain(segment) {
                x += &self.table.row(id as usize);
            }
            x += &model.wpe.row(offset + i);
        }
        let mut layers = Vec::new();
        for (l, block) in model.blocks.iter().enumerate() {
            let (map, given) = (&block.attention, given.map(|gates| gates[l].as_slice()));
            let before = Before::of(map, &block.ln_1.forward(&x), given);
            let inside = match &self.adapter.layer(l)?.attention {
                AttentionPart::Prefix(prefix) => before.with_prefix(map, prefix)?,
                AttentionPart::Inducer(inducer) => before.with_inducer(map, inducer)?,
                _ => anyhow::bail!("no part with a gate"),
            };
            x += &inside.output;
            let hidden = block.fc.forward(&block.ln_2.forward(&x));
            x += &block.proj.forward(&hidden.mapv(model.config.activation()));
            layers.push(inside);
        }
        Ok(Pass {
            logits: model.ln_f.forward(&x).dot(&self.table.t()),
            layers,
        })
    }

    /// p.
    fn width(&self) -> usize {
        self.model.config.n_embd / self.model.config.n_head
    }

    fn passes(&self, rows: &[Encoded]) -> Result<Vec<Pass>> {
        rows.iter().map(|row| self.pass(row, None)).collect()
    }

    /// The loss of rows in nats a token, with λ or μ their own or the given one.
    fn loss(&self, rows: &[Encoded], given: Option<&ByHead>) -> Result<f64> {
        let (mut nats, mut tokens) = (0.0, 0.0);
        for row in rows {
            let logits = self.pass(row, given)?.logits;
            for (t, label) in row.labels.iter().enumerate().skip(1) {
                if let Ok(label) = usize::try_from(*label) {
                    let z = logits.row(t - 1).to_vec();
                    nats += log_sum_exp(&z) - z[label];
                    tokens += 1.0;
                }
            }
        }
        Ok(nats / tokens)
    }
}

/// The heads of a layer before its part: queries, f and log-sum-exp of each, and the gates that are
/// given.
struct Before<'a> {
    heads: Vec<(Array2<f64>, Attended<f64>)>,
    given: Option<&'a [f64]>,
}

impl<'a> Before<'a> {
    fn of(map: &Projections<f64>, x: &Array2<f64>, given: Option<&'a [f64]>) -> Self {
        let [q, k, v] = [&map.q, &map.k, &map.v].map(|m| split_heads(&m.forward(x), map.heads));
        let visible = Visible::causal(x.nrows());
        let heads = (0..map.heads).map(|h| {
            let [q, k, v] = [&q, &k, &v].map(|x| head(x, h));
            let attended = attend(&q, &k, &v, &visible);
            (q, attended)
        });
        Self {
            heads: heads.collect(),
            given,
        }
    }

    /// The gate of a head, or the one that is given in its place.
    fn gate(&self, h: usize, own: Array1<f64>) -> Array1<f64> {
        match self.given {
            Some(heads) => own.mapv(|_| heads[h]),
            None => own,
        }
    }

    fn with_prefix(&self, map: &Projections<f64>, prefix: &Prefix<f64>) -> Result<Inside> {
        let (mut f, mut distances) = (Vec::new(), Vec::new());
        for (h, (q, own)) in self.heads.iter().enumerate() {
            let [keys, values] = [&prefix.key, &prefix.value].map(|x| head(x, h));
            let every = Visible::all(q.nrows(), keys.nrows());
            let added = attend(q, &keys, &values, &every);
            let scores: Array1<f64> = added.lse.iter().flatten().copied().collect();
            let mu = self.gate(h, logistic_gate(&scores, &own.lse));
            f.push(mixture(&own.f, &mu, &added.f));
            let each = q.rows().into_iter().map(|q| {
                let q = q.to_vec();
                let to = keys.rows().into_iter().map(|k| to_key(&q, &k.to_vec()));
                // the least of some numbers lies between the least lower and the least upper end
                to.fold([f64::INFINITY; 2], |a, b| [a[0].min(b[0]), a[1].min(b[1])])
            });
            distances.push(each.collect());
        }
        Ok(Inside {
            output: output_by_concatenation(&stacked(&f)?, &map.o),
            distances,
        })
    }

    fn with_inducer(&self, map: &Projections<f64>, inducer: &Inducer<f64>) -> Result<Inside> {
        let (mut gates, mut values, mut distances) = (Vec::new(), Vec::new(), Vec::new());
        for (h, (q, own)) in self.heads.iter().enumerate() {
            let keys = inducer.key(h, q);
            gates.push(self.gate(h, lambda(&own_scores(q, &keys), &own.lse)));
            values.push(inducer.mlp_v[h].forward(q));
            let each = q.rows().into_iter().zip(keys.rows()).map(|(q, key)| {
                let moved = norm((&key - &q).iter());
                let mlp = inducer.mlp_k.get(h);
                let error = mlp.map_or(0.0, |mlp| of_network(mlp, norm(q.iter())));
                [moved - error, moved + error]
            });
            distances.push(each.collect());
        }
        let f: Vec<_> = self.heads.iter().map(|(_, own)| own.f.clone()).collect();
        let heads = Heads {
            f: stacked(&f)?,
            lambda: columns(&gates)?,
            mlp_v: stacked(&values)?,
        };
        Ok(Inside {
            output: sub_layer_output(inducer.variant, &heads, &map.o, &inducer.b_2),
            distances,
        })
    }
}

fn head(x: &Array3<f64>, h: usize) -> Array2<f64> {
    x.index_axis(Axis(0), h).to_owned()
}

fn stacked(heads: &[Array2<f64>]) -> Result<Array3<f64>> {
    let views: Vec<_> = heads.iter().map(|head| head.view()).collect();
    Ok(stack(Axis(0), &views)?)
}

fn columns(heads: &[Array1<f64>]) -> Result<Array2<f64>> {
    let views: Vec<_> = heads.iter().map(|head| head.view()).collect();
    Ok(stack(Axis(1), &views)?)
}

fn norm<'a>(x: impl IntoIterator<Item = &'a f64>) -> f64 {
    x.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// How far a query in f32 may lie from the one in f64: as the gates' scores, within 128 u of
/// itself.
fn of_query(q: f64) -> f64 {
    128.0 * UNIT_ROUNDOFF_F32 * q
}

/// The ends of the distance d from a query to a key. Its square is ‖q‖² + ‖k‖² − 2⟨q, k⟩, products
/// of p terms, and so off by e = (p + 4) u (‖q‖ + ‖k‖)² at most; the root of what lies within e of
/// d² is within √e and within e/d of d.
fn to_key(q: &[f64], k: &[f64]) -> [f64; 2] {
    let apart: Vec<f64> = q.iter().zip(k).map(|(q, k)| q - k).collect();
    let (d, both) = (norm(&apart), norm(q) + norm(k));
    let e = (q.len() + 4) as f64 * UNIT_ROUNDOFF_F32 * both.powi(2);
    let error = of_query(norm(q)) + e.sqrt().min(e / d);
    [d - error, d + error]
}

/// How far the length of C tanh(A q + a) + c in f32 lies from that in f64. By the norms of A and C
/// it moves at most ‖A‖‖C‖ times as far as the query; and of products of p and r terms, the
/// arguments are (p + 2) u (‖A‖‖q‖ + ‖a‖) off and the sums (r + 2) u (‖C‖ √r + ‖c‖), for no tanh is
/// above 1.
fn of_network(mlp: &Bottleneck<f64>, q: f64) -> f64 {
    let [a, c] = [&mlp.down, &mlp.up].map(|w| norm(w.iter()));
    let bias = mlp.up_bias.as_ref().map_or(0.0, |c| norm(c.iter()));
    let (p, r) = (mlp.down.nrows() as f64, mlp.down.ncols() as f64);
    let arguments = (p + 2.0) * (a * q + norm(mlp.down_bias.iter()));
    let sums = (r + 2.0) * (c * r.sqrt() + bias);
    a * c * of_query(q) + UNIT_ROUNDOFF_F32 * (c * arguments + sums)
}

/// The distances' quantile that stands at a place of the result, the nearest of the sorted ones. An
/// order statistic rises with each of its numbers: it lies between those of all lower ends and of
/// all upper ones.
fn quantile(case: &mut Case, ran: &Ran, place: &str, ends: &[[f64; 2]], q: f64) {
    let [low, high] = [0, 1].map(|i| {
        let mut ends: Vec<f64> = ends.iter().map(|ends| ends[i]).collect();
        ends.sort_by(f64::total_cmp);
        ends[((ends.len() - 1) as f64 * q).round() as usize]
    });
    let middle = (low + high) / 2.0;
    let bound = (high - low) / 2.0 + 8.0 * UNIT_ROUNDOFF_F32 * middle;
    let why = "half way from the quantile of the lower ends to that of the upper ones, which 128 u \
               of each query and the lengths of the products give; 8 u of itself: root and unit";
    case.close(
        ran.number(place),
        middle,
        &Tolerance::stated(bound, why),
        || format!("{}: {place}", ran.name()),
    );
}

/// The quantiles of the distances from queries to the nearest added key, by layer, and their
/// medians by span of positions and by length, are those of the kept adapter; a method without such
/// keys has none. In the control distances are not divided by the bandwidth p^{1/4}.
fn distances(case: &mut Case) -> inducer_verify::Result<()> {
    let ran = made(case)?;
    let rows = ran.first_rows().map_err(failed)?;
    let bins = bins(&rows);
    if ran.config.adapter.attention.is_none() {
        case.same(ran.length("/gates") + ran.length("/by_position"), 0, || {
            format!("{}: distances", ran.name())
        });
        for i in 0..bins.len() {
            let place = format!("/by_length/{i}/distance");
            case.same(ran.result.pointer(&place), Some(&Value::Null), || {
                format!("{}: {place}", ran.name())
            });
        }
        return Ok(());
    }
    let kept = Kept::of(&ran).map_err(failed)?;
    let unit = case.or_control((kept.width() as f64).powf(0.25), 1.0);
    let mut passes = kept.passes(&rows).map_err(failed)?;
    let layers = passes.iter_mut().flat_map(|pass| &mut pass.layers);
    for distance in layers.flat_map(|inside| inside.distances.iter_mut().flatten()) {
        *distance = distance.map(|end| end / unit);
    }
    let of_layer = |pass: &Pass, l: usize| pass.layers[l].distances.concat();
    for layer in 0..passes[0].layers.len() {
        let ends: Vec<_> = passes
            .iter()
            .flat_map(|pass| of_layer(pass, layer))
            .collect();
        for (i, q) in [0.05, 0.25, 0.5, 0.75, 0.95].into_iter().enumerate() {
            let place = format!("/gates/{layer}/distance/{i}");
            quantile(case, &ran, &place, &ends, q);
        }
    }
    let mut spans = BTreeMap::<[usize; 2], Vec<[f64; 2]>>::new();
    let layers = passes.iter().flat_map(|pass| &pass.layers);
    for head in layers.flat_map(|inside| &inside.distances) {
        for (at, ends) in head.iter().enumerate() {
            spans.entry(span(at)).or_default().push(*ends);
        }
    }
    for (i, ends) in spans.values().enumerate() {
        quantile(case, &ran, &format!("/by_position/{i}/distance"), ends, 0.5);
    }
    for (i, here) in bins.iter().enumerate() {
        let layers = here.iter().flat_map(|r| &passes[*r].layers);
        let ends: Vec<_> = layers
            .flat_map(|inside| inside.distances.concat())
            .collect();
        quantile(case, &ran, &format!("/by_length/{i}/distance"), &ends, 0.5);
    }
    Ok(())
}

/// The losses of the scored inputs' first references with λ or μ its own, with 1, and with the mean
/// of each head at every token, as the run says it: `run-gates` holds that to the adapter. In the
/// control the layers' means change places.
fn fixed_gates(case: &mut Case) -> inducer_verify::Result<()> {
    let ran = made(case)?;
    if ran.config.adapter.attention.is_none() {
        case.same(ran.result.get("fixed_gates").is_some(), false, || {
            format!("{}: losses with other gates", ran.name())
        });
        return Ok(());
    }
    let rows = ran.first_rows().map_err(failed)?;
    let kept = Kept::of(&ran).map_err(failed)?;
    let layers = kept.model.blocks.iter().enumerate();
    let mut means: ByHead = layers
        .map(|(l, block)| {
            let heads = 0..block.attention.heads;
            heads
                .map(|h| ran.number(&format!("/gates/{l}/heads/{h}")))
                .collect()
        })
        .collect();
    if case.control {
        means.reverse();
    }
    let ones = means.iter().map(|heads| vec![1.0; heads.len()]).collect();
    for (field, given) in [
        ("own", None),
        ("head_mean", Some(&means)),
        ("one", Some(&ones)),
    ] {
        let place = format!("/fixed_gates/{field}");
        let expected = kept.loss(&rows, given).map_err(failed)?;
        case.close(ran.number(&place), expected, &of_logits(), || {
            format!("{}: {place}", ran.name())
        });
    }
    Ok(())
}
