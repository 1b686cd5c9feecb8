//! A checkpoint as a tagger, on candle.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use candle_core::Device;
use nerve_inference::TextEncoder;
use nerve_repository::Calibration;
use nerve_tagging::{
    ByteSpan, Decoder, Decoding, LabelSet, Subwords, Temperature, Window, WindowLimits, WordIndex, WordLabel,
    split_corpus, windows,
};

use super::calibration::WordLogits;
use super::tagger::{Answered, decide};
use super::{Tagger, TaggerError};
use crate::model::{BertTagger, CheckpointError, ModelDir, Packed};
use crate::ops::values;
use crate::train::joined;

/// Tokens of a forward pass: enough for the matrix products, little enough for the caches.
const PASS_TOKENS: usize = 512;

/// The longest window of a checkpoint that does not say what it was trained with.
const MAX_LENGTH: usize = 128;

/// A network with its tokenizer and labels.
pub struct CheckpointTagger {
    network: BertTagger,
    encoder: TextEncoder,
    labels: LabelSet,
    limits: WindowLimits,
    threads: usize,
    decoding: Decoding,
    temperature: Temperature,
}

/// One word's logits, and the word's place.
struct Answer {
    sentence: usize,
    word: usize,
    logits: Vec<f32>,
}

/// One window of a sentence.
struct Encoded {
    sentence: usize,
    window: Window,
    ids: Vec<u32>,
}

impl CheckpointTagger {
    /// The tagger of a checkpoint directory, with windows of at most `max_length` tokens, where absent as many as it was
    /// trained with, and scores at the temperature of its `calibration.json`, where it has one.
    pub fn open(
        dir: &Path,
        max_length: impl Into<Option<usize>>,
        threads: usize,
    ) -> Result<Self, TaggerError> {
        Self::open_on(dir, max_length, threads, Device::Cpu)
    }

    /// [`Self::open`], the network on a device.
    pub fn open_on(
        dir: &Path,
        max_length: impl Into<Option<usize>>,
        threads: usize,
        device: Device,
    ) -> Result<Self, TaggerError> {
        let model = ModelDir::open(dir)?.on(device);
        let labels = model
            .config
            .labels(&dir.join("config.json"))
            .map_err(CheckpointError::from)?;
        let trained = model.max_length().unwrap_or(MAX_LENGTH);
        let max_length = max_length
            .into()
            .unwrap_or_else(|| trained.min(model.config.max_length()));
        let (network, encoder) = model.into_tagger(&labels, 0)?;
        let temperature = Calibration::temperature(dir)?;
        let tagger = Self::new(network, encoder, labels, max_length, threads)?;
        Ok(tagger.with_temperature(temperature))
    }

    /// The tagger of a network whose outputs are `labels`.
    pub fn new(
        network: BertTagger,
        encoder: TextEncoder,
        labels: LabelSet,
        max_length: usize,
        threads: usize,
    ) -> Result<Self, TaggerError> {
        let positions = network.config().max_length();
        if max_length > positions {
            return Err(TaggerError::MaxLength {
                max_length,
                positions,
            });
        }
        let (before, after) = encoder.specials();
        Ok(Self {
            limits: WindowLimits::for_encoder(max_length, before + after)?,
            network,
            encoder,
            labels,
            threads: threads.max(1),
            decoding: Decoding::default(),
            temperature: Temperature::default(),
        })
    }

    /// The same tagger, its labels decided so.
    pub fn with_decoding(self, decoding: Decoding) -> Self {
        Self { decoding, ..self }
    }

    /// The same tagger, its scores stated at a temperature.
    pub fn with_temperature(self, temperature: Temperature) -> Self {
        Self { temperature, ..self }
    }

    /// The network.
    pub fn network(&self) -> &BertTagger {
        &self.network
    }

    /// The tokenizer.
    pub fn encoder(&self) -> &TextEncoder {
        &self.encoder
    }

    /// How long the windows may be.
    pub fn limits(&self) -> WindowLimits {
        self.limits
    }

