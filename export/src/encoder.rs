//! Words to subwords: the tokenizer, with everything that could cut or pad silently turned off.

use std::path::{Path, PathBuf};

use nerve_tagging::{AlignError, ByteSpan, Subwords, Window};
use thiserror::Error;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

/// Why a tokenizer cannot be opened or used.
#[derive(Debug, Error)]
pub enum EncoderError {
    /// There is neither `tokenizer.json` nor `vocab.txt`.
    #[error("{} has neither tokenizer.json nor vocab.txt", dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// The file is not a tokenizer.
    #[error("{}: not a usable tokenizer: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the tokenizer library said.
        reason: String,
    },
    /// The tokenizer could not encode a text.
    #[error("the tokenizer failed: {0}")]
    Encode(tokenizers::Error),
    /// The tokenizer's word ids contradict the words.
    #[error("the tokenizer's word ids are inconsistent: {0}")]
    Align(#[from] AlignError),
    /// A file could not be written.
    #[error("cannot write {}: {reason}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

/// A tokenizer that yields words' subwords, without truncation or padding.
pub struct TextEncoder {
    tokenizer: Tokenizer,
    before: Vec<u32>,
    after: Vec<u32>,
}

impl TextEncoder {
    /// The encoder in a model directory: its `tokenizer.json`, else a BERT WordPiece tokenizer over its `vocab.txt`.
    pub fn open_dir(dir: &Path) -> Result<Self, EncoderError> {
        let json = dir.join("tokenizer.json");
        if json.is_file() {
            return Self::open(&json);
        }
        let vocab = dir.join("vocab.txt");
        if vocab.is_file() {
            return Self::from_vocab(&vocab, lowercases(dir));
        }
        Err(EncoderError::Missing { dir: dir.to_owned() })
    }

    /// The encoder of a `tokenizer.json`, whose own truncation and padding are overridden.
    pub fn open(path: &Path) -> Result<Self, EncoderError> {
        let tokenizer = Tokenizer::from_file(path).map_err(|error| open_error(path, error))?;
        Self::new(tokenizer, path)
    }

    /// A BERT WordPiece encoder over a `vocab.txt`, one subword a line.
    pub fn from_vocab(path: &Path, lowercase: bool) -> Result<Self, EncoderError> {
        let model = WordPiece::from_file(&path.to_string_lossy())
            .unk_token("[UNK]".to_owned())
            .build()
            .map_err(|error| open_error(path, error))?;
        let mut tokenizer = Tokenizer::new(model);
        let id = |token: &str| {
            tokenizer
                .token_to_id(token)
                .map(|id| (token.to_owned(), id))
                .ok_or_else(|| open_error(path, format!("the vocabulary lacks {token}")))
        };
        let specials = vec![id("[CLS]")?, id("[SEP]")?];
        let processor = TemplateProcessing::builder()
            .try_single("[CLS] $A [SEP]")
            .and_then(|builder| builder.try_pair("[CLS] $A [SEP] $B:1 [SEP]:1"))
            .map_err(|error| open_error(path, error))?
            .special_tokens(specials)
            .build()
            .map_err(|error| open_error(path, error))?;
        tokenizer
            .with_normalizer(Some(BertNormalizer::new(true, true, None, lowercase)))
            .map_err(|error| open_error(path, error))?
            .with_pre_tokenizer(Some(BertPreTokenizer))
            .with_post_processor(Some(processor));
        let known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
        tokenizer
            .add_special_tokens(known.map(|token| AddedToken::from(token, true)))
            .map_err(|error| open_error(path, error))?;
        Self::new(tokenizer, path)
    }

    fn new(mut tokenizer: Tokenizer, path: &Path) -> Result<Self, EncoderError> {
        tokenizer
            .with_truncation(None)
            .map_err(|error| open_error(path, error))?
            .with_padding(None);
        // A `[SEP]` that a user typed is text, not the end of the sequence.
        tokenizer.set_encode_special_tokens(true);
        let probe = tokenizer
            .encode("a", true)
            .map_err(|error| open_error(path, error))?;
        let is_special = |mask: &&u32| **mask == 1;
        let mask = probe.get_special_tokens_mask();
        let before = mask.iter().take_while(is_special).count();
        let after = mask.iter().rev().take_while(is_special).count();
        let ids = probe.get_ids();
        if before + after >= ids.len() {
            return Err(open_error(path, "it encodes `a` to special tokens alone"));
        }
        Ok(Self {
            before: ids[..before].to_vec(),
            after: ids[ids.len() - after..].to_vec(),
            tokenizer,
        })
    }

    /// The subwords of words as given; a word is never split into two words or merged with its neighbour.
    ///
    /// A word that normalisation empties (white space, a lone zero-width joiner) has no subwords and keeps its place.
    pub fn encode_words<S: AsRef<str>>(&self, words: &[S]) -> Result<Subwords, EncoderError> {
        let borrowed: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let encoding = self
            .tokenizer
            .encode(borrowed, false)
            .map_err(EncoderError::Encode)?;
        Ok(Subwords::new(
            encoding.get_ids(),
            encoding.get_word_ids(),
            words.len(),
        )?)
    }

    /// The tokenizer's own words of a text, as byte spans of it, with their subwords.
    pub fn encode_text(&self, text: &str) -> Result<(Vec<ByteSpan>, Subwords), EncoderError> {
        let encoding = self.tokenizer.encode(text, false).map_err(EncoderError::Encode)?;
        let mut spans: Vec<ByteSpan> = Vec::new();
        let mut previous = None;
        let mut word_ids = Vec::with_capacity(encoding.len());
        for (word, &(start, end)) in encoding.get_word_ids().iter().zip(encoding.get_offsets()) {
            let Some(span) = word.and_then(|_| ByteSpan::new(start, end)) else {
                word_ids.push(None);
                continue;
            };
            match spans.last_mut().filter(|_| *word == previous) {
                Some(last) => *last = last.cover(span),
                None => spans.push(span),
            }
            previous = *word;
            // The tokenizer numbers pre-tokens that yielded nothing too; words here are the ones that did.
            word_ids.push(u32::try_from(spans.len() - 1).ok());
        }
        let subwords = Subwords::new(encoding.get_ids(), &word_ids, spans.len())?;
        Ok((spans, subwords))
    }

    /// How many special tokens stand before and after a sequence.
    pub fn specials(&self) -> (usize, usize) {
        (self.before.len(), self.after.len())
    }

    /// The token ids of one window, special tokens included: what the encoder network reads.
    pub fn window_ids(&self, subwords: &Subwords, window: &Window) -> Vec<u32> {
        let inside = subwords.ids().get(window.tokens.clone()).unwrap_or_default();
        [self.before.as_slice(), inside, &self.after].concat()
    }

    /// How many ids the tokenizer knows: the embedding table must have at least as many rows.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The id of a vocabulary entry.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// Writes the tokenizer as `tokenizer.json`, without truncation and padding.
    pub fn save(&self, path: &Path) -> Result<(), EncoderError> {
        self.tokenizer
            .save(path, false)
            .map_err(|error| EncoderError::Save {
                path: path.to_owned(),
                reason: error.to_string(),
            })
    }
}

fn open_error(path: &Path, reason: impl Into<tokenizers::Error>) -> EncoderError {
    EncoderError::Open {
        path: path.to_owned(),
        reason: reason.into().to_string(),
    }
}

/// Whether `tokenizer_config.json` asks for lower case; yes where it does not say, as in `transformers`.
fn lowercases(dir: &Path) -> bool {
    std::fs::read_to_string(dir.join("tokenizer_config.json"))
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|config| config.get("do_lower_case")?.as_bool())
        .unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_tagging::{WindowLimits, WordIndex, windows};

    fn encoder() -> (tempfile::TempDir, TextEncoder) {
        let dir = tempfile::tempdir().unwrap();
        let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n@\npaul\n##walk\ndo\nn\n'\nt\n[\n]\nsep\n";
        std::fs::write(dir.path().join("vocab.txt"), vocab).unwrap();
        let encoder = TextEncoder::open_dir(dir.path()).unwrap();
        (dir, encoder)
    }

    #[test]
    fn given_words_are_never_split_or_lost() {
        let (_dir, encoder) = encoder();
        let words = ["@PaulWalk", "", "\u{200d}", "do", "n't", "zzz"];
        let subwords = encoder.encode_words(&words).unwrap();
        let lengths: Vec<_> = (0..words.len())
            .map(|word| subwords.of_word(WordIndex(word)).len())
            .collect();
        assert_eq!(lengths, [3, 0, 0, 1, 3, 1]);
        let window = &windows(&subwords, WindowLimits::new(64, 0).unwrap())[0];
        let ids = encoder.window_ids(&subwords, window);
        assert_eq!((ids[0], *ids.last().unwrap()), (2, 3));
        assert_eq!(encoder.specials(), (1, 1));
    }

    #[test]
    fn a_typed_special_token_is_text() {
        let (_dir, encoder) = encoder();
        let subwords = encoder.encode_words(&["[SEP]"]).unwrap();
        assert_eq!(subwords.ids(), [13, 15, 14]);
    }

    #[test]
    fn own_words_slice_the_text() {
        let (_dir, encoder) = encoder();
        let text = "do  \u{200d} @paulwalk";
        let (spans, subwords) = encoder.encode_text(text).unwrap();
        let words: Vec<_> = spans.iter().map(|s| s.slice(text).unwrap()).collect();
        assert_eq!(words, ["do", "@", "paulwalk"]);
        assert_eq!(subwords.word_count(), 3);
    }

    #[test]
    fn saved_and_opened_it_is_the_same() {
        let (dir, encoder) = encoder();
        let path = dir.path().join("tokenizer.json");
        encoder.save(&path).unwrap();
        let again = TextEncoder::open_dir(dir.path()).unwrap();
        let words = ["@PaulWalk", "do"];
        assert_eq!(
            again.encode_words(&words).unwrap(),
            encoder.encode_words(&words).unwrap()
        );
    }

    #[test]
    fn what_is_no_tokenizer_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            TextEncoder::open_dir(dir.path()),
            Err(EncoderError::Missing { .. })
        ));
        std::fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
        let error = TextEncoder::open_dir(dir.path()).err().unwrap().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
    }
}
