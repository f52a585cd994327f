//! What each fuzz target feeds its bytes to. `datasets/tests/fuzz_corpus.rs` has this file as a
//! module and goes through the committed corpus with it.

use inducer_datasets::metrics::ter::{Algorithm, trans};
use inducer_datasets::metrics::{bleu, coqa, meteor, prepare, ter, tokenize};
use inducer_datasets::reading::{Reading, Split};
use inducer_datasets::{Malformed, Task, Tokenizer, directory, glue, own, webnlg};
use std::io::Write as _;
use std::path::{Path, PathBuf};

mod input;
use input::{choice, files, with_files};

/// The name of a target, and what it does with its bytes.
type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 14] = [
    ("webnlg_json", webnlg_json),
    ("webnlg_xml", webnlg_xml),
    ("coqa_json", coqa_json),
    ("glue_tsv", glue_tsv),
    ("table_jsonl", table_jsonl),
    ("table_csv", table_csv),
    ("table_parquet", table_parquet),
    ("table_arrow", table_arrow),
    ("tercom_lines", tercom_lines),
    ("meteor_files", meteor_files),
    ("meteor_texts", meteor_texts),
    ("scorers", scorers),
    ("tokenizer_json", tokenizer_json),
    ("tokenizer_bpe", tokenizer_bpe),
];

const BOTH: [Malformed; 2] = [Malformed::Refuse, Malformed::Skip];
/// Words of a text whose edits are counted: the search for shifts grows with their third power.
const MOST_WORDS: usize = 60;
/// A text with what tokenizers treat apart: letters, digits, marks, spaces, several scripts.
const TEXT: &str = "The tower's 2nd floor,  ünlike <s> ☃ 塔 it\tis 10-high.\n";

/// Calls `read` with a file of this name and contents.
fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    with_files(&[(name, bytes)], |dir| read(&dir.join(name)));
}

/// An official JSON file of WebNLG's.
pub fn webnlg_json(data: &[u8]) {
    for malformed in BOTH {
        let _ = webnlg::json::parse("x.json".as_ref(), data, malformed);
    }
}

/// An official XML file of WebNLG's.
pub fn webnlg_xml(data: &[u8]) {
    for malformed in BOTH {
        let _ = webnlg::xml::parse("x.xml".as_ref(), data, malformed);
    }
}

/// An official file of CoQA's.
pub fn coqa_json(data: &[u8]) {
    for malformed in BOTH {
        let _ = inducer_datasets::coqa::parse("x.json".as_ref(), data, malformed);
    }
}

/// A table of GLUE's; the first byte chooses the task.
pub fn glue_tsv(data: &[u8]) {
    let (task, data) = choice(data);
    let task = [Task::Mnli, Task::Sst2][task % 2];
    for malformed in BOTH {
        let _ = glue::parse(task, "x.tsv".as_ref(), data, malformed);
    }
}

/// A table of every task, by the first byte: the Hub's of the paper's tasks, or one's own.
fn table(ending: &str, data: &[u8]) {
    let (task, data) = choice(data);
    let task = Task::ALL[task % Task::ALL.len()];
    let name = format!("train.{ending}");
    let usual = Reading::default();
    if task.is_own() {
        let split = Split::new([0.5, 0.25, 0.25], 0).ok();
        let divided = Reading {
            split,
            ..usual.clone()
        };
        with_file(&name, data, |path| {
            for malformed in BOTH {
                let _ = own::load(task, path, malformed, &divided);
                let _ = own::load_inputs(task, path, malformed, &usual);
            }
            let _ = own::answers(task, path, &usual);
            let _ = own::outputs(path);
        });
        return;
    }
    let parts = [
        "train",
        "validation",
        "validation_matched",
        "validation_mismatched",
        "test",
    ];
    let names = parts.map(|part| format!("{part}.{ending}"));
    let all = names.each_ref().map(|name| (name.as_str(), data));
    with_files(&all, |dir| {
        for malformed in BOTH {
            let _ = directory::load(task, dir, malformed);
        }
    });
}

/// JSON lines.
pub fn table_jsonl(data: &[u8]) {
    table("jsonl", data);
}

/// CSV.
pub fn table_csv(data: &[u8]) {
    table("csv", data);
}

/// Parquet.
pub fn table_parquet(data: &[u8]) {
    table("parquet", data);
}

