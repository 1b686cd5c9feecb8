//! One pass through a network.

use crate::ops::dropout::Dropout;
use crate::ops::multiplier::Multiplier;
use crate::ops::weights::WeightGradients;

/// The state of one pass through a network: its dropout source, its weight gradients and its products.
pub(super) struct Pass {
    pub(super) dropout: Dropout,
    /// The gradients of weight matrices, which the backward pass does not put into candle's gradient store.
    pub(super) weights: WeightGradients,
    /// The matrix products of linear layers.
    pub(super) multiplier: Multiplier,
}

impl Pass {
    /// A pass with this source of dropout masks, in f32.
    pub(super) fn new(dropout: Dropout) -> Self {
        Self {
            dropout,
            weights: WeightGradients::default(),
            multiplier: Multiplier::default(),
        }
    }
}
