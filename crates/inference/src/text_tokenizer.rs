//! Words and texts to subwords, without truncation or padding.

mod bert_words;
mod bertweet_files;
mod distinct_words;
mod own_words;
mod spaces;

use std::borrow::Cow;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nerve_repository::{ConfigError, Family, JsonFile, TokenizerConfig, write_synced};
use nerve_tagging::{ByteSpan, Subwords, Window, WordIndex, into_text};
use serde_json::{Map, Value};
use tokenizers::models::ModelWrapper;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Encoding, InputSequence, Tokenizer};

use crate::subword_encoder::SubwordEncoder;
use crate::text_parts::TextParts;
use crate::text_tokenizer::distinct_words::DistinctWords;
use crate::text_tokenizer::own_words::{OwnWords, shifted};
use crate::text_tokenizer::spaces::{Spaces, agree_on_prefix};
use crate::tokenizer_error::{TokenizerError, open_error, save_error};
use crate::word_cache::{WordCache, WordIds};

/// The length of the beginning of a word that becomes subwords, in bytes. Some tokenizers take more than linear time for
/// a word, and a word's label is read from its first subwords.
const LONGEST_WORD_BYTES: usize = 1 << 12;

/// One token of a sequence of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordToken {
    /// The vocabulary id.
    pub id: u32,
    /// The index of its word.
    pub word: usize,
    /// The bytes of the word that it covers.
    pub span: ByteSpan,
}

/// A tokenizer that yields the subwords of words, without truncation or padding.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    encoder: SubwordEncoder,
    parts: TextParts,
    before: Vec<u32>,
    after: Vec<u32>,
    spaces: Spaces,
    words: WordCache,
    /// Whether it splits ASCII text as [`bert_words::cut`] does.
    cuts_as_bert: bool,
    /// Its class in `transformers`, if the directory names one.
    class: Option<String>,
    /// The fields of its `tokenizer_config.json`.
    config: Map<String, Value>,
}

impl TextTokenizer {
    /// The tokenizer in a model directory: its `tokenizer.json`, else BERTweet's `bpe.codes` and `vocab.txt`, else a BERT WordPiece
    /// tokenizer over its `vocab.txt`. BERTweet's files come first if the configuration names BERTweet's tokenizer.
    ///
    /// As in `transformers`, the settings of `tokenizer_config.json` for lower case, accents, ideographs and prefix spaces apply
    /// to WordPiece and byte-level BPE. The truncation and padding of a `tokenizer.json` are turned off. A `vocab.txt` alone beside
    /// the `config.json` of a family without WordPiece vocabulary is an error.
    pub fn open_dir(dir: &Path) -> Result<Self, TokenizerError> {
        let mut config = TokenizerConfig::read(dir)?;
        let model = ModelTokenizer::read(dir)?;
        config.tokenizer_class = config.tokenizer_class.or(model.class);
        if bertweet_files::are_in(dir, config.tokenizer_class.as_deref())? {
            let tokenizer = bertweet_files::read(dir, config.normalization.unwrap_or(false))?;
            return Self::new(tokenizer, &dir.join("bpe.codes"), &config);
        }
        let json = dir.join("tokenizer.json");
        if json.is_file() {
            return Self::from_json(&json, &config);
        }
        if let Some(family) = model.family.filter(|family| !family.is_wordpiece()) {
            return Err(TokenizerError::NoJson {
                dir: dir.to_owned(),
                model_type: family.model_type(),
            });
        }
        let vocab = dir.join("vocab.txt");
        if vocab.is_file() {
            return Self::from_vocab(&vocab, &config);
        }
        Err(TokenizerError::Missing { dir: dir.to_owned() })
    }

    /// The tokenizer of a `tokenizer.json`, without truncation and padding.
    pub(crate) fn open(path: &Path) -> Result<Self, TokenizerError> {
        Self::from_json(path, &TokenizerConfig::default())
    }

