//! The words that a tokenizer finds in a text by itself.

use std::ops::Range;

use nerve_tagging::{AlignError, ByteSpan, Subwords};
use tokenizers::Encoding;

use crate::text_tokenizer::spaces::Spaces;

/// The words of a part of a text.
#[derive(Default)]
pub(super) struct OwnWords {
    spans: Vec<ByteSpan>,
    /// The word of each token; `None` for tokens before the first word.
    word_ids: Vec<Option<u32>>,
}

impl OwnWords {
    /// The words that a tokenizer finds in a part of a text. For one that splits at spaces alone, the punctuation before and
    /// after a word is a word too.
    pub(super) fn of(part: &str, encoding: &Encoding, spaces: Spaces) -> Self {
        let mut words = Self::default();
        for tokens in encoding.get_word_ids().chunk_by(PartialEq::eq) {
            let pre_token = words.word_ids.len()..words.word_ids.len() + tokens.len();
            let is_text = tokens.first().is_some_and(Option::is_some);
            for tokens in pre_token_words(part, encoding, pre_token, spaces) {
                let end = tokens.end;
                words
                    .spans
                    .extend(covered(part, encoding, tokens).filter(|_| is_text));
                // The tokenizer also numbers pre-tokens without tokens; those are not words here.
                let last = words.last().filter(|_| is_text);
                words.word_ids.resize(end, last);
            }
        }
        words
    }

    /// The tokens of a part of a text, each as a word. A token of white space alone belongs to the token before it.
    pub(super) fn of_tokens(part: &str, encoding: &Encoding) -> Self {
        let mut words = Self::default();
        for token in 0..encoding.len() {
            words.spans.extend(covered(part, encoding, token..token + 1));
            words.word_ids.push(words.last());
        }
        words
    }

    /// Appends the words, whose part starts at the byte `from` of the text. Tokens before the part's first word belong to the
    /// last word of the parts before.
    pub(super) fn append(
        self,
        encoding: &Encoding,
        from: usize,
        spans: &mut Vec<ByteSpan>,
        subwords: &mut Subwords,
    ) -> Result<(), AlignError> {
        let ids = encoding.get_ids();
        let leading = self.word_ids.iter().take_while(|word| word.is_none()).count();
        subwords.extend_last(ids.get(..leading).unwrap_or_default());
        subwords.append(Subwords::new(ids, &self.word_ids, self.spans.len())?);
        spans.extend(self.spans.into_iter().filter_map(|span| shifted(span, from)));
        Ok(())
    }

    /// The index of the last word.
    fn last(&self) -> Option<u32> {
        let last = self.spans.len().checked_sub(1)?;
        u32::try_from(last).ok()
    }
}

/// The words of one pre-token: the punctuation before, the rest, and the punctuation after. Each may be empty.
fn pre_token_words(
    text: &str,
    encoding: &Encoding,
    tokens: Range<usize>,
    spaces: Spaces,
) -> [Range<usize>; 3] {
    let (start, end) = (tokens.start, tokens.end);
    let has_letters = |&token: &usize| {
        let span = covered(text, encoding, token..token + 1);
        span.and_then(|span| span.slice(text))
            .is_some_and(|part| part.contains(char::is_alphanumeric))
    };
    let bounds = tokens
        .clone()
        .find(has_letters)
        .zip(tokens.clone().rfind(has_letters));
    match bounds.filter(|_| spaces.split_alone()) {
        None => [tokens, end..end, end..end],
        Some((first, last)) => {
            // A subword of the space alone belongs to the word after it.
            let punctuation = covered(text, encoding, start..first).is_some();
            let first = if punctuation { first } else { start };
            [start..first, first..last + 1, last + 1..end]
        }
    }
}

/// The span, moved so many bytes towards the end of the text.
pub(super) fn shifted(span: ByteSpan, by: usize) -> Option<ByteSpan> {
    ByteSpan::new(by + span.start(), by + span.end())
}

/// The span of the text that some tokens cover, without the white space around it; `None` for white space alone.
fn covered(text: &str, encoding: &Encoding, tokens: Range<usize>) -> Option<ByteSpan> {
    let offsets = encoding.get_offsets().get(tokens)?;
    let start = offsets.iter().map(|(start, _)| *start).min()?;
    let end = offsets.iter().map(|(_, end)| *end).max()?;
    let covered = text.get(start..end)?;
    let start = end - covered.trim_start().len();
    ByteSpan::new(start, start + covered.trim().len()).filter(|span| !span.is_empty())
}
