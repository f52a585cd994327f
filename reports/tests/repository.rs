//! Tests that run what only the repository has and a package has not.

mod check_cuda;
mod fields;
mod options;
mod python;
