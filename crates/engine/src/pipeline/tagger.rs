//! One version of a model: texts to tagged texts, through the tokenizer threads, the queue and the workers.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{BatchLimits, TextLimits};
use crate::health::{Health, Readiness};
use crate::metrics::{Metrics, ModelMetrics};
use crate::pipeline::aggregation::{Aggregation, DecodingOptions};
use crate::pipeline::answer::{Answer, AnswerOptions};
use crate::pipeline::answer_writer::AnswerWriter;
use crate::pipeline::cache::{AnswerCache, CacheKey, HashedKey};
use crate::pipeline::decide::Decision;
use crate::pipeline::error::{PrepareError, TagError};
use crate::pipeline::model::TextModel;
use crate::pipeline::prepare::{Preparation, Prepared};
use crate::pipeline::tagged::TaggedText;
use crate::pipeline::threads::{TaskError, TokenizerPool};
use crate::request::input::TagInput;
use crate::scheduler::job::{LogitMatrix, WindowFailed, WindowInput};
use crate::scheduler::pool::Pool;
use crate::scheduler::queue::{Flow, Queue, Waiter, WorkerWait};
use crate::trace;

/// How many windows of one request are in the queue at a time.
///
/// The scheduler chooses among as many windows for a batch; more would only take memory, and space from other
/// requests.
const WINDOWS_AT_A_TIME: usize = 256;

/// The number of words above which a text is decided and its answer written on the tokenizer threads: about a
/// millisecond of work.
const MANY_WORDS: usize = 2048;
/// How long one task occupies a tokenizer thread before others take their turn.
const SLICE: Duration = Duration::from_millis(5);

/// A step of a text takes milliseconds. Threads that are busy for longer are stuck.
const LONGEST_STEP: Duration = Duration::from_secs(5);

/// What happens to work that the engine has no space for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The work is refused at once.
    Now,
    /// The work waits.
    Patiently,
}

/// One version of a model, shared by all requests.
pub struct Tagger {
    pub(crate) model: Arc<TextModel>,
    pub(crate) threads: Arc<TokenizerPool>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    /// The counters of this version.
    pub(crate) counters: ModelMetrics,
    pub(crate) limits: TextLimits,
    /// The answers of recent texts; absent without a cache.
    pub(crate) cache: Option<AnswerCache>,
    /// The workers end when this is dropped.
    pub(crate) pool: Pool,
}

impl Tagger {
    /// The text side of the model.
    pub fn model(&self) -> &TextModel {
        &self.model
    }

    /// Whether requests are answered now, and if not, why.
    pub fn readiness(&self) -> Readiness {
        match self.health.readiness() {
            Readiness::Ready if self.threads.are_stuck(LONGEST_STEP) => Readiness::TextThreadsStuck,
            readiness => readiness,
        }
    }

    /// What a batch may hold.
    pub fn batch_limits(&self) -> BatchLimits {
        self.queue.batching()
    }

    /// The engine's metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The counters of this version.
    pub fn counters(&self) -> &ModelMetrics {
        &self.counters
    }

    /// The answer to show for a tagged text. Counts the entities found.
    pub fn answer<'a>(&'a self, tagged: &'a TaggedText, view: &AnswerOptions) -> Answer<'a> {
        let found = |entity_type| self.counters.entity_found(entity_type);
        Answer::new(tagged, &self.model.labels, view, found)
    }

    /// The writer of the answer to show for a tagged text. Counts the entities found.
    pub fn answer_writer<T: Borrow<TaggedText>>(&self, tagged: T, view: &AnswerOptions) -> AnswerWriter<T> {
        let found = |entity_type| self.counters.entity_found(entity_type);
        AnswerWriter::new(tagged, &self.model.labels, view, found)
    }

