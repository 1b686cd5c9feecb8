//! Texts to the answers of the `transformers` pipeline, through the tokenizer threads, the queue and the workers.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use nerve_inference::{PipelineText, PipelineTokenizer};
use nerve_tagging::LabelSet;

use crate::config::TextLimits;
use crate::pipeline::aggregate::{Chunk, Classified, PipelineOptions, aggregate};
use crate::pipeline::error::{PrepareError, TagError};
use crate::pipeline::tagger::{Admission, Tagger, append};
use crate::scheduler::job::{LogitMatrix, WindowInput};
use crate::scheduler::queue::Flow;
use crate::trace;

/// The pipeline's answer for one text.
#[derive(Debug)]
pub struct Classification {
    /// The tokens or groups, without those of ignored labels.
    pub entities: Vec<Classified>,
    /// Whether the text is longer than the model and was truncated.
    pub truncated: bool,
}

/// A text's tokens, and the ranges that the model reads together.
pub(super) struct Chunked {
    text: PipelineText,
    chunks: Vec<Range<usize>>,
    truncated: bool,
}

impl Tagger {
    /// The pipeline's answers, in order of the texts. The first text that fails fails the request.
    ///
    /// Without `stride`, a text longer than the model is truncated, as in the pipeline. With it, the text is read in
    /// chunks that share `stride` tokens, which must be fewer than a chunk holds.
    pub async fn classify(
        &self,
        texts: Vec<String>,
        stride: Option<usize>,
        wanted: PipelineOptions,
    ) -> Result<Vec<Classification>, TagError> {
        self.check_ready()?;
        self.queue.check_room()?;
        let wanted = wanted.for_labels(&self.model.labels);
        let chunked = trace::tokenize(texts.len(), self.chunk_all(texts, stride)).await?;
        let tokenizer = self.model.pipeline.as_ref();
        let windows = chunked
            .iter()
            .enumerate()
            .flat_map(|(at, text)| text.inputs(tokenizer).map(move |input| (at, input)));
        let mut logits: Vec<Result<LogitMatrix, TagError>> =
            chunked.iter().map(|_| Ok(LogitMatrix::new())).collect();
        let take = |at: usize, answered| {
            if let Some(logits) = logits.get_mut(at) {
                append(logits, answered);
            }
        };
        self.compute(windows, Admission::Now, &Flow::default(), take)
            .await?;
        let mut answers = Vec::with_capacity(chunked.len());
        for (text, logits) in chunked.into_iter().zip(logits) {
            answers.push(self.classified(text, logits?, wanted.clone()).await?);
        }
        Ok(answers)
    }

    async fn chunk_all(&self, texts: Vec<String>, stride: Option<usize>) -> Result<Vec<Chunked>, TagError> {
        let began = Instant::now();
        let limits = self.limits;
        let mut chunked = Vec::with_capacity(texts.len());
        let mut admitted = false;
        for text in texts {
            let mut chunking = Chunking::new(text, stride, limits).map_err(TagError::Text)?;
            loop {
                let tokenizer = Arc::clone(&self.model.pipeline);
                let step = move || chunking.step(&tokenizer);
                let stepped = match admitted {
                    false => self.threads.run(step).await,
                    true => self.threads.run_patiently(step).await,
                };
                admitted = true;
                match stepped?.map_err(TagError::Text)? {
                    Chunks::Complete(text) => break chunked.push(text),
                    Chunks::Partial(rest) => chunking = rest,
                }
            }
        }
        let took = began.elapsed().as_secs_f64();
        self.metrics.stages.tokenize.observe(took);
        Ok(chunked)
    }

    async fn classified(
        &self,
        text: Chunked,
        logits: LogitMatrix,
        wanted: PipelineOptions,
    ) -> Result<Classification, TagError> {
        let model = Arc::clone(&self.model);
        let tokens = text.text.ids.len();
        let task = move || text.classified(&model.pipeline, &model.labels, &logits, &wanted);
        self.run_sized(tokens, task).await?
    }
}

/// A text that is tokenized in bounded steps.
pub(super) struct Chunking {
    text: String,
    encoded: PipelineText,
    stride: Option<usize>,
    limits: TextLimits,
}

/// A text after a step.
pub(super) enum Chunks {
    Partial(Chunking),
    Complete(Chunked),
}

impl Chunking {
    /// A text of which nothing is tokenized yet.
    pub(super) fn new(text: String, stride: Option<usize>, limits: TextLimits) -> Result<Self, PrepareError> {
        if text.len() > limits.max_text_bytes {
            return Err(PrepareError::TextTooLong {
                bytes: text.len(),
                limit: limits.max_text_bytes,
            });
        }
        Ok(Self {
            text,
            encoded: PipelineText::default(),
            stride,
            limits,
        })
    }

    /// Tokenizes the next part. A text that is truncated is complete as soon as there is a token to leave out.
    pub(super) fn step(mut self, tokenizer: &PipelineTokenizer) -> Result<Chunks, PrepareError> {
        let ended = tokenizer.encode_part(&self.text, &mut self.encoded)?;
        let (tokens, limit) = (self.encoded.ids.len(), self.limits.max_words);
        let is_truncated = self.stride.is_none() && tokens > tokenizer.room();
        // Each token is a word of the answer.
        if self.stride.is_some() && tokens > limit {
            return Err(PrepareError::TooManyWords { limit });
        }
        if ended || is_truncated {
            return Chunked::new(tokenizer, self.encoded, self.stride, self.limits).map(Chunks::Complete);
        }
        Ok(Chunks::Partial(self))
    }
}

