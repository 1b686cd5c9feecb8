//! `report.html`: a training run as a page.

mod calibration;
pub(crate) mod configuration;
mod curves;
mod data;
pub(crate) mod errors;
pub(crate) mod page;
mod results;
#[cfg(test)]
pub(crate) mod tests;

pub use configuration::configuration_rows;
pub use page::RunReport;
