//! Texts to tagged words, through the text threads, the queue and the workers.

use std::sync::Arc;
use std::time::Instant;

use nerve_tagging::{WordLabel, WordSpan};

use crate::config::RequestLimits;
use crate::health::{Health, Readiness};
use crate::metrics::Metrics;
use crate::pipeline::model::TextModel;
use crate::pipeline::prepare::{PrepareError, Prepared, Source, TextLimits, Words, prepare};
use crate::pipeline::threads::{TaskError, TextThreads};
use crate::scheduler::{Flow, Queue, SubmitError, Waiter, WindowFailed};

/// A text's words and their labels.
#[derive(Debug)]
pub(crate) struct Tagged {
    pub(crate) words: Words,
    /// One label a word.
    pub(crate) labels: Vec<WordLabel>,
}

/// Why texts are not tagged.
#[derive(Debug)]
pub(crate) enum TagError {
    /// The server takes no requests now.
    NotReady(Readiness),
    /// Too many requests wait to be split and tokenised.
    TextThreadsFull,
    /// The queue refuses the windows.
    Queue {
        /// Why.
        reason: SubmitError,
        /// How many windows there were.
        windows: usize,
    },
    /// The text itself cannot be tagged.
    Text(PrepareError),
    /// Preparing the text panicked.
    PrepareFailed,
    /// A window's run failed, or its worker.
    InferenceFailed,
}

impl From<TaskError> for TagError {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Full => Self::TextThreadsFull,
            TaskError::Panicked => Self::PrepareFailed,
        }
    }
}

/// The pipeline, shared by all requests.
pub(crate) struct Tagger {
    pub(crate) model: Arc<TextModel>,
    pub(crate) threads: TextThreads,
    pub(crate) queue: Arc<Queue>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limits: RequestLimits,
}

/// A text whose windows were submitted: their words' places, and who waits for them.
struct Submitted {
    prepared: Words,
    waiters: Vec<(usize, Waiter)>,
}

impl Tagger {
    /// The tagged texts in order, each with its own error; the whole request fails if the server cannot take it.
    pub(crate) async fn tag(&self, sources: Vec<Source>) -> Result<Vec<Result<Tagged, TagError>>, TagError> {
        match self.health.readiness() {
            // What arrives on a connection that was open when draining began is still answered.
            Readiness::Ready | Readiness::Draining => {}
            not_ready @ (Readiness::Starting | Readiness::NoWorker) => {
                return Err(TagError::NotReady(not_ready));
            }
        }
        let prepared = self.threads.run(self.preparation(sources)).await?;
        let submitted = self.submit(prepared)?;
        let mut tagged = Vec::with_capacity(submitted.len());
        for text in submitted {
            tagged.push(match text {
                Ok(submitted) => self.wait(submitted).await,
                Err(error) => Err(TagError::Text(error)),
            });
        }
        Ok(tagged)
    }

    /// [`Self::tag`] for bulk work: a text of `flow` waits where one of a request would be refused because of load.
    ///
    /// Every text has its own error. The caller bounds how many texts it hands in at a time.
    pub(crate) async fn tag_patiently(
        &self,
        sources: Vec<Source>,
        flow: &Flow,
    ) -> Vec<Result<Tagged, TagError>> {
        let texts = sources.len();
        let Ok(prepared) = self.threads.run_patiently(self.preparation(sources)).await else {
            return (0..texts).map(|_| Err(TagError::PrepareFailed)).collect();
        };
        let mut submitted = Vec::with_capacity(prepared.len());
        for text in prepared {
            submitted.push(match text {
                Ok(prepared) => self.submit_patiently(prepared, flow).await,
                Err(error) => Err(TagError::Text(error)),
            });
        }
        let mut tagged = Vec::with_capacity(submitted.len());
        for text in submitted {
            tagged.push(match text {
                Ok(submitted) => self.wait(submitted).await,
                Err(error) => Err(error),
            });
        }
        tagged
    }

