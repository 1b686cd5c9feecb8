//! The bodies of the `/ner` routes, and what they mean for the model that answers.

use actix_web::web::Query;
use clap::ValueEnum;
use nerve_tagging::{Decoding, LabelSet, OffsetUnit};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::http::body::parse;
use crate::http::error::{ApiError, InvalidRequest};
use crate::pipeline::{Aggregation, Reading, Source, View};

/// One text or one pre-split sentence: exactly one of `text` and `words`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"text": "Empire State Building is where Barack Obama met Beyoncé"}))]
pub(crate) struct NerRequest {
    /// Running text, split into words the way the model was trained.
    text: Option<String>,
    /// Words, each labelled as given and never split again. Offsets are into the words joined by single spaces.
    words: Option<Vec<String>>,
    /// The unit in which `start` and `end` are counted; code points where absent.
    offsets: Option<OffsetsOption>,
    /// Entities with a lower score are left out.
    #[schema(minimum = 0, maximum = 1)]
    threshold: Option<f64>,
    /// The entity types to answer with; all where absent.
    labels: Option<Vec<String>>,
    /// What is labelled and by which tokens; `first` where absent.
    aggregation: Option<AggregationOption>,
    /// Whether the labels must make a valid sequence, no `I-X` without its `B-X`; yes where absent.
    constrained: Option<bool>,
    /// Whether the answer lists every word; yes where absent.
    include_words: Option<bool>,
}

/// Many texts or pre-split sentences, with one set of options for all.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"items": [{"text": "Barack Obama met Beyoncé"}, {"words": ["in", "New", "York"]}], "include_words": false}))]
pub(crate) struct BatchRequest<'a> {
    /// The texts; each is answered in its place, by an answer or an error.
    #[serde(borrow)]
    #[schema(value_type = Vec<Item>)]
    items: Vec<&'a RawValue>,
    /// The unit in which `start` and `end` are counted; code points where absent.
    offsets: Option<OffsetsOption>,
    /// Entities with a lower score are left out.
    #[schema(minimum = 0, maximum = 1)]
    threshold: Option<f64>,
    /// The entity types to answer with; all where absent.
    labels: Option<Vec<String>>,
    /// What is labelled and by which tokens; `first` where absent.
    aggregation: Option<AggregationOption>,
    /// Whether the labels must make a valid sequence, no `I-X` without its `B-X`; yes where absent.
    constrained: Option<bool>,
    /// Whether the answers list every word; yes where absent.
    include_words: Option<bool>,
}

/// One text of a batch: exactly one of `text` and `words`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    /// Running text, split into words the way the model was trained.
    text: Option<String>,
    /// Words, each labelled as given and never split again. Offsets are into the words joined by single spaces.
    words: Option<Vec<String>>,
}

/// The unit in which offsets are counted.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ToSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OffsetsOption {
    /// Unicode code points, as Python counts.
    Codepoint,
    /// UTF-8 bytes, as Rust and Go count.
    Byte,
    /// UTF-16 code units, as JavaScript, Java and C# count.
    Utf16,
}

/// What is labelled, and by which tokens.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ToSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AggregationOption {
    /// Tokens, each by itself.
    None,
    /// Tokens; neighbours of one entity are joined.
    Simple,
    /// Words, by their first token.
    First,
    /// Words, by the mean of their tokens' probabilities.
    Average,
    /// Words, by their surest token.
    Max,
}

impl From<AggregationOption> for Aggregation {
    fn from(option: AggregationOption) -> Self {
        match option {
            AggregationOption::None => Self::None,
            AggregationOption::Simple => Self::Simple,
            AggregationOption::First => Self::First,
            AggregationOption::Average => Self::Average,
            AggregationOption::Max => Self::Max,
        }
    }
}

/// How texts are to be tagged and answers shown, apart from what is to be tagged.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Options {
    /// The unit in which `start` and `end` are counted; code points where absent.
    pub(crate) offsets: Option<OffsetsOption>,
    /// Entities with a lower score are left out.
    #[param(minimum = 0, maximum = 1)]
    pub(crate) threshold: Option<f64>,
    /// The entity types to answer with, given once for each; all where absent.
    pub(crate) labels: Option<Vec<String>>,
    /// What is labelled and by which tokens; `first` where absent.
    pub(crate) aggregation: Option<AggregationOption>,
    /// Whether the labels must make a valid sequence, no `I-X` without its `B-X`; yes where absent.
    pub(crate) constrained: Option<bool>,
    /// Whether the answer lists every word; yes where absent.
    pub(crate) include_words: Option<bool>,
}

impl NerRequest {
    /// What is to be tagged, how, and how it is to be shown.
    pub(crate) fn checked(self, labels: &LabelSet) -> Result<(Source, Reading, View), InvalidRequest> {
        let options = Options {
            offsets: self.offsets,
            threshold: self.threshold,
            labels: self.labels,
            aggregation: self.aggregation,
            constrained: self.constrained,
            include_words: self.include_words,
        };
        let source = source(self.text, self.words)?;
        Ok((source, options.reading(), options.view(labels)?))
    }
}

/// The sources of a batch in order, each with its own error.
pub(crate) type Sources = Vec<Result<Source, ApiError>>;

