//! The networks of the model families: one folder for each kind of encoder.

mod bert;
mod deberta;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use candle_core::Result;
use nerve_repository::{Family, ModelConfig};

use crate::model::encoder::Encoder;
use crate::model::parts::Tensors;

/// The encoder of this configuration.
pub(super) fn encoder(config: &ModelConfig, tensor: Tensors<'_>) -> Result<Box<dyn Encoder>> {
    match config.family {
        Family::Bert
        | Family::DistilBert
        | Family::Roberta
        | Family::XlmRoberta
        | Family::Camembert
        | Family::Mpnet
        | Family::Electra
        | Family::Albert => bert::encoder(config, tensor),
        Family::DebertaV2 => deberta::encoder(config, tensor),
    }
}

/// The name and the shape of every parameter of a token classifier with `labels` labels.
pub fn parameter_shapes(config: &ModelConfig, labels: usize) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = match config.family {
        Family::Bert
        | Family::DistilBert
        | Family::Roberta
        | Family::XlmRoberta
        | Family::Camembert
        | Family::Mpnet
        | Family::Electra
        | Family::Albert => bert::parameter_shapes(config),
        Family::DebertaV2 => deberta::parameter_shapes(config),
    };
    shapes.insert("classifier.weight".to_owned(), vec![labels, config.hidden_size]);
    shapes.insert("classifier.bias".to_owned(), vec![labels]);
    shapes
}
