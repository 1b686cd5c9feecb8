//! One pass through a network.

use crate::ops::dropout::Dropout;
use crate::ops::multiplier::Multiplier;
use crate::ops::weights::WeightGradients;

/// The state of one pass through a network: its dropout source, its weight gradients, its products, and what it keeps.
pub(super) struct Pass {
    pub(super) dropout: Dropout,
    /// The gradients of weight matrices, which the backward pass does not put into candle's gradient store.
    pub(super) weights: WeightGradients,
    /// The matrix products of linear layers.
    pub(super) multiplier: Multiplier,
    /// Whether the graph has the inputs of encoder layers alone, and the backward pass computes the layers again.
    pub(super) checkpoints_gradients: bool,
}

impl Pass {
    /// A pass with this source of dropout masks, in f32.
    pub(super) fn new(dropout: Dropout) -> Self {
        Self {
            dropout,
            weights: WeightGradients::default(),
            multiplier: Multiplier::default(),
            checkpoints_gradients: false,
        }
    }

    /// A pass through a layer with this source of dropout masks and these weight gradients, which keeps every activation.
    pub(super) fn with_dropout(&self, dropout: Dropout) -> Self {
        Self {
            dropout,
            weights: self.weights.clone(),
            multiplier: self.multiplier,
            checkpoints_gradients: false,
        }
    }
}
