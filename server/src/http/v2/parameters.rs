//! The parameters of a request.

use std::time::Duration;

use nerve_engine::{Aggregation, OffsetsOption, TagOptions};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::v2::outputs::SelectedOutput;
use crate::http::v2::tensor::OutputName;

/// How the texts are to be answered. Other parameters are ignored: the protocol leaves them open, and clients send their own.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct InferParameters {
    /// The unit in which `start` and `end` are counted; code points where absent.
    offsets: Option<OffsetsOption>,
    /// Entities with a lower score are left out.
    #[schema(minimum = 0, maximum = 1)]
    threshold: Option<f64>,
    /// The entity types to answer with, separated by commas; all where absent.
    labels: Option<String>,
    /// What is labeled and by which tokens; `first` where absent.
    aggregation: Option<Aggregation>,
    /// Whether the labels must make a valid sequence, no `I-X` without its `B-X`; yes where absent.
    constrained: Option<bool>,
    /// Whether outputs that do not say are sent as bytes behind the JSON; no where absent.
    pub(crate) binary_data_output: Option<bool>,
    /// The time in microseconds after which the answer is not needed, as Triton's clients send it; 0 is none. It cannot
    /// lengthen the server's own limit.
    timeout: Option<u64>,
}

impl InferParameters {
    /// The options of tagging, for an answer with these outputs.
    pub(crate) fn options(&self, selected: &[SelectedOutput]) -> TagOptions {
        let labels = |names: &String| names.split(',').map(|name| name.trim().to_owned()).collect();
        TagOptions {
            offsets: self.offsets,
            threshold: self.threshold,
            labels: self.labels.as_ref().map(labels),
            aggregation: self.aggregation,
            constrained: self.constrained,
            include_words: Some(
                selected
                    .iter()
                    .any(|selected| selected.output == OutputName::Words),
            ),
        }
    }

    /// The time after which the client does not need the answer.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
            .filter(|&micros| micros > 0)
            .map(Duration::from_micros)
    }
}
