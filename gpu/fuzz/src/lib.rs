//! What each fuzz target feeds its bytes to. `gpu/tests/fuzz_corpus.rs` has this file as a module
//! and goes through the committed corpus with it.

use candle_core::{DType, Device};
use inducer_gpu::adapter::Attention;
use inducer_gpu::backbone::{Backbone, Gpt2, Roberta};
use inducer_gpu::files::merge::merge;
use inducer_gpu::files::safetensors::{Weights, metadata, same_name};
use inducer_gpu::files::{self, backbone, read_adapter};
use inducer_gpu::parts::PrefixConfig;
use inducer_gpu::train::{AdamW, AdamWConfig, checkpoint};
use inducer_gpu::{AdapterConfig, BackboneConfig, Gpt2Config, Model, RobertaConfig, counts};
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;

#[path = "../../../datasets/fuzz/src/input.rs"]
mod input;
use input::{choice, files as parts, with_files};

/// The name of a target, and what it does with its bytes.
type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 9] = [
    ("backbone_config", backbone_config),
    ("adapter_config", adapter_config),
    ("safetensors_file", safetensors_file),
    ("weights_index", weights_index),
    ("pickle_archive", pickle_archive),
    ("pickle_values", pickle_values),
    ("checkpoint_state", checkpoint_state),
    ("adapter_folder", adapter_folder),
    ("backbone_folder", backbone_folder),
];

/// The backbones that adapters are read for.
const GPT2: &str = include_str!("../../../reference/tests/golden/gpt2/config.json");
const ROBERTA: &str = include_str!("../../../reference/tests/golden/roberta/config.json");

/// A small backbone of one of the two kinds.
fn a_backbone(which: usize) -> Box<dyn Backbone> {
    let text = [GPT2, ROBERTA][which % 2];
    let config = BackboneConfig::from_json("config.json".as_ref(), text.parse().unwrap());
    match config.unwrap() {
        BackboneConfig::Gpt2(c) => Gpt2::random(c, 1, DType::F32, &Device::Cpu).unwrap().into(),
        BackboneConfig::Roberta(c) => Roberta::random(c, 1, DType::F32, &Device::Cpu)
            .unwrap()
            .into(),
    }
}

/// `config.json` of a backbone.
pub fn backbone_config(data: &[u8]) {
    let path: &Path = "config.json".as_ref();
    with_files(&[("config.json", data)], |dir| {
        let _ = backbone::model_type(dir);
        let Ok(config) = BackboneConfig::read(dir) else {
            return;
        };
        let _ = (
            config.spec(),
            config.is_papers_size(),
            counts::of_backbone(&config),
        );
        match config {
            BackboneConfig::Gpt2(c) => drop((c.to_json(), c.head_width())),
            BackboneConfig::Roberta(c) => drop((c.to_json("Model"), c.class_names(), c.problem())),
        }
    });
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        let _ = Gpt2Config::from_json(path, value.clone());
        let _ = RobertaConfig::from_json(path, value);
    }
}

/// `adapter_config.json`, of this project or of PEFT; the first byte chooses the backbone.
pub fn adapter_config(data: &[u8]) {
    let (which, data) = choice(data);
    let text = [GPT2, ROBERTA][which % 2];
    let backbone = BackboneConfig::from_json("config.json".as_ref(), text.parse().unwrap());
    let backbone = backbone.unwrap();
    with_files(&[("adapter_config.json", data)], |dir| {
        let _ = files::peft::is_peft(dir);
        if let Ok(config) = AdapterConfig::read(&dir.join("adapter_config.json"), &backbone) {
            let _ = counts::stored_tensors(&config, &backbone);
            let _ = counts::trained(&config, &backbone);
            let _ = (
                config.position_offset(),
                config.after_folding(),
                config.unties(),
            );
        }
    });
}

