//! The trainable tensors of the network, with the names of BERT's files for every model family.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Result, Tensor, Var};
use nerve_repository::{POSITION_BIAS, TRANSITIONS};

/// The word embedding table, the only parameter with a sparse gradient: a step touches few of its rows.
pub(crate) const WORD_EMBEDDINGS: &str = "bert.embeddings.word_embeddings.weight";

/// Whether a parameter is exempt from weight decay: biases, those of positions included, scores of transitions, and layer
/// normalizations, for which decay does not regularize.
pub(crate) fn is_exempt_from_decay(name: &str) -> bool {
    name.ends_with(".bias") || name.contains("LayerNorm") || [POSITION_BIAS, TRANSITIONS].contains(&name)
}

/// All parameters as variables, in name order.
#[derive(Debug)]
pub struct Parameters {
    vars: BTreeMap<String, Var>,
    // Invariant: every name is a key of `vars`.
    frozen: BTreeSet<String>,
}

impl Parameters {
    /// The variables of these names, shapes and elements.
    pub(crate) fn new(
        tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>,
        device: &Device,
    ) -> Result<Self> {
        let mut vars = BTreeMap::new();
        for (name, shape, data) in tensors {
            let tensor = Tensor::from_vec(data, shape, device)?;
            vars.insert(name, Var::from_tensor(&tensor)?);
        }
        Ok(Self {
            vars,
            frozen: BTreeSet::new(),
        })
    }

    /// The names and the variables, in name order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// The names and the variables of the parameters that are trained, in name order.
    pub(crate) fn trained(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.iter().filter(|(name, _)| !self.is_frozen(name))
    }

    /// The variable of this name.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.vars.get(name)
    }

    /// Excludes from training every parameter whose name `matches`.
    pub(crate) fn freeze(&mut self, matches: impl Fn(&str) -> bool) {
        let matching = self.vars.keys().filter(|name| matches(name));
        self.frozen.extend(matching.cloned());
    }

    /// Whether this parameter is excluded from training.
    pub(crate) fn is_frozen(&self, name: &str) -> bool {
        self.frozen.contains(name)
    }

    /// The tensor of this name; outside the gradient graph if the parameter is frozen.
    pub(super) fn tensor(&self, name: &str) -> Result<Tensor> {
        match self.vars.get(name) {
            Some(var) if self.is_frozen(name) => Ok(var.as_tensor().detach()),
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
        assert!(!decays(POSITION_BIAS) && !decays(TRANSITIONS));
    }
}
