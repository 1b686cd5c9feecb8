//! A bundle as a tagger, on ONNX Runtime.

use std::path::Path;

use nerve_inference::{
    Model, ModelError, OpenOptions, Runtime, RuntimeError, Session, SessionError, SessionOptions, tag,
    word_logits,
};
use nerve_tagging::{ByteSpan, Decoding, LabelSet, Splitter, WordLabel, split_corpus, split_whitespace};
use thiserror::Error;

use super::tagger::{Answered, Tagger, TaggerError, decide};

/// Why a bundle cannot be opened.
#[derive(Debug, Error)]
pub enum BundleError {
    /// ONNX Runtime cannot be opened.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The bundle is unusable.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its graph is unusable.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// A bundle on one session of ONNX Runtime.
pub struct BundleTagger {
    model: Model,
    session: Session,
    decoding: Decoding,
}

impl BundleTagger {
    /// The tagger of a bundle, store or plain export, its session on `threads` threads.
    pub fn open(
        dir: &Path,
        plain: &OpenOptions,
        library: Option<&Path>,
        threads: usize,
    ) -> Result<Self, BundleError> {
        let runtime = Runtime::load(library)?;
        let model = Model::open_with(dir, plain)?;
        let options = SessionOptions {
            intra_threads: threads,
            ..SessionOptions::default()
        };
        let session = model.session(&runtime, &options)?;
        Ok(Self {
            model,
            session,
            decoding: Decoding::default(),
        })
    }

    /// The same tagger, its labels decided so.
    pub fn with_decoding(self, decoding: Decoding) -> Self {
        Self { decoding, ..self }
    }
}

impl Tagger for BundleTagger {
    fn labels(&self) -> &LabelSet {
        self.model.labels()
    }

    fn split(&self, text: &str) -> Result<Vec<ByteSpan>, TaggerError> {
        Ok(match self.model.splitter() {
            Splitter::Corpus => split_corpus(text),
            Splitter::Whitespace => split_whitespace(text),
            Splitter::Bert => self.model.encoder().encode_text(text)?.0,
        })
    }

    fn tag(&mut self, sentences: &[Vec<String>]) -> Result<Vec<Vec<WordLabel>>, TaggerError> {
        Ok(tag(&self.model, &mut self.session, sentences, self.decoding)?)
    }

    fn tag_with_logits(&mut self, sentences: &[Vec<String>]) -> Result<Answered, TaggerError> {
        let logits = word_logits(&self.model, &mut self.session, sentences)?;
        let labels = decide(&self.model.decoder(), &logits, self.decoding)?;
        Ok((labels, Some(logits)))
    }
}
