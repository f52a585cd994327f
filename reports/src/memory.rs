//! How much memory a run holds, though several runs share the process.
//!
//! The process's resident set says nothing about one of its runs. So the allocator counts: each
//! thread that works for a run carries a pointer to that run's counter, and what such a thread
//! allocates and frees is added and taken away there. What is mapped from files (a backbone's
//! safetensors) and memory of an accelerator are not allocated here and not counted.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Bytes held now, and the most there were.
#[derive(Debug, Default)]
pub struct Counter {
    held: AtomicI64,
    peak: AtomicI64,
}

impl Counter {
    fn add(&self, bytes: i64) {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
    }
}

thread_local! {
    static MINE: Cell<Option<&'static Counter>> = const { Cell::new(None) };
}

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// From here on this thread's memory is counted as that of the run.
pub fn count_on(counter: &'static Counter) {
    MINE.set(Some(counter));
}

/// An allocator that counts for the thread's run, if there is one.
pub struct Counting<A>(pub A);

fn count(bytes: i64) {
    // while a thread ends its own variables may be gone: then nothing is counted
    let _ = MINE.try_with(|mine| {
        if let Some(counter) = mine.get() {
            counter.add(bytes);
        }
    });
}

/// Counts bytes that were allocated, if they were.
#[inline]
fn counted(p: *mut u8, bytes: i64) -> *mut u8 {
    if !p.is_null() {
        count(bytes);
    }
    p
}

// SAFETY: every call goes unchanged to the allocator inside; counting touches atomics and a
// thread-local without a destructor, and so neither allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc`'s contract.
        counted(unsafe { self.0.alloc(layout) }, layout.size() as i64)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        counted(unsafe { self.0.alloc_zeroed(layout) }, layout.size() as i64)
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { self.0.dealloc(p, layout) };
        count(-(layout.size() as i64));
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps `realloc`'s contract.
        let p = unsafe { self.0.realloc(p, layout, size) };
        counted(p, size as i64 - layout.size() as i64)
    }
}

/// Says that [`Counting`] is this program's allocator.
pub fn installed() {
    INSTALLED.store(true, Ordering::Relaxed);
}

/// The memory of the run that this thread works for.
pub struct Memory(Option<&'static Counter>);

impl Memory {
    /// That of the run of this thread; nothing is known where the allocator does not count or the
    /// thread belongs to no run.
    pub fn here() -> Self {
        let counter = MINE.get().filter(|_| INSTALLED.load(Ordering::Relaxed));
        Self(counter)
    }

    /// The most bytes held at once.
    pub fn peak(&self) -> Option<u64> {
        let peak = self.0?.peak.load(Ordering::Relaxed);
        u64::try_from(peak).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[test]
    fn the_peak_is_the_most_that_was_held_at_once_by_this_thread() {
        static COUNTER: Counter = Counter {
            held: AtomicI64::new(0),
            peak: AtomicI64::new(0),
        };
        let a = Counting(System);
        let layout = |n| Layout::from_size_align(n, 8).unwrap();
        count_on(&COUNTER);
        // SAFETY: each pointer goes back with the layout that it came with.
        unsafe {
            let p = a.alloc(layout(1000));
            let p = a.realloc(p, layout(1000), 3000);
            let q = a.alloc_zeroed(layout(500));
            a.dealloc(p, layout(3000));
            let other = std::thread::spawn(|| {
                let a = Counting(System);
                let p = a.alloc(Layout::from_size_align(1 << 20, 8).unwrap());
                a.dealloc(p, Layout::from_size_align(1 << 20, 8).unwrap());
            });
            other.join().unwrap();
            a.dealloc(q, layout(500));
        }
        assert_eq!(COUNTER.held.load(Ordering::Relaxed), 0);
        assert_eq!(COUNTER.peak.load(Ordering::Relaxed), 3500);
        assert_eq!(Memory::here().peak(), None, "not this program's allocator");
    }

    #[test]
    fn the_threads_of_a_run_count_together() {
        static COUNTER: Counter = Counter {
            held: AtomicI64::new(0),
            peak: AtomicI64::new(0),
        };
        let work = || {
            let (a, layout) = (Counting(System), Layout::new::<[u64; 100]>());
            count_on(&COUNTER);
            for _ in 0..100 {
                // SAFETY: the pointer goes back with the layout that it came with.
                unsafe {
                    let p = a.alloc(layout);
                    a.dealloc(p, layout);
                }
            }
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(work)).collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(COUNTER.held.load(Ordering::Relaxed), 0);
        let peak = COUNTER.peak.load(Ordering::Relaxed);
        assert!((800..=3200).contains(&peak) && peak % 800 == 0, "{peak}");
    }
}
