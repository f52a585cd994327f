//! The crate's tests, one file a subject. They are one program: thirty would each be linked, and
//! cargo runs programs one after the other. `repository.rs` has those that need the repository.

mod backbones;
mod bench;
mod browser;
mod cases;
mod classification;
mod command;
mod common;
mod continued;
mod driver;
mod explain;
mod explain_page;
mod interchange;
mod keeping;
mod lost;
mod methods;
mod own;
mod pretraining;
mod prompt;
mod report_page;
mod resume;
mod score;
mod silence;
mod slurm;
mod study;
mod tasks;
mod teach;
mod teach_class;
mod torture;
mod verify;
