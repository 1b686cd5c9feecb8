//! Tokenizes text as the `transformers` token-classification pipeline does.

use std::ops::Range;

use nerve_tagging::{OffsetMap, OffsetUnit};
use tokenizers::decoders::wordpiece::WordPiece;
use tokenizers::models::ModelWrapper;
use tokenizers::{Decoder, Tokenizer};

use crate::subword_encoder::SubwordEncoder;
use crate::text_parts::TextParts;
use crate::text_tokenizer::{TextTokenizer, guarded};
use crate::tokenizer_error::TokenizerError;

/// One token of a text, with the fields that the pipeline reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineToken {
    /// The vocabulary entry, or for the unknown token the text that it covers.
    pub word: String,
    /// The index of its first code point in the text.
    pub start: usize,
    /// The index of the code point after its last one.
    pub end: usize,
    /// Whether the pipeline treats it as a continuation of the previous token.
    ///
    /// With a subword prefix (`##`), these are the tokens whose length differs from that of their text; without one,
    /// the tokens without a space before them. This is a heuristic of the pipeline, which stripped accents and
    /// punctuation can mislead.
    pub is_subword: bool,
}

/// The tokens of a text, without special tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineText {
    /// The vocabulary ids of the tokens.
    pub ids: Vec<u32>,
    /// The tokens, one for each id.
    pub tokens: Vec<PipelineToken>,
    /// How much of the text is tokenized, in bytes and in code points.
    bytes: usize,
    code_points: usize,
}

/// A tokenizer that reads text as `transformers` does: it splits at the tokenizer's pre-tokens, and `[SEP]` in a text
/// is the special token.
pub struct PipelineTokenizer {
    tokenizer: Tokenizer,
    encoder: SubwordEncoder,
    parts: TextParts,
    /// Whether the spans of tokens exclude the space before them, except for the first token of a text.
    trims_inner_spaces: bool,
    before: Vec<u32>,
    after: Vec<u32>,
    /// The id of the unknown token.
    unknown: Option<u32>,
    /// Whether continuing subwords have a prefix.
    has_prefix: bool,
    max_length: usize,
}

