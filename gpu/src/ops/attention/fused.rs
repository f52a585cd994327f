//! Attention over slices: a block of queries at a time, the rows and heads divided among threads.

use super::{Heads, Rows, Visible, both};
use crate::error::Result;
use crate::kernels::elem::{Elem, dot, max, simd, sum};
use crate::kernels::gemm::{Mat, MatMut, Shared};
use crate::kernels::threads::for_tasks;
use crate::kernels::{dispatch, tensor, with_slices, with_some_slices};
use crate::ops::driver::hand_back;
use crate::ops::dropout::Dropout;
use crate::tape::{Tape, Value};
use candle_core::Tensor;
use num_traits::Zero as _;

/// Queries scored at a time.
const BLOCK: usize = 64;

/// Attention of every row's queries to its keys, all in one [q | k | v].
pub(super) fn within_rows(
    tape: &Tape,
    qkv: &Value,
    rows: Rows<'_>,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let Heads { count, width } = rows.heads;
    let columns = |role: usize| VectorLayout {
        offset: role * count * width,
        head: width,
        row: 3 * count * width,
    };
    let job = Job {
        heads: rows.heads,
        visible: rows.visible,
        drop,
        layouts: [0, 1, 2].map(columns),
        query_gradient: columns(0),
        ranges: rows.offsets.windows(2).map(|w| [(w[0], w[1]); 2]).collect(),
    };
    job.run(tape, [qkv])
}

/// Attention of all queries of [q | k | v] to the same keys, [H, l, p].
pub(super) fn to_prefix(
    tape: &Tape,
    inputs: [&Value; 3],
    heads: Heads,
    drop: Dropout,
) -> Result<(Value, Value)> {
    let l = inputs[1].tensor.dim(1)?;
    let (tokens, total) = inputs[0].tensor.dims2()?;
    let layout = |head: usize, row: usize| VectorLayout {
        offset: 0,
        head,
        row,
    };
    let (width, prefix) = (heads.width, layout(l * heads.width, heads.width));
    let job = Job {
        heads,
        visible: Visible::All,
        drop,
        layouts: [layout(width, total), prefix, prefix],
        query_gradient: layout(width, heads.hidden()),
        ranges: vec![[(0, tokens), (0, l)]],
    };
    job.run(tape, inputs)
}

/// Queries, keys and values are in three tensors or in one.
fn roles<X: Copy, const N: usize>(given: [X; N]) -> [X; 3] {
    std::array::from_fn(|role| given[role.min(N - 1)])
}

/// Where the vectors of one role lie: vector i of head h starts at `offset + h * head + i * row`.
#[derive(Clone, Copy)]
struct VectorLayout {
    offset: usize,
    head: usize,
    row: usize,
}

impl VectorLayout {
    fn at(self, h: usize, i: usize) -> usize {
        self.offset + h * self.head + i * self.row
    }

    /// The vectors of head h from the i-th on.
    fn mat<T>(self, data: &[T], shape: [usize; 2], h: usize, i: usize) -> Mat<'_, T> {
        Mat::strided(data, shape, self.at(h, i), self.row)
    }

    fn mat_mut<T>(self, data: Shared<'_, T>, h: usize, i: usize) -> MatMut<'_, T> {
        MatMut::strided(data, self.at(h, i), self.row)
    }
}

/// The queries and the keys of one row, first and end.
type Range = [(usize, usize); 2];

/// One attention of a batch.
struct Job {
    heads: Heads,
    visible: Visible,
    drop: Dropout,
    /// Of queries, keys and values.
    layouts: [VectorLayout; 3],
    /// Of the queries' gradient; those of keys and values lie as they do.
    query_gradient: VectorLayout,
    ranges: Vec<Range>,
}

/// Queries of one row and head that are scored at once.
#[derive(Clone, Copy)]
struct Block {
    h: usize,
    /// The first query, counted in its row, and among all tokens.
    from: usize,
    token: usize,
    queries: usize,
    /// The row's first key; how many keys it has, and how many of them the block's last query sees.
    key: usize,
    keys: usize,
    width: usize,
}

