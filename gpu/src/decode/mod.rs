//! Decoding: many prompts at once, with a cache of keys and values.

pub mod greedy;
pub mod kv_cache;
