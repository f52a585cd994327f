//! The crate's tests, one file a subject. They are one program: a dozen would each link LAPACK, and
//! a mutant would wait for all of them.

mod backbones;
mod claims;
mod common;
mod counts;
mod digits;
mod exact;
mod files;
mod golden;
mod golden_methods;
mod golden_peft;
mod gpt2;
mod gradients;
mod kernel_side;
mod parts;
