//! A checked request of the protocol, and its tagged texts: the same over HTTP and gRPC.

use std::sync::Arc;
use std::time::Duration;

use nerve_engine::{AnswerOptions, DecodingOptions, MemoryPermit, TagInput, TaggedText, Tagger};
use nerve_tagging::LabelSet;
use tokio::time::{Instant, timeout_at};

use crate::http::error::ApiError;
use crate::http::v2::error::V2Error;
use crate::http::v2::outputs::SelectedOutput;
use crate::http::v2::parameters::InferParameters;

/// What is to be tagged, how, and which outputs are wanted.
pub(crate) struct Inference {
    pub(crate) sources: Vec<TagInput>,
    pub(crate) reading: DecodingOptions,
    pub(crate) view: AnswerOptions,
    selected: Vec<SelectedOutput>,
    timeout: Option<Duration>,
}

/// Tagged texts, and how they are shown.
pub(crate) struct TaggedTexts {
    pub(crate) tagged: Vec<Arc<TaggedText>>,
    pub(crate) view: Arc<AnswerOptions>,
    /// At least one.
    pub(crate) selected: Vec<SelectedOutput>,
}

impl Inference {
    /// A request for these texts, at most `max_texts`, of a model with these labels.
    pub(crate) fn new(
        texts: Vec<String>,
        parameters: &InferParameters,
        selected: Vec<SelectedOutput>,
        labels: &LabelSet,
        max_texts: usize,
    ) -> Result<Self, V2Error> {
        let options = parameters.options(&selected);
        let (count, limit) = (texts.len(), max_texts);
        if count > limit {
            return Err(ApiError::TooManyTexts { texts: count, limit }.into());
        }
        Ok(Self {
            sources: texts.into_iter().map(TagInput::Text).collect(),
            reading: options.reading(),
            view: options.view(labels).map_err(V2Error::Parameter)?,
            selected,
            timeout: parameters.timeout(),
        })
    }

    /// The memory in bytes that the texts take while they are tagged.
    pub(crate) fn bytes_to_tag(&self, tagger: &Tagger) -> usize {
        tagger.bytes_to_tag(&self.sources, self.reading)
    }

    /// The tagged texts, or the error of the first text that has one: the protocol has no place for the error of one text.
    ///
    /// The permit has what the texts take while they are tagged, and then what the tagged texts take. The client's timeout
    /// counts from `began`.
    pub(crate) async fn tag(
        self,
        tagger: &Tagger,
        permit: &mut MemoryPermit,
        began: Instant,
    ) -> Result<TaggedTexts, V2Error> {
        let tagging = tagger.tag(self.sources, self.reading);
        let tagged = match self.timeout {
            None => tagging.await,
            Some(limit) => timeout_at(began + limit, tagging)
                .await
                .map_err(|_| ApiError::DeadlineExceeded { limit })?,
        };
        let tagged = tagged?.into_iter().enumerate().map(|(index, tagged)| {
            tagged.map_err(|error| V2Error::Text {
                index,
                error: ApiError::Tag(error),
            })
        });
        let tagged = tagged.collect::<Result<Vec<Arc<TaggedText>>, _>>()?;
        let bytes = tagged.iter().map(|tagged| tagged.bytes()).sum();
        permit.resize(bytes).map_err(ApiError::Memory)?;
        Ok(TaggedTexts {
            tagged,
            view: Arc::new(self.view),
            selected: self.selected,
        })
    }
}

impl TaggedTexts {
    /// The number of words of all texts.
    pub(crate) fn words(&self) -> usize {
        self.tagged.iter().map(|tagged| tagged.words.spans.len()).sum()
    }
}
