//! Claims about single equations: identities, inequalities and counts, most of them on the
//! reference's scalars, and on whole models where a mutation of the equation shows there.

pub mod adapter;
pub mod attention;
pub mod authors;
pub mod counts;
pub mod inducer;
pub mod inducing;
pub mod inducing_field;
pub mod kernel;
pub mod ladder;
pub mod ladder_field;
pub mod limits;
pub mod lora;
pub mod prefix;
pub mod sentences;
