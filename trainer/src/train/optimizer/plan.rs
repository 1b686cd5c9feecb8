//! The learning rate and the weight decay of each parameter.

use nerve_repository::TRANSITIONS;

use crate::model::parameters::is_exempt_from_decay;

/// How a parameter is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ParameterPlan {
    /// The factor by which the scheduled learning rate is multiplied.
    pub(crate) rate_factor: f64,
    /// Whether weight decay applies to the parameter.
    pub(crate) decays: bool,
}

impl ParameterPlan {
    /// The plan of a parameter of an encoder with `layers` layers. The rate of each layer is `layer_decay` times the
    /// rate of the layer above it (Howard and Ruder 2018); the rate of the head is `head` times the scheduled rate.
    pub(crate) fn new(name: &str, layers: usize, layer_decay: f64, head: f64) -> Self {
        let rate_factor = match depth(name) {
            Depth::Embeddings => power(layer_decay, layers),
            Depth::Layer(layer) => power(layer_decay, layers.saturating_sub(layer + 1)),
            Depth::Head => head,
        };
        Self {
            rate_factor,
            decays: !is_exempt_from_decay(name),
        }
    }
}

fn power(decay: f64, times: usize) -> f64 {
    decay.powi(i32::try_from(times).unwrap_or(i32::MAX))
}

/// The position of a parameter in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// Below the layers: the embeddings, and the position biases or relative embeddings that all layers share.
    Embeddings,
    /// In the layer with this index, counted from 0.
    Layer(usize),
    /// Above the layers.
    Head,
}

/// The index of the encoder layer that contains a parameter, counted from 0; `None` outside the layers.
pub(crate) fn layer_of(name: &str) -> Option<usize> {
    match depth(name) {
        Depth::Layer(layer) => Some(layer),
        Depth::Embeddings | Depth::Head => None,
    }
}

/// Whether a parameter belongs to the embeddings below the layers, position biases included.
pub(crate) fn is_embedding(name: &str) -> bool {
    depth(name) == Depth::Embeddings
}

/// The position of a parameter in the network, by its name in Hugging Face files.
fn depth(name: &str) -> Depth {
    const LAYER: &str = ".layer.";
    let of_head = ["classifier.", "head.", "bert.encoder.LayerNorm."];
    if of_head.iter().any(|prefix| name.starts_with(prefix)) || name == TRANSITIONS {
        return Depth::Head;
    }
    let after = name.split_once(LAYER).map(|(_, after)| after);
    let number = after.and_then(|after| after.split('.').next()?.parse().ok());
    number.map_or(Depth::Embeddings, Depth::Layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_depth() {
        for (name, expected) in [
            ("bert.embeddings.LayerNorm.weight", Depth::Embeddings),
            ("bert.encoder.layer.11.output.dense.bias", Depth::Layer(11)),
            ("distilbert.transformer.layer.0.ffn.lin1.weight", Depth::Layer(0)),
            (nerve_repository::POSITION_BIAS, Depth::Embeddings),
            (nerve_repository::RelativeAttention::TABLE, Depth::Embeddings),
            (
                &format!("{}.bias", nerve_repository::RelativeAttention::NORM),
                Depth::Embeddings,
            ),
            ("classifier.weight", Depth::Head),
            (TRANSITIONS, Depth::Head),
            ("head.dense.weight", Depth::Head),
            ("bert.encoder.LayerNorm.weight", Depth::Head),
        ] {
            assert_eq!(depth(name), expected, "{name}");
        }
    }

    #[test]
    fn rates_fall_from_the_head_down() {
        let factor = |name| ParameterPlan::new(name, 2, 0.5, 3.0).rate_factor;
        assert_eq!(factor("classifier.bias"), 3.0);
        assert_eq!(factor("bert.encoder.layer.1.output.dense.weight"), 1.0);
        assert_eq!(factor("bert.encoder.layer.0.output.dense.weight"), 0.5);
        assert_eq!(factor("bert.embeddings.word_embeddings.weight"), 0.25);
    }
}