    fn from_json(path: &Path, config: &TokenizerConfig) -> Result<Self, TokenizerError> {
        let json = fs::read(path)
            .and_then(into_text)
            .map_err(|error| open_error(path, error))?;
        let opened = guarded(|| Tokenizer::from_bytes(&json));
        let mut tokenizer = opened.map_err(|error| open_error(path, error))?;
        if let Some(NormalizerWrapper::BertNormalizer(mut normalizer)) = tokenizer.get_normalizer().cloned() {
            normalizer.lowercase = config.do_lower_case.unwrap_or(normalizer.lowercase);
            normalizer.handle_chinese_chars = config
                .tokenize_chinese_chars
                .unwrap_or(normalizer.handle_chinese_chars);
            normalizer.strip_accents = config.strip_accents.or(normalizer.strip_accents);
            tokenizer
                .with_normalizer(Some(normalizer))
                .map_err(|error| open_error(path, error))?;
        }
        if let (Some(PreTokenizerWrapper::ByteLevel(bytes)), Some(prefix)) =
            (tokenizer.get_pre_tokenizer().cloned(), config.add_prefix_space)
        {
            tokenizer.with_pre_tokenizer(Some(bytes.add_prefix_space(prefix)));
        }
        Self::new(tokenizer, path, config)
    }

    /// A BERT WordPiece tokenizer over a `vocab.txt`, one subword a line.
    fn from_vocab(path: &Path, config: &TokenizerConfig) -> Result<Self, TokenizerError> {
        let text = fs::read(path)
            .and_then(into_text)
            .map_err(|error| open_error(path, error))?;
        let mut vocabulary =
            WordPiece::read_file(&path.to_string_lossy()).map_err(|error| open_error(path, error))?;
        // The library takes a byte order mark for a part of the first token.
        let first = text.lines().next().unwrap_or_default().trim_end();
        if vocabulary.remove(&format!("\u{feff}{first}")).is_some() {
            vocabulary.insert(first.to_owned(), 0);
        }
        let model = WordPiece::builder()
            .vocab(vocabulary)
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
            .with_normalizer(Some(BertNormalizer::new(
                true,
                config.tokenize_chinese_chars.unwrap_or(true),
                config.strip_accents,
                config.do_lower_case.unwrap_or(true),
            )))
            .map_err(|error| open_error(path, error))?
            .with_pre_tokenizer(Some(BertPreTokenizer))
            .with_post_processor(Some(processor));
        let known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
        tokenizer
            .add_special_tokens(known.map(|token| AddedToken::from(token, true)))
            .map_err(|error| open_error(path, error))?;
        Self::new(tokenizer, path, config)
    }

    fn new(mut tokenizer: Tokenizer, path: &Path, config: &TokenizerConfig) -> Result<Self, TokenizerError> {
        tokenizer
            .with_truncation(None)
            .map_err(|error| open_error(path, error))?
            .with_padding(None);
        // `[SEP]` in a text is text, not a special token.
        tokenizer.set_encode_special_tokens(true);
        if let (Some(PreTokenizerWrapper::ByteLevel(bytes)), Some(mut processor)) = (
            tokenizer.get_pre_tokenizer(),
            tokenizer.get_post_processor().cloned(),
        ) {
            agree_on_prefix(&mut processor, bytes.add_prefix_space);
            tokenizer.with_post_processor(Some(processor));
        }
        let encoder = SubwordEncoder::of(&tokenizer).map_err(|error| open_error(path, error))?;
        let spaces = match (&encoder, tokenizer.get_pre_tokenizer()) {
            (SubwordEncoder::Bertweet(_), _) => Spaces::DroppedAlone,
            (_, pre_tokenizer) => pre_tokenizer.map_or(Spaces::Dropped, Spaces::of),
        };
        let probe = guarded(|| tokenizer.encode("a", true)).map_err(|error| open_error(path, error))?;
        let is_special = |mask: &&u32| **mask == 1;
        let mask = probe.get_special_tokens_mask();
        let before = mask.iter().take_while(is_special).count();
        let after = mask.iter().rev().take_while(is_special).count();
        let ids = probe.get_ids();
        if before + after >= ids.len() {
            return Err(open_error(
                path,
                "it encodes the text `a` to special tokens alone",
            ));
        }
        Ok(Self {
            encoder,
            parts: TextParts::of(&tokenizer),
            before: ids[..before].to_vec(),
            after: ids[ids.len() - after..].to_vec(),
            cuts_as_bert: bert_words::are_of(&tokenizer),
            tokenizer,
            spaces,
            words: WordCache::default(),
            class: config.tokenizer_class.clone(),
            config: config.fields.clone(),
        })
    }

