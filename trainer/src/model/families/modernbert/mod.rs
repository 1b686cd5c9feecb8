//! ModernBERT (Warner et al. 2024): rotary positions, windows in most layers, gated units, normalization before each part of a
//! layer, and a dense layer in the head.

mod network;
mod shapes;

use candle_core::Result;
use nerve_repository::ModelConfig;

use crate::model::encoder::Encoder;
use crate::model::families::modernbert::network::ModernBertEncoder;
use crate::model::parts::Tensors;

pub(in crate::model) use shapes::parameter_shapes;

/// The encoder of this configuration.
pub(in crate::model) fn encoder(config: &ModelConfig, tensor: Tensors<'_>) -> Result<Box<dyn Encoder>> {
    Ok(Box::new(ModernBertEncoder::new(config, tensor)?))
}
