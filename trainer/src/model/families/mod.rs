//! The networks of the model families: one folder for each kind of encoder.

mod bert;
mod deberta;
mod modernbert;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use candle_core::Result;
use nerve_repository::{Architecture, ModelConfig};

use crate::model::encoder::Encoder;
use crate::model::parts::Tensors;

/// The encoder of this configuration.
pub(super) fn encoder(config: &ModelConfig, tensor: Tensors<'_>) -> Result<Box<dyn Encoder>> {
    match config.family.architecture() {
        Architecture::Bert => bert::encoder(config, tensor),
        Architecture::Deberta => deberta::encoder(config, tensor),
        Architecture::ModernBert => modernbert::encoder(config, tensor),
    }
}

/// The name and the shape of every parameter of a token classifier with `labels` labels.
pub fn parameter_shapes(config: &ModelConfig, labels: usize) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = match config.family.architecture() {
        Architecture::Bert => bert::parameter_shapes(config),
        Architecture::Deberta => deberta::parameter_shapes(config),
        Architecture::ModernBert => modernbert::parameter_shapes(config),
    };
    shapes.insert("classifier.weight".to_owned(), vec![labels, config.hidden_size]);
    shapes.insert("classifier.bias".to_owned(), vec![labels]);
    shapes
}
