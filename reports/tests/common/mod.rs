//! A tiny study in a temporary directory: WebNLG-like data and a random GPT-2.
#![allow(dead_code, unreachable_pub)] // each test binary uses its part
#![allow(clippy::unwrap_used)]

pub mod schema;

use candle_core::{DType, Device};
use inducer_datasets::synthetic::{self, SyntheticConfig};
use inducer_datasets::{Task, Tokenizer};
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::{Gpt2Config, Method, Model, RobertaConfig};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The size of the tests' RoBERTas.
pub fn tiny_roberta() -> RobertaConfig {
    RobertaConfig {
        vocab_size: 400,
        hidden_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        intermediate_size: 48,
        max_position_embeddings: 98,
        ..RobertaConfig::base()
    }
}

/// A directory with `data/` and `backbone/`, both tiny.
pub struct Fixture(pub tempfile::TempDir);

impl Fixture {
    /// An adapter on the backbone, fifteen times as far from its start as chance puts it, in a
    /// folder of that name.
    pub fn far_adapter(&self, method: Method, folder: &str) -> PathBuf {
        let dir = self.path(folder);
        let mut model = Model::load(&self.path("backbone"), DType::F32, &Device::Cpu).unwrap();
        let config = method.on(&model.backbone.config());
        let special = Task::WebNlg.special_tokens().len();
        model.attach(&config, special, 5).unwrap();
        for p in model.trainable_mut() {
            if p.name.contains("inducer") || p.name.contains("lora") {
                p.tensor = (&p.tensor * 15.0).unwrap();
            }
        }
        model.save_adapter(&dir).unwrap();
        dir
    }

    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        synthetic::write(
            &dir.path().join("data"),
            SyntheticConfig {
                seed: 3,
                train: 24,
                dev: 6,
                test: 8,
            },
        )
        .unwrap();
        let text = synthetic::pretraining_text(1, 60_000);
        let tokenizer = Tokenizer::train(text.split("\n\n"), 400).unwrap();
        let backbone = dir.path().join("backbone");
        tokenizer.save(&backbone).unwrap();
        let config = Gpt2Config {
            vocab_size: 400,
            n_positions: 320,
            n_embd: 24,
            n_layer: 2,
            n_head: 3,
            eos_token_id: Some(0),
            ..Gpt2Config::small()
        };
        Model::new(
            Gpt2::random(config, 7, DType::F32, &Device::Cpu).unwrap(),
            DType::F32,
            &Device::Cpu,
        )
        .save_backbone(&backbone)
        .unwrap();
        Self(dir)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn adapter(&self, method: Method) -> PathBuf {
        let dir = self.path(method.name());
        let mut model = Model::load(&self.path("backbone"), DType::F32, &Device::Cpu).unwrap();
        let config = method.on(&model.backbone.config());
        model
            .attach(&config, Task::WebNlg.special_tokens().len(), 5)
            .unwrap();
        model.save_adapter(&dir).unwrap();
        dir
    }

    pub fn inducer(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_inducer"))
            .args(args)
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    /// Runs a command that must fail with status 1 and one message that has all of `words`.
    pub fn fails(&self, args: &[&str], words: &[&str]) {
        let out = self.inducer(args);
        let message = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{args:?}: {message}");
        assert!(!message.contains("panicked"), "{message}");
        assert_eq!(
            message.lines().filter(|l| l.starts_with("error")).count(),
            1,
            "{message}"
        );
        for word in words {
            assert!(
                message.contains(word),
                "{args:?}: no `{word}` in: {message}"
            );
        }
    }
}

/// Builds `resume/NAME.c` as a library to be loaded before the C library.
pub fn preload(dir: &Path, name: &str) -> PathBuf {
    let library = dir.join(format!("{name}.so"));
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let source = format!("{}/tests/resume/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let built = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
        .args([library.as_os_str(), source.as_ref(), "-pthread".as_ref()])
        .status();
    assert!(
        built.unwrap().success(),
        "{compiler} could not build {source}"
    );
    library
}

pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

pub const INPUTS: &str = "--data data --backbone backbone --threads 1 --max-new-tokens 4";

/// `inducer train` on the fixture.
pub fn train(more: &str) -> Vec<String> {
    words(&format!(
        "train {INPUTS} --out run --method lora --steps 2 {more}"
    ))
    .into_iter()
    .map(str::to_string)
    .collect()
}

pub fn run(f: &Fixture, args: &[String]) -> Output {
    f.inducer(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

pub fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

pub fn printed(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub fn succeeds(f: &Fixture, line: &str) -> (String, String) {
    let out = f.inducer(&words(line));
    assert!(out.status.success(), "{line}: {}", said(&out));
    (printed(&out), said(&out))
}

/// Fails with a status and a message that has all of the words.
pub fn refused(f: &Fixture, line: &str, status: i32, parts: &[&str]) {
    let out = f.inducer(&words(line));
    let message = said(&out);
    assert_eq!(out.status.code(), Some(status), "{line}: {message}");
    for part in parts {
        assert!(message.contains(part), "{line}: no `{part}` in: {message}");
    }
}

pub fn trained(f: &Fixture, more: &str) -> (String, String) {
    succeeds(f, &train(more).join(" "))
}

/// The arguments with only the last value of each option.
pub fn last_of_each(args: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = vec![args[0].clone()];
    for pair in args[1..].chunks(2) {
        match kept.iter().position(|word| *word == pair[0]) {
            Some(at) => kept[at + 1].clone_from(&pair[1]),
            None => kept.extend(pair.iter().cloned()),
        }
    }
    kept
}

pub fn spawn(f: &Fixture, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_inducer"))
        .args(args)
        .current_dir(f.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for what the process does, as long as it lives.
pub fn wait_for(child: &mut Child, done: impl Fn() -> bool) {
    while !done() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}