    /// The work of reading texts, for another thread.
    fn preparation(
        &self,
        sources: Vec<Source>,
    ) -> impl FnOnce() -> Vec<Result<Prepared, PrepareError>> + Send + 'static {
        let model = Arc::clone(&self.model);
        let metrics = Arc::clone(&self.metrics);
        let limits = TextLimits {
            bytes: self.limits.max_text_bytes,
            windows: self.limits.max_windows,
        };
        move || {
            let began = Instant::now();
            let prepared = sources
                .into_iter()
                .map(|source| prepare(&model, source, limits))
                .collect();
            metrics.stages.tokenize.observe(began.elapsed().as_secs_f64());
            prepared
        }
    }

    async fn submit_patiently(&self, text: Prepared, flow: &Flow) -> Result<Submitted, TagError> {
        let (answers, inputs): (Vec<_>, Vec<_>) = text.windows.into_iter().unzip();
        let windows = inputs.len();
        let waiters = if windows == 0 {
            Vec::new()
        } else {
            let submitted = self.queue.submit_patiently(inputs, flow).await;
            submitted.map_err(|reason| TagError::Queue { reason, windows })?
        };
        Ok(Submitted {
            prepared: text.words,
            waiters: answers.into_iter().map(WordSpan::start).zip(waiters).collect(),
        })
    }

    /// Submits the windows of all texts at once, so that a request is never half in the queue.
    fn submit(
        &self,
        prepared: Vec<Result<Prepared, PrepareError>>,
    ) -> Result<Vec<Result<Submitted, PrepareError>>, TagError> {
        let mut inputs = Vec::new();
        let mut texts = Vec::with_capacity(prepared.len());
        for text in prepared {
            texts.push(text.map(|Prepared { words, windows }| {
                let (answers, mut windows): (Vec<_>, Vec<_>) = windows.into_iter().unzip();
                inputs.append(&mut windows);
                (words, answers)
            }));
        }
        let windows = inputs.len();
        let mut waiters = if windows == 0 {
            Vec::new()
        } else {
            let submitted = self.queue.submit(inputs);
            submitted.map_err(|reason| TagError::Queue { reason, windows })?
        }
        .into_iter();
        let texts = texts.into_iter().map(|text| {
            text.map(|(prepared, answers)| {
                let firsts = answers.into_iter().map(WordSpan::start);
                Submitted {
                    prepared,
                    waiters: firsts.zip(waiters.by_ref()).collect(),
                }
            })
        });
        Ok(texts.collect())
    }

    async fn wait(&self, text: Submitted) -> Result<Tagged, TagError> {
        // A word without subwords is outside every entity, surely.
        let outside = WordLabel {
            label: self.model.labels.outside(),
            score: 1.0,
        };
        let mut labels = vec![outside; text.prepared.spans.len()];
        for (first, waiter) in text.waiters {
            let answered = match waiter.await {
                Ok(Ok(answered)) => answered,
                Ok(Err(WindowFailed)) => return Err(TagError::InferenceFailed),
                Err(_) => return Err(self.dropped()),
            };
            for (slot, label) in labels.iter_mut().skip(first).zip(answered) {
                *slot = label.unwrap_or(outside);
            }
        }
        Ok(Tagged {
            words: text.prepared,
            labels,
        })
    }

    /// Why a window was dropped unanswered: the server stops, or its last worker died.
    fn dropped(&self) -> TagError {
        match self.health.readiness() {
            Readiness::Ready => TagError::InferenceFailed,
            not_ready @ (Readiness::Starting | Readiness::NoWorker | Readiness::Draining) => {
                TagError::NotReady(not_ready)
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use nerve_tagging::{ByteSpan, LabelId};

    /// Words joined by spaces, with labels of full confidence.
    pub(crate) fn tagged(words: &[&str], labels: &[usize]) -> Tagged {
        let mut start = 0;
        let spans = words.iter().map(|word| {
            let span = ByteSpan::new(start, start + word.len()).unwrap();
            start += word.len() + 1;
            span
        });
        let label = |&id: &usize| WordLabel {
            label: LabelId(id),
            score: 1.0,
        };
        Tagged {
            words: Words {
                spans: spans.collect(),
                text: words.join(" "),
            },
            labels: labels.iter().map(label).collect(),
        }
    }
}
