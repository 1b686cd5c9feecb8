//! JSON lines: one object a line, a sentence as words or as running text.

use serde::Deserialize;

use crate::entry::{Content, TextEntity};

/// What a line must be, for errors.
const EXPECTED: &str = "expected an object with `words` and perhaps `tags`, or `text` and perhaps `entities`, each of `start`, `end` and `label`";

/// The fields of one line; fields of other names are ignored.
#[derive(Deserialize)]
struct Line {
    words: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    text: Option<String>,
    entities: Option<Vec<JsonEntity>>,
}

#[derive(Deserialize)]
struct JsonEntity {
    start: usize,
    end: usize,
    label: String,
}

/// What a line holds: `words` with perhaps `tags`, or `text` with perhaps `entities`. The labeled of the two is taken where
/// a line has both, then the words. An error says what is wrong.
pub(crate) fn parse(line: &str) -> Result<Content, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => format!("not the fields of a sentence: {error}; {EXPECTED}"),
        _ => format!("not JSON: {error}"),
    })?;
    match (line.words, line.tags, line.text, line.entities) {
        (Some(words), Some(tags), ..) if words.len() != tags.len() => {
            Err(format!("{} words but {} tags", words.len(), tags.len()))
        }
        (Some(words), Some(tags), ..) => Ok(Content::Words {
            words,
            tags: tags.into_iter().map(Some).collect(),
        }),
        (Some(words), None, _, None) | (Some(words), None, None, Some(_)) => Ok(Content::Words {
            tags: vec![None; words.len()],
            words,
        }),
        (_, _, Some(text), entities) => Ok(Content::Text {
            text,
            entities: entities.map(|entities| entities.into_iter().map(TextEntity::from).collect()),
        }),
        (None, _, None, _) => Err(EXPECTED.to_owned()),
    }
}

impl From<JsonEntity> for TextEntity {
    fn from(JsonEntity { start, end, label }: JsonEntity) -> Self {
        Self { start, end, label }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_may_be_absent() {
        let words = parse("{\"words\": [\"a\", \"b\"], \"id\": 7}").unwrap();
        let expected = Content::Words {
            words: vec!["a".to_owned(), "b".to_owned()],
            tags: vec![None, None],
        };
        assert_eq!(words, expected);
        let text = parse("{\"text\": \"a b\"}").unwrap();
        let expected = Content::Text {
            text: "a b".to_owned(),
            entities: None,
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn the_labeled_of_words_and_text_is_taken() {
        let both = "{\"text\": \"a\", \"words\": [\"a\"], \"entities\": []}";
        assert!(matches!(parse(both).unwrap(), Content::Text { .. }));
        let both = "{\"text\": \"a\", \"words\": [\"a\"], \"tags\": [\"O\"]}";
        assert!(matches!(parse(both).unwrap(), Content::Words { .. }));
    }

    #[test]
    fn a_line_that_is_no_sentence_says_why() {
        let error = |line| parse(line).unwrap_err();
        assert!(error("{\"words\": [\"a\"], \"tags\": []}").contains("1 words but 0 tags"));
        assert!(error("{\"words\": 1}").contains("invalid type: integer `1`, expected a sequence"));
        assert!(error("{\"id\": 1}").contains("expected an object"));
        // `tag` writes such lines, of which `words` are objects and entities have a `type`.
        let tagged = error("{\"entities\": [{\"type\": \"x\", \"words\": [0, 1]}], \"words\": []}");
        assert!(
            tagged.contains("missing field `start`") && tagged.contains("`start`, `end` and `label`"),
            "{tagged}"
        );
        assert!(error("[1]").contains("not the fields of a sentence"));
        assert!(error("{").contains("not JSON"));
    }
}
