//! `inducer generate`: the model's texts for the test split.

use super::inputs::Inputs;
use super::options::{Compute, Decode, adapter_directory};
use super::print;
use crate::files;
use crate::inference::{self, Generated};
use anyhow::Result;
use clap::Args;
use inducer_datasets::Example;
use serde_json::json;
use std::path::PathBuf;

/// `inducer generate`.
#[derive(Args, Clone, Debug)]
pub struct GenerateArgs {
    /// Inputs
    #[command(flatten)]
    pub inputs: Inputs,
    /// Adapter directory [default: none, the backbone as it is]
    #[arg(long, value_parser = adapter_directory(), value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// File to write: one text a line, or with the ending .jsonl one object a line with id (or the
    /// row's number) and output [default: standard output]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Decoding
    #[command(flatten)]
    pub decode: Decode,
    /// Compute
    #[command(flatten)]
    pub compute: Compute,
}

/// Runs the command.
///
/// # Errors
/// Files that are missing or do not fit each other; the file cannot be written.
pub fn run(args: &GenerateArgs) -> Result<()> {
    args.inputs.check_places()?;
    let adapter = args.adapter.as_deref();
    let prepared = args.inputs.prepare_inputs(adapter)?;
    let model = inference::model(&prepared, adapter, &args.compute.device.open()?)?;
    let pool = args.compute.pool()?;
    let generated = inference::decode(&model, &prepared, args.decode.limits(), &pool)?;
    let objects = |path: &PathBuf| path.extension().is_some_and(|e| e == "jsonl");
    let lines = match args.out.as_ref().is_some_and(objects) {
        true => objects_of(&generated),
        false => generated.texts.join("\n") + "\n",
    };
    match &args.out {
        Some(path) => {
            files::write(path, &lines)?;
            let count = generated.texts.len();
            print::line(format_args!("{}: {count} texts", path.display()))
        }
        None => print::whole(lines),
    }
}

/// A line for each text, with the id of its row.
fn objects_of(generated: &Generated) -> String {
    let line = |(text, e): (&String, &Example)| {
        let id =
            e.id.as_ref()
                .map_or_else(|| json!(e.position), |id| json!(id));
        format!("{}\n", json!({ "id": id, "output": text }))
    };
    generated
        .texts
        .iter()
        .zip(&generated.examples)
        .map(line)
        .collect()
}