impl PipelineTokenizer {
    /// A tokenizer for sequences of at most `max_length` tokens, special tokens included.
    pub fn new(text_tokenizer: &TextTokenizer, max_length: usize) -> Self {
        let mut tokenizer = text_tokenizer.inner().clone();
        tokenizer.set_encode_special_tokens(false);
        let (has_prefix, unknown) = match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => (
                !model.continuing_subword_prefix.is_empty(),
                model.unk_token.as_str(),
            ),
            ModelWrapper::BPE(model) => (
                model
                    .continuing_subword_prefix
                    .as_ref()
                    .is_some_and(|prefix| !prefix.is_empty()),
                model.unk_token.as_deref().unwrap_or("<unk>"),
            ),
            ModelWrapper::WordLevel(model) => (false, model.unk_token.as_str()),
            ModelWrapper::Unigram(_) => (false, "<unk>"),
        };
        let (before, after) = text_tokenizer.special_ids();
        Self {
            before: before.to_vec(),
            after: after.to_vec(),
            unknown: tokenizer.token_to_id(unknown),
            has_prefix,
            max_length,
            // No error: the text tokenizer has one of the same tokenizer.
            encoder: SubwordEncoder::of(&tokenizer).unwrap_or(SubwordEncoder::Library),
            parts: TextParts::of(&tokenizer),
            trims_inner_spaces: trims_inner_spaces(&tokenizer),
            tokenizer,
        }
    }

    /// Tokenizes a text without truncation.
    pub fn encode(&self, text: &str) -> Result<PipelineText, TokenizerError> {
        let mut found = PipelineText::default();
        while !self.encode_part(text, &mut found)? {}
        Ok(found)
    }

    /// One step of [`Self::encode`]: appends the tokens of the next part, of at most 8 KiB. True at the end of the text.
    ///
    /// The tokens are those of the text as a whole, except that a longer word is read as several, and so is, for a tokenizer
    /// other than BERT's, a text of more than 4 KiB without a single space.
    pub fn encode_part(&self, text: &str, found: &mut PipelineText) -> Result<bool, TokenizerError> {
        self.encode_to(text, self.parts.end(text, found.bytes), found)
    }

    /// Appends the tokens up to the byte `to`.
    fn encode_to(&self, text: &str, to: usize, found: &mut PipelineText) -> Result<bool, TokenizerError> {
        let from = found.bytes;
        let part = text.get(from..to).unwrap_or_default();
        let encoding =
            guarded(|| self.encoder.encode(&self.tokenizer, part, true)).map_err(TokenizerError::Encode)?;
        let code_points = OffsetMap::new(part, OffsetUnit::Codepoint);
        let mut trims = from > 0 && self.trims_inner_spaces && part.starts_with(' ');
        let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
        for ((&id, &(mut start, end)), &special) in tokens.zip(encoding.get_special_tokens_mask()) {
            if special == 0 {
                if std::mem::take(&mut trims) && start == 0 {
                    start = end.min(1);
                }
                found.ids.push(id);
                found.tokens.push(PipelineToken {
                    start: found.code_points + code_points.convert(start),
                    end: found.code_points + code_points.convert(end),
                    ..self.token(id, text, from + start..from + end)
                });
            }
        }
        found.code_points += code_points.convert(part.len());
        found.bytes = to;
        Ok(to == text.len())
    }

    /// The token at a byte range of the text; its offsets are not set.
    fn token(&self, id: u32, text: &str, bytes: Range<usize>) -> PipelineToken {
        let part = text.get(bytes.clone()).unwrap_or_default();
        let known = (self.unknown != Some(id)).then(|| self.tokenizer.id_to_token(id));
        let known = known.flatten();
        let is_subword = match &known {
            None => false,
            Some(word) if self.has_prefix => word.chars().count() != part.chars().count(),
            Some(_) => bytes.start > 0 && !touches_space(text, bytes.start),
        };
        PipelineToken {
            word: known.unwrap_or_else(|| part.to_owned()),
            start: 0,
            end: 0,
            is_subword,
        }
    }

    /// The input of the network: the ids, enclosed in the special tokens.
    pub fn sequence(&self, ids: &[u32]) -> Vec<u32> {
        [self.before.as_slice(), ids, &self.after].concat()
    }

    /// The numbers of special tokens before and after a sequence.
    pub fn specials(&self) -> (usize, usize) {
        (self.before.len(), self.after.len())
    }

    /// The number of tokens that fit into a sequence: `model_max_length` minus the special tokens.
    pub fn room(&self) -> usize {
        self.max_length
            .saturating_sub(self.before.len() + self.after.len())
    }

    /// The text of tokens, from the decoder of the tokenizer, as `convert_tokens_to_string` yields it.
    pub fn tokens_to_string(&self, tokens: Vec<String>) -> Result<String, TokenizerError> {
        let decoders = (self.tokenizer.get_decoder(), self.tokenizer.get_model());
        let decoded = guarded(|| match decoders {
            (Some(decoder), _) => decoder.decode(tokens),
            // `transformers` uses this decoder for every BERT tokenizer, whatever its file states.
            (None, ModelWrapper::WordPiece(model)) => {
                WordPiece::new(model.continuing_subword_prefix.clone(), true).decode(tokens)
            }
            (None, _) => Ok(tokens.join(" ")),
        });
        decoded.map_err(TokenizerError::Decode)
    }
}

/// Whether a tokenizer trims the space before a token from its span, but not before the first token of a text, where it
/// takes the space for its own.
fn trims_inner_spaces(tokenizer: &Tokenizer) -> bool {
    let has_start = |text: &str, start: usize| {
        guarded(|| tokenizer.encode(text, false)).is_ok_and(|encoding| {
            let mut spans = encoding.get_offsets().iter();
            spans.any(|span| span.0 == start)
        })
    };
    has_start(" a", 0) && !has_start("a a", 1)
}

