//! The words of ASCII text, as BERT's pre-tokenizer splits them.

use nerve_tagging::ByteSpan;
use tokenizers::Tokenizer;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

/// Whether a tokenizer splits ASCII text exactly where [`cut`] does, so that its words can be encoded one by one.
///
/// A tokenizer finds tokens that were added to the vocabulary, unless they are special, before it splits a text.
pub(super) fn are_of(tokenizer: &Tokenizer) -> bool {
    let normalizer = tokenizer.get_normalizer();
    let usual =
        normalizer.is_none_or(|normalizer| matches!(normalizer, NormalizerWrapper::BertNormalizer(_)));
    let pre_tokenizer = tokenizer.get_pre_tokenizer();
    let cuts = matches!(pre_tokenizer, Some(PreTokenizerWrapper::BertPreTokenizer(_)));
    let mut added = tokenizer.get_added_tokens_decoder().into_values();
    usual && cuts && added.all(|token| token.special)
}

/// The words of a text: each punctuation mark, and the runs between white space and punctuation. `None` for a text with
/// characters other than printable ASCII and usual white space, since it would have to be normalized first.
pub(super) fn cut(text: &str) -> Option<Vec<ByteSpan>> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut keep = |start, end| words.extend(ByteSpan::new(start, end).filter(|span| !span.is_empty()));
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => keep(start, at),
            _ if byte.is_ascii_punctuation() => {
                keep(start, at);
                keep(at, at + 1);
            }
            b'!'..=b'~' => continue,
            _ => return None,
        }
        start = at + 1;
    }
    keep(start, text.len());
    Some(words)
}
