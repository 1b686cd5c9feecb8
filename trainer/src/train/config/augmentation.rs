//! Augmentation, as a configuration.

use crate::train::config::checks::check;
use crate::train::config::error::OptionError;
use crate::train::options::TrainOptions;

/// The probabilities with which training sentences are changed, anew in each epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augmentation {
    /// That a word is hidden.
    pub word_dropout: f64,
    /// That a mention is replaced by another one of its type.
    pub mention_replacement: f64,
    /// That the case of a sentence is changed.
    pub case_noise: f64,
    /// That a mention becomes a hashtag or loses its `#` or `@`.
    pub hashtag_noise: f64,
    /// That symbols are inserted into a sentence.
    pub symbol_noise: f64,
}

impl Augmentation {
    pub(super) fn resolve(options: &mut TrainOptions) -> Result<Self, OptionError> {
        let probability = |option, value: &mut Option<f64>| {
            let value = *value.get_or_insert(0.0);
            check(option, &value, (0.0..=1.0).contains(&value), "in [0, 1]").map(|()| value)
        };
        Ok(Self {
            word_dropout: probability("word_dropout", &mut options.word_dropout)?,
            mention_replacement: probability("mention_replacement", &mut options.mention_replacement)?,
            case_noise: probability("case_noise", &mut options.case_noise)?,
            hashtag_noise: probability("hashtag_noise", &mut options.hashtag_noise)?,
            symbol_noise: probability("symbol_noise", &mut options.symbol_noise)?,
        })
    }
}
