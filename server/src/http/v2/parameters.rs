//! The parameters of a request.

use std::time::Duration;

use nerve_engine::{Aggregation, OffsetsOption, TagOptions};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::v2::outputs::SelectedOutput;
use crate::http::v2::tensor::OutputName;

/// How many characters of a wrong value an error repeats.
const SHOWN_CHARS: usize = 40;

/// How the texts are to be answered. Other parameters are ignored: the protocol leaves them open, and clients send their own.
/// `include_words` is refused, since `outputs` names what is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct InferParameters {
    /// The unit in which `start` and `end` are counted; code points where absent.
    #[serde(default, deserialize_with = "read::offsets")]
    offsets: Option<OffsetsOption>,
    /// Entities with a lower score are left out.
    #[serde(default, deserialize_with = "read::threshold")]
    #[schema(minimum = 0, maximum = 1)]
    threshold: Option<f64>,
    /// The entity types to answer with, separated by commas; all where absent.
    #[serde(default, deserialize_with = "read::labels")]
    labels: Option<String>,
    /// What is labeled and by which tokens; `first` where absent.
    #[serde(default, deserialize_with = "read::aggregation")]
    aggregation: Option<Aggregation>,
    /// Whether the labels make a valid sequence, no `I-X` without its `B-X`, and no entity of symbols alone; yes where absent.
    #[serde(default, deserialize_with = "read::constrained")]
    constrained: Option<bool>,
    /// Whether outputs that do not say are sent as bytes behind the JSON; no where absent.
    #[serde(default, deserialize_with = "read::binary_data_output")]
    pub(crate) binary_data_output: Option<bool>,
    /// The time in microseconds after which the answer is not needed, as Triton's clients send it; 0 is none. It cannot
    /// lengthen the server's own limit.
    #[serde(default, deserialize_with = "read::timeout")]
    timeout: Option<u64>,
    #[serde(default, rename = "include_words", deserialize_with = "refuse_words")]
    #[schema(ignore)]
    _include_words: (),
}

/// Defines functions that read a parameter each. Their errors name the parameter and say what it must be.
macro_rules! readers {
    ($($name:ident: $expected:literal,)*) => {
        mod read {
            use super::*;
            $(pub(super) fn $name<'de, D: Deserializer<'de>, T: DeserializeOwned>(
                deserializer: D,
            ) -> Result<Option<T>, D::Error> {
                value(deserializer, stringify!($name), $expected)
            })*
        }
    };
}

readers! {
    offsets: "one of \"codepoint\", \"byte\" and \"utf16\"",
    threshold: "a number between 0 and 1",
    labels: "a string of entity types, separated by commas",
    aggregation: "one of \"none\", \"simple\", \"first\", \"average\" and \"max\"",
    constrained: "true or false",
    binary_data_output: "true or false",
    timeout: "a whole number of microseconds",
}

fn value<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
    name: &str,
    expected: &str,
) -> Result<Option<T>, D::Error> {
    let Some(given) = Option::<Box<RawValue>>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let given = given.get();
    serde_json::from_str(given).map(Some).map_err(|_| {
        let shown = match given.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => format!("{}…", given.get(..end).unwrap_or_default()),
            None => given.to_owned(),
        };
        D::Error::custom(format_args!("`{name}` is {shown}; it must be {expected}"))
    })
}

fn refuse_words<'de, D: Deserializer<'de>>(_: D) -> Result<(), D::Error> {
    Err(D::Error::custom(
        "name the outputs you want instead of `include_words`",
    ))
}

impl InferParameters {
    /// The options of tagging, for an answer with these outputs.
    pub(crate) fn options(&self, selected: &[SelectedOutput]) -> TagOptions {
        let labels = |names: &String| names.split(',').map(|name| name.trim().to_owned()).collect();
        TagOptions {
            offsets: self.offsets,
            threshold: self.threshold,
            labels: self.labels.as_ref().map(labels),
            aggregation: self.aggregation,
            constrained: self.constrained,
            include_words: Some(
                selected
                    .iter()
                    .any(|selected| selected.output == OutputName::Words),
            ),
        }
    }

    /// The time after which the client does not need the answer.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
            .filter(|&micros| micros > 0)
            .map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use serde_json::{Value, json};

    use super::*;

    /// The error for these parameters, in a body and in a message.
    fn problem(parameters: &Value) -> String {
        let body = serde_json::from_str::<InferParameters>(&parameters.to_string());
        let message = serde_json::from_value::<InferParameters>(parameters.clone());
        let (body, message) = (body.unwrap_err().to_string(), message.unwrap_err().to_string());
        assert!(body.starts_with(&message), "{body} {message}");
        message
    }

    #[test]
    fn a_wrong_value_names_its_parameter() {
        for (name, wrong, said) in [
            (
                "timeout",
                json!("5s"),
                "`timeout` is \"5s\"; it must be a whole number of microseconds",
            ),
            ("timeout", json!(-1), "`timeout` is -1;"),
            ("threshold", json!("high"), "`threshold` is \"high\";"),
            ("labels", json!(["a"]), "`labels` is [\"a\"];"),
            (
                "constrained",
                json!("no"),
                "`constrained` is \"no\"; it must be true or false",
            ),
            ("binary_data_output", json!(1), "`binary_data_output` is 1;"),
            (
                "include_words",
                json!(false),
                "name the outputs you want instead of `include_words`",
            ),
        ] {
            let problem = problem(&json!({name: wrong}));
            assert!(problem.starts_with(said), "{problem}");
        }
        let long = problem(&json!({"timeout": "é".repeat(1000)}));
        assert!(long.len() < 200 && long.contains("é…;"), "{long}");
    }

    #[test]
    fn the_choices_of_a_parameter_are_named() {
        fn names<T: ValueEnum>() -> Vec<String> {
            let of = |choice: &T| format!("\"{}\"", choice.to_possible_value().unwrap().get_name());
            T::value_variants().iter().map(of).collect()
        }
        for (parameter, names) in [
            ("offsets", names::<OffsetsOption>()),
            ("aggregation", names::<Aggregation>()),
        ] {
            let problem = problem(&json!({parameter: "other"}));
            assert!(names.iter().all(|name| problem.contains(name)), "{problem}");
        }
    }

    #[test]
    fn absent_and_null_parameters_have_no_value() {
        for none in ["{}", r#"{"timeout": null, "labels": null, "threshold": null}"#] {
            let read: InferParameters = serde_json::from_str(none).unwrap();
            assert!(read.timeout.is_none() && read.labels.is_none() && read.threshold.is_none());
        }
    }
}
