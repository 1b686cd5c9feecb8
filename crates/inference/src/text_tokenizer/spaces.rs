//! How a tokenizer treats the spaces before words.

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::processors::PostProcessorWrapper;

/// How a pre-tokenizer treats spaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spaces {
    /// Spaces are dropped.
    Dropped,
    /// Spaces are dropped, and only spaces split words (BERTweet).
    DroppedAlone,
    /// A space is the first letter of the word after it, and punctuation is split off (byte-level BPE).
    Marked,
    /// A space is the first letter of the word after it, and only spaces split words (SentencePiece).
    MarkedAlone,
}

impl Spaces {
    /// Whether only spaces split words.
    pub(super) fn split_alone(self) -> bool {
        matches!(self, Self::DroppedAlone | Self::MarkedAlone)
    }

    pub(super) fn of(pre_tokenizer: &PreTokenizerWrapper) -> Self {
        match pre_tokenizer {
            PreTokenizerWrapper::ByteLevel(_) => Self::Marked,
            PreTokenizerWrapper::Metaspace(_) => Self::MarkedAlone,
            PreTokenizerWrapper::Sequence(all) => {
                let parts = all.as_ref().iter().map(Self::of);
                parts
                    .reduce(|a, b| if a == Self::Dropped { b } else { a })
                    .unwrap_or(Self::Dropped)
            }
            _ => Self::Dropped,
        }
    }
}

/// Tells the post-processor, which trims offsets, whether the pre-tokenizer puts a space before a text. Otherwise it would take
/// the first letter for that space.
pub(super) fn agree_on_prefix(processor: &mut PostProcessorWrapper, prefix: bool) {
    match processor {
        PostProcessorWrapper::Roberta(roberta) => roberta.add_prefix_space = prefix,
        PostProcessorWrapper::ByteLevel(bytes) => bytes.add_prefix_space = prefix,
        PostProcessorWrapper::Sequence(all) => {
            all.as_mut()
                .iter_mut()
                .for_each(|each| agree_on_prefix(each, prefix));
        }
        PostProcessorWrapper::Bert(_) | PostProcessorWrapper::Template(_) => {}
    }
}
