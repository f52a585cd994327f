//! Reading backbones and adapters from their directories.
//!
//! The engine has its own readers. That these here share no code with them (the safetensors
//! container included, which is parsed from its bytes) is on purpose: two witnesses that agree are
//! evidence only if neither copied from the other.
//!
//! [`tensors`] reads the container, [`backbone`] a Hugging Face directory, [`adapter_config`] and
//! [`adapter`] PEFT's directory convention, [`layout`] says which adapter tensors of which shapes
//! belong to a configuration.

pub mod adapter;
pub mod adapter_config;
pub mod backbone;
pub mod layout;
pub mod named;
pub mod tensors;
