//! Attention by the kernels of a card, emulated: tiles, their edges, and the cache.

use super::DROP;
use crate::kernels::cuda::emulated;
use crate::ops::attention::{CardCache, Heads, Rows, Visible, attention, attention_to};
use crate::ops::dropout::Dropout;
use crate::ops::testing::{distance, evaluate, parameters};
use crate::tape::{Parameter, Tape, Value};
use candle_core::{DType, Tensor};

/// f32: scores of p ≤ 128 terms and sums over m ≤ 600 keys, each with an error of at most its
/// number of terms times 2⁻²⁴, of numbers whose greatest is divided by: 128 + 600 terms and twice
/// as many in the backward pass.
const BOUND: f64 = 3.0 * 728.0 / 16_777_216.0;

/// bf16, whose sums are in f32: a result is rounded, and before it the weights or scores' gradients
/// that its product takes; those come from results that were rounded themselves, and a gradient is
/// the difference of two of them. Six roundings of 2⁻⁸ of the greatest.
const BOUND_BF16: f64 = 6.0 / 256.0;

fn bound(dtype: DType) -> f64 {
    match dtype {
        DType::BF16 => BOUND_BF16,
        _ => BOUND,
    }
}

const TYPES: [DType; 2] = [DType::F32, DType::BF16];

/// Results and gradients of attention within rows of these lengths: emulated in f32 or bf16, and by
/// the CPU's kernels in f64 on the same numbers.
fn both(
    dtype: DType,
    lengths: &[usize],
    heads: Heads,
    visible: Visible,
    drop: Dropout,
) -> [f64; 2] {
    let mut offsets = vec![0];
    offsets.extend(lengths.iter().scan(0, |sum, n| {
        *sum += n;
        Some(*sum)
    }));
    let tokens = offsets[lengths.len()];
    let rows = Rows {
        heads,
        offsets: &offsets,
        visible,
    };
    let run = |t: &Tape, v: &[Value]| attention(t, &v[0], rows, drop).map(|(o, l)| vec![o, l]);
    let single = parameters(tokens as u64, &[&[tokens, 3 * heads.hidden()]], dtype);
    let double = in_f64(&single);
    let (results, gradients) = emulated(|| evaluate(&single, run));
    let (expected, known) = evaluate(&double, run);
    let of_results = results.iter().zip(&expected).map(|(a, b)| distance(a, b));
    let of_gradient = distance(&gradients["x0"], &known["x0"]);
    [of_results.fold(0.0, f64::max), of_gradient]
}

fn in_f64(params: &[Parameter]) -> Vec<Parameter> {
    let double = |p: &Parameter| {
        Parameter::new(&p.name, p.tensor.to_dtype(DType::F64).unwrap(), p.trainable)
    };
    params.iter().map(double).collect()
}

fn heads(count: usize, width: usize) -> Heads {
    Heads { count, width }
}

#[test]
fn rows_at_the_edges_of_tiles_agree_with_the_cpu() {
    let edges: [&[usize]; 4] = [&[1], &[31, 33], &[63, 64, 65], &[1, 128, 1]];
    for dtype in TYPES {
        for lengths in edges {
            for visible in [Visible::Causal, Visible::All] {
                let found = both(dtype, lengths, heads(2, 5), visible, DROP);
                assert!(
                    found.iter().all(|e| *e <= bound(dtype)),
                    "{dtype:?} {lengths:?} {visible:?}: {found:?}"
                );
            }
        }
    }
}

/// One head and 33 of them, and a width at each edge of the kernels' sizes (16, 32, 64, 128).
const WIDTHS: [(usize, usize); 9] = [
    (33, 1),
    (1, 16),
    (2, 17),
    (2, 32),
    (1, 33),
    (2, 64),
    (1, 65),
    (2, 72),
    (1, 128),
];

