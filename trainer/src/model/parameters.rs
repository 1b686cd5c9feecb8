//! The network's trainable tensors under their Hugging Face names.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var};
use nerve_export::ModelConfig;

/// The word embedding table, the one parameter whose gradient touches few rows.
pub(crate) const WORD_EMBEDDINGS: &str = "bert.embeddings.word_embeddings.weight";

/// The name and shape of every parameter of a token classifier of this shape with `labels` outputs.
pub fn parameter_shapes(config: &ModelConfig, labels: usize) -> BTreeMap<String, Vec<usize>> {
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let mut shapes = BTreeMap::new();
    for (table, rows) in [
        ("word", config.vocab_size),
        ("position", config.max_position_embeddings),
        ("token_type", config.type_vocab_size),
    ] {
        shapes.insert(
            format!("bert.embeddings.{table}_embeddings.weight"),
            vec![rows, hidden],
        );
    }
    let mut norm = |name: String| {
        shapes.insert(format!("{name}.weight"), vec![hidden]);
        shapes.insert(format!("{name}.bias"), vec![hidden]);
    };
    norm("bert.embeddings.LayerNorm".to_owned());
    for layer in 0..config.num_hidden_layers {
        norm(format!("bert.encoder.layer.{layer}.attention.output.LayerNorm"));
        norm(format!("bert.encoder.layer.{layer}.output.LayerNorm"));
    }
    let mut dense = |name: String, outputs: usize, inputs: usize| {
        shapes.insert(format!("{name}.weight"), vec![outputs, inputs]);
        shapes.insert(format!("{name}.bias"), vec![outputs]);
    };
    for layer in 0..config.num_hidden_layers {
        let name = format!("bert.encoder.layer.{layer}");
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            dense(format!("{name}.attention.{part}"), hidden, hidden);
        }
        dense(format!("{name}.intermediate.dense"), wide, hidden);
        dense(format!("{name}.output.dense"), hidden, wide);
    }
    dense("classifier".to_owned(), labels, hidden);
    shapes
}

/// Whether weight decay leaves a parameter alone: biases and layer normalisations, which shrinking does not regularise.
pub(crate) fn is_exempt_from_decay(name: &str) -> bool {
    name.ends_with(".bias") || name.contains("LayerNorm")
}

/// Every parameter as a variable, in the order of the names.
#[derive(Debug)]
pub struct Parameters(BTreeMap<String, Var>);

impl Parameters {
    /// The variables of these shapes and elements.
    pub(crate) fn new(tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>) -> Result<Self> {
        let mut vars = BTreeMap::new();
        for (name, shape, data) in tensors {
            let tensor = Tensor::from_vec(data, shape, &Device::Cpu)?;
            vars.insert(name, Var::from_tensor(&tensor)?);
        }
        Ok(Self(vars))
    }

    /// The names and variables, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Var)> {
        self.0.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// The variable of this name.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.0.get(name)
    }

    /// The tensor of this name.
    pub(super) fn tensor(&self, name: &str) -> Result<Tensor> {
        match self.0.get(name) {
            Some(var) => Ok(var.as_tensor().clone()),
            None => candle_core::bail!("the network has no parameter {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_and_norms_do_not_decay() {
        let decays = |name| !is_exempt_from_decay(name);
        assert!(decays("bert.encoder.layer.0.output.dense.weight"));
        assert!(decays(WORD_EMBEDDINGS));
        assert!(!decays("bert.encoder.layer.0.output.dense.bias"));
        assert!(!decays("bert.encoder.layer.0.output.LayerNorm.weight"));
        assert!(!decays("bert.embeddings.LayerNorm.bias"));
    }
}
