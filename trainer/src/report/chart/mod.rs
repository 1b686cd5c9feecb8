//! Charts as HTML figures: `plotters` draws the SVG, the page around it sets title, legend and colors.

pub(crate) mod bar;
mod figure;
pub(crate) mod line;

pub use bar::{Bar, BarChart};
pub use line::{LineChart, Series};
