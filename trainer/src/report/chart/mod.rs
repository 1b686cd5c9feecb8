//! Charts as inline SVG: one width, colours from the page around them or, without one, their own.
//!
//! The same chart gives the same bytes. A value that is not a finite number is left out, never written.

mod bar;
mod line;
mod scale;
mod svg;

pub use bar::{Bar, BarChart};
pub use line::{LineChart, Series};