impl Job {
    fn run<const N: usize>(self, tape: &Tape, inputs: [&Value; N]) -> Result<(Value, Value)> {
        let (tokens, d) = (inputs[0].tensor.dim(0)?, self.heads.hidden());
        let saved = inputs.map(|v| v.tensor.clone());
        let slots_of = inputs.map(Value::slot);
        let (o, lse) = dispatch!(saved[0], T => {
            with_slices::<T, _, N>(saved.each_ref(), |data| self.forward(roles(data), tokens))
        })??;
        let results = [o.clone(), lse.clone()];
        let values = tape.push_many(vec![o, lse], &inputs, move |grads, slots| {
            dispatch!(saved[0], T => {
                let gradients = with_slices::<T, _, N>(saved.each_ref(), |data| {
                    let mut lengths = data.map(<[T]>::len);
                    if N == 3 {
                        lengths[0] = tokens * d;
                    }
                    let mut gradients = lengths.map(|length| vec![T::zero(); length]);
                    let shared = gradients.each_mut().map(|g| Shared::new(g));
                    self.backward(roles(data), roles(shared), &results, grads)?;
                    Result::Ok(gradients)
                })??;
                for ((g, slot), t) in gradients.into_iter().zip(slots_of).zip(&saved) {
                    hand_back(g, slot, t.shape(), slots)?;
                }
                Ok(())
            })
        });
        Ok(both(values))
    }

    /// How many of `m` keys query i of a row sees.
    #[inline(always)]
    fn sees(&self, i: usize, m: usize) -> usize {
        match self.visible {
            Visible::Causal => i + 1,
            Visible::All => m,
        }
    }

    /// `f(state, block)` for every block of queries; rows and heads are divided among threads, each
    /// with a state of its own.
    fn for_blocks<S: Default>(&self, f: impl Fn(&mut S, Block) + Sync + Send) {
        let count = self.heads.count;
        for_tasks(self.ranges.len() * count, S::default, |state, task| {
            let ([q, k], h) = (self.ranges[task / count], task % count);
            let (n, m) = (q.1 - q.0, k.1 - k.0);
            for from in (0..n).step_by(BLOCK) {
                let queries = BLOCK.min(n - from);
                let block = Block {
                    h,
                    from,
                    token: q.0 + from,
                    queries,
                    key: k.0,
                    keys: m,
                    width: self.sees(from + queries - 1, m),
                };
                f(state, block);
            }
        });
    }

