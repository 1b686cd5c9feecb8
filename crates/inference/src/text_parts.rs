//! Where a long text can be divided so that its parts have the tokens of the whole.

use tokenizers::Tokenizer;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

/// The length of a part, in bytes, if the text can be divided there: a few milliseconds of work.
const USUAL_BYTES: usize = 1 << 12;
/// The greatest length of a part, in bytes.
pub(crate) const LONGEST_BYTES: usize = 1 << 13;

/// Divides long texts into parts for a tokenizer, so that tokenizing a text can be interrupted.
///
/// A part ends where the tokenizer divides words whatever the text around: before white space or punctuation for a BERT
/// tokenizer, else before a single space. A text without such a place for 4 KiB is divided there all the same, at other
/// white space or after 8 KiB: a longer word is read as several.
#[derive(Clone)]
pub(crate) struct TextParts {
    is_bert: bool,
    /// The tokens that the tokenizer finds in a text before it divides the text into words.
    added: Vec<String>,
}

impl TextParts {
    /// The parts of texts for this tokenizer.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Self {
        let bert_normalizer = tokenizer.get_normalizer().is_none_or(|normalizer| {
            matches!(
                normalizer,
                NormalizerWrapper::BertNormalizer(_) | NormalizerWrapper::Lowercase(_)
            )
        });
        let pre_tokenizer = tokenizer.get_pre_tokenizer();
        let added = tokenizer.get_added_tokens_decoder().into_values();
        Self {
            is_bert: bert_normalizer
                && matches!(pre_tokenizer, Some(PreTokenizerWrapper::BertPreTokenizer(_))),
            added: added
                .map(|token| token.content)
                .filter(|content| content.len() > 1)
                .collect(),
        }
    }

    /// The end of the part that starts at the byte `from`.
    pub(crate) fn end(&self, text: &str, from: usize) -> usize {
        let usual = text.ceil_char_boundary(from.saturating_add(USUAL_BYTES));
        let longest = text.floor_char_boundary(from.saturating_add(LONGEST_BYTES));
        let Some(range) = text.get(usual..longest) else {
            return text.len();
        };
        let mut places = range.char_indices().map(|(at, _)| usual + at);
        if let Some(end) = places.find(|&at| self.divides(text, at)) {
            return end;
        }
        if longest == text.len() {
            return longest;
        }
        range.find(char::is_whitespace).map_or(longest, |at| usual + at)
    }

    /// Whether the tokenizer divides words at a byte of the text, whatever the text around.
    fn divides(&self, text: &str, at: usize) -> bool {
        let Some((before, after)) = text.split_at_checked(at) else {
            return false;
        };
        let mut following = after.chars();
        let divides = match following.next() {
            Some(' ' | '\t' | '\n' | '\r' | '\u{a0}' | '\u{3000}') if self.is_bert => true,
            Some(c) if self.is_bert => c.is_ascii_punctuation(),
            Some(' ') => {
                let next_to_space = |c: Option<char>| c.is_none_or(char::is_whitespace);
                !next_to_space(before.chars().next_back()) && !next_to_space(following.next())
            }
            _ => false,
        };
        divides && !self.added.iter().any(|token| is_across(text, at, token))
    }
}

/// Whether `token` is in the text with a part on both sides of the byte `at`.
fn is_across(text: &str, at: usize, token: &str) -> bool {
    let start = text.floor_char_boundary(at.saturating_sub(token.len() - 1));
    let end = text.ceil_char_boundary(at + token.len() - 1);
    let around = text.get(start..end).unwrap_or_default();
    let mut found = around.match_indices(token);
    found.any(|(found, _)| start + found < at && at < start + found + token.len())
}