    /// The subwords of given words, which are never split into several words or merged.
    ///
    /// A word that normalization empties (white space, a lone zero-width joiner) has no subwords and keeps its index. If the
    /// tokenizer marks spaces, every word is encoded as if a space preceded it, as `transformers` does in training on given words
    /// (`add_prefix_space=True`). Of a word longer than 4 KiB, only the first 4 KiB become subwords.
    pub fn encode_words<S: AsRef<str>>(&self, words: &[S]) -> Result<Subwords, TokenizerError> {
        let mut cache = self.words.lock();
        let mut known: Vec<Option<WordIds>> = words.iter().map(|word| cache.get(word.as_ref())).collect();
        drop(cache);
        let unknown = words.iter().zip(&known).filter(|(_, known)| known.is_none());
        let unknown = DistinctWords::of(unknown.map(|(word, _)| word.as_ref()));
        if !unknown.words.is_empty() {
            let encoded = self.encode_each(&unknown.words)?;
            let mut cache = self.words.lock();
            for (word, ids) in unknown.words.iter().zip(&encoded) {
                cache.keep(word, ids);
            }
            drop(cache);
            let mut places = unknown.places.iter();
            for known in known.iter_mut().filter(|known| known.is_none()) {
                *known = places.next().and_then(|&place| encoded.get(place)).cloned();
            }
        }
        let mut ids = Vec::new();
        let mut word_ids = Vec::new();
        for (word, known) in known.iter().enumerate() {
            known.iter().for_each(|known| ids.extend_from_slice(known));
            word_ids.resize(ids.len(), u32::try_from(word).ok());
        }
        Ok(Subwords::new(&ids, &word_ids, words.len())?)
    }

    /// The subwords of each of these words. A tokenizer encodes given words one by one, so they do not depend on each other.
    fn encode_each(&self, words: &[&str]) -> Result<Vec<WordIds>, TokenizerError> {
        let given: Vec<Cow<str>> = words.iter().map(|word| self.spaced(beginning(word))).collect();
        let encoding = self.encode(given)?;
        let subwords = Subwords::new(encoding.get_ids(), encoding.get_word_ids(), words.len())?;
        let ids = |word| WordIds::from(&subwords.ids()[subwords.of_word(WordIndex(word))]);
        Ok((0..words.len()).map(ids).collect())
    }

