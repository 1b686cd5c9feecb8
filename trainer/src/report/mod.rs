//! What a person looks at: charts, pages and files that describe a run.

mod card;
mod chart;
mod error;
pub mod html;
mod point;
mod run;
mod tensorboard;

pub use card::{CardName, ModelCard, last_parts};
pub use chart::{Bar, BarChart, LineChart, Series};
pub use error::ReportError;
pub use point::{EvaluationPoint, StepPoint};
pub use run::{RunReport, configuration_rows};
pub use tensorboard::EventWriter;
#[cfg(test)]
pub(crate) use tensorboard::event_times;
