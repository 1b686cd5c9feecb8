//! JSON lines to a corpus.

use std::path::Path;

use nerve_tagging::conll::Sentence;
use nerve_tagging::{ByteSpan, split_corpus};
use serde::Deserialize;

use super::CorpusError;
use super::file::{Corpus, Layout};

/// One line: words with their tags, or a text with its entities.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Words { words: Vec<String>, tags: Vec<String> },
    Text { text: String, entities: Vec<Span> },
}

/// An entity as half-open code point offsets into the text.
#[derive(Deserialize)]
struct Span {
    start: usize,
    end: usize,
    label: String,
}

/// The sentences of JSON lines: `words` and `tags`, or `text` and `entities`; `path` is named in the error.
///
/// A text is split into words as social-media corpora split, and its entities must begin and end at words.
pub(super) fn parse(text: &str, path: &Path) -> Result<Corpus, CorpusError> {
    let mut sentences = Vec::new();
    let mut first_lines = Vec::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let sentence = sentence(line).map_err(|problem| CorpusError::Line {
            path: path.to_owned(),
            line: index + 1,
            problem,
        })?;
        if !sentence.words.is_empty() {
            sentences.push(sentence);
            first_lines.push(index + 1);
        }
    }
    Ok(Corpus {
        path: path.to_owned(),
        sentences,
        first_lines,
        layout: Layout::SentencePerLine,
    })
}

fn sentence(line: &str) -> Result<Sentence, String> {
    let parsed: Line = serde_json::from_str(line).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            "expected an object with `words` and `tags`, or `text` and `entities`".to_owned()
        }
        _ => format!("not JSON: {error}"),
    })?;
    match parsed {
        Line::Words { words, tags } if words.len() == tags.len() => Ok(Sentence { words, tags }),
        Line::Words { words, tags } => Err(format!("{} words but {} tags", words.len(), tags.len())),
        Line::Text { text, entities } => from_text(&text, &entities),
    }
}

fn from_text(text: &str, entities: &[Span]) -> Result<Sentence, String> {
    let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    bytes.push(text.len());
    let words = split_corpus(text);
    let mut tags = vec!["O".to_owned(); words.len()];
    for Span { start, end, label } in entities {
        let named = format!("entity `{label}` [{start}, {end})");
        let (Some(&from), Some(&to)) = (bytes.get(*start), bytes.get(*end)) else {
            return Err(format!(
                "{named} leaves the text of {} code points",
                bytes.len() - 1
            ));
        };
        let first = words.iter().position(|word| word.start() == from);
        let last = words.iter().position(|word| word.end() == to);
        let (Some(first), Some(last)) = (first, last) else {
            return Err(format!("{named} does not begin and end at words"));
        };
        let covered = tags.get_mut(first..=last).unwrap_or_default();
        if covered.is_empty() || label.is_empty() {
            return Err(format!("{named} is empty"));
        }
        if covered.iter().any(|tag| tag != "O") {
            return Err(format!("{named} overlaps another entity"));
        }
        for (index, tag) in covered.iter_mut().enumerate() {
            *tag = format!("{}-{label}", if index == 0 { 'B' } else { 'I' });
        }
    }
    let word = |span: &ByteSpan| span.slice(text).unwrap_or_default().to_owned();
    Ok(Sentence {
        words: words.iter().map(word).collect(),
        tags,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> String {
        parse(line, Path::new("x.jsonl")).unwrap_err().to_string()
    }

    #[test]
    fn both_shapes_and_code_points() {
        let text = concat!(
            "{\"words\": [\"a\", \"b\"], \"tags\": [\"B-x\", \"O\"]}\n\n",
            "{\"text\": \"😀 Beyoncé's New York!\", \"entities\": ",
            "[{\"start\": 2, \"end\": 9, \"label\": \"p\"}, {\"start\": 12, \"end\": 20, \"label\": \"l\"}]}\n",
        );
        let corpus = parse(text, Path::new("x.jsonl")).unwrap();
        assert_eq!(corpus.sentences[0].tags, ["B-x", "O"]);
        let second = &corpus.sentences[1];
        assert_eq!(second.words, ["😀", "Beyoncé", "'s", "New", "York", "!"]);
        assert_eq!(second.tags, ["O", "B-p", "O", "B-l", "I-l", "O"]);
        assert_eq!(corpus.line(1, 3), 3);
    }

    #[test]
    fn defects_name_file_and_line() {
        let entity = |start: usize, end: usize| {
            format!(
                "\n{{\"text\": \"ab cd\", \"entities\": [{{\"start\": {start}, \"end\": {end}, \"label\": \"x\"}}]}}"
            )
        };
        assert!(error(&entity(1, 2)).starts_with("x.jsonl:2: entity `x` [1, 2) does not begin"));
        assert!(error(&entity(0, 9)).contains("leaves the text"));
        assert!(error(&entity(3, 2)).contains("empty"));
        assert!(error("{\"words\": [\"a\"], \"tags\": []}").contains("1 words but 0 tags"));
        assert!(error("{\"words\": 1}").contains("expected an object"));
        assert!(error("{").contains("not JSON"));
    }
}
