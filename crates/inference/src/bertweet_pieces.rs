//! BERTweet's byte-pair encoding, as its class in `transformers` does it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::{Path, PathBuf};

use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::{Model, Result};
use tokenizers::{SplitDelimiterBehavior, Token, Tokenizer};

use crate::no_trainer::NoTrainer;
use crate::tweet_normalizer::{TweetNormalizer, replacements};

/// The tokens with the first ids.
pub(crate) const FIRST: [&str; 4] = ["<s>", "<pad>", "</s>", UNKNOWN];
pub(crate) const UNKNOWN: &str = "<unk>";
/// The token with the last id of the network.
pub(crate) const MASK: &str = "<mask>";
/// The suffix of a symbol that ends a word, in `bpe.codes` and in the library's vocabulary.
pub(crate) const WORD_END: &str = "</w>";
/// The suffix of a piece that does not end a word, in `vocab.txt`.
pub(crate) const CONTINUED: &str = "@@";

/// The pieces of words: the merges of `bpe.codes` (Sennrich et al. 2016), and of their symbols those in `vocab.txt`.
///
/// The library's model finds other pieces in two cases. A symbol that is merged from others need not be in the vocabulary: it is the
/// unknown token unless it is merged further. And the merges of one rank are all done before those they make possible.
///
/// In the library's vocabulary, symbols that are not in `vocab.txt` have ids above that of `<mask>`.
pub(crate) struct BertweetPieces {
    model: BPE,
    /// The rank of each pair of symbols, and the symbol that they become.
    merges: HashMap<(u32, u32), (u32, u32)>,
    unknown: u32,
    mask: u32,
    /// What is done with each word first, if anything.
    normalizer: Option<TweetNormalizer>,
}

/// A part of a word in the course of merging.
struct Symbol {
    /// `None` for a character that no merge has.
    id: Option<u32>,
    /// The first byte, and the byte after the last.
    start: usize,
    end: usize,
    /// The indices of its neighbors; out of range where there is none.
    previous: usize,
    next: usize,
}

const NO_SYMBOL: usize = usize::MAX;

impl BertweetPieces {
    /// The model of a tokenizer that was read from BERTweet's files, `None` for any other.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Result<Option<Self>> {
        let ModelWrapper::BPE(model) = tokenizer.get_model() else {
            return Ok(None);
        };
        let has_suffix = model.end_of_word_suffix.as_deref() == Some(WORD_END);
        let ids = (model.token_to_id(UNKNOWN), model.token_to_id(MASK));
        let (true, (Some(unknown), Some(mask))) = (has_suffix, ids) else {
            return Ok(None);
        };
        if tokenizer.get_pre_tokenizer() != Some(&word_splitter()?) {
            return Ok(None);
        }
        let normalizer = match tokenizer.get_normalizer() {
            None => None,
            Some(normalizer)
                if serde_json::to_value(normalizer)? == serde_json::to_value(replacements()?)? =>
            {
                Some(TweetNormalizer::new()?)
            }
            Some(_) => return Ok(None),
        };
        let id = |symbol: &str| model.token_to_id(symbol).ok_or("a merge has an unknown symbol");
        let mut merges = HashMap::new();
        for ((left, right), rank) in self::merges(model)?.iter().zip(0..) {
            let merged = id(&format!("{left}{right}"))?;
            merges.insert((id(left)?, id(right)?), (rank, merged));
        }
        Ok(Some(Self {
            model: model.clone(),
            merges,
            unknown,
            mask,
            normalizer,
        }))
    }

    /// The number of ids of the network.
    pub(crate) fn vocab_size(&self) -> usize {
        self.mask as usize + 1
    }

    /// The byte ranges of a word's pieces.
    fn merged(&self, word: &str) -> Vec<(usize, usize)> {
        let mut symbols = self.characters(word);
        let mut queue: BinaryHeap<_> = (0..symbols.len())
            .filter_map(|at| Some(Reverse((self.merge_at(&symbols, at)?.0, at))))
            .collect();
        while let Some(&Reverse((rank, _))) = queue.peek() {
            let mut changed = Vec::new();
            while let Some(&Reverse((_, at))) = queue.peek().filter(|Reverse((next, _))| *next == rank) {
                queue.pop();
                // The neighbors may have been merged since.
                if let Some((_, merged)) = self.merge_at(&symbols, at).filter(|(found, _)| *found == rank) {
                    merge(&mut symbols, at, merged);
                    changed.extend([symbols[at].previous, at]);
                }
            }
            let made_possible = changed
                .into_iter()
                .filter_map(|at| Some(Reverse((self.merge_at(&symbols, at)?.0, at))));
            queue.extend(made_possible);
        }
        let first = symbols.first();
        let pieces = std::iter::successors(first, |symbol| symbols.get(symbol.next));
        pieces.map(|symbol| (symbol.start, symbol.end)).collect()
    }

    fn characters(&self, word: &str) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = Vec::new();
        for (start, character) in word.char_indices() {
            let end = start + character.len_utf8();
            let at = symbols.len();
            let text = if end == word.len() {
                format!("{character}{WORD_END}")
            } else {
                character.to_string()
            };
            symbols.push(Symbol {
                id: self.model.token_to_id(&text),
                start,
                end,
                previous: at.checked_sub(1).unwrap_or(NO_SYMBOL),
                next: at + 1,
            });
        }
        symbols
    }

    /// The rank of a symbol with the next one, and the symbol that they become.
    fn merge_at(&self, symbols: &[Symbol], at: usize) -> Option<(u32, u32)> {
        let left = symbols.get(at)?;
        let right = symbols.get(left.next)?;
        self.merges.get(&(left.id?, right.id?)).copied()
    }

    fn tokens(&self, word: &str) -> Vec<Token> {
        let token = |(start, end)| {
            let piece = word.get(start..end).unwrap_or_default();
            let known = self.known(piece, end == word.len());
            let (id, value) = known.unwrap_or_else(|| (self.unknown, UNKNOWN.to_owned()));
            Token::new(id, value, (start, end))
        };
        self.merged(word).into_iter().map(token).collect()
    }

    /// The token of a piece, `None` if it is not in `vocab.txt`.
    fn known(&self, piece: &str, ends_word: bool) -> Option<(u32, String)> {
        // `vocab.txt` does not tell a word that ends in `@@` from a piece that does not end a word.
        let before = piece.strip_suffix(CONTINUED).filter(|before| !before.is_empty());
        let symbol = match before {
            Some(before) if ends_word => before.to_owned(),
            _ if ends_word => format!("{piece}{WORD_END}"),
            _ if piece.ends_with(WORD_END) => return None,
            _ => piece.to_owned(),
        };
        let id = self.model.token_to_id(&symbol)?;
        let is_piece = id < self.mask && !FIRST.contains(&symbol.as_str());
        is_piece.then_some((id, symbol))
    }
}

