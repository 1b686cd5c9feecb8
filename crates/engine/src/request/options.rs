//! The options of tagging, and their meaning for a model.

use clap::{ArgAction, Args, ValueEnum};
use nerve_tagging::{Decoding, LabelSet, OffsetUnit};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::pipeline::aggregation::{Aggregation, DecodingOptions};
use crate::pipeline::answer::AnswerOptions;
use crate::request::error::RequestError;

/// The unit in which offsets are counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OffsetsOption {
    /// Unicode code points, as Python counts.
    #[default]
    Codepoint,
    /// UTF-8 bytes, as Rust and Go count.
    Byte,
    /// UTF-16 code units, as JavaScript, Java and C# count.
    Utf16,
}

impl From<OffsetsOption> for OffsetUnit {
    fn from(option: OffsetsOption) -> Self {
        match option {
            OffsetsOption::Codepoint => Self::Codepoint,
            OffsetsOption::Byte => Self::Byte,
            OffsetsOption::Utf16 => Self::Utf16,
        }
    }
}

/// How texts are to be tagged and answers shown, apart from what is to be tagged.
#[derive(Args, Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TagOptions {
    /// The unit in which `start` and `end` are counted; code points where absent.
    #[arg(
        long,
        value_enum,
        help = "Unit of the offsets [default: codepoint]; for --output ndjson, arrow and parquet"
    )]
    pub offsets: Option<OffsetsOption>,
    /// Entities with a lower score are left out.
    #[param(minimum = 0, maximum = 1)]
    #[arg(
        long,
        value_name = "SCORE",
        help = "Minimum score of an entity, from 0 to 1 [default: 0]; not for --output conll"
    )]
    pub threshold: Option<f64>,
    /// The entity types to answer with, given once for each; all where absent.
    #[arg(
        long,
        value_name = "TYPE",
        value_delimiter = ',',
        help = "Entity types to output, separated by commas [default: all]; not for --output conll"
    )]
    pub labels: Option<Vec<String>>,
    /// What is labeled and by which tokens; `first` where absent.
    #[arg(
        long,
        value_enum,
        help = "What is labeled, and by which tokens [default: first]"
    )]
    pub aggregation: Option<Aggregation>,
    /// Whether the labels make a valid sequence, no `I-X` without its `B-X`, and no entity of symbols alone; yes where absent.
    #[arg(long = "unconstrained", action = ArgAction::SetFalse, help = "Decide each label independently: an I-X may then have no B-X before it, and an entity may consist of symbols")]
    pub constrained: Option<bool>,
    /// Whether the answer lists every word; yes where absent.
    #[arg(long = "no-words", action = ArgAction::SetFalse, help = "Leave out the words; only for --output ndjson")]
    pub include_words: Option<bool>,
}

impl TagOptions {
    /// The names of all options.
    pub const NAMES: [&str; 6] = [
        "offsets",
        "threshold",
        "labels",
        "aggregation",
        "constrained",
        "include_words",
    ];

    /// How the labels are decided.
    pub fn reading(&self) -> DecodingOptions {
        DecodingOptions {
            aggregation: self.aggregation.unwrap_or_default(),
            decoding: match self.constrained {
                None | Some(true) => Decoding::Constrained,
                Some(false) => Decoding::Independent,
            },
        }
    }

    /// How the answer is shown, for a model with these labels.
    pub fn view(self, labels: &LabelSet) -> Result<AnswerOptions, RequestError> {
        let threshold = self.threshold.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&threshold) {
            return Err(RequestError::Threshold { threshold });
        }
        let known = |name: String| {
            labels
                .parse_type(&name)
                .ok_or_else(|| RequestError::UnknownLabel {
                    label: name,
                    known: labels.types().to_vec(),
                })
        };
        Ok(AnswerOptions {
            offsets: self.offsets.unwrap_or_default().into(),
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
    use utoipa::openapi::path::ParameterIn;

    #[test]
    fn every_option_has_its_name() {
        let parameters = TagOptions::into_params(|| Some(ParameterIn::Query));
        let names: Vec<String> = parameters.into_iter().map(|parameter| parameter.name).collect();
        assert_eq!(names, TagOptions::NAMES);
    }
}
