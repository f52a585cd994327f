//! Programs as engines: what becomes of a row when one does not keep to the protocol, and those in
//! `verify/engines` where Python has what they need.

#![allow(clippy::unwrap_used)]

#[path = "../examples/my_variant/src/two_inducers.rs"]
#[allow(dead_code)]
mod two_inducers;

use inducer_verify::engines::External;
use inducer_verify::{Options, Report, ReportRow, Verdict, custom, render, run};
use safetensors::tensor::{Dtype, TensorView, serialize};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use two_inducers::TwoInducers;

/// All that a stub says that it can do.
const ABLE: &str = r#""features":["gpt2","adaptive","extension","gating","inducer","prefix",
"lora","lora-bias","label-smoothing","segments","special-tokens","padding"],
"answers":["logits","tokens"]"#;

/// A program in the shell that greets as it should and answers every other request with `body`;
/// there `$id` and `$out` are the request's.
fn stub(dir: &Path, able: &str, body: &str) -> String {
    let script = dir.join("stub.sh");
    let greeting = r#"printf '{"id":%s,"name":"stub","dtype":"f64",%s}\n' "$id" "$able""#;
    let text = format!(
        "able='{}'\necho started >>'{}'\nwhile read -r line; do\n\
         id=$(printf '%s' \"$line\" | sed 's/.*\"id\":\\([0-9]*\\).*/\\1/')\n\
         out=$(printf '%s' \"$line\" | sed 's/.*\"out\":\"\\([^\"]*\\)\".*/\\1/')\n\
         case $line in *'\"hello\"'*) {greeting} ;; *)\n{body}\n;; esac\ndone\n",
        able.replace('\n', ""),
        dir.join("starts").display(),
    );
    std::fs::write(&script, text).unwrap();
    format!("sh '{}'", script.display())
}

fn rows_of(command: &str, limit: Duration, filter: &str) -> Report {
    let mut options = Options::new(2, 1).only(filter);
    options.external = Some(External::start(command, limit).unwrap());
    run(&options, &|_| {}).unwrap()
}

/// The note of the one failed row that a stub with this body gets.
fn note(body: impl Fn(&Path) -> String) -> String {
    note_within(Duration::from_secs(60), body)
}

fn note_within(limit: Duration, body: impl Fn(&Path) -> String) -> String {
    let dir = tempfile::tempdir().unwrap();
    let command = stub(dir.path(), ABLE, &body(dir.path()));
    let report = rows_of(&command, limit, "term-scale");
    assert_eq!(report.rows.len(), 1);
    let row = &report.rows[0];
    assert_eq!(
        (row.verdict, row.engine.as_str()),
        (Verdict::Failed, "stub f64")
    );
    let note = row.note.clone().unwrap();
    assert!(!note.contains('\n'), "{note}");
    note
}

/// A body that answers with a file of one tensor of zeros, or of one number that is none.
fn answers_with(dir: &Path, name: &str, shape: &[usize], number: f64) -> String {
    let numbers = shape.iter().product::<usize>();
    let bytes: Vec<u8> = (0..numbers).flat_map(|_| number.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F64, shape.to_vec(), &bytes).unwrap();
    let file = dir.join("answer");
    std::fs::write(&file, serialize([(name, view)], None).unwrap()).unwrap();
    format!(
        "cp '{}' \"$out\"; printf '{{\"id\":%s}}\\n' \"$id\"",
        file.display()
    )
}

#[test]
fn a_crash_fails_the_row_with_the_last_words() {
    let note = note(|_| "echo 'out of luck' >&2; exit 3".into());
    let said = "ended (exit status: 3) at `compute`; its last words: out of luck";
    assert!(note.contains(said), "{note}");
}

#[test]
fn a_hang_fails_the_row_at_the_time_limit() {
    let note = note_within(Duration::from_secs(3), |_| "exec sleep 600".into());
    assert!(note.contains("no answer to `compute` within 3 s"), "{note}");
}

#[test]
fn an_unknown_message_an_old_answer_and_a_refusal_fail_the_row() {
    let found = note(|_| "echo 'Loading weights'".into());
    assert!(
        found.contains("unknown message in answer to `compute`: `Loading weights`"),
        "{found}"
    );
    let found = note(|_| "echo '{\"id\":1}'".into());
    assert!(found.contains("unknown message"), "{found}");
    let found = note(|_| "printf '{\"id\":%s,\"error\":\"no\\\\nway\"}\\n' \"$id\"".into());
    assert!(found.contains("the program refuses: no way"), "{found}");
}

#[test]
fn a_missing_tensor_a_wrong_shape_and_no_number_fail_the_row() {
    let found = note(|_| "printf '{\"id\":%s}\\n' \"$id\"".into());
    assert!(
        found.contains("answer: tensor `logits` is missing, expected ["),
        "{found}"
    );
    let found = note(|dir| answers_with(dir, "logits", &[1, 2], 0.0));
    assert!(
        found.contains("tensor `logits`: expected shape ["),
        "{found}"
    );
    assert!(found.ends_with("found [1, 2]"), "{found}");
    let found = note(|dir| answers_with(dir, "logits", &[1, 2], f64::NAN));
    assert!(
        found.contains("answer") && found.contains("`logits`"),
        "{found}"
    );
    assert!(found.contains("NaN"), "{found}");
}

