//! BERT (Devlin et al. 2019) and the families that differ from it in positions, token types and position biases only.

mod network;
mod shapes;

use candle_core::Result;
use nerve_repository::ModelConfig;

use crate::model::encoder::Encoder;
use crate::model::families::bert::network::BertEncoder;
use crate::model::parts::Tensors;

pub(in crate::model) use shapes::parameter_shapes;

/// The encoder of this configuration.
pub(in crate::model) fn encoder(config: &ModelConfig, tensor: Tensors<'_>) -> Result<Box<dyn Encoder>> {
    Ok(Box::new(BertEncoder::new(config, tensor)?))
}
