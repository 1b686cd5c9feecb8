//! The bodies of the `/ner` routes.

use actix_web::web::Query;
use nerve_engine::{
    Aggregation, AnswerOptions, DecodingOptions, OffsetsOption, RequestError, TagInput, TagOptions, parse,
};
use nerve_tagging::LabelSet;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::http::error::ApiError;

/// Adds the options of tagging to the fields of a request's body.
///
/// Serde can flatten one struct into another, but then does not refuse unknown fields.
macro_rules! with_tag_options {
    (
        $(#[$meta:meta])*
        $name:ident $(<$lifetime:lifetime>)? { $($field:tt)* }
        $(#[$include_words:meta])*
    ) => {
        #[derive(Debug, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$meta])*
        pub(crate) struct $name $(<$lifetime>)? {
            $($field)*
            /// The unit in which `start` and `end` are counted; code points where absent.
            offsets: Option<OffsetsOption>,
            /// Entities with a lower score are left out.
            #[schema(minimum = 0, maximum = 1)]
            threshold: Option<f64>,
            /// The entity types to answer with; all where absent.
            labels: Option<Vec<String>>,
            /// What is labeled and by which tokens; `first` where absent.
            aggregation: Option<Aggregation>,
            /// Whether the labels make a valid sequence, no `I-X` without its `B-X`, and no entity of symbols alone; yes where absent.
            constrained: Option<bool>,
            $(#[$include_words])*
            include_words: Option<bool>,
        }

        impl $(<$lifetime>)? $name $(<$lifetime>)? {
            fn options(&mut self) -> TagOptions {
                TagOptions {
                    offsets: self.offsets,
                    threshold: self.threshold,
                    labels: self.labels.take(),
                    aggregation: self.aggregation,
                    constrained: self.constrained,
                    include_words: self.include_words,
                }
            }
        }
    };
}

with_tag_options! {
    /// One text or one pre-split sentence: exactly one of `text` and `words`.
    #[schema(example = json!({"text": "Empire State Building is where Barack Obama met Beyoncé"}))]
    NerRequest {
        /// Running text, split into words the way the model was trained.
        text: Option<String>,
        /// Words, each labeled as given and never split again. Offsets are into the words joined by single spaces.
        words: Option<Vec<String>>,
    }
    /// Whether the answer lists every word; yes where absent.
}

with_tag_options! {
    /// Many texts or pre-split sentences, with one set of options for all.
    #[schema(example = json!({"items": [{"text": "Barack Obama met Beyoncé"}, {"words": ["in", "New", "York"]}], "include_words": false}))]
    BatchRequest<'a> {
        /// The texts; each is answered in its place, by an answer or an error.
        #[serde(borrow)]
        #[schema(value_type = Vec<Item>)]
        items: Vec<&'a RawValue>,
    }
    /// Whether the answers list every word; yes where absent.
}

/// One text of a batch: exactly one of `text` and `words`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    /// Running text, split into words the way the model was trained.
    text: Option<String>,
    /// Words, each labeled as given and never split again. Offsets are into the words joined by single spaces.
    words: Option<Vec<String>>,
}

impl NerRequest {
    /// The input, how its labels are decided, and how its answer is shown.
    pub(crate) fn checked(
        mut self,
        labels: &LabelSet,
    ) -> Result<(TagInput, DecodingOptions, AnswerOptions), RequestError> {
        let options = self.options();
        let source = TagInput::of(self.text, self.words)?;
        Ok((source, options.reading(), options.view(labels)?))
    }
}

/// The inputs of a batch, in order, each with its own error.
pub(crate) type Sources = Vec<Result<TagInput, ApiError>>;

impl BatchRequest<'_> {
    /// The inputs, at most `max_texts`, how their labels are decided, and how the answers are shown.
    pub(crate) fn checked(
        mut self,
        labels: &LabelSet,
        max_texts: usize,
    ) -> Result<(Sources, DecodingOptions, AnswerOptions), ApiError> {
        if self.items.len() > max_texts {
            return Err(ApiError::TooManyTexts {
                texts: self.items.len(),
                limit: max_texts,
            });
        }
        let options = self.options();
        let reading = options.reading();
        let view = options.view(labels)?;
        let checked = |raw: &&RawValue| {
            let item: Item = parse(raw.get().as_bytes())?;
            Ok(TagInput::of(item.text, item.words)?)
        };
        Ok((self.items.iter().map(checked).collect(), reading, view))
    }
}

