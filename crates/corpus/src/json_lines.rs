//! JSON lines: one object a line, a sentence as words or as running text.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::entry::{Content, TextEntity};
use crate::read_options::TagNames;

/// What a line must be, for errors.
const EXPECTED: &str = "expected an object with `words` (or `tokens`) and perhaps `tags` (or `ner_tags`), or `text` and perhaps `entities`, each of `start`, `end` and `label` (or `type`)";

/// The fields of one line; fields of other names are ignored.
#[derive(Deserialize)]
struct Line {
    words: Option<Words>,
    tokens: Option<Words>,
    tags: Option<Vec<JsonTag>>,
    ner_tags: Option<Vec<JsonTag>>,
    text: Option<String>,
    entities: Option<Vec<JsonEntity>>,
    /// What the server answers in place of entities.
    error: Option<IgnoredAny>,
}

/// The words of a sentence, alone or with their tags, as the server and `nerve-trainer tag` answer.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a list of words, or of objects with `text` and `label`"
)]
enum Words {
    Plain(Vec<String>),
    Labeled(Vec<LabeledWord>),
}

#[derive(Deserialize)]
struct LabeledWord {
    text: String,
    label: String,
}

/// A tag: its name, or its number in a list of names, as in the `ClassLabel` of Hugging Face datasets.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected the name or the number of a tag")]
enum JsonTag {
    Name(String),
    Number(u64),
}

impl JsonTag {
    /// The name; without `names` that of a number is the number.
    fn name(self, names: Option<&TagNames>) -> Result<String, String> {
        match (self, names) {
            (Self::Name(name), _) => Ok(name),
            (Self::Number(number), None) => Ok(number.to_string()),
            (Self::Number(number), Some(names)) => names.resolve(i64::try_from(number).unwrap_or(i64::MAX)),
        }
    }
}

#[derive(Deserialize)]
struct JsonEntity {
    start: usize,
    end: usize,
    label: Option<String>,
    /// What an answer of the server has in place of `label`.
    r#type: Option<String>,
}

/// What a line holds: `words` with perhaps `tags`, or `text` with perhaps `entities`. The labeled of the two is taken where
/// a line has both, then the words. `tokens` and `ner_tags` stand for `words` and `tags`. An error says what is wrong.
pub(crate) fn parse(line: &str, names: Option<&TagNames>) -> Result<Content, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => format!("not the fields of a sentence: {error}; {EXPECTED}"),
        _ => format!("not JSON: {error}"),
    })?;
    let tags = line.tags.or(line.ner_tags);
    let (words, tags) = match line.words.or(line.tokens) {
        Some(Words::Labeled(words)) => {
            let named = words
                .into_iter()
                .map(|word| (word.text, JsonTag::Name(word.label)));
            let (words, own): (Vec<String>, _) = named.unzip();
            (Some(words), Some(tags.unwrap_or(own)))
        }
        Some(Words::Plain(words)) => (Some(words), tags),
        None => (None, tags),
    };
    match (words, tags, line.text, line.entities) {
        (Some(words), Some(tags), ..) if words.len() != tags.len() => {
            Err(format!("{} words but {} tags", words.len(), tags.len()))
        }
        (Some(words), Some(tags), ..) => Ok(Content::Words {
            words,
            tags: tags
                .into_iter()
                .map(|tag| tag.name(names).map(Some))
                .collect::<Result<_, _>>()?,
        }),
        (Some(words), None, _, None) | (Some(words), None, None, Some(_)) => Ok(Content::Words {
            tags: vec![None; words.len()],
            words,
        }),
        (_, _, Some(text), entities) => Ok(Content::Text {
            text,
            entities: entities
                .map(|entities| entities.into_iter().map(JsonEntity::named).collect())
                .transpose()?,
        }),
        (None, _, None, _) if line.error.is_some() => {
            Err("the answer is an error; leave the line out".to_owned())
        }
        (None, _, None, _) => Err(EXPECTED.to_owned()),
    }
}

