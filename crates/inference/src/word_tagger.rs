//! Labels words for one caller: tokenizes, divides into windows, runs the model, and decodes the logits of each word.

use std::cmp::Reverse;
use std::sync::Arc;

use nerve_tagging::{
    ByteSpan, Decoder, Decoding, LabelSet, Splitter, Temperature, TransitionScores, WindowLimits,
    split_corpus, split_whitespace,
};

use crate::encoded::{EncodedWindow, encode};
use crate::tagger::{TagError, TaggedSentences, Tagger, WordLogits};
use crate::text_tokenizer::TextTokenizer;
use crate::window_logits::{TokenWindow, WindowLogits};

/// A tagger on any model that computes the logits of windows.
pub struct WordTagger<M> {
    model: M,
    tokenizer: Arc<TextTokenizer>,
    labels: LabelSet,
    limits: WindowLimits,
    splitter: Splitter,
    decoder: Decoder,
    decoding: Decoding,
}

impl<M> WordTagger<M> {
    /// A tagger whose model has the labels `labels`. It splits running text as social-media corpora do.
    pub fn new(model: M, tokenizer: Arc<TextTokenizer>, labels: LabelSet, limits: WindowLimits) -> Self {
        Self {
            model,
            tokenizer,
            decoder: Decoder::new(&labels),
            labels,
            limits,
            splitter: Splitter::Corpus,
            decoding: Decoding::default(),
        }
    }

    /// The same tagger with another splitter of running text.
    pub fn with_splitter(self, splitter: Splitter) -> Self {
        Self { splitter, ..self }
    }

    /// The same tagger with scores at this temperature.
    pub fn with_temperature(self, temperature: Temperature) -> Self {
        let decoder = self.decoder.with_temperature(temperature);
        Self { decoder, ..self }
    }

    /// The same tagger with another decoder of the same labels.
    pub fn with_decoder(self, decoder: Decoder) -> Self {
        Self { decoder, ..self }
    }

    /// Replaces the transition scores of the decoder. `false`, and nothing changes, if they are of another number of labels.
    pub fn set_transitions(&mut self, transitions: Option<TransitionScores>) -> bool {
        let decoder = self.decoder.clone().with_transitions(transitions);
        decoder.map(|decoder| self.decoder = decoder).is_some()
    }

    /// The same tagger with another method of decoding labels.
    pub fn with_decoding(self, decoding: Decoding) -> Self {
        Self { decoding, ..self }
    }

    /// The model that computes the logits.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// The limits of a window.
    pub fn limits(&self) -> WindowLimits {
        self.limits
    }
}

impl<M: WindowLogits> WordTagger<M> {
    /// The logits of the words of sentences, at their first subwords.
    fn word_logits(&mut self, sentences: &[Vec<String>]) -> Result<WordLogits, TagError> {
        let mut encoded = encode(&self.tokenizer, self.limits, sentences)?;
        encoded.retain(|window| !window.reads.is_empty());
        encoded.sort_by_key(|window| Reverse(window.ids.len()));
        let windows: Vec<TokenWindow> = encoded.iter().map(EncodedWindow::as_tokens).collect();
        let found = self.model.window_logits(&windows)?;
        let mut rows: WordLogits = sentences.iter().map(|words| vec![None; words.len()]).collect();
        let width = self.labels.len();
        for (window, logits) in encoded.iter().zip(&found) {
            if logits.len() != window.reads.len() * width {
                let numbers = logits.len();
                let problem = format!(
                    "{numbers} logits for {} words of {width} labels",
                    window.reads.len()
                );
                return Err(TagError::Logits(problem.into()));
            }
            for (&word, row) in window.words.iter().zip(logits.chunks_exact(width)) {
                rows[window.sentence][word] = Some(row.to_vec());
            }
        }
        Ok(rows)
    }
}

impl<M: WindowLogits> Tagger for WordTagger<M> {
    fn labels(&self) -> &LabelSet {
        &self.labels
    }

    fn decoder(&self) -> Decoder {
        self.decoder.clone()
    }

    fn split(&self, text: &str) -> Result<Vec<ByteSpan>, TagError> {
        Ok(match self.splitter {
            Splitter::Corpus => split_corpus(text),
            Splitter::Whitespace => split_whitespace(text),
            Splitter::Bert => self.tokenizer.encode_text(text)?.0,
        })
    }

    fn tag(&mut self, sentences: &[Vec<String>]) -> Result<TaggedSentences, TagError> {
        let logits = self.word_logits(sentences)?;
        let decide = |(sentence, rows): (usize, &Vec<Option<Vec<f32>>>)| {
            let labels = self
                .decoder
                .decode_words(&sentences[sentence], rows, self.decoding);
            labels.ok_or(TagError::NotFinite { sentence })
        };
        let labels = logits.iter().enumerate().map(decide).collect::<Result<_, _>>()?;
        Ok(TaggedSentences {
            labels,
            logits: Some(logits),
        })
    }
}
