//! Work divided among the threads of the current pool, or left to the calling one.

use super::elem::{Elem, simd};
use std::cell::Cell;

thread_local! {
    static SINGLE_THREADED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with every operation on the calling thread alone: for work that is divided among
/// threads further up.
pub fn single_threaded<R>(f: impl FnOnce() -> R) -> R {
    alone(true, f)
}

/// Runs `f` with every operation on the calling thread alone, or with those of the pool.
pub(super) fn alone<R>(alone: bool, f: impl FnOnce() -> R) -> R {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            SINGLE_THREADED.set(self.0);
        }
    }
    let _reset = Reset(SINGLE_THREADED.replace(alone));
    f()
}

/// Whether operations may use the threads of the current pool.
pub(crate) fn parallel() -> bool {
    !SINGLE_THREADED.get() && rayon::current_num_threads() > 1
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
/// [`simd`] finds.
pub(crate) fn for_rows<T: Elem>(
    out: &mut [T],
    width: usize,
    f: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    use rayon::prelude::*;
    let grain = grain(width);
    let block = |first: usize, rows: &mut [T]| {
        simd(
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
    fn work_is_divided_where_there_are_threads_and_nobody_works_alone() {
        let inside = |threads: usize, f: fn() -> [bool; 3]| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(f)
        };
        let before_within_after = || [parallel(), single_threaded(parallel), parallel()];
        assert_eq!(inside(2, before_within_after), [true, false, true]);
        assert_eq!(inside(3, before_within_after), [true, false, true]);
        assert_eq!(inside(1, before_within_after), [false; 3]);
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
