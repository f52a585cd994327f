//! Load a backbone, attach the inducer, train 50 steps, generate:
//! `cargo run --example finetune [BACKBONE]`. Without a Hugging Face directory of a GPT-2 it makes
//! a tiny one, which knows nothing, and teaches it to count in a circle.

use candle_core::{DType, Device};
use inducer_datasets::batch::Batch;
use inducer_gpu::backbone::Gpt2;
use inducer_gpu::decode::greedy::{Decoding, Prompt, greedy};
use inducer_gpu::train::{Data, TrainConfig, train};
use inducer_gpu::{Gpt2Config, Method, Model, Result};
use std::path::Path;

/// Sequences that count upwards modulo 10, each labelled from its second token on.
struct Counting(Vec<Batch>);

impl Counting {
    fn new() -> Self {
        let count = |from: u32| (from..from + 12).map(|x| x % 10).collect::<Vec<u32>>();
        let ids: Vec<Vec<u32>> = (0..10).map(count).collect();
        let labels = |row: &Vec<u32>| row.iter().map(|id| i64::from(*id)).collect();
        let labels: Vec<Vec<i64>> = ids.iter().map(labels).collect();
        Self(vec![Batch::pack(&ids, None, Some(&labels))])
    }
}

impl Data for Counting {
    fn epoch(&self, _epoch: usize) -> Vec<Batch> {
        self.0.clone()
    }

    fn validation(&self) -> &[Batch] {
        &self.0
    }
}

fn tiny() -> Result<Gpt2> {
    let config = Gpt2Config {
        vocab_size: 10,
        n_positions: 64,
        n_embd: 64,
        n_layer: 2,
        n_head: 4,
        initializer_range: 0.3,
        ..Gpt2Config::small()
    };
    Gpt2::random(config, 1, DType::F32, &Device::Cpu)
}

fn main() -> Result<()> {
    let mut model = match std::env::args().nth(1) {
        Some(dir) => Model::load(Path::new(&dir), DType::F32, &Device::Cpu)?,
        None => Model::new(tiny()?, DType::F32, &Device::Cpu),
    };
    let inducer = Method::Inducer.on(&model.backbone.config());
    model.attach(&inducer, 0, 1)?;

    let config = TrainConfig {
        dropout: 0.0,
        ..TrainConfig::generation(1e-2, 50)
    };
    let summary = train(&mut model, &Counting::new(), &config, None, &mut |_| {})?;
    println!(
        "validation loss {:.3} after {} steps",
        summary.validation_loss, summary.steps
    );

    let prompt = Prompt {
        ids: vec![3, 4, 5],
        segments: None,
        next_segment: None,
    };
    let decoding = Decoding {
        max_new: 8,
        eos: u32::MAX,
        batch: 1,
    };
    let texts = greedy(&model, &[prompt], decoding, &mut |_| {})?;
    println!("3 4 5 is followed by {:?}", texts[0]);
    Ok(())
}
