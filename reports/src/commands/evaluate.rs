//! `inducer evaluate`: validation loss and BLEU of a saved adapter.

use crate::cli::EvaluateArgs;
use crate::commands::generate::decode;
use crate::run::{self, TaskData};
use crate::study::Bleu;
use anyhow::Result;
use inducer_gpu::train::{Data, evaluate};
use serde::Serialize;

#[derive(Serialize)]
struct Evaluation {
    bleu: Bleu,
    validation_loss: f64,
    test_entries: usize,
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit each other.
pub fn run(args: &EvaluateArgs) -> Result<()> {
    let generated = decode(&args.inputs, &args.adapter, &args.decode, &args.compute)?;
    let data = TaskData::new(&generated.prepared, 32, 0);
    let found = Evaluation {
        bleu: run::scores(&generated.texts, &generated.examples),
        validation_loss: evaluate(&generated.model, data.validation())?,
        test_entries: generated.examples.len(),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
        return Ok(());
    }
    println!("validation loss {:.4} nats a token", found.validation_loss);
    println!(
        "{} on {} test entries",
        found.bleu.words(),
        found.test_entries
    );
    Ok(())
}
