//! Attention and what the inducer makes of it.

use super::{DROP, HEADS, composed};
use crate::kernels::without_cpu_kernels;
use crate::ops::attention::{self, Heads, Rows, Visible};
use crate::ops::dropout::Dropout;
use crate::ops::inducer;
use crate::ops::testing::{agree, distance, parameters};
use crate::tape::{Parameter, Tape, Value};
use candle_core::{DType, Device, Tensor};

#[test]
fn gate_agrees_with_candle_and_keeps_the_digits_of_its_slope() {
    agree(
        &[&[9, 3], &[9, 3]],
        |t, v| Ok(vec![inducer::gate(t, &v[0], &v[1])?]),
        |t, v| {
            t.composed_many(&[&v[0], &v[1]], |a| {
                let odds = (&a[1] - &a[0])?.exp()?;
                Ok(vec![(odds + 1.0)?.recip()?])
            })
        },
    );
    // λ(1 − λ) at s − LSE = ±60, where λ itself rounds to 1
    for sign in [-1.0_f32, 1.0] {
        let tensor = |x: f32| Tensor::new(&[[x]], &Device::Cpu).unwrap();
        let params = [30.0, -30.0].map(|x| Parameter::new(format!("{x}"), tensor(sign * x), true));
        let tape = Tape::new();
        let [s, lse] = tape.parameters(&params).unwrap();
        let gate = inducer::gate(&tape, &s, &lse).unwrap();
        let sum = tape.composed_many(&[&gate], |a| Ok(vec![a[0].sum_all()?]));
        let gradients = tape.backward(&sum.unwrap()[0], &params).unwrap();
        let slope = f64::from(
            gradients["30"]
                .sum_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap(),
        );
        let exact = (-60.0_f64).exp();
        assert!((slope - exact).abs() / exact < 1e-6, "{slope:e}");
    }
}

#[test]
fn the_log_sum_exp_of_two_sets_together_agrees_with_candle() {
    let joint = |t: &Tape, v: &[Value]| Ok(vec![inducer::joint(t, &v[0], &v[1])?]);
    let plain = |t: &Tape, v: &[Value]| {
        t.composed_many(&[&v[0], &v[1]], |a| {
            Ok(vec![(a[0].exp()? + a[1].exp()?)?.log()?])
        })
    };
    agree(&[&[9, 3], &[9, 3]], joint, plain);
    agree(&[&[9, 3], &[9, 3]], plain, |t, v| {
        without_cpu_kernels(|| joint(t, v))
    });
}

#[test]
fn attention_agrees_with_candle_with_and_without_dropout() {
    // On tensors: a group of two unequal rows and one of one; two groups of equal rows.
    for offsets in [vec![0, 1, 8, 80], vec![0, 40, 80]] {
        attention_within(&offsets);
    }
}

fn rows(offsets: &[usize], visible: Visible) -> Rows<'_> {
    Rows {
        heads: HEADS,
        offsets,
        visible,
    }
}

fn attention_within(offsets: &[usize]) {
    for visible in [Visible::Causal, Visible::All] {
        let rows = rows(offsets, visible);
        for drop in [Dropout::OFF, DROP] {
            agree(
                &[&[80, 45]],
                |t, v| attention::attention(t, &v[0], rows, drop).map(|(a, b)| vec![a, b]),
                |t, v| composed::attention(t, &v[0], rows, drop).map(|(a, b)| vec![a, b]),
            );
        }
    }
}

#[test]
fn heads_have_their_hidden_size_and_scale() {
    let heads = Heads {
        count: 3,
        width: 16,
    };
    assert_eq!((heads.hidden(), heads.scale()), (48, 0.25));
}

