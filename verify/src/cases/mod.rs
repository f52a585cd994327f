//! Seeded random inputs that reach the corners. The same draw gives the same numbers to every
//! scalar and engine.
//!
//! Every value is exact in `f32`, so that no engine starts from rounded inputs. Nothing is left at
//! a special value by habit: biases, B and α/r are random like everything else; zeros, ties and
//! repetitions appear only as [`Corner`]s.

pub mod backbone;
pub mod draw;
pub mod head;
pub mod masks;
pub mod method;
pub mod model;
pub mod sample;
pub mod strategy;

pub use backbone::{BackboneConfig, Family, gpt2, roberta};
pub use draw::{CaseName, Draw, ModelOption};
pub use head::Head;
pub use masks::Dropping;
pub use model::{ModelCase, TextRow};
pub use sample::Sample;
pub use strategy::{Cases, models};

/// Where in the space of inputs a case lies. [`Corner::Plain`] is the first, and so the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corner {
    /// Anywhere.
    Plain,
    /// One support point.
    OneKey,
    /// One query (a row of one token).
    OneQuery,
    /// One head.
    OneHead,
    /// Scores up to ±80, where exp overflows `f32` a little further on.
    Extreme,
    /// All scores of a row are equal.
    Tied,
    /// A support point stands there several times.
    Repeated,
    /// Some keys are hidden, and some rows see few.
    Padded,
    /// Bottlenecks of one unit.
    Tiny,
    /// Bottlenecks wider than the model.
    Wide,
}

impl Corner {
    /// All of them, in the order in which cases visit them.
    pub const ALL: [Self; 10] = [
        Self::Plain,
        Self::Extreme,
        Self::OneKey,
        Self::Tied,
        Self::Padded,
        Self::OneHead,
        Self::Repeated,
        Self::OneQuery,
        Self::Tiny,
        Self::Wide,
    ];
}