#[test]
fn heads_of_every_width_agree_with_the_cpu_in_both_types() {
    for dtype in TYPES {
        for (count, width) in WIDTHS {
            for drop in [Dropout::OFF, DROP] {
                let heads = heads(count, width);
                let found = both(dtype, &[70, 1, 3], heads, Visible::Causal, drop);
                assert!(
                    found.iter().all(|e| *e <= bound(dtype)),
                    "{dtype:?} {count} × {width}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn many_heads_of_a_usual_width_agree_with_the_cpu() {
    for dtype in TYPES {
        let found = both(dtype, &[33, 2], heads(33, 24), Visible::All, DROP);
        assert!(
            found.iter().all(|e| *e <= bound(dtype)),
            "{dtype:?}: {found:?}"
        );
    }
}

#[test]
fn a_row_of_513_tokens_agrees_with_the_cpu() {
    for (dtype, visible) in TYPES.into_iter().zip([Visible::Causal, Visible::All]) {
        let found = both(dtype, &[513], heads(1, 8), visible, DROP);
        assert!(
            found.iter().all(|e| *e <= bound(dtype)),
            "{dtype:?}: {found:?}"
        );
    }
}

#[test]
fn another_mask_or_another_row_boundary_is_seen() {
    let heads = heads(2, 5);
    let x = parameters(3, &[&[70, 30]], DType::F32);
    let run = |offsets: &'static [usize], drop: Dropout| {
        emulated(|| {
            evaluate(&x, move |t, v| {
                let visible = Visible::Causal;
                let rows = Rows {
                    heads,
                    offsets,
                    visible,
                };
                attention(t, &v[0], rows, drop).map(|(o, l)| vec![o, l])
            })
        })
    };
    let (results, gradients) = run(&[0, 70], DROP);
    for (other, of) in [run(&[0, 69, 70], DROP), run(&[0, 70], DROP.at(1))] {
        assert!(distance(&results[0], &other[0]) > 100.0 * BOUND);
        assert!(distance(&gradients["x0"], &of["x0"]) > 100.0 * BOUND);
    }
}

/// Attention to a prefix of m keys from so many queries, with all three gradients.
fn to_a_prefix(dtype: DType, queries: usize, keys: usize, heads: Heads) {
    let (count, width) = (heads.count, heads.width);
    let prefix = [count, keys, width];
    let shapes: [&[usize]; 3] = [&[queries, 3 * heads.hidden()], &prefix, &prefix];
    let run = |t: &Tape, v: &[Value]| {
        attention_to(t, &v[0], &v[1], &v[2], heads, DROP).map(|(o, l)| vec![o, l])
    };
    let single = parameters(1, &shapes, dtype);
    let (results, gradients) = emulated(|| evaluate(&single, run));
    let (expected, known) = evaluate(&in_f64(&single), run);
    let what = format!("{dtype:?}, {queries} queries, {keys} keys, {count} × {width}");
    for (a, b) in results.iter().zip(&expected) {
        let error = distance(a, b);
        assert!(error <= bound(dtype), "{what}: {error:e}");
    }
    for name in ["x0", "x1", "x2"] {
        let error = distance(&gradients[name], &known[name]);
        assert!(error <= bound(dtype), "{name}, {what}: {error:e}");
    }
}

#[test]
fn queries_beyond_a_chunk_attend_to_a_prefix_of_more_keys_than_a_tile() {
    for dtype in TYPES {
        to_a_prefix(dtype, 520, 70, heads(2, 6));
    }
}

#[test]
fn a_prefix_for_heads_of_every_width_agrees_with_the_cpu_in_both_types() {
    for dtype in TYPES {
        for (count, width) in WIDTHS {
            to_a_prefix(dtype, 67, 5, heads(count, width));
        }
        to_a_prefix(dtype, 1, 1, heads(2, 5));
    }
}

#[test]
fn a_cache_that_grows_and_loses_rows_is_recomputation() {
    for dtype in TYPES {
        let x = parameters(7, &[&[150, 30]], dtype).remove(0).tensor;
        grows_and_loses_rows(&x, bound(dtype));
    }
}

fn grows_and_loses_rows(x: &Tensor, bound: f64) {
    let (heads, visible) = (heads(2, 5), Visible::Causal);
    let double = x.to_dtype(DType::F64).unwrap();
    let whole = |from: usize, n: usize| {
        let row = double.narrow(0, from, n).unwrap().contiguous().unwrap();
        let row = Value::constant(row);
        let rows = Rows {
            heads,
            offsets: &[0, n],
            visible,
        };
        attention(&Tape::off(), &row, rows, Dropout::OFF)
            .unwrap()
            .0
            .tensor
    };
    // three rows of the first 3, 60 and 2 tokens of what is there from 0, 10 and 80 on
    let first = [(0, 3), (10, 60), (80, 2)];
    let part = |(from, n): &(usize, usize)| x.narrow(0, *from, *n).unwrap();
    let packed = Tensor::cat(&first.each_ref().map(part), 0).unwrap();
    let mut cache = CardCache::new(3);
    let rows = |offsets| Rows {
        heads,
        offsets,
        visible,
    };
    let [o, _] = emulated(|| cache.attend(&packed, rows(&[0, 3, 63, 65]))).unwrap();
    assert!(distance(&o.narrow(0, 3, 60).unwrap(), &whole(10, 60)) <= bound);
    // the second row goes on alone with the third, past the first capacity of 64
    cache.keep(&[2, 1]);
    let next = Tensor::cat(&[part(&(82, 1)), part(&(70, 10))], 0).unwrap();
    let [o, _] = emulated(|| cache.attend(&next, rows(&[0, 1, 11]))).unwrap();
    let expected = whole(80, 3).narrow(0, 2, 1).unwrap();
    assert!(distance(&o.narrow(0, 0, 1).unwrap(), &expected) <= bound);
    let expected = whole(10, 70).narrow(0, 60, 10).unwrap();
    assert!(distance(&o.narrow(0, 1, 10).unwrap(), &expected) <= bound);
    // control: the first row's keys in the place of the third's
    let other = whole(0, 3).narrow(0, 2, 1).unwrap();
    assert!(distance(&o.narrow(0, 0, 1).unwrap(), &other) > 10.0 * bound);
}
