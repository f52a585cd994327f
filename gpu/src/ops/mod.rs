//! The operations of a training step, each with its own backward pass.
//!
//! Every file has its operation in a fused form for the CPU, hand-written over slices, and as
//! `composed`, the same function in plain differentiable candle, which is the witness of every
//! other form in the tests (values and gradients) and their rival in the benches. Where the fused
//! form does not apply (on CUDA, in mixed precision) the three operations that cost most,
//! [`linear`], [`attention`] and [`cross_entropy`], have a third form in candle's tensor operations
//! with a backward pass of its own; there too no frozen weight gets a gradient, no n × n matrix is
//! kept, and logits exist for a part of the labelled positions at a time. The rest runs there as
//! composed.

pub mod activation;
pub mod argmax;
pub mod attention;
pub mod cross_entropy;
pub mod dropout;
pub mod elem;
pub mod embedding;
pub mod few_rows;
pub mod gate;
pub mod inplace;
pub mod layer_norm;
pub mod linear;
pub mod mixed;
pub mod mixture;
pub mod raw;
pub mod rows;

#[cfg(test)]
pub(crate) mod testing;

use crate::error::Result;
use candle_core::{DType, Device, Shape, Storage, StorageRef, Tensor};
use elem::Elem;
use std::cell::Cell;
use std::thread::LocalKey;

/// Read access to the elements of a CPU tensor.
pub struct Cpu<'a> {
    guard: StorageRef<'a>,
    from: usize,
    to: usize,
}

impl Cpu<'_> {
    /// The elements, row by row.
    ///
    /// # Errors
    /// The tensor is on another device or of another type.
    pub fn slice<T: Elem>(&self) -> Result<&[T]> {
        match &*self.guard {
            Storage::Cpu(s) => Ok(&s.as_slice::<T>()?[self.from..self.to]),
            _ => Err(candle_core::Error::Msg(
                "a CPU kernel was given a tensor of another device".into(),
            )
            .into()),
        }
    }
}

/// Read access to a contiguous CPU tensor.
///
/// # Errors
/// The tensor is not contiguous.
pub fn cpu(t: &Tensor) -> Result<Cpu<'_>> {
    let (guard, layout) = t.storage_and_layout();
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(Cpu { guard, from, to }),
        None => Err(candle_core::Error::Msg(format!(
            "a CPU kernel needs a contiguous tensor, found {layout:?}"
        ))
        .into()),
    }
}

/// A CPU tensor from its elements, without a copy.
pub(crate) fn tensor<T: Elem>(data: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Ok(Tensor::from_vec(data, shape.into(), &Device::Cpu)?)
}

/// Whether the fused CPU kernels apply.
pub fn fused(t: &Tensor) -> bool {
    !ON_TENSORS.get() && t.device().is_cpu() && matches!(t.dtype(), DType::F32 | DType::F64)
}

/// Whether they apply to both operands together: in mixed precision one may be f32 and the other
/// not.
pub fn fused_pair(a: &Tensor, b: &Tensor) -> bool {
    fused(a) && a.dtype() == b.dtype()
}

/// Runs `$body` with `$T` bound to the scalar type of `$tensor`.
macro_rules! dispatch {
    ($tensor:expr, $T:ident => $body:expr) => {
        match $tensor.dtype() {
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            _ => {
                type $T = f32;
                $body
            }
        }
    };
}
pub(crate) use dispatch;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
    static ON_TENSORS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with a switch of this thread on.
