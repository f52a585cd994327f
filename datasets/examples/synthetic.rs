//! Writes the generated data of all four tasks, the prose and a tokenizer into a directory, to be
//! looked at or trained on with other software:
//! `cargo run --release --example synthetic -- DIR [PASSAGE_WORDS]`.

use inducer_datasets::Tokenizer;
use inducer_datasets::synthetic::{
    CoqaConfig, GlueConfig, SyntheticConfig, pretraining_text, write, write_coqa, write_mnli,
    write_sst2,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let dir = args.next().ok_or("the directory to write")?;
    let dir = std::path::Path::new(&dir);
    let mut conversations = CoqaConfig::default();
    if let Some(words) = args.next() {
        conversations.passage_words = words.to_string_lossy().parse()?;
    }
    write(&dir.join("webnlg"), SyntheticConfig::default())?;
    write_coqa(&dir.join("coqa"), conversations)?;
    write_mnli(&dir.join("mnli"), GlueConfig::default())?;
    write_sst2(&dir.join("sst2"), GlueConfig::default())?;
    let text = pretraining_text(1, 4_000_000);
    inducer_datasets::files::write_atomic(&dir.join("prose.txt"), text.as_bytes())?;
    Tokenizer::train(text.split("\n\n"), 1024)?.save(dir)?;
    Ok(())
}
