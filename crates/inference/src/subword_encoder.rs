//! A tokenizer's encoder: the library's, or one with a model of Nerve's.

use tokenizers::models::ModelWrapper;
use tokenizers::tokenizer::{Model, Result};
use tokenizers::{
    DecoderWrapper, Encoding, InputSequence, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    Tokenizer, TokenizerBuilder, TokenizerImpl,
};

use crate::bertweet_pieces::BertweetPieces;
use crate::word_pieces::WordPieces;

type TokenizerWith<M> =
    TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// Encodes as the library's tokenizer does with WordPiece, in bounded time, and as `transformers` does with BERTweet's files.
pub(crate) enum SubwordEncoder {
    WordPiece(Box<TokenizerWith<WordPieces>>),
    Bertweet(Box<TokenizerWith<BertweetPieces>>),
    /// A tokenizer with another model, which is the caller's.
    Library,
}

impl SubwordEncoder {
    /// The encoder of a tokenizer, with the tokenizer's settings of this moment.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Result<Self> {
        if let ModelWrapper::WordPiece(model) = tokenizer.get_model() {
            let model = WordPieces::new(model.clone());
            let normalizer = tokenizer.get_normalizer().cloned();
            return Ok(Self::WordPiece(Box::new(with_model(
                tokenizer, model, normalizer,
            )?)));
        }
        Ok(match BertweetPieces::of(tokenizer)? {
            // The model normalizes words itself.
            Some(model) => Self::Bertweet(Box::new(with_model(tokenizer, model, None)?)),
            None => Self::Library,
        })
    }

    /// The tokens of a text or of words. `tokenizer` is the one that this encoder was made of.
    pub(crate) fn encode<'s>(
        &self,
        tokenizer: &Tokenizer,
        input: impl Into<InputSequence<'s>>,
        add_special_tokens: bool,
    ) -> Result<Encoding> {
        let input: InputSequence = input.into();
        match self {
            Self::WordPiece(encoder) => encoder.encode(input, add_special_tokens),
            Self::Bertweet(encoder) => encoder.encode(input, add_special_tokens),
            Self::Library => tokenizer.encode(input, add_special_tokens),
        }
    }

    /// The number of ids of the network, if the library's vocabulary has more.
    pub(crate) fn vocab_size(&self) -> Option<usize> {
        match self {
            Self::Bertweet(encoder) => Some(encoder.get_model().vocab_size()),
            Self::WordPiece(_) | Self::Library => None,
        }
    }
}

/// The tokenizer with another model and normalizer.
fn with_model<M: Model>(
    tokenizer: &Tokenizer,
    model: M,
    normalizer: Option<NormalizerWrapper>,
) -> Result<TokenizerWith<M>> {
    TokenizerBuilder::new()
        .with_model(model)
        .with_normalizer(normalizer)
        .with_pre_tokenizer(tokenizer.get_pre_tokenizer().cloned())
        .with_post_processor(tokenizer.get_post_processor().cloned())
        .with_decoder(tokenizer.get_decoder().cloned())
        .with_added_vocabulary(tokenizer.get_added_vocabulary().clone())
        .build()
}
