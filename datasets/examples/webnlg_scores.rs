//! The three figures of a WebNLG system from the official scorer's files, and how long they take:
//! `cargo run --release -p inducer-datasets --example webnlg_scores -- WEBNLG_SCORES SYSTEM
//! METEOR_JAR PARAPHRASES`.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use inducer_datasets::metrics::meteor::{Files, corpus_meteor};
use inducer_datasets::metrics::ter::{Algorithm, corpus_ter, trans};
use inducer_datasets::metrics::{corpus_bleu, meteor::Meteor};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn lines(path: &Path) -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.split('\n').map(str::to_owned).collect())
}

fn bleu(dir: &Path, hypotheses: &[String]) -> Outcome<f64> {
    let set = |k| lines(&dir.join(format!("references/gold-all-cat-reference{k}.lex")));
    let sets: Vec<Vec<String>> = (0..3).map(set).collect::<Outcome<_>>()?;
    let of = |i: usize| sets.iter().map(|s| s[i].clone()).collect();
    let references: Vec<Vec<String>> = (0..hypotheses.len()).map(of).collect();
    Ok(corpus_bleu(hypotheses, &references, true)?.score)
}

fn ter(dir: &Path, system: &str) -> Outcome<f64> {
    let hypotheses = trans::load(&dir.join(format!("systems/{system}_all-cat_ter.txt")))?;
    let references = trans::load(&dir.join("references/gold-all-cat-reference-3ref.ter"))?;
    let mut references: HashMap<_, _> = references.into_iter().collect();
    let (mut texts, mut sets) = (Vec::new(), Vec::new());
    for (id, mut text) in hypotheses {
        texts.push(text.swap_remove(0));
        sets.push(
            references
                .remove(&id)
                .ok_or(format!("no reference of {id}"))?,
        );
    }
    Ok(corpus_ter(&texts, &sets, Algorithm::Tercom)?.score)
}

fn meteor(dir: &Path, hypotheses: &[String], files: &Files) -> Outcome<Meteor> {
    let references = lines(&dir.join("references/gold-all-cat-reference-3ref.meteor"))?;
    let references: Vec<Vec<String>> = references.chunks(3).map(<[String]>::to_vec).collect();
    Ok(corpus_meteor(hypotheses, &references, files)?)
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, system, jar, table] = &args[..] else {
        return Err("expected WEBNLG_SCORES SYSTEM METEOR_JAR PARAPHRASES".into());
    };
    let (dir, start) = (Path::new(dir), Instant::now());
    let files = Files {
        jar: Some(jar.into()),
        paraphrases: Some(table.into()),
    };
    let hypotheses = lines(&dir.join(format!("systems/{system}_all-cat.txt")))?;
    let seconds = |from: Instant| from.elapsed().as_secs_f64();
    println!("{} outputs of {system}", hypotheses.len());
    println!(
        "BLEU {:.2} ({:.2} s)",
        bleu(dir, &hypotheses)?,
        seconds(start)
    );
    let from = Instant::now();
    println!("TER {:.6} ({:.2} s)", ter(dir, system)?, seconds(from));
    let from = Instant::now();
    let m = meteor(dir, &hypotheses, &files)?;
    println!(
        "METEOR {:.12} ({:.2} s; {})",
        m.score,
        seconds(from),
        m.matchers.join(", ")
    );
    println!("all three {:.2} s", seconds(start));
    Ok(())
}