/// Arrow's file and stream.
pub fn table_arrow(data: &[u8]) {
    table("arrow", data);
}

/// A file of texts and ids as tercom reads it.
pub fn tercom_lines(data: &[u8]) {
    let _ = trans::parse("x.trans".as_ref(), data);
}

/// The first words of a text.
fn first_words(text: &str) -> String {
    let words: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
    words.iter().take(MOST_WORDS).copied().collect()
}

fn texts(data: &[u8]) -> [String; 3] {
    files(data).map(|bytes| first_words(&String::from_utf8_lossy(bytes)))
}

fn meteor_with(files: &meteor::Files, [a, b, c]: [String; 3]) {
    let _ = meteor::corpus_meteor(&[a], &[vec![b, c]], files);
}

/// METEOR's files as they are: the jar, and the table where the first byte is odd.
pub fn meteor_files(data: &[u8]) {
    let (which, data) = choice(data);
    let names = ["x.jar", "x.gz"];
    with_file(names[which % 2], data, |path| {
        let path = |i| (which % 2 == i).then(|| path.to_path_buf());
        let files = meteor::Files {
            jar: path(0),
            paraphrases: path(1),
        };
        meteor_with(
            &files,
            ["a cat sat", "cats sit", "the cats"].map(String::from),
        );
    });
}

/// What METEOR's files contain, in sound archives: function words, abbreviations, synonyms,
/// exceptions, paraphrases; then the texts that are scored with them.
pub fn meteor_texts(data: &[u8]) {
    let [function, prefixes, synsets, exceptions, table, scored] = files(data);
    let members = [
        ("function/english.words", function),
        ("nonbreaking/english.prefixes", prefixes),
        ("synonym/english.synsets", synsets),
        ("synonym/english.exceptions", exceptions),
    ];
    let jar = archive(&members);
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    zipped.write_all(table).unwrap();
    let zipped = zipped.finish().unwrap();
    with_files(&[("x.jar", &jar), ("x.gz", &zipped)], |dir| {
        let path = |name: &str| -> Option<PathBuf> { Some(dir.join(name)) };
        let files = meteor::Files {
            jar: path("x.jar"),
            paraphrases: path("x.gz"),
        };
        meteor_with(&files, texts(scored));
    });
}

/// A zip archive without compression.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in members {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Every scorer on an output and two references.
pub fn scorers(data: &[u8]) {
    let [output, one, two] = texts(data);
    let (outputs, references) = ([output.clone()], [vec![one.clone(), two.clone()]]);
    for lowercase in [false, true] {
        let _ = bleu::corpus_bleu(&outputs, &references, lowercase);
        let _ = bleu::corpus_bleu_13a(&outputs, &references, lowercase);
    }
    for algorithm in [Algorithm::Tercom, Algorithm::Sacrebleu] {
        let _ = ter::corpus_ter(&outputs, &references, algorithm);
    }
    let _ = coqa::coqa(&outputs, &references, std::slice::from_ref(&one));
    let _ = coqa::Counts::best(&output, &references[0]);
    for text in [&output, &one, &two] {
        let _ = (prepare::webnlg_2017(text), tokenize::mteval_13a(text));
    }
    meteor_with(&meteor::Files::default(), [output, one, two]);
}

/// Ids of a text and the text of ids.
fn use_tokenizer(dir: &Path) {
    let Ok(tokenizer) = Tokenizer::load(dir) else {
        return;
    };
    let ids = tokenizer.encode(TEXT).unwrap_or_default();
    let _ = (
        tokenizer.decode(&ids),
        tokenizer.decode(&[0, 1, 2, 300, u32::MAX]),
    );
    let _ = (
        tokenizer.vocab_size(),
        tokenizer.own_size(),
        tokenizer.id("a"),
        tokenizer.token(3),
    );
    let _ = (tokenizer.fingerprint(), tokenizer.to_string());
}

/// `tokenizer.json`.
pub fn tokenizer_json(data: &[u8]) {
    with_files(&[("tokenizer.json", data)], use_tokenizer);
}

/// `vocab.json` and `merges.txt`.
pub fn tokenizer_bpe(data: &[u8]) {
    let [vocab, merges] = files(data);
    with_files(
        &[("vocab.json", vocab), ("merges.txt", merges)],
        use_tokenizer,
    );
}
