//! What a person should hear of and is no error: each text once a process, to whoever listens.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock};

static LISTENER: OnceLock<fn(&str)> = OnceLock::new();
static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Has every note from here on; the first listener stays.
pub fn listen(listener: fn(&str)) {
    let _ = LISTENER.set(listener);
}

/// Tells a note that was not told before.
pub(crate) fn tell(text: String) {
    let Some(listener) = LISTENER.get() else {
        return;
    };
    if TOLD.lock().is_ok_and(|mut told| told.insert(text.clone())) {
        listener(&text);
    }
}
