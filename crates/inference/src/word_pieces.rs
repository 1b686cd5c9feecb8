//! A WordPiece model that takes bounded time per byte.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokenizers::Token;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::tokenizer::{Model, Result};

use crate::no_trainer::NoTrainer;

/// A WordPiece model with the vocabulary and the pieces of the library's.
///
/// The library's model looks for the longest vocabulary entry from the end of a word, so a word of 100 letters takes thousands of
/// lookups. This one begins at the length of the longest entry.
#[derive(Clone)]
pub(crate) struct WordPieces {
    model: Arc<WordPiece>,
    /// The length of the longest vocabulary entry, in bytes.
    longest: usize,
}

impl WordPieces {
    pub(crate) fn new(model: WordPiece) -> Self {
        let longest = model.get_vocab().keys().map(String::len).max();
        Self {
            model: Arc::new(model),
            longest: longest.unwrap_or_default(),
        }
    }

    /// The longest vocabulary entry with which `rest` begins. `buffer` holds the prefix of continuing pieces, or nothing.
    fn longest_piece(&self, rest: &str, buffer: &mut String) -> Option<(u32, usize)> {
        let prefix = buffer.len();
        let most = rest.floor_char_boundary(self.longest.saturating_sub(prefix));
        buffer.push_str(rest.get(..most)?);
        while buffer.len() > prefix {
            if let Some(id) = self.model.token_to_id(buffer) {
                return Some((id, buffer.len() - prefix));
            }
            buffer.pop();
        }
        None
    }

    fn pieces(&self, word: &str) -> Option<Vec<Token>> {
        let mut tokens = Vec::new();
        let mut buffer = String::new();
        let mut at = 0;
        while at < word.len() {
            let (id, length) = self.longest_piece(word.get(at..)?, &mut buffer)?;
            let value = std::mem::take(&mut buffer);
            tokens.push(Token::new(id, value, (at, at + length)));
            at += length;
            buffer.push_str(&self.model.continuing_subword_prefix);
        }
        Some(tokens)
    }
}

impl Model for WordPieces {
    type Trainer = NoTrainer<Self>;

    fn tokenize(&self, word: &str) -> Result<Vec<Token>> {
        let most = self.model.max_input_chars_per_word;
        let known = word.chars().nth(most).is_none();
        if let Some(tokens) = known.then(|| self.pieces(word)).flatten() {
            return Ok(tokens);
        }
        let unknown = &self.model.unk_token;
        let id = self
            .model
            .token_to_id(unknown)
            .ok_or("the vocabulary lacks the unknown token")?;
        Ok(vec![Token::new(id, unknown.clone(), (0, word.len()))])
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn model() -> WordPiece {
        let entries = [
            "[UNK]", "a", "ab", "##b", "##abc", "é", "##é", "##漢", "##a", "c", "x", "##",
        ];
        let mut ids = 0..;
        let vocab = entries.map(|entry| (entry.to_owned(), ids.next().unwrap()));
        let model = WordPiece::builder().unk_token("[UNK]".to_owned()).vocab(vocab);
        model.build().unwrap()
    }

    proptest! {
        #[test]
        fn words_have_the_pieces_of_the_library(word in "[abcxé漢#]{0,12}|[ab]{95,105}") {
            let library = model();
            prop_assert_eq!(WordPieces::new(library.clone()).tokenize(&word).unwrap(), library.tokenize(&word).unwrap());
        }
    }
}