    /// Takes steps of a task about so many words until one returns true. If the words are many, the steps run on the
    /// tokenizer threads, in slices between which other tasks have their turn.
    pub async fn run_in_steps<T: Send + 'static>(
        &self,
        words: usize,
        mut task: T,
        mut step: impl FnMut(&mut T) -> bool + Send + 'static,
    ) -> Result<T, TaskError> {
        if words < MANY_WORDS {
            while !step(&mut task) {}
            return Ok(task);
        }
        loop {
            let slice = move || {
                let began = Instant::now();
                let mut done = false;
                while !done && began.elapsed() < SLICE {
                    done = step(&mut task);
                }
                (done, task, step)
            };
            let done;
            (done, task, step) = self.threads.run_patiently(slice).await?;
            if done {
                return Ok(task);
            }
        }
    }

    /// The result of a task about so many words. If they are many, it runs on the tokenizer threads, so that the
    /// threads that serve connections are not held up.
    pub async fn run_sized<T: Send + 'static>(
        &self,
        words: usize,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TaskError> {
        match words < MANY_WORDS {
            true => Ok(task()),
            false => self.threads.run_patiently(task).await,
        }
    }

    /// The tagged texts, in order, each with its own error. The request fails as a whole if the engine does not admit
    /// it.
    ///
    /// The first windows of a request are admitted or refused at once; its further windows wait for space.
    pub async fn tag(
        &self,
        sources: Vec<TagInput>,
        reading: DecodingOptions,
    ) -> Result<Vec<Result<Arc<TaggedText>, TagError>>, TagError> {
        self.check_ready()?;
        match &self.cache {
            None => {
                let tagged = self.compute_texts(sources, reading).await?;
                Ok(tagged.into_iter().map(|tagged| tagged.map(Arc::new)).collect())
            }
            Some(cache) => self.tag_through(cache, sources, reading).await,
        }
    }

    /// The texts' answers, from the cache where it has them and from the model otherwise.
    async fn tag_through(
        &self,
        cache: &AnswerCache,
        sources: Vec<TagInput>,
        reading: DecodingOptions,
    ) -> Result<Vec<Result<Arc<TaggedText>, TagError>>, TagError> {
        let asked: Vec<HashedKey> = sources
            .into_iter()
            .map(|source| cache.hashed(CacheKey::new(source, reading)))
            .collect();
        let known: Vec<Option<Arc<TaggedText>>> = asked.iter().map(|asked| cache.get(asked)).collect();
        let unknown: Vec<TagInput> = asked
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none())
            .map(|(asked, _)| asked.source())
            .collect();
        self.metrics
            .cache_hits
            .inc_by((asked.len() - unknown.len()) as u64);
        self.metrics.cache_misses.inc_by(unknown.len() as u64);
        let computed = match unknown.is_empty() {
            true => Vec::new(),
            false => self.compute_texts(unknown, reading).await?,
        };
        let mut computed = computed.into_iter();
        let answers = asked.into_iter().zip(known).map(|(asked, known)| match known {
            Some(answer) => Ok(answer),
            None => {
                let answer = Arc::new(computed.next().unwrap_or(Err(TagError::InferenceFailed))?);
                cache.keep(asked, &answer);
                Ok(answer)
            }
        });
        Ok(answers.collect())
    }

    async fn compute_texts(
        &self,
        sources: Vec<TagInput>,
        reading: DecodingOptions,
    ) -> Result<Vec<Result<TaggedText, TagError>>, TagError> {
        self.queue.check_room()?;
        let texts = sources.len();
        let preparing = self.prepare(sources, reading.aggregation, Admission::Now);
        let prepared = trace::tokenize(texts, preparing).await?;
        self.tag_prepared(prepared, reading, Admission::Now, &Flow::default())
            .await
    }

    /// [`Self::tag`] for bulk work: a text of `flow` waits where a request would be refused because of load.
    ///
    /// Every text has its own error. The caller bounds how many texts it gives at a time.
    pub(crate) async fn tag_patiently(
        &self,
        sources: Vec<TagInput>,
        reading: DecodingOptions,
        flow: &Flow,
    ) -> Vec<Result<TaggedText, TagError>> {
        let texts = sources.len();
        let patiently = Admission::Patiently;
        let tagged = match self.prepare(sources, reading.aggregation, patiently).await {
            Ok(prepared) => self.tag_prepared(prepared, reading, patiently, flow).await,
            Err(error) => Err(error),
        };
        // Only tokenizing fails all texts together, because it panicked.
        tagged.unwrap_or_else(|_| (0..texts).map(|_| Err(TagError::PrepareFailed)).collect())
    }

    async fn tag_prepared(
        &self,
        prepared: Vec<Result<Prepared, PrepareError>>,
        reading: DecodingOptions,
        admission: Admission,
        flow: &Flow,
    ) -> Result<Vec<Result<TaggedText, TagError>>, TagError> {
        // Boxed, because the compiler cannot tell that a future with these closures may change threads (rust-lang/rust#102211).
        let windows: Box<dyn Iterator<Item = (usize, WindowInput)> + Send> =
            Box::new(prepared.iter().enumerate().flat_map(|(at, text)| {
                let inputs = text.iter().flat_map(|text| text.inputs(&self.model));
                inputs.map(move |input| (at, input))
            }));
        let mut logits: Vec<Result<LogitMatrix, TagError>> =
            prepared.iter().map(|_| Ok(LogitMatrix::new())).collect();
        let take = |at: usize, answered| {
            if let Some(logits) = logits.get_mut(at) {
                append(logits, answered);
            }
        };
        self.compute(windows, admission, flow, take).await?;
        let mut tagged = Vec::with_capacity(prepared.len());
        for (text, logits) in prepared.into_iter().zip(logits) {
            tagged.push(match (text, logits) {
                (Ok(text), Ok(logits)) => self.decide(text, logits, reading).await,
                (Ok(_), Err(error)) => Err(error),
                (Err(error), _) => Err(TagError::Text(error)),
            });
        }
        Ok(tagged)
    }

    /// Fails if no request can be answered now.
    pub(crate) fn check_ready(&self) -> Result<(), TagError> {
        match self.health.readiness() {
            // Requests that arrive while draining, on connections that are still open, are answered.
            Readiness::Ready | Readiness::TextThreadsStuck | Readiness::Draining => Ok(()),
            not_ready @ (Readiness::Starting | Readiness::NoWorker) => Err(TagError::NotReady(not_ready)),
        }
    }

    async fn prepare(
        &self,
        sources: Vec<TagInput>,
        aggregation: Aggregation,
        admission: Admission,
    ) -> Result<Vec<Result<Prepared, PrepareError>>, TagError> {
        let model = Arc::clone(&self.model);
        let mut preparation = Preparation::new(model, sources, aggregation, self.limits);
        let mut admitted = admission == Admission::Patiently;
        loop {
            let step = move || (preparation.step(), preparation);
            let stepped = match admitted {
                false => self.threads.run(step).await,
                true => self.threads.run_patiently(step).await,
            };
            let (done, returned) = stepped?;
            if done {
                let (prepared, took) = returned.finish();
                self.metrics.stages.tokenize.observe(took.as_secs_f64());
                return Ok(prepared);
            }
            (preparation, admitted) = (returned, true);
        }
    }

    /// Computes windows and gives `take` the logits of each, in order, with the key of the window's text. After a
    /// window that fails, the further windows of its text are neither submitted nor waited for.
    ///
    /// The first windows, as many as may be in the queue at a time, are submitted together; under [`Admission::Now`]
    /// they are admitted or refused as a whole. The other windows are submitted one by one as these are answered.
    pub(crate) async fn compute<K: Copy + PartialEq>(
        &self,
        windows: impl Iterator<Item = (K, WindowInput)>,
        admission: Admission,
        flow: &Flow,
        mut take: impl FnMut(K, Result<LogitMatrix, TagError>),
    ) -> Result<(), TagError> {
        let mut windows = windows.peekable();
        let mut submitted: VecDeque<(K, Waiter)> = VecDeque::new();
        let mut at_a_time = WINDOWS_AT_A_TIME;
        if admission == Admission::Now {
            let (keys, inputs) = self.first_part(&mut windows);
            if inputs.is_empty() {
                return Ok(());
            }
            at_a_time = inputs.len();
            submitted = keys.into_iter().zip(self.queue.submit(inputs, flow)?).collect();
        }
        let mut wait = WorkerWait::default();
        loop {
            while submitted.len() < at_a_time {
                let Some((key, input)) = windows.next() else {
                    break;
                };
                let waiter = match admission {
                    Admission::Now => self.queue.submit_further(vec![input], flow).await?,
                    Admission::Patiently => {
                        match self.queue.submit_patiently(vec![input], flow, &mut wait).await {
                            Ok(waiter) => waiter,
                            Err(reason) => {
                                take(key, Err(TagError::Queue(reason)));
                                give_up(key, &mut submitted, &mut windows);
                                continue;
                            }
                        }
                    }
                };
                submitted.extend(waiter.into_iter().map(|waiter| (key, waiter)));
            }
            let Some((key, waiter)) = submitted.pop_front() else {
                return Ok(());
            };
            let answered = match waiter.await {
                Ok(answered) => answered.map_err(|WindowFailed| TagError::InferenceFailed),
                Err(_) => Err(self.dropped()),
            };
            let failed = answered.is_err();
            take(key, answered);
            if failed {
                give_up(key, &mut submitted, &mut windows);
            }
        }
    }

    /// The first windows, as many as may be in the queue at a time.
    fn first_part<K>(
        &self,
        windows: &mut Peekable<impl Iterator<Item = (K, WindowInput)>>,
    ) -> (Vec<K>, Vec<WindowInput>) {
        let limits = self.queue.limits();
        let (mut keys, mut inputs, mut tokens) = (Vec::new(), Vec::new(), 0);
        let most = limits.windows.min(WINDOWS_AT_A_TIME);
        while let Some((key, input)) = windows.next_if(|(_, input)| {
            inputs.is_empty() || inputs.len() < most && tokens + input.ids.len() <= limits.tokens
        }) {
            tokens += input.ids.len();
            keys.push(key);
            inputs.push(input);
        }
        (keys, inputs)
    }

    /// Decides the labels of a text from its logits.
    async fn decide(
        &self,
        text: Prepared,
        logits: LogitMatrix,
        reading: DecodingOptions,
    ) -> Result<TaggedText, TagError> {
        let model = Arc::clone(&self.model);
        let words = text.words.spans.len();
        let decision = Decision::new(text, logits, reading);
        let step = move |decision: &mut Decision| decision.step(&model);
        let decision = self.run_in_steps(words, decision, step).await?;
        decision.finish(&self.model)
    }

    /// Why a window was dropped without an answer: the engine is stopping, or its last worker failed (and may have
    /// been restarted since).
    fn dropped(&self) -> TagError {
        TagError::NotReady(self.health.readiness())
    }
}

/// Withdraws the submitted windows of a text, and skips those that follow.
fn give_up<K: Copy + PartialEq>(
    text: K,
    submitted: &mut VecDeque<(K, Waiter)>,
    windows: &mut Peekable<impl Iterator<Item = (K, WindowInput)>>,
) {
    submitted.retain(|(key, _)| *key != text);
    while windows.next_if(|(key, _)| *key == text).is_some() {}
}

/// Appends the logits of a text's next window, unless the text has failed.
pub(crate) fn append(logits: &mut Result<LogitMatrix, TagError>, answered: Result<LogitMatrix, TagError>) {
    match (logits, answered) {
        (Ok(logits), Ok(answered)) if logits.is_empty() => *logits = answered,
        (Ok(logits), Ok(answered)) => logits.extend(answered),
        (logits @ Ok(_), Err(error)) => *logits = Err(error),
        (Err(_), _) => {}
    }
}

#[cfg(test)]
mod tests;
