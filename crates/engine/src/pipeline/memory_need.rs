//! The memory that texts take while they are tagged, estimated before they are.

use crate::pipeline::aggregation::DecodingOptions;
use crate::pipeline::tagger::Tagger;
use crate::request::input::TagInput;

/// Bytes of a word while it is tagged: its span (16), the place of its subwords (8), about two token ids (8) and its label
/// (16), in vectors that grow by doubling.
const WORD_BYTES: usize = 64;
/// Bytes of one logit of a word: 4, in vectors that grow by doubling.
const LOGIT_BYTES: usize = 6;
/// Bytes of a token of the `transformers` pipeline: its encoding by the tokenizer library, and its text.
const PIPELINE_TOKEN_BYTES: usize = 200;
/// Bytes of text for each token where all tokens are read. Random letters come close; words have three times as many.
const BYTES_PER_TOKEN: usize = 2;
/// Bytes of the JSON of a word in an answer, beside its text.
const WORD_JSON_BYTES: usize = 80;

impl Tagger {
    /// The memory in bytes that the texts take while they are tagged, themselves included.
    pub fn bytes_to_tag(&self, sources: &[TagInput], reading: DecodingOptions) -> usize {
        let row = LOGIT_BYTES * self.model.decoder.width();
        let all_tokens = reading.aggregation.reads_all() || reading.aggregation.is_of_tokens();
        let one = |source: &TagInput| {
            let bytes = source.bytes();
            let words = source.word_estimate().min(self.limits.max_words);
            let rows = match all_tokens {
                false => words,
                true => words.max(bytes / BYTES_PER_TOKEN),
            };
            source.own_bytes() + bytes + words * WORD_BYTES + rows * row
        };
        sources.iter().map(one).sum()
    }

    /// The memory in bytes that the answers of the texts take as JSON with all words.
    pub(crate) fn bytes_of_answers(&self, sources: &[TagInput]) -> usize {
        let one = |source: &TagInput| {
            let words = source.word_estimate().min(self.limits.max_words);
            // Entities repeat their text.
            2 * source.bytes() + words * WORD_JSON_BYTES
        };
        sources.iter().map(one).sum()
    }

    /// The memory in bytes that texts take while they are classified, themselves included.
    pub fn bytes_to_classify(&self, texts: &[String], stride: Option<usize>) -> usize {
        let token = PIPELINE_TOKEN_BYTES + LOGIT_BYTES * self.model.decoder.width();
        let one = |text: &String| {
            let tokens = text.len() / BYTES_PER_TOKEN;
            let read = match stride {
                Some(_) => tokens,
                None => tokens.min(self.model.pipeline.room()),
            };
            2 * text.len() + read * token
        };
        texts.iter().map(one).sum()
    }
}

impl TagInput {
    /// The number of words, given or expected: each run of letters and digits is one, and each other character that is
    /// no white space.
    fn word_estimate(&self) -> usize {
        match self {
            Self::Words(words) => words.len(),
            Self::Text(text) => {
                let (mut words, mut in_word) = (0, false);
                for c in text.chars() {
                    let joins =
                        c.is_ascii_alphanumeric() || (!c.is_ascii() && c.is_alphanumeric() && !is_cjk(c));
                    words += usize::from(match joins {
                        true => !in_word,
                        false => !c.is_whitespace(),
                    });
                    in_word = joins;
                }
                words
            }
        }
    }

    /// The memory that the input itself takes.
    fn own_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Words(words) => self.bytes() + words.len() * size_of::<String>(),
        }
    }
}

/// Whether each of the script's characters is a word of its own.
fn is_cjk(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_estimated_from_above() {
        for (text, words) in [
            ("", 0),
            (" \n ", 0),
            ("New York", 2),
            ("don't", 3),
            ("a%a%%", 5),
            ("Москва и Zoë", 3),
            ("東京へ", 3),
            ("e\u{301}", 2),
        ] {
            assert_eq!(TagInput::Text(text.to_owned()).word_estimate(), words, "{text}");
        }
        assert_eq!(TagInput::Words(vec![String::new(); 3]).word_estimate(), 3);
    }
}
