//! What each fuzz target feeds its bytes to. `reference/tests/fuzz_corpus.rs` has this file as a
//! module and goes through the committed corpus with it.

use inducer_reference::files::tensors::read_tensors;
use inducer_reference::{Adapter, AdapterConfig, Gpt2, Gpt2Config, Roberta, RobertaConfig};

#[path = "../../../datasets/fuzz/src/input.rs"]
mod input;
use input::{files, with_files};

/// The name of a target, and what it does with its bytes.
type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 3] = [
    ("reference_tensors", reference_tensors),
    ("reference_adapter", reference_adapter),
    ("reference_backbone", reference_backbone),
];

/// A safetensors file.
pub fn reference_tensors(data: &[u8]) {
    with_files(&[("x.safetensors", data)], |dir| {
        let path = dir.join("x.safetensors");
        let _ = read_tensors::<f32>(&path, |_| false);
        let _ = read_tensors::<f64>(&path, |name| name.len() > 1);
    });
}

/// An adapter's folder: `adapter_config.json`, then `adapter_model.safetensors`; an odd first byte
/// reads it for RoBERTa.
pub fn reference_adapter(data: &[u8]) {
    let (which, data) = data.split_first().unwrap_or((&0, &[]));
    let [config, weights] = files(data);
    let names = ["adapter_config.json", "adapter_model.safetensors"];
    with_files(&[(names[0], config), (names[1], weights)], |dir| {
        let _ = AdapterConfig::read(&dir.join(names[0]));
        let adapter = match which % 2 {
            0 => Adapter::<f64>::load(dir, &Gpt2Config::new(13, 16, 8, 2, 2)),
            _ => Adapter::load(dir, &RobertaConfig::new(13, 16, 8, 2, 2, 3)),
        };
        if let Ok(adapter) = adapter {
            let _ = (
                adapter.added(),
                adapter.position_offset(),
                adapter.replacements(),
            );
            for layer in 0..adapter.layout.layers {
                let _ = adapter.layer(layer).is_ok();
            }
        }
    });
}

/// A backbone's folder: `config.json`, then `model.safetensors`.
pub fn reference_backbone(data: &[u8]) {
    let [config, weights] = files(data);
    with_files(
        &[("config.json", config), ("model.safetensors", weights)],
        |dir| {
            let _ = Gpt2::<f64>::load(dir).is_ok();
            let _ = Roberta::<f64>::load(dir).is_ok();
        },
    );
}
