//! The sizes of a study's encoders, scaled down.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use nerve_trainer::{Init, TrainOptions};

/// Width of an attention head of a scaled encoder.
const HEAD: usize = 32;
/// Width of an attention head of a full-size encoder.
const FULL_HEAD: usize = 64;

/// Factor for widths and depths, above 0 and at most 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scale(f64);

impl Default for Scale {
    fn default() -> Self {
        Self(1.0)
    }
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text.split_once('/') {
            Some((over, under)) => over
                .trim()
                .parse::<f64>()
                .ok()
                .zip(under.trim().parse::<f64>().ok()),
            None => text.parse::<f64>().ok().map(|number| (number, 1.0)),
        };
        let scale = number.map(|(over, under)| over / under);
        match scale {
            Some(scale) if scale > 0.0 && scale <= 1.0 => Ok(Self(scale)),
            _ => Err(format!(
                "`{text}` is not a number or fraction above 0 and at most 1"
            )),
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Scale {
    /// The options with scaled sizes. An encoder that starts from random weights gets the scaled hidden size and number of
    /// layers, feed-forward layers four times as wide, and heads of 32, or of 64 at full size. A base keeps the same share
    /// of its `own` layers, where `nominal` layers of the options mean all of them. The same share of the layers is frozen,
    /// rounded up.
    pub(super) fn apply(self, options: TrainOptions, nominal: usize, own: usize) -> TrainOptions {
        let scaled = |count: usize, unit: usize| {
            let units = (count as f64 * self.0 / unit as f64).round() as usize;
            units.max(1) * unit
        };
        if options.init.unwrap_or_default() == Init::Base {
            let share = options.layers.unwrap_or(nominal) as f64 / nominal as f64 * self.0;
            let kept = ((own as f64 * share).round() as usize).clamp(1, own);
            let frozen = frozen(&options, kept, nominal);
            return TrainOptions {
                layers: Some(kept).filter(|&kept| kept != own),
                freeze_layers: frozen,
                ..options
            };
        }
        let head = if self.0 < 1.0 { HEAD } else { FULL_HEAD };
        let hidden = options.hidden_size.map(|hidden| scaled(hidden, head));
        let layers = options.layers.map(|layers| scaled(layers, 1));
        let frozen = match layers {
            Some(kept) => frozen(&options, kept, nominal),
            None => options.freeze_layers,
        };
        TrainOptions {
            freeze_layers: frozen,
            hidden_size: hidden,
            heads: hidden.map(|hidden| hidden / head),
            intermediate_size: hidden.map(|hidden| 4 * hidden),
            layers,
            ..options
        }
    }
}

/// The number of the `kept` layers to freeze, if the options freeze layers of the full-size encoder.
fn frozen(options: &TrainOptions, kept: usize, nominal: usize) -> Option<usize> {
    let of = options.layers.unwrap_or(nominal);
    options
        .freeze_layers
        .map(|frozen| frozen.saturating_mul(kept).div_ceil(of.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(options: &TrainOptions) -> [Option<usize>; 4] {
        [
            options.hidden_size,
            options.layers,
            options.heads,
            options.intermediate_size,
        ]
    }

    fn scratch(hidden_size: usize, layers: usize) -> TrainOptions {
        TrainOptions {
            init: Some(Init::Scratch),
            hidden_size: Some(hidden_size),
            layers: Some(layers),
            ..TrainOptions::default()
        }
    }

    #[test]
    fn a_fresh_encoder_shrinks_in_width_and_depth() {
        let at = |scale: &str, hidden, layers| {
            let scale: Scale = scale.parse().unwrap();
            sizes(&scale.apply(scratch(hidden, layers), 12, 6))
        };
        assert_eq!(at("1", 768, 12), [768, 12, 12, 3072].map(Some));
        assert_eq!(at("1/6", 768, 12), [128, 2, 4, 512].map(Some));
        assert_eq!(at("1/6", 384, 6), [64, 1, 2, 256].map(Some));
        assert_eq!(at("0.01", 768, 12), [32, 1, 1, 128].map(Some));
    }

    #[test]
    fn a_base_lends_a_share_of_its_layers() {
        let at = |scale: &str, layers| {
            let scale: Scale = scale.parse().unwrap();
            let options = TrainOptions {
                layers,
                ..TrainOptions::default()
            };
            scale.apply(options, 12, 6).layers
        };
        assert_eq!((at("1", None), at("1", Some(6))), (None, Some(3)));
        assert_eq!((at("1/2", None), at("1/6", None)), (Some(3), Some(1)));
    }

    #[test]
    fn the_same_share_of_layers_is_frozen() {
        let at = |scale: &str, options: TrainOptions, own| {
            let scale: Scale = scale.parse().unwrap();
            let frozen = TrainOptions {
                freeze_layers: Some(3),
                ..options
            };
            let scaled = scale.apply(frozen, 12, own);
            (scaled.freeze_layers, scaled.layers)
        };
        assert_eq!(at("1", scratch(768, 12), 6), (Some(3), Some(12)));
        assert_eq!(at("1/4", scratch(768, 12), 6), (Some(1), Some(3)));
        assert_eq!(at("1/4", TrainOptions::default(), 6), (Some(1), Some(2)));
        assert_eq!(at("1", TrainOptions::default(), 6), (Some(2), None));
        assert_eq!(at("1", TrainOptions::default(), 12), (Some(3), None));
    }

    #[test]
    fn other_text_is_no_scale() {
        for text in ["", "0", "2", "-1", "1/0", "x", "nan"] {
            assert!(text.parse::<Scale>().is_err(), "{text}");
        }
    }
}
