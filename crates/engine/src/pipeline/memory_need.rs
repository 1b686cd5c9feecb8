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
/// How often the bytes of a line of a stream are held: in the line, its input, the copy of that, and twice in the answer,
/// whose entities repeat their text.
pub(crate) const LINE_COPIES: usize = 5;
/// Bytes of the JSON of a word in an answer, beside its text.
const WORD_JSON_BYTES: usize = 80;

impl Tagger {
    /// The memory in bytes that the texts take while they are tagged, themselves included.
    pub fn bytes_to_tag(&self, sources: &[TagInput], reading: DecodingOptions) -> usize {
        let one = |source: &TagInput| {
            source.own_bytes() + self.working_bytes(source.bytes(), source.word_estimate(), reading)
        };
        sources.iter().map(one).sum()
    }

    /// The memory in bytes that a line of so many bytes and words takes: itself, what is parsed from it, tagging it, and
    /// its answer with all words. It is at least [`LINE_COPIES`] times the line.
    pub(crate) fn bytes_of_line(&self, bytes: usize, words: usize, reading: DecodingOptions) -> usize {
        // The list of words grows by doubling. A copy of the exact size is tagged again if a worker fails.
        const WORD_COPIES: usize = 3;
        LINE_COPIES * bytes
            + words * WORD_COPIES * size_of::<String>()
            + self.working_bytes(bytes, words, reading)
            + words.min(self.limits.max_words) * WORD_JSON_BYTES
    }

    /// The memory in bytes of a text of so many bytes and words while it is tagged, beside its input.
    fn working_bytes(&self, bytes: usize, words: usize, reading: DecodingOptions) -> usize {
        let words = words.min(self.limits.max_words);
        let rows = match reading.aggregation.reads_all() || reading.aggregation.is_of_tokens() {
            false => words,
            true => words.max(bytes / BYTES_PER_TOKEN),
        };
        bytes + words * WORD_BYTES + rows * LOGIT_BYTES * self.model.decoder.width()
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
    /// The number of words, given or expected.
    fn word_estimate(&self) -> usize {
        match self {
            Self::Words(words) => words.len(),
            Self::Text(text) => words_of_text(text),
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

/// Counts the words that a text is expected to have: each run of letters and digits is one, and each other character that
/// is no white space.
#[derive(Default)]
struct WordCount {
    words: usize,
    in_word: bool,
}

impl WordCount {
    fn add(&mut self, c: char) {
        let joins = c.is_ascii_alphanumeric() || (!c.is_ascii() && c.is_alphanumeric() && !is_cjk(c));
        self.words += usize::from(match joins {
            true => !self.in_word,
            false => !c.is_whitespace(),
        });
        self.in_word = joins;
    }
}

/// The number of words that the text is expected to have.
pub(crate) fn words_of_text(text: &str) -> usize {
    let mut count = WordCount::default();
    text.chars().for_each(|c| count.add(c));
    count.words
}

/// The number of words that an object in JSON has at most, in a list of strings or expected in its strings. An escaped
/// character counts as two.
pub(crate) fn words_of_json(json: &str) -> usize {
    let (mut count, mut strings) = (WordCount::default(), 0);
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        match (in_string, c) {
            (false, '"') => in_string = true,
            (false, _) => {}
            (true, '"') if !escaped => {
                strings += 1;
                in_string = false;
                count.in_word = false;
            }
            (true, _) => {
                escaped = c == '\\' && !escaped;
                count.add(c);
            }
        }
    }
    count.words.max(strings)
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
        for (json, words) in [
            ("", 0),
            (r#"{"words": ["", "", ""]}"#, 4),
            (r#"{"words": ["New York", "a"]}"#, 4),
            (r#"{"text": "don't"}"#, 4),
            (r#"{"text": "a\"b", "id": "\\"}"#, 8),
            (r#"{"text": "\u6771\u4eac"}"#, 5),
        ] {
            assert_eq!(words_of_json(json), words, "{json}");
        }
    }
}
