//! The sentences of a file, labeled or not, as words alone.

use std::path::Path;

use nerve_tagging::split_corpus;

use crate::entry::Content;
use crate::error::CorpusError;
use crate::file_entries::FileEntries;
use crate::format::Format;
use crate::labels::words_of;
use crate::read_options::ReadOptions;

/// The words of every sentence of a file: CoNLL, JSON lines or Parquet with or without labels, or one running text a line.
///
/// The format is found by [`Format::detect`]; a file that shows none is running text. Running text is split as social-media corpora split.
pub fn read_words(path: &Path) -> Result<Vec<Vec<String>>, CorpusError> {
    let mut sentences = Vec::new();
    for entry in FileEntries::open(path, Format::Text, &ReadOptions::default())? {
        let words = match entry?.content {
            Content::Words { words, .. } => words,
            Content::Text { text, .. } => words_of(&text, &split_corpus(&text)),
            Content::Separator(_) => continue,
        };
        if !words.is_empty() {
            sentences.push(words);
        }
    }
    if sentences.is_empty() {
        return Err(CorpusError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(sentences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_gives_the_same_words() {
        let dir = tempfile::tempdir().unwrap();
        let columns = "In\tO\nRome\tB-loc\n!\tO\n\nok\tO\n";
        for (name, text) in [
            ("a.conll", columns),
            ("columns.txt", columns),
            ("text.txt", "In Rome!\n\nok\n"),
            ("text", "In Rome!\n\nok\n"),
            (
                "words.jsonl",
                "{\"words\": [\"In\", \"Rome\", \"!\"], \"tags\": [\"O\", \"S-loc\", \"O\"]}\n{\"words\": [\"ok\"]}\n",
            ),
            (
                "text.jsonl",
                "{\"text\": \"In Rome!\"}\n{\"text\": \"ok\", \"entities\": []}\n",
            ),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let expected = [vec!["In", "Rome", "!"], vec!["ok"]];
            assert_eq!(read_words(&path).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn no_word_of_a_text_that_ends_like_a_tag_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("u1.txt");
        std::fs::write(&path, "My blood type is O\n").unwrap();
        let expected = [["My", "blood", "type", "is", "O"]];
        assert_eq!(read_words(&path).unwrap(), expected);
    }

    #[test]
    fn a_file_without_words_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, "{\"words\": []}\n").unwrap();
        assert!(matches!(read_words(&path), Err(CorpusError::Empty { .. })));
    }
}
