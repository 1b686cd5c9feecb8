//! One pass through a network.

use crate::ops::dropout::Dropout;
use crate::ops::weights::WeightGradients;

/// The state of one pass through a network: its dropout source and its weight gradients.
pub(super) struct Pass {
    pub(super) dropout: Dropout,
    /// The gradients of weight matrices, which the backward pass does not put into candle's gradient store.
    pub(super) weights: WeightGradients,
}

impl Pass {
    /// A pass with this source of dropout masks.
    pub(super) fn new(dropout: Dropout) -> Self {
        Self {
            dropout,
            weights: WeightGradients::default(),
        }
    }
}