#[test]
fn a_row_that_fails_does_not_keep_the_others_from_being_run() {
    let dir = tempfile::tempdir().unwrap();
    let command = stub(dir.path(), ABLE, "exit 1");
    let report = rows_of(&command, Duration::from_secs(60), "term-");
    assert_eq!(report.count(Verdict::Failed), 7);
    let starts = std::fs::read_to_string(dir.path().join("starts")).unwrap();
    assert_eq!(
        starts.lines().count(),
        1 + 6,
        "each row but the first starts it again"
    );
}

#[test]
fn what_a_program_cannot_do_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let able = r#""features":["roberta"],"answers":["logits"]"#;
    let command = stub(dir.path(), able, "exit 1");
    let report = rows_of(&command, Duration::from_secs(60), "gradient");
    assert_eq!(report.count(Verdict::NotRun), report.rows.len());
    let note = report.rows[0].note.clone().unwrap();
    assert!(note.contains("does not do `gradients`"), "{note}");
    let report = rows_of(&command, Duration::from_secs(60), "term-scale");
    assert_eq!(report.rows[0].verdict, Verdict::NotRun);
    assert!(report.passed(), "not run is no failure");
    let body = "printf '{\"id\":%s,\"unsupported\":\"a Tuesday\"}\\n' \"$id\"";
    let command = stub(dir.path(), ABLE, body);
    let report = rows_of(&command, Duration::from_secs(60), "term-scale");
    let row = &report.rows[0];
    assert_eq!(row.verdict, Verdict::NotRun);
    assert!(row.note.clone().unwrap().contains("a Tuesday"));
}

#[test]
fn a_greeting_that_is_none_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let start = |command: &str| {
        let limit = Duration::from_secs(60);
        External::start(command, limit)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let able = r#""features":["gpt3"],"answers":[]"#;
    let error = start(&stub(dir.path(), able, ""));
    assert!(
        error.contains("field `features`: unknown name `gpt3`"),
        "{error}"
    );
    let error = start("no-such-program-anywhere x");
    assert!(
        error.contains("`no-such-program-anywhere` cannot be started"),
        "{error}"
    );
    let error = start("sh 'open");
    assert!(error.contains("a quote is not closed"), "{error}");
    let error = start("true");
    assert!(
        error.contains("ended") || error.contains("closed"),
        "{error}"
    );
}

/// The interpreter, where it has what the engines need; `PYTHON` names another one.
fn python(needs: &str) -> Option<String> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let mut probe = Command::new(&python);
    probe.args(["-c", &format!("import {needs}")]);
    let found = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found.is_ok_and(|status| status.success()) {
        true => Some(python),
        false => {
            println!("not run: {python} with {needs}");
            None
        }
    }
}

fn engine(python: &str, script: &str) -> String {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/engines");
    format!("'{python}' '{dir}/{script}'")
}

fn verdicts(rows: &[ReportRow]) -> String {
    rows.iter().map(|row| render::line(row) + "\n").collect()
}

/// What can be broken in the torch engine, and the row that names it.
const FAULTS: [(&str, &str); 4] = [
    ("drop-sqrt-p", "term-scale"),
    ("second-softmax", "term-denominator"),
    ("weighted-b2", "term-shared-bias"),
    ("prefix-offset", "term-prefix-offset"),
];

#[test]
fn the_torch_engine_agrees_and_each_broken_term_fails_the_row_that_names_it() {
    let Some(python) = python("torch, transformers, safetensors") else {
        return;
    };
    let limit = Duration::from_secs(120);
    let report = rows_of(&engine(&python, "torch_engine.py"), limit, "term-");
    assert_eq!(
        report.count(Verdict::Passed),
        7,
        "{}",
        verdicts(&report.rows)
    );
    for (fault, claim) in FAULTS {
        let faulty = engine(&python, "torch_engine.py") + " --fault " + fault;
        let report = rows_of(&faulty, limit, claim);
        let failed = report.rows.iter().filter(|r| r.verdict == Verdict::Failed);
        let failed: Vec<&str> = failed.map(|r| r.claim.as_str()).collect();
        assert_eq!(failed, [claim], "{fault}: {}", verdicts(&report.rows));
    }
}

#[test]
fn an_engine_written_from_the_protocols_page_alone_passes_what_it_can_do() {
    let Some(python) = python("numpy, safetensors") else {
        return;
    };
    let command = engine(&python, "minimal_engine.py");
    let report = rows_of(&command, Duration::from_secs(120), "models-agree");
    let row = &report.rows[0];
    assert_eq!(row.verdict, Verdict::Passed, "{}", render::line(row));
    let text = include_str!("../engines/minimal_engine.py");
    assert!(text.lines().count() < 100, "{} lines", text.lines().count());
    assert!(!text.contains("torch"), "numpy and nothing else");
}

#[test]
fn a_variant_in_python_is_its_formula_and_a_wrong_one_is_not() {
    let Some(python) = python("torch, transformers, safetensors") else {
        return;
    };
    let rows = |options: &str| {
        let command = engine(&python, "my_variant.py") + options;
        let program = External::start(&command, Duration::from_secs(120)).unwrap();
        custom::check_program::<TwoInducers>(&program, 13, 1)
    };
    let right = rows("");
    assert_eq!(right.len(), 4);
    assert!(
        right.iter().all(|row| row.verdict == Verdict::Passed),
        "{}",
        verdicts(&right)
    );
    for row in rows(" --wrong") {
        let differs = ["agree", "gradients"].contains(&row.claim.as_str());
        assert_eq!(
            row.verdict == Verdict::Failed,
            differs,
            "{}",
            render::line(&row)
        );
    }
}
