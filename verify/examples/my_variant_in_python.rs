//! A variant of your own in PyTorch, checked against its formula in Rust:
//! `cargo run -p inducer-verify --example my_variant_in_python -- 'python3 my_engine.py'`.
//!
//! The formula is that of `my_variant`; without an argument the program is
//! `verify/engines/my_variant.py`, which needs torch, transformers and safetensors.

#![allow(clippy::unwrap_used)]

#[path = "my_variant/src/two_inducers.rs"]
#[allow(dead_code)]
mod two_inducers;

use inducer_verify::engines::External;
use inducer_verify::{Verdict, custom, render};
use std::process::ExitCode;
use std::time::Duration;
use two_inducers::TwoInducers;

fn main() -> inducer_verify::Result<ExitCode> {
    let given = std::env::args().nth(1);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/engines/my_variant.py");
    let command = given.unwrap_or_else(|| format!("python3 '{script}'"));
    let program = External::start(&command, Duration::from_secs(60))?;
    let rows = custom::check_program::<TwoInducers>(&program, 30, 1);
    for row in &rows {
        println!("{}", render::line(row));
    }
    Ok(
        match rows.iter().all(|row| row.verdict == Verdict::Passed) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
    )
}