fn switched<R>(switch: &'static LocalKey<Cell<bool>>, f: impl FnOnce() -> R) -> R {
    struct Reset(&'static LocalKey<Cell<bool>>, bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _reset = Reset(switch, switch.replace(true));
    f()
}

/// Runs `f` with every operation on the calling thread alone: for work that is divided among
/// threads further up.
pub fn alone<R>(f: impl FnOnce() -> R) -> R {
    switched(&ALONE, f)
}

/// Runs `f` without the fused CPU kernels, as any other device runs it: on candle tensors. The
/// calling thread is alone, since a switch of its own would not be on in another thread, and would
/// be on for what this one takes over from others while it waits.
pub fn on_tensors<R>(f: impl FnOnce() -> R) -> R {
    switched(&ON_TENSORS, || alone(f))
}

/// Whether operations may use the threads of the current pool.
pub(crate) fn parallel() -> bool {
    !ALONE.get() && rayon::current_num_threads() > 1
}

/// `f(state, i)` for all i below `count`, in parallel, each thread with a state of its own.
pub(crate) fn for_tasks<S>(
    count: usize,
    state: impl Fn() -> S + Sync + Send,
    f: impl Fn(&mut S, usize) + Sync + Send,
) {
    use rayon::prelude::*;
    if parallel() {
        (0..count).into_par_iter().for_each_init(state, f);
    } else {
        let mut state = state();
        (0..count).for_each(|i| f(&mut state, i));
    }
}

/// `f(i)` for all i below `count`, in parallel, results in order.
pub(crate) fn map_tasks<R: Send>(count: usize, f: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    use rayon::prelude::*;
    if parallel() {
        (0..count).into_par_iter().map(f).collect()
    } else {
        (0..count).map(f).collect()
    }
}

/// Rows a parallel loop hands to one thread at a time: enough to outweigh the hand-over.
pub(crate) fn grain(row: usize) -> usize {
    (16_384 / row.max(1)).max(1)
}

/// `f(index, row)` for all rows of `out`, in parallel. Give it an `#[inline(always)]` closure: one
/// that is called instead of inlined is compiled for the least processor, not for the one that
/// [`elem::simd`] finds.
pub(crate) fn for_rows<T: Elem>(
    out: &mut [T],
    width: usize,
    f: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    use rayon::prelude::*;
    let grain = grain(width);
    let block = |first: usize, rows: &mut [T]| {
        elem::simd(
            #[inline(always)]
            || {
                for (i, row) in rows.chunks_mut(width).enumerate() {
                    f(first + i, row);
                }
            },
        );
    };
    if out.len() <= grain * width || !parallel() {
        block(0, out);
    } else {
        out.par_chunks_mut(grain * width)
            .enumerate()
            .for_each(|(c, rows)| block(c * grain, rows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fused_kernels_are_for_f32_and_f64_on_the_cpu_of_one_type_at_a_time() {
        let of = |dtype| Tensor::zeros(2, dtype, &Device::Cpu).unwrap();
        let [single, double, half] = [DType::F32, DType::F64, DType::BF16].map(of);
        assert!(fused(&single) && fused(&double) && !fused(&half));
        assert!(fused_pair(&single, &single) && fused_pair(&double, &double));
        assert!(!fused_pair(&single, &half) && !fused_pair(&single, &double));
        assert!(!fused_pair(&half, &half));
    }

    #[test]
    fn work_is_divided_where_there_are_threads_and_nobody_works_alone() {
        let inside = |threads: usize, f: fn() -> [bool; 3]| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(f)
        };
        let before_within_after = || [parallel(), alone(parallel), parallel()];
        assert_eq!(inside(2, before_within_after), [true, false, true]);
        assert_eq!(inside(3, before_within_after), [true, false, true]);
        assert_eq!(inside(1, before_within_after), [false; 3]);
    }

    #[test]
    fn without_kernels_one_thread_works_until_the_switch_is_off_again() {
        let x = Tensor::zeros(2, DType::F64, &Device::Cpu).unwrap();
        let now = || [fused(&x), parallel()];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        let found = pool.unwrap().install(|| {
            let (before, within) = (now(), on_tensors(now));
            let failed = std::panic::catch_unwind(|| on_tensors(|| panic!("a failed check")));
            assert!(failed.is_err());
            [before, within, now()]
        });
        assert_eq!(found, [[true; 2], [false; 2], [true; 2]]);
    }

    #[test]
    fn every_row_is_visited_once_with_its_own_index_however_many_threads_there_are() {
        let (rows, width) = (50_001, 3);
        assert!(rows > 2 * grain(width), "several blocks and a rest");
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let mut out = vec![0.0_f64; rows * width];
            pool.unwrap().install(|| {
                for_rows(&mut out, width, |i, row| {
                    row.iter_mut().for_each(|x| *x += i as f64 + 1.0);
                });
            });
            let expected = |i: usize| (i / width) as f64 + 1.0;
            assert!(out.iter().enumerate().all(|(i, x)| *x == expected(i)));
        }
    }
}