    fn queries<'a, T>(&self, data: [&'a [T]; 3], b: Block) -> Mat<'a, T> {
        self.layouts[0].mat(data[0], [b.queries, self.heads.width], b.h, b.token)
    }

    /// The keys (role 1) or values (role 2) that the block sees.
    fn seen<'a, T>(&self, data: [&'a [T]; 3], role: usize, b: Block) -> Mat<'a, T> {
        self.layouts[role].mat(data[role], [b.width, self.heads.width], b.h, b.key)
    }

    /// ⟨q_i, k_j⟩/√p of a block.
    fn score<T: Elem>(&self, s: &mut [T], data: [&[T]; 3], b: Block) {
        let product = self.queries(data, b).times(self.seen(data, 1, b).t());
        let product = product.scaled(T::of(self.heads.scale()));
        product.write(MatMut::new(s, b.width));
    }

    /// Dropout of the weights of one query.
    #[inline(always)]
    fn drop_some<T: Elem>(&self, weights: &mut [T], token: usize, h: usize) {
        if !self.drop.is_off() {
            let keep = self.drop.row::<T>((token * self.heads.count + h) as u64);
            for (j, w) in weights.iter_mut().enumerate() {
                *w *= keep.factor(j as u32);
            }
        }
    }

    fn forward<T: Elem>(&self, data: [&[T]; 3], tokens: usize) -> Result<(Tensor, Tensor)> {
        let (d, count, p) = (self.heads.hidden(), self.heads.count, self.heads.width);
        let (mut o, mut lse) = (vec![T::zero(); tokens * d], vec![T::zero(); tokens * count]);
        let (out, lse_out) = (Shared::new(&mut o), Shared::new(&mut lse));
        self.for_blocks(|scores: &mut Vec<T>, b| {
            scores.resize(BLOCK * b.keys, T::zero());
            let s = &mut scores[..b.queries * b.width];
            self.score(s, data, b);
            simd(
                #[inline(always)]
                || {
                    for (i, row) in s.chunks_exact_mut(b.width).enumerate() {
                        let token = b.token + i;
                        let (seen, hidden) = row.split_at_mut(self.sees(b.from + i, b.keys));
                        let log = softmax(seen);
                        hidden.fill(T::zero());
                        lse_out.part(token * count + b.h, 1)[0] = log;
                        self.drop_some(seen, token, b.h);
                    }
                },
            );
            let weights = Mat::new(s, [b.queries, b.width]);
            let product = weights.times(self.seen(data, 2, b));
            product.write(MatMut::strided(out, b.token * d + b.h * p, d));
        });
        Ok((tensor(o, (tokens, d))?, tensor(lse, (tokens, count))?))
    }

    /// Writes the gradients of queries, keys and values, from those of output and log-sum-exp.
    fn backward<T: Elem>(
        &self,
        data: [&[T]; 3],
        grad: [Shared<'_, T>; 3],
        results: &[Tensor; 2],
        given: &mut [Option<Tensor>],
    ) -> Result<()> {
        let (of_output, of_lse) = (given[0].take(), given[1].take());
        let [o, lse] = results.each_ref().map(Some);
        let tensors = [o, lse, of_output.as_ref(), of_lse.as_ref()];
        with_some_slices(tensors, |[o, lse, go, glse]| {
            let zeros;
            let go = if of_output.is_some() {
                go
            } else {
                zeros = vec![T::zero(); o.len()];
                &zeros
            };
            let known = Known { o, lse, go, glse };
            self.for_blocks(|(weights, slopes): &mut (Vec<T>, Vec<T>), b| {
                weights.resize(BLOCK * b.keys, T::zero());
                slopes.resize(BLOCK * b.keys, T::zero());
                let size = b.queries * b.width;
                self.backward_block(
                    &mut weights[..size],
                    &mut slopes[..size],
                    data,
                    grad,
                    &known,
                    b,
                );
            });
        })
    }

    /// The block's scores become P in `s`, and dS in `ds`, whose products are the gradients.
    fn backward_block<T: Elem>(
        &self,
        s: &mut [T],
        ds: &mut [T],
        data: [&[T]; 3],
        [gq, gk, gv]: [Shared<'_, T>; 3],
        known: &Known<'_, T>,
        b: Block,
    ) {
        let (d, p) = (self.heads.hidden(), self.heads.width);
        self.score(s, data, b);
        let dout = Mat::strided(known.go, [b.queries, p], b.token * d + b.h * p, d);
        let product = dout.times(self.seen(data, 2, b).t());
        product.write(MatMut::new(ds, b.width));
        self.slopes(s, ds, known, b);
        let scale = T::of(self.heads.scale());
        let [_, k, v] = self.layouts;
        let shape = [b.queries, b.width];
        let (s, ds) = (Mat::new(s, shape), Mat::new(ds, shape));
        let dq = ds.times(self.seen(data, 1, b)).scaled(scale);
        dq.write(self.query_gradient.mat_mut(gq, b.h, b.token));
        let dk = ds.t().times(self.queries(data, b)).scaled(scale);
        dk.add_to(k.mat_mut(gk, b.h, b.key));
        s.t().times(dout).add_to(v.mat_mut(gv, b.h, b.key));
    }

    /// `P = exp(s − LSE)` and `dS = P ∘ (mask ∘ dO Vᵀ − D + dLSE)`; then P with dropout.
    fn slopes<T: Elem>(&self, s: &mut [T], ds: &mut [T], known: &Known<'_, T>, b: Block) {
        let (d, count, p) = (self.heads.hidden(), self.heads.count, self.heads.width);
        let (h, width) = (b.h, b.width);
        simd(
            #[inline(always)]
            || {
                for i in 0..b.queries {
                    let token = b.token + i;
                    let sees = self.sees(b.from + i, b.keys);
                    let log = known.lse[token * count + h];
                    let (w, g) = (
                        &mut s[i * width..(i + 1) * width],
                        &mut ds[i * width..(i + 1) * width],
                    );
                    self.drop_some(&mut g[..sees], token, h);
                    let at = token * d + h * p;
                    let of_lse = known.glse.get(token * count + h);
                    let shift = dot(&known.go[at..at + p], &known.o[at..at + p])
                        - of_lse.copied().unwrap_or(T::zero());
                    for j in 0..sees {
                        w[j] = (w[j] - log).fexp();
                        g[j] = w[j] * (g[j] - shift);
                    }
                    w[sees..].fill(T::zero());
                    g[sees..].fill(T::zero());
                    self.drop_some(&mut w[..sees], token, h);
                }
            },
        );
    }
}

/// What the backward pass knows: the results, and their gradients; none of the log-sum-exp where
/// nothing depends on it.
struct Known<'a, T> {
    o: &'a [T],
    lse: &'a [T],
    go: &'a [T],
    glse: &'a [T],
}

/// Turns scores into weights that sum to one; returns their log-sum-exp.
#[inline(always)]
pub(super) fn softmax<T: Elem>(scores: &mut [T]) -> T {
    let top = max(scores);
    for s in scores.iter_mut() {
        *s = (*s - top).fexp();
    }
    let total = sum(scores);
    let inverse = T::one() / total;
    for s in scores.iter_mut() {
        *s *= inverse;
    }
    top + total.ln()
}
