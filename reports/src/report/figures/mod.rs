//! The report's pictures, as SVG.

pub mod chart;
pub mod gates;
pub mod intervals;
pub mod svg;