/// Merges a symbol with the next one.
fn merge(symbols: &mut [Symbol], at: usize, merged: u32) {
    let right = symbols[at].next;
    let (end, next) = (symbols[right].end, symbols[right].next);
    symbols[right].next = NO_SYMBOL;
    if let Some(after) = symbols.get_mut(next) {
        after.previous = at;
    }
    let left = &mut symbols[at];
    (left.id, left.end, left.next) = (Some(merged), end, next);
}

/// The merges of a model, by rank.
pub(crate) fn merges(model: &BPE) -> Result<Vec<(String, String)>> {
    let mut fields = serde_json::to_value(model)?;
    Ok(serde_json::from_value(fields["merges"].take())?)
}

/// The words of a text: what stands between white space, with the line break after it. Python also takes four control characters
/// for white space.
pub(crate) fn word_splitter() -> Result<PreTokenizerWrapper> {
    let pattern = SplitPattern::Regex(r"[^\s\x1c-\x1f]+\n?".to_owned());
    Ok(Split::new(pattern, SplitDelimiterBehavior::Removed, true)?.into())
}

impl Model for BertweetPieces {
    type Trainer = NoTrainer<Self>;

    fn tokenize(&self, word: &str) -> Result<Vec<Token>> {
        let Some(normalizer) = &self.normalizer else {
            return Ok(self.tokens(word));
        };
        let word = word.trim_end_matches('\n');
        let normalized = normalizer.normalize(word);
        if normalized == word {
            return Ok(self.tokens(word));
        }
        let parts = normalized.split(' ').filter(|part| !part.is_empty());
        let mut tokens: Vec<Token> = parts.flat_map(|part| self.tokens(part)).collect();
        // The parts of a normalized word have no places of their own: the first token has that of the word, and the others are empty
        // at its end.
        for (at, token) in tokens.iter_mut().enumerate() {
            token.offsets = (if at == 0 { 0 } else { word.len() }, word.len());
        }
        Ok(tokens)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.model.token_to_id(token)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.model.id_to_token(id)
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        self.model.get_vocab()
    }

    fn get_vocab_size(&self) -> usize {
        self.model.get_vocab_size()
    }

    fn save(&self, folder: &Path, prefix: Option<&str>) -> Result<Vec<PathBuf>> {
        self.model.save(folder, prefix)
    }

    fn get_trainer(&self) -> NoTrainer<Self> {
        NoTrainer::new()
    }
}