#[test]
fn new_tokens_attend_to_cached_keys_as_whole_rows_do() {
    // rows of 5 and 7 tokens, of which the last 2 and 3 are new
    let x = parameters(5, &[&[12, 45]], DType::F64).remove(0).tensor;
    let new = Tensor::new(&[3_u32, 4, 9, 10, 11], &Device::Cpu).unwrap();
    let kept = |from: usize, n: usize, column: usize| {
        let part = x.narrow(0, from, n).unwrap().narrow(1, column, 15).unwrap();
        part.flatten_all().unwrap().to_vec1::<f64>().unwrap()
    };
    let cache = [(0, 5), (5, 7)].map(|(from, n)| [kept(from, n, 15), kept(from, n, 30)]);
    for visible in [Visible::Causal, Visible::All] {
        let tape = Tape::new();
        let offsets = [0, 5, 12];
        let whole = Value::constant(x.clone());
        let (o, lse) =
            attention::attention(&tape, &whole, rows(&offsets, visible), Dropout::OFF).unwrap();
        let queries = x.index_select(&new, 0).unwrap();
        let found =
            attention::attention_cached(&queries, &cache, rows(&[0, 2, 5], visible)).unwrap();
        for (found, whole) in [(found.0, o), (found.1, lse)] {
            let expected = whole.tensor.index_select(&new, 0).unwrap();
            assert!(distance(&found, &expected) < 1e-14);
        }
    }
}

#[test]
fn attention_to_a_prefix_agrees_with_candle() {
    agree(
        &[&[70, 45], &[3, 4, 5], &[3, 4, 5]],
        |t, v| {
            attention::attention_to(t, &v[0], &v[1], &v[2], HEADS, DROP).map(|(a, b)| vec![a, b])
        },
        |t, v| composed::attention_to(t, &v[0], &v[1], &v[2], HEADS, DROP).map(|(a, b)| vec![a, b]),
    );
}

#[test]
fn the_inducers_operations_agree_with_candle_on_one_thread_and_on_more() {
    for tokens in [7, 300] {
        inducers_operations(tokens);
    }
}

fn inducers_operations(tokens: usize) {
    fn key(v: &[Value]) -> Option<&[Value; 4]> {
        v[1..].try_into().ok()
    }
    agree(
        &[&[tokens, 45], &[3, 5, 2], &[3, 2], &[3, 2, 5], &[3, 5]],
        |t, v| Ok(vec![inducer::inducer_score(t, &v[0], HEADS, key(v))?]),
        |t, v| without_cpu_kernels(|| Ok(vec![inducer::inducer_score(t, &v[0], HEADS, key(v))?])),
    );
    agree(
        &[&[tokens, 45]],
        |t, v| Ok(vec![inducer::inducer_score(t, &v[0], HEADS, None)?]),
        |t, v| without_cpu_kernels(|| Ok(vec![inducer::inducer_score(t, &v[0], HEADS, None)?])),
    );
    agree(
        &[&[tokens, 45], &[tokens, 3], &[3, 5, 4], &[3, 4]],
        |t, v| {
            Ok(vec![inducer::gated_hidden(
                t, &v[0], &v[1], &v[2], &v[3], HEADS,
            )?])
        },
        |t, v| {
            without_cpu_kernels(|| {
                Ok(vec![inducer::gated_hidden(
                    t, &v[0], &v[1], &v[2], &v[3], HEADS,
                )?])
            })
        },
    );
}

#[test]
fn what_is_made_of_f_agrees_with_its_form_for_other_devices() {
    let lifted = |t: &Tape, v: &[Value]| {
        inducer::add_gated_values(t, &v[0], &v[1], &v[2], &v[3], &v[4], HEADS).map(|y| vec![y])
    };
    let shapes: [&[usize]; 5] = [&[7, 15], &[7, 6], &[7, 3], &[3, 2, 5], &[3, 5]];
    agree(&shapes, lifted, |t, v| without_cpu_kernels(|| lifted(t, v)));
    let faded = |t: &Tape, v: &[Value]| {
        inducer::scale_by_complement(t, &v[0], &v[1], HEADS).map(|y| vec![y])
    };
    let shapes: [&[usize]; 2] = [&[7, 15], &[7, 3]];
    agree(&shapes, faded, |t, v| without_cpu_kernels(|| faded(t, v)));
    let mixed =
        |t: &Tape, v: &[Value]| inducer::mixture(t, &v[0], &v[1], &v[2], HEADS).map(|y| vec![y]);
    let shapes: [&[usize]; 3] = [&[7, 15], &[7, 15], &[7, 3]];
    agree(&shapes, mixed, |t, v| without_cpu_kernels(|| mixed(t, v)));
}
