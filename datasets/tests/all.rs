//! The crate's tests, one file a subject. They are one program: twenty would each be linked.

mod bleu;
mod cache;
mod common;
mod coqa;
mod coqa_score;
mod directory;
mod glue;
mod hub;
mod layout;
mod meteor;
mod own;
mod releases;
mod resources;
mod significance;
mod synthetic;
mod synthetic_tasks;
mod ter;
mod tokens;
mod webnlg;
mod webnlg_scores;
mod webnlg_xml;
