//! Reports of a training run: an HTML page with charts, TensorBoard events and a model card.

mod card;
mod chart;
mod error;
pub mod html;
mod number;
mod point;
mod run;
mod tensorboard;

pub use card::{CardName, ModelCard, last_parts};
pub use chart::{Bar, BarChart, LineChart, Series};
pub use error::ReportError;
pub use number::{format_number, format_percent};
pub use point::{EvaluationPoint, StepPoint};
pub use run::{RunReport, configuration_rows};
pub use tensorboard::EventWriter;
#[cfg(test)]
pub(crate) use tensorboard::event_times;
