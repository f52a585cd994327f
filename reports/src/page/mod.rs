//! What a report measures of a run.

pub mod measure;
