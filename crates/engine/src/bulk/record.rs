//! A line to the input it holds.

use nerve_tagging::decode_utf8;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use crate::bulk::error::LineError;
use crate::bulk::lines::Line;
use crate::pipeline::memory_need::{words_of_json, words_of_text};
use crate::request::error::RequestError;
use crate::request::input::TagInput;
use crate::request::json::parse;
use crate::request::options::TagOptions;

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// A JSON object, [`StreamItem`].
    Ndjson,
    /// Running text.
    Text,
}

/// One line of a stream: exactly one of `text` and `words`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": 1, "text": "Barack Obama met Beyoncé"}))]
pub struct StreamItem<'a> {
    /// A name of the line's own, a string or a number; the answer has it as given.
    #[serde(borrow)]
    #[schema(schema_with = name_schema)]
    id: Option<&'a RawValue>,
    /// Running text, split into words the way the model was trained.
    text: Option<String>,
    /// Words, each labeled as given and never split again. Offsets are into the words joined by single spaces.
    words: Option<Vec<String>>,
}

/// The `id` alone, of a line that is otherwise invalid.
#[derive(Deserialize)]
struct OnlyId<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// The content of a line.
pub(crate) struct Record {
    pub(crate) id: Option<Box<RawValue>>,
    pub(crate) source: Result<TagInput, LineError>,
}

/// The schema of an id, which is kept as it was written.
pub fn name_schema() -> Object {
    let types = [Type::String, Type::Number];
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter(types))
        .description(Some("A name of the line's own; the answer has it as given."))
        .build()
}

/// The content of a line in this format.
pub(crate) fn read(line: &Line, format: LineFormat) -> Record {
    let text = line
        .bytes
        .as_ref()
        .map_err(|too_long| LineError::TooLong {
            limit: too_long.limit,
        })
        .and_then(|bytes| Ok(decode_utf8(bytes)?));
    match (text, format) {
        (Err(error), _) => Record {
            id: None,
            source: Err(error),
        },
        (Ok(text), LineFormat::Text) => Record {
            id: None,
            source: Ok(TagInput::Text(text.trim_end_matches('\r').to_owned())),
        },
        (Ok(json), LineFormat::Ndjson) => item(json),
    }
}

/// The id of a line whose content is not read.
pub(crate) fn read_id(line: &Line, format: LineFormat) -> Option<Box<RawValue>> {
    match (&line.bytes, format) {
        (Ok(json), LineFormat::Ndjson) => id_alone(json),
        (Ok(_), LineFormat::Text) | (Err(_), _) => None,
    }
}

/// The number of words that a line has at most.
pub(crate) fn words(line: &[u8], format: LineFormat) -> usize {
    match (std::str::from_utf8(line), format) {
        (Ok(text), LineFormat::Text) => words_of_text(text),
        (Ok(json), LineFormat::Ndjson) => words_of_json(json),
        (Err(_), _) => 0,
    }
}

/// The `id` of an object that is not read further. A line that is not a JSON object has none.
fn id_alone(json: &[u8]) -> Option<Box<RawValue>> {
    parse::<OnlyId>(json).ok().and_then(|only| name(only.id))
}

fn item(json: &str) -> Record {
    match parse::<StreamItem>(json.as_bytes()) {
        Ok(item) => Record {
            id: name(item.id),
            source: match item.id {
                Some(id) if name(Some(id)).is_none() => Err(RequestError::Id.into()),
                _ => TagInput::of(item.text, item.words).map_err(LineError::Request),
            },
        },
        Err(error) => Record {
            id: id_alone(json.as_bytes()),
            source: Err(in_line(error).into()),
        },
    }
}

/// An id that is a string or a number, as its first character shows.
fn name(id: Option<&RawValue>) -> Option<Box<RawValue>> {
    let is_name = |first: char| first == '"' || first == '-' || first.is_ascii_digit();
    id.filter(|id| id.get().starts_with(is_name))
        .map(ToOwned::to_owned)
}

