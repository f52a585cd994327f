//! Runs the ledger outside of the test harness:
//! `cargo run -p inducer-verify --example verify -- [cases] [seed] [claim]`.

use inducer_verify::{render, runner};

fn main() -> inducer_verify::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: u64| {
        arguments
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or(or)
    };
    let (cases, seed) = (number(24) as usize, number(1));
    let filter = arguments.next();
    let mut options = runner::Options::new(cases, seed);
    options.filter = filter.clone();
    let report = runner::run(&options, &|row| {
        println!("{} [{:.2} s]", render::line(row), row.seconds);
        if filter.is_some() {
            let place = |worst: &Option<inducer_verify::claim::Worst>| {
                worst.as_ref().map_or_else(String::new, |w| {
                    format!("{} (bound {:.1e}: {})", w.location, w.bound, w.why)
                })
            };
            println!(
                "    check:   {}\n    control: {}",
                place(&row.worst),
                place(&row.control)
            );
        }
    })?;
    println!(
        "{}",
        render::text(&report).lines().last().unwrap_or_default()
    );
    Ok(())
}
