//! A checkpoint as a tagger, on candle.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use nerve_inference::{TagError, TaggedSentences, Tagger, TextTokenizer, WordTagger};
use nerve_repository::Calibration;
use nerve_tagging::{ByteSpan, Decoding, LabelSet, Temperature, WindowLimits};

use crate::evaluate::error::TaggerError;
use crate::model::bert::BertTagger;
use crate::model::checkpoint::{CheckpointError, ModelDir};
use crate::model::threaded::ThreadedNetwork;

/// The longest window of a checkpoint that does not say what it was trained with.
const MAX_LENGTH: usize = 128;

/// A network with its tokenizer and labels.
pub struct CheckpointTagger(WordTagger<ThreadedNetwork>);

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
        let (network, tokenizer) = model.into_tagger(&labels, 0)?;
        let temperature = Calibration::temperature(dir)?;
        let tagger = Self::new(network, tokenizer, labels, max_length, threads)?;
        Ok(tagger.with_temperature(temperature))
    }

    /// The tagger of a network whose outputs are `labels`.
    pub fn new(
        network: BertTagger,
        tokenizer: TextTokenizer,
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
        let (before, after) = tokenizer.specials();
        let limits = WindowLimits::for_encoder(max_length, before + after)?;
        let network = ThreadedNetwork::new(network, threads);
        Ok(Self(WordTagger::new(
            network,
            Arc::new(tokenizer),
            labels,
            limits,
        )))
    }

    /// The same tagger, deciding labels in another way.
    pub fn with_decoding(self, decoding: Decoding) -> Self {
        Self(self.0.with_decoding(decoding))
    }

    /// The same tagger, its scores stated at a temperature.
    pub fn with_temperature(self, temperature: Temperature) -> Self {
        Self(self.0.with_temperature(temperature))
    }

    /// The network.
    pub fn network(&self) -> &BertTagger {
        self.0.model().network()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &TextTokenizer {
        self.0.tokenizer()
    }

    /// How long the windows may be.
    pub fn limits(&self) -> WindowLimits {
        self.0.limits()
    }
}

impl Tagger for CheckpointTagger {
    fn labels(&self) -> &LabelSet {
        self.0.labels()
    }

    fn split(&self, text: &str) -> Result<Vec<ByteSpan>, TagError> {
        self.0.split(text)
    }

    fn tag(&mut self, sentences: &[Vec<String>]) -> Result<TaggedSentences, TagError> {
        self.0.tag(sentences)
    }
}