/// Whether the character before or at a byte index of the text is a space.
fn touches_space(text: &str, at: usize) -> bool {
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    before.ends_with(' ') || after.starts_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text_parts::LONGEST_BYTES;

    fn tokenizer() -> PipelineTokenizer {
        let dir = tempfile::tempdir().unwrap();
        let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\npaul\n##walk\nzoe\n,\n.\nthe\n";
        std::fs::write(dir.path().join("vocab.txt"), vocab).unwrap();
        PipelineTokenizer::new(&TextTokenizer::open_dir(dir.path()).unwrap(), 8)
    }

    fn shown(text: &str) -> Vec<(String, usize, usize, bool)> {
        let tokens = tokenizer().encode(text).unwrap().tokens;
        let show = |token: PipelineToken| (token.word, token.start, token.end, token.is_subword);
        tokens.into_iter().map(show).collect()
    }

    #[test]
    fn subwords_are_guessed_from_lengths() {
        let expected = [
            ("paul", 0, 4, false),
            ("##walk", 4, 8, true),
            ("zoe", 9, 12, false),
        ];
        let expected = expected.map(|(word, start, end, sub)| (word.to_owned(), start, end, sub));
        assert_eq!(shown("PaulWalk Zoë"), expected);
        // The combining mark counts in the length of the text but not in that of the token, so the heuristic is
        // wrong.
        assert_eq!(shown("Zo\u{308}e"), [("zoe".to_owned(), 0, 4, true)]);
    }

    #[test]
    fn the_unknown_is_its_text_and_a_typed_special_token_is_special() {
        assert_eq!(
            shown("😀 Xyz"),
            [("😀".to_owned(), 0, 1, false), ("Xyz".to_owned(), 2, 5, false)]
        );
        assert_eq!(tokenizer().encode("paul [SEP] paul").unwrap().ids, [5, 3, 5]);
    }

    #[test]
    fn a_long_text_has_the_tokens_of_the_text_read_at_once() {
        let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/plain/fixtures");
        let open = |name: &str| {
            let tokenizer = TextTokenizer::open_dir(&fixtures.join(name)).unwrap();
            PipelineTokenizer::new(&tokenizer, 8)
        };
        let fixtures = ["bert-iob2", "roberta", "xlm-roberta"].map(open);
        for tokenizer in fixtures.iter().chain([&tokenizer()]) {
            for unit in [
                "paul, the walk  of Zoë. ",
                "the [SEP] <mask>\npaul </s> a",
                "漢字 e\u{301} (walk)\u{200d} ",
            ] {
                // Parts end in many places of the unit.
                for shift in (0..unit.len()).step_by(3) {
                    let text = format!("{}{}", "a ".repeat(shift), unit.repeat(24_000 / unit.len()));
                    let mut whole = PipelineText::default();
                    assert!(tokenizer.encode_to(&text, text.len(), &mut whole).unwrap());
                    let parts = tokenizer.encode(&text).unwrap();
                    let mut differs = parts
                        .tokens
                        .iter()
                        .zip(&whole.tokens)
                        .filter(|(part, whole)| part != whole);
                    assert_eq!(differs.next(), None, "{unit}");
                    assert!(parts == whole, "{unit}");
                }
            }
        }
    }

    #[test]
    fn a_text_without_a_place_to_divide_is_read_in_bounded_parts() {
        let tokenizer = tokenizer();
        for unit in ["a", "é", "\u{301}", "\u{200b}", "1"] {
            let text = unit.repeat(100_000);
            let mut found = PipelineText::default();
            let mut before = 0;
            while !tokenizer.encode_part(&text, &mut found).unwrap() {
                assert!(found.bytes > before && found.bytes - before <= LONGEST_BYTES);
                before = found.bytes;
            }
            assert_eq!((found.bytes, found.code_points), (text.len(), 100_000));
        }
    }

    #[test]
    fn tokens_are_spelt_as_text() {
        let tokens = ["the", "paul", "##walk", ",", "."].map(str::to_owned).to_vec();
        assert_eq!(tokenizer().tokens_to_string(tokens).unwrap(), "the paulwalk,.");
    }
}
