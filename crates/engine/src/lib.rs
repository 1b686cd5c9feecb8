//! Tags many requests at once, without HTTP: text to words to windows to batches to labels to entities.
//!
//! An [`Engine`] is opened for a model. Its [`Tagger`] admits texts or refuses them, splits and tokenizes them, batches their
//! windows with those of other requests, runs them on worker threads, and yields a [`TaggedText`], which an [`Answer`] shows
//! as entities. [`tag_lines`] sends the lines of a stream through it, and [`tag_texts`] texts from
//! elsewhere. The engine follows its model's files, and serves another
//! version without losing a request.

mod bulk;
mod choose_device;
mod config;
mod context;
mod device;
mod engine;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod health;
mod memory;
mod memory_budget;
mod metrics;
mod models;
mod pipeline;
mod refusal;
mod request;
mod scheduler;
mod series;
mod session;
#[doc(hidden)]
pub mod testing;
mod trace;
mod turn;

pub use bulk::error::LineError;
pub use bulk::limits::BulkLimits;
pub use bulk::record::{LineFormat, StreamItem, name_schema};
pub use bulk::stream::{TaggedGroup, TaggedLine, tag_lines};
pub use bulk::texts::{BulkError, TaggedTexts, TextGroup, tag_texts};
pub use config::{
    BatchLimits, Batching, CanaryConfig, EngineConfig, ModelConfig, OptionError, QueueLimits, TextLimits,
    VersionsConfig, check_counts, check_threads,
};
pub use device::DeviceChoice;
pub use engine::Engine;
pub use error::EngineError;
pub use health::Readiness;
pub use memory_budget::{MemoryBudget, MemoryError, MemoryPermit};
pub use metrics::{Metrics, ModelMetrics};
pub use models::error::ReloadError;
pub use models::named::NamedModel;
pub use models::source::{ModelSource, Opened, Sessions, VersionPath};
pub use models::track::{Reload, ReloadTrigger, Track};
pub use models::watch::watch;
pub use pipeline::aggregate::{Classified, ClassifiedGroup, ClassifiedToken, PipelineOptions};
pub use pipeline::aggregation::{Aggregation, DecodingOptions};
pub use pipeline::answer::{Answer, AnswerOptions, EntityAnswer, WordAnswer};
pub use pipeline::answer_writer::AnswerWriter;
pub use pipeline::classifier::Classification;
pub use pipeline::error::{PrepareError, TagError};
pub use pipeline::model::TextModel;
pub use pipeline::tagged::{TaggedText, Words};
pub use pipeline::tagger::Tagger;
pub use pipeline::threads::TaskError;
pub use refusal::Refusal;
pub use request::error::RequestError;
pub use request::input::TagInput;
pub use request::json::parse;
pub use request::object::{objects, optional_object, optional_objects};
pub use request::options::{OffsetsOption, TagOptions};
pub use scheduler::job::WindowInput;
pub use scheduler::policy::{LOOKAHEAD, batch_size_for, next_batch};
pub use scheduler::submit_error::SubmitError;
pub use series::Series;
pub use session::{LogitRows, ModelSession, ModelSessionError, OpenSession};
pub use trace::TRACE_TARGET;
pub use turn::wake_after_others;
