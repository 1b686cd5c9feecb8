//! What a graph computes, and in which arithmetic.

use crate::quantize::ActivationRanges;

/// Which tokens the graph computes logits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogitsOf {
    /// All tokens, padding included: the interface that other programs expect.
    #[value(name = "all")]
    EveryToken,
    /// The tokens that each run selects. The last layer skips the others after its attention. In fp32 and int8 the graph is
    /// padding-free too: its other layers compute real tokens alone.
    Selected,
}

/// The arithmetic of the graph's linear layers.
pub(crate) enum Arithmetic<'a> {
    /// f32 throughout.
    Float,
    /// f32 throughout, with the input of every linear layer as a further output, which calibration observes.
    Observed,
    /// f16 weights and products. The residual stream, layer normalization, the softmax and the classifier stay f32, so that
    /// nothing overflows and rounding does not add up over the layers.
    Half,
    /// 8-bit integer products with fixed activation ranges, so that the answer to one text does not depend on another.
    Int8(&'a ActivationRanges),
}

/// The tokens for which a layer computes its outputs.
#[derive(Clone, Copy)]
pub(super) enum LayerTokens {
    All,
    Selected,
}
