//! A checkpoint as a tagger, on candle.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use nerve_inference::{TagError, TaggedSentences, Tagger, TextTokenizer, WordTagger};
use nerve_repository::{Calibration, MaxLength};
use nerve_tagging::{ByteSpan, Decoder, Decoding, LabelSet, Temperature, WindowLimits};

use crate::evaluate::error::TaggerError;
use crate::model::bert::BertTagger;
use crate::model::checkpoint::{CheckpointError, ModelDir};
use crate::model::threaded::ThreadedNetwork;

/// A network with its tokenizer and labels.
pub struct CheckpointTagger(WordTagger<ThreadedNetwork>);

impl CheckpointTagger {
    /// The tagger of a checkpoint directory, with windows of at most `max_length` tokens, where absent of its
    /// [`MaxLength`] as an export has, and scores at the temperature of its `calibration.json`, where it has one.
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
            .classifier_labels(&dir.join("config.json"))
            .map_err(CheckpointError::from)?;
        let max_length = match max_length.into() {
            Some(max_length) => max_length,
            None => MaxLength::of_checkpoint(dir)
                .map_err(CheckpointError::from)?
                .tokens(),
        };
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

    fn decoder(&self) -> Decoder {
        self.0.decoder()
    }

    fn tag(&mut self, sentences: &[Vec<String>]) -> Result<TaggedSentences, TagError> {
        // Training changes the scores.
        let transitions = self.network().transition_scores();
        if !self
            .0
            .set_transitions(transitions.map_err(|error| TagError::Logits(error.into()))?)
        {
            return Err(TagError::Logits(
                "the scores of transitions are of other labels".into(),
            ));
        }
        self.0.tag(sentences)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::checkpoint::write_checkpoint;
    use crate::model::gradients::tests::tiny_config;
    use crate::testing::write_corpus;
    use nerve_repository::ModelConfig;

    #[test]
    fn the_longest_window_is_that_of_an_export() {
        let dir = tempfile::tempdir().unwrap();
        write_corpus(dir.path());
        let checkpoint = dir.path().join("checkpoint");
        let shape = |vocab_size| ModelConfig {
            vocab_size,
            max_position_embeddings: 200,
            ..tiny_config()
        };
        let model = ModelDir::scratch(dir.path(), shape).unwrap();
        let (network, tokenizer) = model.into_tagger(&LabelSet::iob2(["per"]).unwrap(), 1).unwrap();
        write_checkpoint(&checkpoint, &network, &tokenizer, 150).unwrap();
        let tokens = |max_length: Option<usize>| {
            let tagger = CheckpointTagger::open(&checkpoint, max_length, 1).unwrap();
            tagger.limits().max_tokens() + 2
        };
        assert_eq!((tokens(None), tokens(Some(40))), (150, 40));
        std::fs::write(checkpoint.join("tokenizer_config.json"), "{}").unwrap();
        assert_eq!(tokens(None), 200);
        let refused = CheckpointTagger::open(&checkpoint, 2, 1).err().unwrap();
        assert_eq!(
            refused.to_string(),
            "--max-length: 2 tokens have no room for text beside 2 special tokens; the least is 3"
        );
    }
}