impl BatchRequest<'_> {
    /// What is to be tagged, at most `max_texts`, how, and how it is to be shown.
    pub(crate) fn checked(
        self,
        labels: &LabelSet,
        max_texts: usize,
    ) -> Result<(Sources, Reading, View), ApiError> {
        if self.items.len() > max_texts {
            return Err(ApiError::TooManyTexts {
                texts: self.items.len(),
                limit: max_texts,
            });
        }
        let options = Options {
            offsets: self.offsets,
            threshold: self.threshold,
            labels: self.labels,
            aggregation: self.aggregation,
            constrained: self.constrained,
            include_words: self.include_words,
        };
        let reading = options.reading();
        let view = options.view(labels).map_err(ApiError::Invalid)?;
        let checked = |raw: &&RawValue| {
            let item: Item = parse(raw.get().as_bytes())?;
            source(item.text, item.words).map_err(ApiError::Invalid)
        };
        Ok((self.items.iter().map(checked).collect(), reading, view))
    }
}

/// The one thing to tag.
pub(crate) fn source(text: Option<String>, words: Option<Vec<String>>) -> Result<Source, InvalidRequest> {
    match (text, words) {
        (Some(text), None) => Ok(Source::Text(text)),
        (None, Some(words)) => Ok(Source::Words(words)),
        (None, None) => Err(InvalidRequest::NoText),
        (Some(_), Some(_)) => Err(InvalidRequest::TextAndWords),
    }
}

impl Options {
    /// The options a query string spells, each as in a JSON body; `labels` is given once for each type.
    pub(crate) fn of_query(query: &str) -> Result<Self, InvalidRequest> {
        let shape = |problem: String| InvalidRequest::Shape { problem };
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
        Self::deserialize(Value::Object(fields)).map_err(|error| shape(error.to_string()))
    }

    /// How texts are to be tagged.
    pub(crate) fn reading(&self) -> Reading {
        Reading {
            aggregation: self.aggregation.map(Aggregation::from).unwrap_or_default(),
            decoding: match self.constrained {
                None | Some(true) => Decoding::Constrained,
                Some(false) => Decoding::Independent,
            },
        }
    }

    /// What the options mean for a model with these labels.
    pub(crate) fn view(self, labels: &LabelSet) -> Result<View, InvalidRequest> {
        let threshold = self.threshold.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&threshold) {
            return Err(InvalidRequest::Threshold { threshold });
        }
        let known = |name: String| {
            labels
                .parse_type(&name)
                .ok_or_else(|| InvalidRequest::UnknownLabel {
                    label: name,
                    known: labels.types().to_vec(),
                })
        };
        Ok(View {
            offsets: match self.offsets {
                None | Some(OffsetsOption::Codepoint) => OffsetUnit::Codepoint,
                Some(OffsetsOption::Byte) => OffsetUnit::Byte,
                Some(OffsetsOption::Utf16) => OffsetUnit::Utf16,
            },
            threshold: threshold as f32,
            types: self
                .labels
                .map(|names| names.into_iter().map(known).collect())
                .transpose()?,
            include_words: self.include_words.unwrap_or(true),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_tagging::EntityType;

    fn one(json: &str) -> Result<(Source, Reading, View), ApiError> {
        let labels = LabelSet::iob2(["person", "location"]).unwrap();
        parse::<NerRequest>(json.as_bytes())?
            .checked(&labels)
            .map_err(ApiError::Invalid)
    }

    fn many(json: &str) -> Result<(Sources, Reading, View), ApiError> {
        let labels = LabelSet::iob2(["person", "location"]).unwrap();
        parse::<BatchRequest>(json.as_bytes())?.checked(&labels, 3)
    }

    #[test]
    fn options_have_defaults_and_values() {
        let (source, reading, view) = one(r#"{"text": "x"}"#).unwrap();
        assert_eq!(reading, Reading::default());
        assert_eq!(source, Source::Text("x".to_owned()));
        let defaults = View {
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
            Reading {
                aggregation: Aggregation::Max,
                decoding: Decoding::Independent
            }
        );
        assert_eq!(source, Source::Words(vec![String::new(), "x".to_owned()]));
        let types = Some(vec![EntityType(1)]);
        assert_eq!(
            view,
            View {
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
            Err(ApiError::Invalid(invalid)) => invalid,
            other => panic!("{json}: {other:?}"),
        };
        assert!(matches!(invalid("{}"), InvalidRequest::NoText));
        assert!(matches!(
            invalid(r#"{"text": "", "words": []}"#),
            InvalidRequest::TextAndWords
        ));
        for threshold in ["-0.1", "1.5", "1e300"] {
            let json = format!(r#"{{"text": "", "threshold": {threshold}}}"#);
            assert!(
                matches!(invalid(&json), InvalidRequest::Threshold { .. }),
                "{json}"
            );
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
            assert!(matches!(invalid(shape), InvalidRequest::Shape { .. }), "{shape}");
        }
        assert!(matches!(
            one(r#"{"text": "\ud800"}"#),
            Err(ApiError::MalformedJson { .. })
        ));
    }

    #[test]
    fn a_query_spells_the_options_of_a_body() {
        let labels = LabelSet::iob2(["person", "location"]).unwrap();
        let view = |query: &str| Options::of_query(query)?.view(&labels);
        let asked = view("offsets=byte&threshold=0.5&labels=location&labels=person&include_words=false");
        assert_eq!(
            asked.unwrap(),
            View {
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
            Err(ApiError::Invalid(InvalidRequest::Threshold { .. }))
        ));
        assert!(matches!(
            many(r#"{"items": [1, 2, 3, 4]}"#),
            Err(ApiError::TooManyTexts { texts: 4, limit: 3 })
        ));
        assert!(matches!(
            many("{}"),
            Err(ApiError::Invalid(InvalidRequest::Shape { .. }))
        ));
    }
}