    /// The tokens of a text or of words, without special tokens.
    fn encode<'s>(&self, input: impl Into<InputSequence<'s>>) -> Result<Encoding, TokenizerError> {
        let input: InputSequence = input.into();
        guarded(|| self.encoder.encode(&self.tokenizer, input, false)).map_err(TokenizerError::Encode)
    }

    fn spaced<'w>(&self, word: &'w str) -> Cow<'w, str> {
        if matches!(self.spaces, Spaces::Dropped | Spaces::DroppedAlone) {
            Cow::Borrowed(word)
        } else if word.trim().is_empty() {
            // Else the space would be a subword, and white space a word.
            Cow::Borrowed("")
        } else if word.starts_with(char::is_whitespace) {
            Cow::Borrowed(word)
        } else {
            Cow::Owned(format!(" {word}"))
        }
    }

    /// The tokens of given words, in order, encoded as by [`Self::encode_words`].
    pub fn encode_tokens<S: AsRef<str>>(&self, words: &[S]) -> Result<Vec<WordToken>, TokenizerError> {
        let distinct = DistinctWords::of(words.iter().map(AsRef::as_ref));
        let words: Vec<&str> = distinct.words.iter().map(|word| beginning(word)).collect();
        let given: Vec<Cow<str>> = words.iter().map(|word| self.spaced(word)).collect();
        // The bytes that the space before each word adds.
        let added: Vec<usize> = given
            .iter()
            .zip(&words)
            .map(|(given, word)| given.len().saturating_sub(word.len()))
            .collect();
        let encoding = self.encode(given)?;
        let mut of_words: Vec<Vec<(u32, ByteSpan)>> = vec![Vec::new(); words.len()];
        let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
        for ((&id, &(start, end)), word) in tokens.zip(encoding.get_word_ids()) {
            let Some((tokens, added)) = word.and_then(|word| {
                let word = word as usize;
                Some((of_words.get_mut(word)?, added.get(word)?))
            }) else {
                continue;
            };
            let span = ByteSpan::new(start.saturating_sub(*added), end.saturating_sub(*added));
            tokens.extend(span.map(|span| (id, span)));
        }
        let mut found = Vec::new();
        for (word, place) in distinct.places.iter().enumerate() {
            let tokens = of_words.get(*place).map(Vec::as_slice).unwrap_or_default();
            found.extend(tokens.iter().map(|&(id, span)| WordToken { id, word, span }));
        }
        Ok(found)
    }

    /// The tokens of a text as byte spans, each as a word. A token of white space alone belongs to the token before it.
    pub fn encode_text_tokens(&self, text: &str) -> Result<(Vec<ByteSpan>, Subwords), TokenizerError> {
        in_parts(text, |from, spans, subwords| {
            self.encode_text_tokens_part(text, from, spans, subwords)
        })
    }

    /// The words that the tokenizer itself finds in a text, as byte spans, with their subwords.
    ///
    /// A word is a pre-token of the tokenizer without the white space around it. If pre-tokens are split at spaces alone
    /// (SentencePiece), the punctuation before and after is a word too, if it has subwords of its own. Subwords of white space
    /// alone belong to the word before them; those before the first word are left out. A word of more than 8 KiB is read as
    /// several; for a tokenizer other than BERT's, so is a text of more than 4 KiB without a single space.
    pub fn encode_text(&self, text: &str) -> Result<(Vec<ByteSpan>, Subwords), TokenizerError> {
        in_parts(text, |from, spans, subwords| {
            self.encode_text_part(text, from, spans, subwords)
        })
    }

    /// One step of [`Self::encode_text`]: appends the words of the part that starts at the byte `from`, and returns the end of
    /// the part. A part has at most 8 KiB.
    pub fn encode_text_part(
        &self,
        text: &str,
        from: usize,
        spans: &mut Vec<ByteSpan>,
        subwords: &mut Subwords,
    ) -> Result<usize, TokenizerError> {
        let to = self.parts.end(text, from);
        let part = text.get(from..to).unwrap_or_default();
        if self.cuts_as_bert
            && let Some(words) = bert_words::cut(part)
        {
            // Word by word, since the cache has most of them.
            let slices: Vec<&str> = words.iter().filter_map(|span| span.slice(part)).collect();
            subwords.append(self.encode_words(&slices)?);
            spans.extend(words.into_iter().filter_map(|span| shifted(span, from)));
        } else {
            let encoding = self.encode(part)?;
            let words = OwnWords::of(part, &encoding, self.spaces);
            words.append(&encoding, from, spans, subwords)?;
        }
        Ok(to)
    }

    /// One step of [`Self::encode_text_tokens`], as [`Self::encode_text_part`].
    pub fn encode_text_tokens_part(
        &self,
        text: &str,
        from: usize,
        spans: &mut Vec<ByteSpan>,
        subwords: &mut Subwords,
    ) -> Result<usize, TokenizerError> {
        let to = self.parts.end(text, from);
        let part = text.get(from..to).unwrap_or_default();
        let encoding = self.encode(part)?;
        OwnWords::of_tokens(part, &encoding).append(&encoding, from, spans, subwords)?;
        Ok(to)
    }

    /// The number of special tokens before and after a sequence.
    pub fn specials(&self) -> (usize, usize) {
        (self.before.len(), self.after.len())
    }

    /// The ids of the special tokens before and after a sequence.
    pub(crate) fn special_ids(&self) -> (&[u32], &[u32]) {
        (&self.before, &self.after)
    }

    /// The tokenizer of the library.
    pub(crate) fn inner(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The token ids of one window, special tokens included: the input of the network.
    pub fn window_ids(&self, subwords: &Subwords, window: &Window) -> Vec<u32> {
        let inside = subwords.ids().get(window.tokens.clone()).unwrap_or_default();
        [self.before.as_slice(), inside, &self.after].concat()
    }

    /// The number of rows that the embedding table must have: the highest id plus 1.
    pub fn vocab_size(&self) -> usize {
        if let Some(size) = self.encoder.vocab_size() {
            return size;
        }
        let ids = self.tokenizer.get_vocab(true);
        ids.values().max().map_or(0, |&highest| highest as usize + 1)
    }

    /// The id of a vocabulary entry.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// Writes the tokenizer as `tokenizer.json`, without truncation and padding, and waits until the disk has it.
    pub fn save(&self, path: &Path) -> Result<(), TokenizerError> {
        let text = self
            .tokenizer
            .to_string(false)
            .map_err(|error| save_error(path, &error))?;
        write_synced(path, text.as_bytes()).map_err(|error| save_error(path, &error.source))
    }

    /// Writes `bpe.codes` and `vocab.txt` into a directory if the tokenizer is BERTweet's, whose class in `transformers` reads no
    /// `tokenizer.json`.
    pub fn save_bertweet_files(&self, dir: &Path) -> Result<(), TokenizerError> {
        match (&self.encoder, self.tokenizer.get_model()) {
            (SubwordEncoder::Bertweet(_), ModelWrapper::BPE(model)) => bertweet_files::write(model, dir),
            _ => Ok(()),
        }
    }

    /// Writes the `tokenizer_config.json` with which `transformers` encodes given words as this tokenizer does.
    ///
    /// In `transformers` this file overrides `tokenizer.json`, and so do the defaults of absent fields. `max_length` is the
    /// model's longest sequence in tokens, special tokens included.
    pub fn save_config(&self, path: &Path, max_length: usize) -> Result<(), TokenizerError> {
        let mut fields = self.config.clone();
        let mut set = |field: &str, value: Value| fields.insert(field.to_owned(), value);
        if let Some(NormalizerWrapper::BertNormalizer(normalizer)) = self.tokenizer.get_normalizer() {
            set("do_lower_case", normalizer.lowercase.into());
            set("strip_accents", normalizer.strip_accents.into());
            set("tokenize_chinese_chars", normalizer.handle_chinese_chars.into());
        }
        if self.spaces == Spaces::Marked {
            set("add_prefix_space", true.into());
        }
        if matches!(self.encoder, SubwordEncoder::Bertweet(_)) {
            let class = self.class.as_deref().unwrap_or(bertweet_files::CLASSES[0]);
            set("tokenizer_class", class.into());
            set("normalization", self.tokenizer.get_normalizer().is_some().into());
        }
        set("model_max_length", max_length.into());
        let text = serde_json::to_vec_pretty(&fields).map_err(|error| save_error(path, &error))?;
        write_synced(path, &text).map_err(|error| save_error(path, &error.source))
    }
}

