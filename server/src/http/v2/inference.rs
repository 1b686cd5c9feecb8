//! A checked request of the protocol, and its tagged texts: the same over HTTP and gRPC.

use std::time::Duration;

use nerve_engine::{Answer, AnswerOptions, DecodingOptions, TagInput, TaggedText, Tagger};
use nerve_tagging::LabelSet;
use tokio::time::{Instant, timeout_at};

use crate::http::error::ApiError;
use crate::http::v2::error::V2Error;
use crate::http::v2::outputs::SelectedOutput;
use crate::http::v2::parameters::InferParameters;

/// What is to be tagged, how, and which outputs are wanted.
pub(crate) struct Inference {
    pub(crate) texts: Vec<String>,
    pub(crate) reading: DecodingOptions,
    pub(crate) view: AnswerOptions,
    pub(crate) selected: Vec<SelectedOutput>,
    timeout: Option<Duration>,
}

/// Tagged texts, and how they are shown.
pub(crate) struct TaggedTexts {
    texts: Vec<TaggedText>,
    view: AnswerOptions,
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
            texts,
            reading: options.reading(),
            view: options.view(labels).map_err(V2Error::Parameter)?,
            selected,
            timeout: parameters.timeout(),
        })
    }

    /// The tagged texts, or the error of the first text that has one: the protocol has no place for the error of one text.
    /// The client's timeout counts from `began`.
    pub(crate) async fn tag(self, tagger: &Tagger, began: Instant) -> Result<TaggedTexts, V2Error> {
        let texts = self.texts.into_iter().map(TagInput::Text).collect();
        let tagging = tagger.tag(texts, self.reading);
        let tagged = match self.timeout {
            None => tagging.await,
            Some(limit) => timeout_at(began + limit, tagging)
                .await
                .map_err(|_| ApiError::DeadlineExceeded { limit })?,
        };
        let texts = tagged?.into_iter().enumerate().map(|(index, tagged)| {
            tagged.map_err(|error| V2Error::Text {
                index,
                error: ApiError::Tag(error),
            })
        });
        Ok(TaggedTexts {
            texts: texts.collect::<Result<_, _>>()?,
            view: self.view,
            selected: self.selected,
        })
    }
}

impl TaggedTexts {
    /// The number of words of all texts.
    pub(crate) fn words(&self) -> usize {
        self.texts.iter().map(|tagged| tagged.words.spans.len()).sum()
    }

    /// The answers to show. Counts the entities found.
    pub(crate) fn answers<'t>(&'t self, tagger: &'t Tagger) -> Vec<Answer<'t>> {
        let texts = self.texts.iter();
        texts.map(|tagged| tagger.answer(tagged, &self.view)).collect()
    }
}
