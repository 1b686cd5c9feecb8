//! Reports of a training run: an HTML page with charts, TensorBoard events and a model card.

pub(crate) mod card;
mod chart;
pub(crate) mod comparison;
pub(crate) mod error;
pub mod html;
mod number;
pub(crate) mod point;
pub(crate) mod run;
pub(crate) mod series;
pub(crate) mod sweep;
pub(crate) mod tensorboard;

pub use card::{CardName, ModelCard, last_parts};
pub use chart::{Bar, BarChart, LineChart, Series};
pub use error::ReportError;
pub use number::{format_number, format_percent};
pub use point::{EvaluationPoint, StepPoint};
pub use run::{RunReport, configuration_rows};
pub use series::{SeriesKind, SeriesReport, SeriesRun};
pub use tensorboard::EventWriter;