/// The error without the parser's "line 1", which is not the line of the stream. Where the line has an option, the error says
/// where options are given.
fn in_line(error: RequestError) -> RequestError {
    let strip = |problem: String| problem.replace(" at line 1 column ", " at column ");
    let option = |problem: &str| {
        let name = problem.strip_prefix("unknown field `")?.split('`').next()?;
        TagOptions::NAMES.contains(&name).then(|| {
            format!(
                "`{name}` is an option, which no line has; options of a stream are query parameters, and those of a file are given on the command line"
            )
        })
    };
    match error {
        RequestError::Malformed { problem } => RequestError::Malformed {
            problem: strip(problem),
        },
        RequestError::Shape { problem } => RequestError::Shape {
            problem: option(&problem).unwrap_or_else(|| strip(problem)),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(bytes: &[u8]) -> (Option<String>, Result<TagInput, String>) {
        let line = Line {
            number: 7,
            bytes: Ok(Bytes::copy_from_slice(bytes)),
        };
        let Record { id, source } = read(&line, LineFormat::Ndjson);
        let problem = |error: LineError| error.to_string();
        (id.map(|id| id.get().to_owned()), source.map_err(problem))
    }

    #[test]
    fn an_id_is_kept_as_written() {
        for id in [
            r#""a""#,
            r#""\u00e9""#,
            "1",
            "-0.50",
            "12345678901234567890123",
            "1e999",
        ] {
            let (kept, source) = record(format!(r#"{{"text": "x", "id": {id}}}"#).as_bytes());
            assert_eq!(
                (kept.as_deref(), source),
                (Some(id), Ok(TagInput::Text("x".to_owned())))
            );
        }
        for absent in [r#"{"words": ["x"]}"#, r#"{"words": ["x"], "id": null}"#] {
            assert_eq!(
                record(absent.as_bytes()),
                (None, Ok(TagInput::Words(vec!["x".to_owned()])))
            );
        }
    }

    #[test]
    fn each_bad_line_has_its_error_and_its_id_where_that_can_be_read() {
        let cases: [(&[u8], Option<&str>, &str); 10] = [
            (
                b"{\"id\": 1, \"tekst\": \"x\"}",
                Some("1"),
                "unknown field `tekst`",
            ),
            (
                b"{\"id\": 1, \"text\": \"x\", \"threshold\": 0.5}",
                Some("1"),
                "`threshold` is an option, which no line has; options of a stream are query parameters",
            ),
            (b"{\"id\": 1, \"text\": 5}", Some("1"), "invalid type"),
            (b"{\"id\": 1}", Some("1"), "give either `text` or `words`"),
            (b"{\"id\": [1], \"text\": \"x\"}", None, "`id`"),
            (b"[1]", None, "a JSON object"),
            (b"{\"id\": 1, \"text\": 5, }", None, "not JSON: "),
            (
                b"{\"id\": 1, \"text\": \"x\"",
                None,
                "not JSON: EOF while parsing an object at column 21",
            ),
            (b"{\"text\": \"\xff\"}", None, "not UTF-8 after 10 bytes"),
            (
                b"{\"id\": 1, \"id\": 2, \"text\": \"x\"}",
                None,
                "duplicate field `id`",
            ),
        ];
        for (line, id, problem) in cases {
            let (kept, source) = record(line);
            let shown = String::from_utf8_lossy(line);
            assert_eq!(kept.as_deref(), id, "{shown}");
            let error = source.unwrap_err();
            assert!(error.starts_with(problem), "{shown}: {error}");
        }
    }

    #[test]
    fn a_plain_line_is_its_text() {
        let line = Line {
            number: 1,
            bytes: Ok(Bytes::from_static(b"{\"id\": 1} \r")),
        };
        let source = read(&line, LineFormat::Text).source.unwrap();
        assert_eq!(source, TagInput::Text("{\"id\": 1} ".to_owned()));
    }
}