    /// The logits of the words of sentences, in label order; none for a word without subwords.
    pub fn word_logits(&self, sentences: &[Vec<String>]) -> Result<WordLogits, TaggerError> {
        let subwords = sentences
            .iter()
            .map(|words| self.encoder.encode_words(words))
            .collect::<Result<Vec<Subwords>, _>>()?;
        let encoded = self.encode(&subwords);
        let passes = passes(&encoded);
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<Answer>, TaggerError> {
            let mut answers = Vec::new();
            while let Some(pass) = passes.get(next.fetch_add(1, Ordering::Relaxed)) {
                answers.extend(self.answers(pass, &subwords)?);
            }
            Ok(answers)
        };
        let parts: Vec<Result<_, TaggerError>> = thread::scope(|scope| {
            let threads = self.threads.min(passes.len());
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            handles.into_iter().map(joined).collect()
        });
        let mut rows: WordLogits = sentences.iter().map(|words| vec![None; words.len()]).collect();
        for part in parts {
            for answer in part? {
                rows[answer.sentence][answer.word] = Some(answer.logits);
            }
        }
        Ok(rows)
    }

    /// The windows that have a token, longest first.
    fn encode(&self, subwords: &[Subwords]) -> Vec<Encoded> {
        let mut encoded: Vec<Encoded> = subwords
            .iter()
            .enumerate()
            .flat_map(|(sentence, subwords)| {
                windows(subwords, self.limits)
                    .into_iter()
                    .filter(|window| !window.tokens.is_empty())
                    .map(move |window| Encoded {
                        ids: self.encoder.window_ids(subwords, &window),
                        sentence,
                        window,
                    })
            })
            .collect();
        encoded.sort_by_key(|window| std::cmp::Reverse(window.ids.len()));
        encoded
    }

    /// The logits of the words that the windows of one pass answer for.
    fn answers(&self, pass: &[Encoded], subwords: &[Subwords]) -> Result<Vec<Answer>, TaggerError> {
        let logits = self
            .network
            .logits(&Packed::new(pass.iter().map(|window| &window.ids)))?;
        let logits = values(&logits)?;
        let specials = self.encoder.specials().0;
        let mut answers = Vec::new();
        let mut start = 0;
        for Encoded {
            sentence,
            window,
            ids,
        } in pass
        {
            for word in window.answers.range() {
                let at = subwords[*sentence].first_in_window(WordIndex(word), window, specials);
                let Some(at) = at else {
                    continue;
                };
                let row = &logits[(start + at) * self.labels.len()..][..self.labels.len()];
                answers.push(Answer {
                    sentence: *sentence,
                    word,
                    logits: row.to_vec(),
                });
            }
            start += ids.len();
        }
        Ok(answers)
    }
}

/// Runs of windows that are one forward pass each.
fn passes(windows: &[Encoded]) -> Vec<&[Encoded]> {
    let mut passes = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (at, window) in windows.iter().enumerate() {
        if at > start && tokens + window.ids.len() > PASS_TOKENS {
            passes.push(&windows[start..at]);
            (start, tokens) = (at, 0);
        }
        tokens += window.ids.len();
    }
    if start < windows.len() {
        passes.push(&windows[start..]);
    }
    passes
}

impl Tagger for CheckpointTagger {
    fn labels(&self) -> &LabelSet {
        &self.labels
    }

    fn split(&self, text: &str) -> Result<Vec<ByteSpan>, TaggerError> {
        Ok(split_corpus(text))
    }

    fn tag(&mut self, sentences: &[Vec<String>]) -> Result<Vec<Vec<WordLabel>>, TaggerError> {
        Ok(self.tag_with_logits(sentences)?.0)
    }

    fn tag_with_logits(&mut self, sentences: &[Vec<String>]) -> Result<Answered, TaggerError> {
        let logits = self.word_logits(sentences)?;
        let decoder = Decoder::new(&self.labels).with_temperature(self.temperature);
        let labels = decide(&decoder, &logits, self.decoding)?;
        Ok((labels, Some(logits)))
    }
}