/// The options in a query string, each spelled as in a JSON body. `labels` is repeated for each type.
pub(crate) fn options_of_query(query: &str) -> Result<TagOptions, RequestError> {
    let shape = |problem: String| RequestError::Shape { problem };
    let pairs = Query::<Vec<(String, String)>>::from_query(query);
    let pairs = pairs.map_err(|error| shape(error.to_string()))?.into_inner();
    let mut fields = Map::new();
    for (name, value) in pairs {
        if name == "labels" {
            let labels = fields.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            labels
                .as_array_mut()
                .into_iter()
                .for_each(|labels| labels.push(Value::String(value.clone())));
            continue;
        }
        let value = serde_json::from_str(&value)
            .ok()
            .filter(|value: &Value| value.is_number() || value.is_boolean())
            .unwrap_or(Value::String(value));
        if fields.contains_key(&name) {
            return Err(shape(format!("`{name}` is given twice")));
        }
        fields.insert(name, value);
    }
    TagOptions::deserialize(Value::Object(fields)).map_err(|error| shape(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_tagging::{Decoding, EntityType, OffsetUnit};

    fn one(json: &str) -> Result<(TagInput, DecodingOptions, AnswerOptions), ApiError> {
        let labels = LabelSet::iob2(["person", "location"]).unwrap();
        parse::<NerRequest>(json.as_bytes())?
            .checked(&labels)
            .map_err(ApiError::Request)
    }

    fn many(json: &str) -> Result<(Sources, DecodingOptions, AnswerOptions), ApiError> {
        let labels = LabelSet::iob2(["person", "location"]).unwrap();
        parse::<BatchRequest>(json.as_bytes())?.checked(&labels, 3)
    }

    #[test]
    fn options_have_defaults_and_values() {
        let (source, reading, view) = one(r#"{"text": "x"}"#).unwrap();
        assert_eq!(reading, DecodingOptions::default());
        assert_eq!(source, TagInput::Text("x".to_owned()));
        let defaults = AnswerOptions {
            offsets: OffsetUnit::Codepoint,
            threshold: 0.0,
            types: None,
            include_words: true,
        };
        assert_eq!(view, defaults);
        let (source, reading, view) = one(
            r#"{"words": ["", "x"], "offsets": "utf16", "threshold": 0.5, "labels": ["location"],
                "aggregation": "max", "constrained": false, "include_words": false}"#,
        )
        .unwrap();
        assert_eq!(
            reading,
            DecodingOptions {
                aggregation: Aggregation::Max,
                decoding: Decoding::Independent
            }
        );
        assert_eq!(source, TagInput::Words(vec![String::new(), "x".to_owned()]));
        let types = Some(vec![EntityType(1)]);
        assert_eq!(
            view,
            AnswerOptions {
                offsets: OffsetUnit::Utf16,
                threshold: 0.5,
                types,
                include_words: false
            }
        );
    }

    #[test]
    fn each_mistake_has_its_error() {
        let invalid = |json: &str| match one(json) {
            Err(ApiError::Request(invalid)) => invalid,
            other => panic!("{json}: {other:?}"),
        };
        assert!(matches!(invalid("{}"), RequestError::NoText));
        assert!(matches!(
            invalid(r#"{"text": "", "words": []}"#),
            RequestError::TextAndWords
        ));
        for threshold in ["-0.1", "1.5", "1e300"] {
            let json = format!(r#"{{"text": "", "threshold": {threshold}}}"#);
            assert!(matches!(invalid(&json), RequestError::Threshold { .. }), "{json}");
        }
        let unknown = invalid(r#"{"text": "", "labels": ["person", "gpe"]}"#).to_string();
        assert!(
            unknown.contains("gpe") && unknown.contains("person, location"),
            "{unknown}"
        );
        for shape in [
            r#"{"text": "", "treshold": 1}"#,
            r#"{"text": 1}"#,
            r#"{"words": "a b"}"#,
            r#"{"text": "", "offsets": "utf8"}"#,
            r#"{"text": "", "aggregation": "last"}"#,
            r#"{"text": "", "constrained": "yes"}"#,
            r#"{"text": "", "text": ""}"#,
            r#"[]"#,
        ] {
            assert!(matches!(invalid(shape), RequestError::Shape { .. }), "{shape}");
        }
        assert!(matches!(
            one(r#"{"text": "\ud800"}"#),
            Err(ApiError::Request(RequestError::Malformed { .. }))
        ));
    }

    #[test]
    fn a_query_spells_the_options_of_a_body() {
        let labels = LabelSet::iob2(["person", "location"]).unwrap();
        let view = |query: &str| options_of_query(query)?.view(&labels);
        let asked = view("offsets=byte&threshold=0.5&labels=location&labels=person&include_words=false");
        assert_eq!(
            asked.unwrap(),
            AnswerOptions {
                offsets: OffsetUnit::Byte,
                threshold: 0.5,
                types: Some(vec![EntityType(1), EntityType(0)]),
                include_words: false
            }
        );
        assert!(view("").unwrap().include_words);
        for wrong in [
            "treshold=0.5",
            "threshold=high",
            "threshold=2",
            "threshold=0.1&threshold=0.2",
            "offsets=utf8",
            "labels=planet",
            "labels=",
            "include_words=maybe",
            "labels=%ff",
        ] {
            assert!(view(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bad_item_fails_alone_and_bad_options_fail_all() {
        let (sources, _, _) = many(r#"{"items": [{"text": "a"}, {"tekst": "b"}, 5]}"#).unwrap();
        let fine: Vec<_> = sources.iter().map(Result::is_ok).collect();
        assert_eq!(fine, [true, false, false]);
        assert!(matches!(
            many(r#"{"items": [], "threshold": 2}"#),
            Err(ApiError::Request(RequestError::Threshold { .. }))
        ));
        assert!(matches!(
            many(r#"{"items": [1, 2, 3, 4]}"#),
            Err(ApiError::TooManyTexts { texts: 4, limit: 3 })
        ));
        assert!(matches!(
            many("{}"),
            Err(ApiError::Request(RequestError::Shape { .. }))
        ));
    }
}