/// Every tensor of a file, in the shape that it says.
fn read_all(weights: &Weights) {
    let _ = weights.dtype();
    for name in weights.names() {
        if let Ok(Some(shape)) = weights.shape(name) {
            let expected = [(name.to_owned(), shape)];
            let _ = weights.read(&expected, same_name, DType::F32, &Device::Cpu);
        }
    }
    let _ = weights.refuse_others(&[], same_name, |_| false);
}

/// A safetensors file.
pub fn safetensors_file(data: &[u8]) {
    with_files(&[("model.safetensors", data)], |dir| {
        let _ = metadata(&dir.join("model.safetensors"));
        if let Ok(weights) = Weights::open_backbone(dir) {
            read_all(&weights);
        }
    });
}

/// The index of shards beside two of them.
pub fn weights_index(data: &[u8]) {
    let shard = |name: &str| {
        let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes(), &1_f32.to_le_bytes()].concat()
    };
    let (a, b) = (shard("a"), shard("b"));
    let index = "model.safetensors.index.json";
    let all: [(&str, &[u8]); 3] = [(index, data), ("a.safetensors", &a), ("b.safetensors", &b)];
    with_files(&all, |dir| {
        if let Ok(weights) = Weights::open_backbone(dir) {
            read_all(&weights);
        }
    });
}

/// PyTorch's archive as it is.
pub fn pickle_archive(data: &[u8]) {
    with_files(&[("pytorch_model.bin", data)], |dir| {
        if let Ok(weights) = Weights::open_backbone(dir) {
            read_all(&weights);
        }
    });
}

/// The pickle in a sound archive, beside the elements of one storage.
pub fn pickle_values(data: &[u8]) {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("archive/data.pkl", data), ("archive/data/0", &[0; 64][..])] {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    pickle_archive(&zip.finish().unwrap().into_inner());
}

/// A run's checkpoint, for a GPT-2 with a prefix.
pub fn checkpoint_state(data: &[u8]) {
    let prefix = PrefixConfig {
        length: 2,
        offset_positions: false,
        reparametrisation: None,
    };
    let config = AdapterConfig {
        attention: Some(Attention::Prefix(prefix)),
        ..AdapterConfig::none()
    };
    let mut model = Model::new(a_backbone(0), DType::F32, &Device::Cpu);
    model.attach(&config, 0, 1).unwrap();
    with_files(&[(checkpoint::FILE, data)], |dir| {
        let mut optimiser = AdamW::new(AdamWConfig::default());
        let _ = checkpoint::load(dir, &mut model, &mut optimiser);
    });
}

/// An adapter's folder: `adapter_config.json`, then `adapter_model.safetensors`, of this project
/// or of PEFT; the first byte chooses the backbone.
pub fn adapter_folder(data: &[u8]) {
    let (which, data) = choice(data);
    let [config, weights] = parts(data);
    let names = ["adapter_config.json", "adapter_model.safetensors"];
    with_files(&[(names[0], config), (names[1], weights)], |dir| {
        let mut own = a_backbone(which);
        let _ = files::adapter::head_classes(dir);
        if let Ok(saved) = read_adapter(dir, own.as_ref(), DType::F32, &Device::Cpu) {
            let mut model = Model::new(a_backbone(which), DType::F32, &Device::Cpu);
            let _ = model.attach_saved(dir);
            let _ = files::peft::export(&saved, own.as_ref(), &dir.join("peft"));
            let _ = merge(own.as_mut(), &saved);
        }
    });
}

/// A backbone's folder: `config.json`, then `model.safetensors`.
pub fn backbone_folder(data: &[u8]) {
    let [config, weights] = parts(data);
    with_files(
        &[("config.json", config), ("model.safetensors", weights)],
        |dir| {
            let _ = (backbone::has_head(dir), backbone::stored_dtype(dir));
            for classes in [None, Some(2)] {
                let _ = Model::load_for(dir, classes, 1, DType::F32, &Device::Cpu);
            }
        },
    );
}
