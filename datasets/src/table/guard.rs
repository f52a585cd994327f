//! A damaged file is an error, also where the library that reads it panics.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

use crate::{Error, Result};

thread_local! {
    /// Whether this thread is inside such a library, whose panic is told as an error alone.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Calls a library that reads a file.
///
/// # Errors
/// It panics: the file is damaged.
pub(super) fn guarded<T>(path: &Path, read: impl FnOnce() -> T) -> Result<T> {
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if !INSIDE.get() {
                usual(info);
            }
        }));
    });
    INSIDE.set(true);
    // what the library was doing is dropped with its reader
    let found = catch_unwind(AssertUnwindSafe(read));
    INSIDE.set(false);
    found.map_err(|_| Error::Table {
        path: path.to_owned(),
        message: "the file is damaged: its library gave up".into(),
    })
}