/// Runs a function of the tokenizer library and makes a panic an error.
///
/// The library panics at some defective files (for example, JSON that ends within the decoder), and a `tokenizer.json` may come
/// from anywhere. The function only reads the tokenizer, so a panic leaves no half-changed state.
pub(crate) fn guarded<T>(
    work: impl FnOnce() -> Result<T, tokenizers::Error>,
) -> Result<T, tokenizers::Error> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err("the tokenizer library panicked".into()))
}

/// What a directory's `config.json` says of its tokenizer; nothing if there is no such file.
#[derive(Default)]
struct ModelTokenizer {
    /// `None` also for a family that Nerve does not know.
    family: Option<Family>,
    /// The class of the tokenizer in `transformers`.
    class: Option<String>,
}

impl ModelTokenizer {
    fn read(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join("config.json");
        if !path.is_file() {
            return Ok(Self::default());
        }
        let file = JsonFile::read(&path)?;
        let model_type: Option<String> = file.field("model_type")?;
        Ok(Self {
            family: model_type.as_deref().and_then(Family::of_model_type),
            class: file.field("tokenizer_class")?,
        })
    }
}

/// The words of all parts of a text. `part` appends the words of the part that starts at a byte, and yields its end.
fn in_parts(
    text: &str,
    part: impl Fn(usize, &mut Vec<ByteSpan>, &mut Subwords) -> Result<usize, TokenizerError>,
) -> Result<(Vec<ByteSpan>, Subwords), TokenizerError> {
    let (mut spans, mut subwords) = (Vec::new(), Subwords::default());
    let mut at = part(0, &mut spans, &mut subwords)?;
    while at < text.len() {
        at = part(at, &mut spans, &mut subwords)?;
    }
    Ok((spans, subwords))
}

/// The beginning of a word that becomes subwords.
fn beginning(word: &str) -> &str {
    word.get(..word.floor_char_boundary(LONGEST_WORD_BYTES))
        .unwrap_or(word)
}

#[cfg(test)]
mod bertweet_tests;
#[cfg(test)]
mod tests;