impl JsonEntity {
    fn named(self) -> Result<TextEntity, String> {
        let (start, end) = (self.start, self.end);
        match self.label.or(self.r#type) {
            Some(label) => Ok(TextEntity { start, end, label }),
            None => Err(format!(
                "the entity from {start} to {end} has neither `label` nor `type`; {EXPECTED}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_may_be_absent() {
        let words = parse("{\"words\": [\"a\", \"b\"], \"id\": 7}", None).unwrap();
        let expected = Content::Words {
            words: vec!["a".to_owned(), "b".to_owned()],
            tags: vec![None, None],
        };
        assert_eq!(words, expected);
        let text = parse("{\"text\": \"a b\"}", None).unwrap();
        let expected = Content::Text {
            text: "a b".to_owned(),
            entities: None,
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn the_labeled_of_words_and_text_is_taken() {
        let both = "{\"text\": \"a\", \"words\": [\"a\"], \"entities\": []}";
        assert!(matches!(parse(both, None).unwrap(), Content::Text { .. }));
        let both = "{\"text\": \"a\", \"words\": [\"a\"], \"tags\": [\"O\"]}";
        assert!(matches!(parse(both, None).unwrap(), Content::Words { .. }));
    }

    #[test]
    fn an_answer_is_a_labeled_sentence() {
        let entities =
            "\"entities\": [{\"type\": \"x\", \"text\": \"b\", \"start\": 2, \"end\": 3, \"score\": 0.5}]";
        let words = "\"words\": [{\"text\": \"a\", \"label\": \"O\", \"score\": 0.5}, {\"text\": \"b\", \"label\": \"B-x\"}]";
        let expected = Content::Words {
            words: vec!["a".to_owned(), "b".to_owned()],
            tags: vec![Some("O".to_owned()), Some("B-x".to_owned())],
        };
        let line = format!("{{\"text\": \"a b\", {entities}, {words}}}");
        assert_eq!(parse(&line, None).unwrap(), expected);
        let expected = Content::Text {
            text: "a b".to_owned(),
            entities: Some(vec![TextEntity {
                start: 2,
                end: 3,
                label: "x".to_owned(),
            }]),
        };
        let line = format!("{{\"text\": \"a b\", {entities}}}");
        assert_eq!(parse(&line, None).unwrap(), expected);
    }

    #[test]
    fn a_line_that_is_no_sentence_says_why() {
        let error = |line| parse(line, None).unwrap_err();
        assert!(error("{\"words\": [\"a\"], \"tags\": []}").contains("1 words but 0 tags"));
        assert!(
            error("{\"words\": 1}")
                .contains("expected a list of words, or of objects with `text` and `label`")
        );
        assert!(error("{\"id\": 1}").contains("expected an object"));
        assert!(error("{\"line\": 3, \"error\": {\"code\": \"x\"}}").contains("the answer is an error"));
        let entity = error("{\"entities\": [{\"type\": \"x\", \"words\": [0, 1]}], \"words\": []}");
        assert!(
            entity.contains("missing field `start`") && entity.contains("`start`, `end` and `label`"),
            "{entity}"
        );
        let entity = error("{\"text\": \"a\", \"entities\": [{\"start\": 0, \"end\": 1}]}");
        assert!(
            entity.contains("the entity from 0 to 1 has neither `label` nor `type`"),
            "{entity}"
        );
        let mixed = error("{\"words\": [\"a\", {\"text\": \"b\", \"label\": \"O\"}]}");
        assert!(
            mixed.contains("expected a list of words, or of objects"),
            "{mixed}"
        );
        assert!(error("[1]").contains("not the fields of a sentence"));
        assert!(error("{").contains("not JSON"));
    }

    #[test]
    fn tokens_and_ner_tags_are_words_and_tags() {
        let of = |tags: &str, names: Option<&TagNames>| {
            parse(
                &format!("{{\"tokens\": [\"a\", \"b\"], \"ner_tags\": {tags}}}"),
                names,
            )
        };
        let names = TagNames::of_file_or_list("O,B-x,I-x").unwrap();
        let expected = Content::Words {
            words: vec!["a".to_owned(), "b".to_owned()],
            tags: vec![Some("B-x".to_owned()), Some("O".to_owned())],
        };
        assert_eq!(of("[\"B-x\", \"O\"]", None).unwrap(), expected);
        assert_eq!(of("[1, 0]", Some(&names)).unwrap(), expected);
        let error = of("[1, 3]", Some(&names)).unwrap_err();
        assert_eq!(error, "tag 3 has no name: --labels has 3 names, for 0 to 2");
        let two = TagNames::of_file_or_list("O,B-x").unwrap();
        let error = of("[1, 2]", Some(&two)).unwrap_err();
        assert_eq!(error, "tag 2 has no name: --labels has 2 names, for 0 and 1");
        assert!(
            of("[1, -100]", Some(&names))
                .unwrap_err()
                .contains("the name or the number of a tag")
        );
    }
}
