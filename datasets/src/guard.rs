//! A damaged file is an error, also where the library that reads it panics.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside such a library, whose panic is told as an error alone.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Calls a library that reads a file; none where it panics, which no message tells.
pub(crate) fn caught<T>(read: impl FnOnce() -> T) -> Option<T> {
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if !INSIDE.get() {
                usual(info);
            }
        }));
    });
    let before = INSIDE.replace(true);
    // what the library was doing is dropped with its reader
    let found = catch_unwind(AssertUnwindSafe(read));
    INSIDE.set(before);
    found.ok()
}
