//! The report's pages: [`html::render`] and [`markdown::render`], both functions of
//! [`crate::study::Study`] alone.
//!
//! What both say is made once: tables as [`table::Table`], sentences in [`verdict`], numbers in
//! [`words`]; so the pages cannot disagree.

pub mod chart;
pub mod claims;
pub mod curves;
pub mod gates;
pub mod html;
pub mod intervals;
pub mod ledger;
pub mod lengths;
pub mod markdown;
pub mod measure;
pub mod mechanism;
pub mod palette;
pub mod record;
pub mod samples;
pub mod svg;
pub mod table;
pub mod tables;
pub mod verdict;
pub mod words;

#[cfg(test)]
pub(crate) mod fixture;
