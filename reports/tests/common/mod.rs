//! A tiny study in a temporary directory: WebNLG-like data and a random GPT-2.
#![allow(dead_code, unreachable_pub)] // each test binary uses its part

use candle_core::{DType, Device};
use inducer_datasets::synthetic::{self, SyntheticConfig};
use inducer_datasets::{Task, Tokenizer};
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::{Gpt2Config, Method, Model, RobertaConfig};
use std::path::PathBuf;
use std::process::{Command, Output};

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
