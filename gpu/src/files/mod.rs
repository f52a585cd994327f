//! Everything that reads or writes files: backbones as Hugging Face directories, adapters in this
//! project's layout and in PEFT's, safetensors, PyTorch's archives, the hub's cache.

pub mod adapter;
pub mod backbone;
pub mod hub;
mod io;
pub mod merge;
mod mmap;
mod model;
pub mod peft;
mod pickle;
pub mod safetensors;
mod unpickle;

pub(crate) use io::{create_dir, write};

pub use adapter::SavedAdapter;
pub use io::write_json;
pub use model::{load_with_adapter, read_adapter};