impl Chunked {
    fn new(
        tokenizer: &PipelineTokenizer,
        mut text: PipelineText,
        stride: Option<usize>,
        limits: TextLimits,
    ) -> Result<Self, PrepareError> {
        let room = tokenizer.room();
        let tokens = text.ids.len();
        let chunks = match stride {
            Some(stride) => overlapping(tokens, room, stride),
            None => overlapping(tokens.min(room), room, 0),
        };
        if chunks.len() > limits.max_windows {
            return Err(PrepareError::TooManyWindows {
                windows: chunks.len(),
                limit: limits.max_windows,
            });
        }
        let read = chunks.last().map_or(0, |chunk| chunk.end);
        text.ids.truncate(read);
        text.tokens.truncate(read);
        Ok(Self {
            text,
            chunks,
            truncated: read < tokens,
        })
    }

    /// The sequences to compute, in order.
    pub(super) fn inputs<'c>(
        &'c self,
        tokenizer: &'c PipelineTokenizer,
    ) -> impl Iterator<Item = WindowInput> + 'c {
        let chunks = self.chunks.iter();
        chunks.map(move |chunk| input(tokenizer, &self.text.ids, chunk))
    }

    pub(super) fn classified(
        self,
        tokenizer: &PipelineTokenizer,
        labels: &LabelSet,
        logits: &[f32],
        wanted: &PipelineOptions,
    ) -> Result<Classification, TagError> {
        let mut rest = logits;
        let mut chunks = Vec::with_capacity(self.chunks.len());
        for chunk in self.chunks {
            let (own, later) = rest
                .split_at_checked(chunk.len() * labels.len())
                .ok_or(TagError::InferenceFailed)?;
            let tokens = self.text.tokens.get(chunk).unwrap_or_default();
            chunks.push(Chunk { tokens, logits: own });
            rest = later;
        }
        let entities = aggregate(tokenizer, labels, &chunks, wanted)
            .map_err(|error| TagError::Text(PrepareError::Tokenizer(error)))?;
        Ok(Classification {
            entities,
            truncated: self.truncated,
        })
    }
}

/// A sequence of the model, all of whose tokens are read.
fn input(tokenizer: &PipelineTokenizer, ids: &[u32], chunk: &Range<usize>) -> WindowInput {
    let (before, _) = tokenizer.specials();
    WindowInput {
        ids: tokenizer.sequence(ids.get(chunk.clone()).unwrap_or_default()),
        reads: (before..before + chunk.len()).collect(),
    }
}

/// Ranges of at most `room` tokens, each of which starts `stride` tokens before the previous one ends.
fn overlapping(tokens: usize, room: usize, stride: usize) -> Vec<Range<usize>> {
    let step = room.saturating_sub(stride).max(1);
    let mut chunks: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    while chunks.last().map_or(0, |chunk| chunk.end) < tokens {
        chunks.push(start..(start + room).min(tokens));
        start += step;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::aggregation::Aggregation;
    use crate::testing::text_model;

    /// The chunks of a text, and the number of steps that they took.
    fn chunks(
        text: &str,
        stride: Option<usize>,
        limits: TextLimits,
    ) -> (Result<Chunked, PrepareError>, usize) {
        let model = text_model(6);
        let mut chunking = Chunking::new(text.to_owned(), stride, limits).unwrap();
        for steps in 1.. {
            match chunking.step(&model.pipeline) {
                Ok(Chunks::Partial(rest)) => chunking = rest,
                Ok(Chunks::Complete(text)) => return (Ok(text), steps),
                Err(error) => return (Err(error), steps),
            }
        }
        unreachable!()
    }

    #[test]
    fn a_text_without_stride_is_tokenized_until_it_is_truncated() {
        let limits = TextLimits::default();
        let (text, steps) = chunks(&"paul ".repeat(100_000), None, limits);
        let text = text.unwrap();
        assert!(text.truncated && steps == 1, "{steps} steps");
        assert_eq!(
            (text.text.ids.len(), text.chunks.len(), text.chunks[0].clone()),
            (6, 1, 0..6)
        );
        // White space after a full sequence truncates nothing, and is read to its end.
        let (text, steps) = chunks(
            &format!("{}{}", "paul ".repeat(6), " ".repeat(100_000)),
            None,
            limits,
        );
        assert!(!text.unwrap().truncated && steps > 1, "{steps} steps");
    }

    #[test]
    fn tokens_are_within_the_limit_of_words() {
        let limits = TextLimits {
            max_words: 9,
            ..TextLimits::default()
        };
        let outcome = |words, stride| chunks(&"paul ".repeat(words), stride, limits).0;
        assert!(outcome(9, Some(1)).is_ok() && outcome(100, None).is_ok());
        assert!(matches!(
            outcome(10, Some(1)),
            Err(PrepareError::TooManyWords { limit: 9 })
        ));
    }

    #[test]
    fn ignored_names_are_those_of_the_model() {
        let ignored = ["person", "x", "O", "B-person", "O", "y"].map(str::to_owned);
        let wanted = PipelineOptions {
            strategy: Aggregation::Simple,
            ignored: ignored.into_iter().cycle().take(100_000).collect(),
        };
        assert_eq!(
            wanted.for_labels(&text_model(6).labels).ignored,
            ["B-person", "O", "person"]
        );
    }

    #[test]
    fn chunks_share_the_stride_and_end_with_the_text() {
        assert_eq!(overlapping(10, 4, 1), [0..4, 3..7, 6..10]);
        assert_eq!(overlapping(11, 4, 0), [0..4, 4..8, 8..11]);
        assert_eq!(overlapping(4, 4, 3).len(), 1);
        assert!(overlapping(0, 4, 1).is_empty());
    }
}
