//! DeBERTa-v3 (He et al. 2021): disentangled attention to contents and relative positions.

mod network;
mod shapes;

use candle_core::Result;
use nerve_repository::ModelConfig;

use crate::model::encoder::Encoder;
use crate::model::families::deberta::network::DebertaEncoder;
use crate::model::parts::Tensors;

pub(in crate::model) use shapes::parameter_shapes;

/// The encoder of this configuration.
pub(in crate::model) fn encoder(config: &ModelConfig, tensor: Tensors<'_>) -> Result<Box<dyn Encoder>> {
    Ok(Box::new(DebertaEncoder::new(config, tensor)?))
}
